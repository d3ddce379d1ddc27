"""Training: fine-tuning, with the rounding of a later precision in it, or to be like a teacher."""

from edgekit.training._distill import distill
from edgekit.training._options import TrainOptions
from edgekit.training._train import Trained, finetune, train_quantized
from edgekit_converters.training.loop import Course

__all__ = ["Course", "TrainOptions", "Trained", "distill", "finetune", "train_quantized"]
