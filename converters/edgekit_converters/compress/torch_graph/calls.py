"""One node as its PyTorch function sees it: attributes, opset, and what older opsets wrote elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from edgekit_converters.errors import UnsupportedError

Tensor = Any  # a torch.Tensor: PyTorch has no types here
Given = Tensor | None
"""An input; None where it is left out."""
Function = Callable[..., Tensor | Sequence[Tensor]]
"""Takes a `Call` and its inputs to its output, or to its outputs in order."""

# ONNX's data types -> what is computed with: half precision is trained in single.
DTYPES: Mapping[str, Any] = MappingProxyType(
    {
        "FLOAT": torch.float32, "FLOAT16": torch.float32, "BFLOAT16": torch.float32, "DOUBLE": torch.float64,
        "INT64": torch.int64, "INT32": torch.int32, "INT16": torch.int16, "INT8": torch.int8, "UINT8": torch.uint8,
        "BOOL": torch.bool,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A node: `outputs` says how many it has."""

    op: str
    name: str
    opset: int
    attributes: Mapping[str, Any]
    outputs: int = 1

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  # whatever the attribute holds
        """Return an attribute."""
        return self.attributes.get(name, default)

    def refuse(self, why: str) -> UnsupportedError:
        """Return the error for a node that has no PyTorch form."""
        return UnsupportedError(f"op '{self.op}' (node '{self.name}') cannot be trained through: {why}")

    def only(self, name: str, *values: Any) -> None:  # noqa: ANN401  # whatever the attribute holds
        """Refuse an attribute that has another value than these, the first of which is the default."""
        given = self.get(name, values[0])
        if given not in values:
            raise self.refuse(f"its {name} is {given}")

    def numbers(self, name: str, given: Given) -> list[int] | None:
        """Return whole numbers that are an attribute in old opsets and an input in new ones."""
        if given is not None:
            return [int(one) for one in given.reshape(-1).tolist()]
        found = self.get(name)
        return None if found is None else list(found)

    def dtype(self, code: int) -> Any:  # noqa: ANN401  # a torch.dtype
        """Return the PyTorch type of an ONNX data type's number."""
        import onnx_ir as ir

        name = ir.DataType(code).name
        if name not in DTYPES:
            raise self.refuse(f"PyTorch computes nothing with {name}")
        return DTYPES[name]


def axis_of(axis: int, tensor: Tensor) -> int:
    """Return an axis counted from the front."""
    return axis + tensor.dim() if axis < 0 else axis
