"""Replacement and reordering: other ops, or the same in another order, that compute the same for less."""

from edgekit_converters.compress.rewriting import Rewriting
from edgekit_converters.compress.rules import REPLACE


class Replace(Rewriting):
    """Activations and norms written out become one op; Transposes and poolings move; arithmetic becomes cheaper."""

    name = "replace"
    help = "activations and norms written out into one op, Transposes away, poolings before 1x1 convolutions"
    table = REPLACE
