"""How long and how fast a net is trained: plain values, told apart by a checkpoint."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How to train.

    Attributes:
        epochs: how often the data is gone through, 1 or more.
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
