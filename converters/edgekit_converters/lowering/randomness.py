"""Ops whose results are random: refused by name, so that nobody looks for another reason."""

from edgekit_converters.lowering.activations import Lowering
from edgekit_converters.lowering.builder import Builder
from edgekit_converters.lowering.graph import Node


def _random(b: Builder, node: Node) -> None:
    raise b.refuse(node, "its result is random, so that no run could prove the TFLite form right")


RANDOMNESS: dict[str, Lowering] = dict.fromkeys(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"), _random
)
