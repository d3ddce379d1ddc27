"""Training: fine-tuning, and with the rounding of a later precision in it, in PyTorch and Keras."""

from edgekit.training._options import TrainOptions
from edgekit.training._train import Trained, finetune, train_quantized
from edgekit_converters.training.loop import Course

__all__ = ["Course", "TrainOptions", "Trained", "finetune", "train_quantized"]
