"""How to train: plain values, checked in one place, and told apart by a checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import UsageError

PRECISIONS = ("int8", "int8-weights", "int4-weights")
"""What a model can be trained for, as `edgekit convert --precision` names it."""
ACTIVATIONS = frozenset({"int8"})
"""Those whose activations are quantized too."""
WEIGHT_BITS = {"int8": 8, "int8-weights": 8, "int4-weights": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """How to train.

    Attributes:
        epochs: how often the data is gone through.
        learning_rate: of Adam, at its highest: it rises over the first steps and falls as a cosine to nearly nothing
            (I. Loshchilov, F. Hutter, "SGDR", ICLR 2017).
        clip_norm: gradients longer than this, all weights taken together, are made this long; 0 leaves them.
        freeze_after: from this share of the training on, batch norms use their stored statistics, and ranges that
            follow what flows (Keras) stay: what trains then is the net as it will be converted (R. Krishnamoorthi,
            arXiv:1806.08342, section 4.1; M. Nagel et al., arXiv:2106.08295, section 5).
        patience: end after so many epochs without a better score; 0 never does.
        checkpoint: a file to go on from after a kill; it is removed by nobody but you.
        checkpoint_every_s: how often it is written inside of an epoch, in seconds; it always is at the end of one.
        seed: of every generator the frameworks have, set anew before each epoch.
    """

    epochs: int = 5
    learning_rate: float = 1e-4
    clip_norm: float = 1.0
    freeze_after: float = 0.5
    patience: int = 0
    checkpoint: Path | None = None
    checkpoint_every_s: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what needs no model.

        Raises:
            UsageError: naming the option and what it may be.
        """
        if self.epochs < 1:
            raise UsageError(f"epochs {self.epochs} is not 1 or more")
        if not 0 < self.learning_rate < 1:
            raise UsageError(f"learning_rate {self.learning_rate} is not between 0 and 1")
        if not self.clip_norm >= 0:
            raise UsageError(f"clip_norm {self.clip_norm} is not 0 or more")
        if not 0 <= self.freeze_after <= 1:
            raise UsageError(f"freeze_after {self.freeze_after} is not between 0 and 1")
        if self.patience < 0:
            raise UsageError(f"patience {self.patience} is not 0 or more")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"seed {self.seed} is not between 0 and {2**31 - 1}")


def check_precision(precision: str) -> None:
    """Check that a model can be trained for this precision.

    Raises:
        UsageError: naming those it can be.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"training is not for precision '{precision}'; it is for {', '.join(PRECISIONS)}")
