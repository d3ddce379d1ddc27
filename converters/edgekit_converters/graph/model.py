"""Read ONNX files into the canonical graph, describe them, fix their shapes.

A model is an `onnx_ir.Model`: external weights stay in their files and are mapped when they are read, so a
model of more than 2 GB costs no more memory than what is looked at.
"""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.foreign import first_line
from edgekit_converters.model import Array, TensorSpec

if TYPE_CHECKING:
    import onnx_ir as ir

ONNX = frozenset({"", "ai.onnx"})
MAX_FILE_BYTES = 2**31 - 1
# What reading a damaged file ends in, besides the libraries' own errors.
_DAMAGED = (ValueError, TypeError, KeyError, OSError, RuntimeError)
_GRIDS = frozenset({"QuantizeLinear", "DequantizeLinear"})
# Weights of this size and more are handed over beside the model instead of inside.
_LARGE_BYTES = 64 * 1024


def load(path: Path) -> "ir.Model":
    """Read and check an ONNX file; its external data stays where it is.

    Raises:
        ModelFileError: if it is missing, too large, truncated, not ONNX, or its data lies elsewhere.
        UnsupportedError: if an op is none of ONNX's at the model's opset.
    """
    import onnx
    import onnx_ir as ir
    from google.protobuf.message import DecodeError

    try:
        if path.stat().st_size == 0:
            raise ModelFileError(f"model '{path}' is empty")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelFileError(f"model '{path}' is larger than 2 GiB; keep its weights as external data")
        proto = onnx.load(str(path), load_external_data=False)
        if not proto.graph.node or not proto.opset_import:
            raise ModelFileError(f"model '{path}' is not ONNX or is truncated: it holds no graph")
        names = [one.name for one in proto.graph.output]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ModelFileError(f"model '{path}' has two outputs named '{twice}'")
        _check_ops(proto, path.name)
        onnx.checker.check_model(str(path))
        model = ir.serde.deserialize_model(proto)
        ir.external_data.set_base_dir(model.graph, path.parent)
        _check_data(model, path)
    except DecodeError as exc:
        raise ModelFileError(f"model '{path}' is not ONNX or is truncated") from exc
    except FileNotFoundError as exc:
        raise ModelFileError(f"model '{path}' or its external data does not exist") from exc
    except (onnx.checker.ValidationError, ir.serde.SerdeError, *_DAMAGED) as exc:
        raise ModelFileError(f"model '{path}' is not a valid ONNX model: {first_line(exc)}") from exc
    return model


def _check_ops(proto: Any, label: str) -> None:  # noqa: ANN401  # an onnx.ModelProto
    import onnx

    opset = max((one.version for one in proto.opset_import if one.domain in ONNX), default=0)
    own = {function.name for function in proto.functions if function.domain in ONNX}
    for index, node in enumerate(proto.graph.node):
        if node.domain not in ONNX or node.op_type in own:
            continue
        try:
            onnx.defs.get_schema(node.op_type, opset, "")
        except onnx.defs.SchemaError as exc:
            name = node.name or (node.output[0] if node.output else "")
            raise UnsupportedError(
                f"model '{label}': op '{node.op_type}' (node '{name}' #{index}) is no op of ONNX opset {opset}"
            ) from exc


def _check_data(model: "ir.Model", path: Path) -> None:
    """Look whether every external weight is there and as long as it says."""
    import onnx_ir as ir

    for value in model.graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor):
            end = (tensor.offset or 0) + tensor.nbytes
            if Path(tensor.path).stat().st_size < end:
                raise ModelFileError(f"model '{path}': its external data '{tensor.location}' is truncated")


def inputs_of(model: "ir.Model") -> "list[ir.Value]":
    """Return the graph inputs that are no weights (up to opset 8 the weights are listed too)."""
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def specs(values: "list[ir.Value]") -> tuple[TensorSpec, ...]:
    """Return names, shapes (None where free) and dtypes.

    Raises:
        UnsupportedError: if one is no tensor, or of a type NumPy does not have.
    """
    return tuple(
        TensorSpec(name=value.name or "", shape=tuple(dimensions(value)), dtype=_dtype(value)) for value in values
    )


def dimensions(value: "ir.Value") -> list[int | None]:
    """Return a value's declared shape, None where a dimension is free."""
    sizes = () if value.shape is None else tuple(value.shape)
    return [size if isinstance(size, int) and size > 0 else None for size in sizes]


