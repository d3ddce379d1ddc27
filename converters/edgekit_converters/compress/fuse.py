"""Sequential fusion: what follows each other becomes one op, exactly."""

from edgekit_converters.compress.rewriting import Rewriting
from edgekit_converters.compress.rules import FUSE


class Fuse(Rewriting):
    """Scales, biases, norms, padding, bounds and linear layers in a row become one op; what does nothing goes."""

    name = "fuse"
    help = "fold scales, biases, norms, padding and linear layers in a row into one op"
    table = FUSE
