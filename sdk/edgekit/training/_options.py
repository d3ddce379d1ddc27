"""How to train: plain values, checked in one place, and told apart by a checkpoint."""

from dataclasses import dataclass

from edgekit.errors import UsageError
from edgekit_converters.training.schedule import Schedule

PRECISIONS = ("int8", "int8-weights", "int4-weights")
"""What a model can be trained for, as `edgekit convert --precision` names it."""
ACTIVATIONS = frozenset({"int8"})
"""Those whose activations are quantized too."""
WEIGHT_BITS = {"int8": 8, "int8-weights": 8, "int4-weights": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions(Schedule):
    """How to train, checked: see `Schedule` for what each is."""

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