def _dtype(value: "ir.Value") -> str:
    import onnx_ir as ir

    if not isinstance(value.type, ir.TensorType):
        raise UnsupportedError(f"'{value.name}' is a {type(value.type).__name__}, and only tensors can be had")
    if value.type.dtype == ir.DataType.STRING:
        return "string"
    if value.type.dtype == ir.DataType.UNDEFINED:
        raise UnsupportedError(f"'{value.name}' has no type")
    return str(value.type.dtype.numpy().name)


def freeze(model: "ir.Model", shapes: Mapping[str, tuple[int, ...]], label: str) -> None:
    """Fix the inputs' shapes in place.

    Raises:
        UnsupportedError: if a shape given does not fit, or an input is not there.
    """
    import onnx_ir as ir

    inputs = {value.name: value for value in inputs_of(model)}
    for name, shape in shapes.items():
        if name not in inputs:
            known = ", ".join(str(one) for one in inputs)
            raise UnsupportedError(f"model '{label}' has no input '{name}'; it has: {known}")
        declared = dimensions(inputs[name])
        if len(shape) != len(declared) or any(d not in {None, w} for d, w in zip(declared, shape, strict=True)):
            shown = "x".join("?" if d is None else str(d) for d in declared)
            raise UnsupportedError(
                f"model '{label}': input '{name}' has shape {shown}, which the shape given does not fit"
            )
        inputs[name].shape = ir.Shape(shape)


def parameters(model: "ir.Model") -> int:
    """Return the number of learnt values: floating-point weights, and those stored in whole numbers with a scale."""
    grids = {value.name for node in model.graph if node.op_type in _GRIDS for value in node.inputs[1:] if value}
    stored = {node.inputs[0].name for node in model.graph if node.op_type in _GRIDS and node.inputs[0]}
    return sum(
        math.prod(value.const_value.shape.numpy())
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
        and name not in grids
        and (name in stored or value.const_value.dtype.is_floating_point())
    )


def fingerprint(path: Path, model: "ir.Model") -> dict[str, Any]:
    """Return digest and size of the file with its external data."""
    import onnx_ir as ir

    tensors = [value.const_value for value in model.graph.initializers.values()]
    outside = sorted({str(one.path) for one in tensors if isinstance(one, ir.ExternalTensor)})
    digest, size = hashlib.sha256(), 0
    for file in (path, *map(Path, outside)):
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
    return {"sha256": digest.hexdigest(), "size_bytes": size}


def save(model: "ir.Model", path: Path) -> None:
    """Write a model; with more weights than a file holds they go into `<name>.data` beside it."""
    import onnx_ir as ir

    tensors = [value.const_value for value in model.graph.initializers.values()]
    large = sum(one.nbytes for one in tensors if one is not None) > MAX_FILE_BYTES // 2
    outside = any(isinstance(one, ir.ExternalTensor) for one in tensors)
    ir.save(model, path, external_data=f"{path.name}.data" if large or outside else None)


def lifted(model: "ir.Model") -> tuple[Any, dict[str, Array]]:
    """Return the model as an `onnx.ModelProto` whose large weights are inputs, and those weights by name.

    So the ONNX tools copy kilobytes instead of gigabytes.

    Raises:
        ModelFileError: if a part of it is not what ONNX can hold.
    """
    import onnx_ir as ir

    bare, weights = model.clone(), dict[str, Array]()
    listed = {value.name for value in bare.graph.inputs}
    for name, value in list(bare.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.nbytes < _LARGE_BYTES or tensor.dtype not in {ir.DataType.FLOAT, ir.DataType.INT64}:
            if isinstance(tensor, ir.ExternalTensor):
                value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=name)
            continue
        array = np.asarray(tensor.numpy())
        weights[name] = array.view(array.dtype.newbyteorder("="))
        del bare.graph.initializers[name]
        value.const_value = None
        if value.shape is None:
            value.shape = ir.Shape(tensor.shape.numpy())
        value.type = ir.TensorType(tensor.dtype)
        if name not in listed:
            bare.graph.inputs.append(value)
    try:
        return ir.serde.serialize_model(bare), weights
    except ir.serde.SerdeError as exc:  # a name that is no text was read all the same
        raise ModelFileError("the model has parts that are not valid ONNX") from exc
