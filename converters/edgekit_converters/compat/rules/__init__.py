"""Rules for what cannot be run here: accelerators whose plugin needs the hardware."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from edgekit_converters.compat.findings import Finding
from edgekit_converters.compat.nodes import Node
from edgekit_converters.compat.rules import edgetpu, tflite_gpu

# Runtimes judged by rules on a TFLite file's nodes.
TFLITE_RULES: Mapping[str, Callable[[Sequence[Node]], list[Finding]]] = MappingProxyType(
    {"tflite-gpu": tflite_gpu.judge, "edgetpu": edgetpu.judge}
)
