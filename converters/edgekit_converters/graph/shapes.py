"""Shapes that a run does not tell: where what an input holds decides how large an output is."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

# Which operands decide the output's shape, when they are only known at run time.
_DECIDING: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "Reshape": (1,),
        "Expand": (1,),
        "Tile": (1,),
        "ConstantOfShape": (0,),
        "RandomNormal": (0,),
        "Range": (0, 1, 2),
        "Slice": (1, 2, 3, 4),
        "Pad": (1, 3),
        "TopK": (1,),
        "Resize": (2, 3),
        "Upsample": (1,),
        "OneHot": (1,),
        "Split": (1,),
        "Squeeze": (1,),
        "Unsqueeze": (1,),
        "CenterCropPad": (1,),
        "MaxUnpool": (2,),
        "AffineGrid": (1,),
        "BlackmanWindow": (0,),
        "HammingWindow": (0,),
        "HannWindow": (0,),
        "DFT": (1,),
        "STFT": (1, 3),
        "Col2Im": (1, 2),
        **{
            f"Reduce{kind}": (1,)
            for kind in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")
        },
    }
)
_ALWAYS = frozenset({"NonZero", "Compress", "Unique", "NonMaxSuppression"})


def decides_shapes(node: Any, known: Callable[[str], bool]) -> bool:  # noqa: ANN401  # an onnx.NodeProto
    """Whether what the node is given at run time decides the shape of what it makes."""
    if node.op_type in _ALWAYS:
        return True
    places = _DECIDING.get(node.op_type, ())
    return any(place < len(node.input) and node.input[place] and not known(node.input[place]) for place in places)


def inferred(proto: Any) -> dict[str, tuple[int | str | None, ...]]:  # noqa: ANN401  # an onnx.ModelProto
    """Return the shapes that the model declares and ONNX's inference finds: numbers, names, or None."""
    import onnx

    try:
        typed = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError):
        typed = proto
    found = {}
    for value in (*typed.graph.value_info, *typed.graph.output, *typed.graph.input):
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            found[value.name] = tuple(
                size.dim_value if size.HasField("dim_value") else size.dim_param or None
                for size in value.type.tensor_type.shape.dim
            )
    return found
