"""What a layer was called where the model was made, told from the names converters leave on tensors."""

import re
from collections import Counter

# The last part of a name that TensorFlow gives a layer's operation, not the layer.
_PARTS_OF_LAYERS = re.compile(
    r"(Conv\w*|BiasAdd|MatMul|Relu6?|Sigmoid|Tanh|Softmax|depthwise|separable_\w+|Pad|Mean|AvgPool|MaxPool|Reshape|"
    r"FusedBatchNormV?\d?|batchnorm|add|mul|sub|concat|ReadVariableOp|resource|Tensordot|transpose|Squeeze|ExpandDims|"
    r"Identity|Read|strided_slice|stack|Shape|Max|Sum|Rsqrt)(_?\d+)?"
)
_ROOTS = re.compile(r"(model|sequential|functional|serving_default|StatefulPartitionedCall|PartitionedCall)(_\d+)?")


def tokens(name: str) -> tuple[str, ...]:
    """Return every name in a fused tensor's name: a converter writes those of all it fused, divided by `;`.

    The number it appends to make names unique stays on the last one, which is given without it too.
    """
    parts = [part for part in name.split(";") if part]
    bare = [re.sub(r"\d+$", "", parts[-1])] if parts and ";" in name else []
    return tuple(dict.fromkeys(part for part in (*parts, *bare) if part))


def layer(name: str) -> str:
    """Return the layer a fused tensor's name speaks of most.

    `model/bn/FusedBatchNormV3;model/conv2d/BiasAdd;model/conv2d/Conv2D1` is `conv2d`; names without a path, such as
    ONNX's, stay what they are, the first one standing for what the tensor holds.
    """
    paths = [_path(part) for part in name.split(";") if "/" in part]
    if paths:
        return Counter(path for path in paths if path).most_common(1)[0][0] if any(paths) else name
    return name.split(";", maxsplit=1)[0] or name


def _path(token: str) -> str:
    parts = [part for part in token.split("/") if part]
    while len(parts) > 1 and _ROOTS.fullmatch(parts[0]):
        parts = parts[1:]
    while len(parts) > 1 and _PARTS_OF_LAYERS.fullmatch(parts[-1]):
        parts = parts[:-1]
    return "/".join(parts)
