"""Tensors of the Open Inference Protocol: JSON, and the binary tensor data extension. No I/O.

Sources: the protocol's `inference_rest.md` (KServe), and "Binary Tensor Data Extension" (KServe and Triton).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from edgekit_agent.gateway.errors import HttpError
from edgekit_agent.runtimes.base import Array, TensorSpec

DATATYPES: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
        "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "FP64": "float64",
    }
)  # fmt: skip
"""The protocol's name of a type -> NumPy's."""
NAMES: Mapping[str, str] = MappingProxyType({ours: name for name, ours in DATATYPES.items()})
MAX_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An inference request."""

    inputs: Mapping[str, Array]
    id: str | None = None
    timeout_s: float | None = None
    outputs: Mapping[str, bool | None] = field(default_factory=dict)
    """The outputs that are wanted (all where empty), and whether as binary data; None: as the request says for all."""
    binary: bool = False


def parse(body: memoryview, json_length: int | None, inputs: Sequence[TensorSpec]) -> Asked:
    """Read an inference request.

    Args:
        body: of the HTTP request.
        json_length: of `Inference-Header-Content-Length`; 0 is a body that is the only input's bytes.
        inputs: of the model.

    Raises:
        HttpError: 400, saying what is wrong with it.
    """
    if json_length == 0:
        return Asked(inputs={inputs[0].name: _only(body, inputs)}, binary=True)
    head, rest = (body, body[:0]) if json_length is None else (body[:json_length], body[json_length:])
    if json_length is not None and json_length > len(body):
        raise HttpError(400, f"Inference-Header-Content-Length is {json_length} and the body has {len(body)} bytes")
    try:
        asked = json.loads(bytes(head))
    except (ValueError, RecursionError) as exc:
        raise HttpError(400, f"the request is not JSON: {str(exc)[:200]}") from exc
    asked = _table(asked, "the request")
    parameters = _table(asked.get("parameters", {}), "parameters")
    arrays = _inputs(asked, rest, inputs)
    number = asked.get("id")
    if number is not None and not isinstance(number, str):
        raise HttpError(400, "id is not text")
    return Asked(
        inputs=arrays,
        id=number,
        timeout_s=_timeout(parameters.get("timeout")),
        outputs=dict(_wanted(one) for one in _list(asked.get("outputs", []), "outputs")),
        binary=parameters.get("binary_data_output") is True,
    )


def _timeout(value: object) -> float | None:
    """Return the request's `timeout` in seconds: it is in microseconds, as Triton has it."""
    if value is None or value == 0:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e6 * MAX_TIMEOUT_S:
        raise HttpError(400, "parameter timeout is no number of microseconds up to an hour")
    return value / 1e6


def _wanted(one: object) -> tuple[str, bool | None]:
    output = _table(one, "an output")
    binary = _table(output.get("parameters", {}), "parameters of an output").get("binary_data")
    return _text(output.get("name"), "the name of an output"), binary if isinstance(binary, bool) else None


def _inputs(asked: dict[str, Any], rest: memoryview, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    known = {spec.name: spec for spec in specs}
    arrays: dict[str, Array] = {}
    for one in _list(asked.get("inputs"), "inputs"):
        given = _table(one, "an input")
        name = _text(given.get("name"), "the name of an input")
        if name not in known or name in arrays:
            raise HttpError(400, f"input '{name}' is {'given twice' if name in arrays else 'no input of the model'}")
        arrays[name], rest = _input(given, rest, known[name])
    missing = [name for name in known if name not in arrays]
    if missing or len(rest):
        why = f"input '{missing[0]}' is missing" if missing else f"{len(rest)} bytes of the body belong to no input"
        raise HttpError(400, why)
    return arrays


def _input(given: dict[str, Any], rest: memoryview, spec: TensorSpec) -> tuple[Array, memoryview]:
    name, kind = spec.name, given.get("datatype")
    if kind != NAMES[spec.dtype]:
        raise HttpError(400, f"input '{name}' takes {NAMES[spec.dtype]} and {kind} was given")
    shape = _list(given.get("shape"), f"the shape of input '{name}'")
    if not all(type(size) is int and 0 <= size < 1 << 31 for size in shape) or not spec.takes(shape):
        wanted = "x".join("?" if size == -1 else str(size) for size in spec.shape)
        raise HttpError(400, f"input '{name}' takes {wanted} and {'x'.join(map(str, shape))[:100]} was given")
    size = _table(given.get("parameters", {}), f"parameters of input '{name}'").get("binary_data_size")
    if size is None:
        return _from_json(given.get("data"), shape, spec), rest
    wanted_bytes = math.prod(shape) * np.dtype(spec.dtype).itemsize
    if size != wanted_bytes or wanted_bytes > len(rest):
        raise HttpError(400, f"input '{name}' has {wanted_bytes} bytes, not {str(size)[:20]} with {len(rest)} there")
    array: Array = np.frombuffer(rest[:wanted_bytes], _little(spec.dtype)).reshape(shape)
    return array, rest[wanted_bytes:]


def _only(body: memoryview, specs: Sequence[TensorSpec]) -> Array:
    """Return the input of a request that is nothing but its bytes; one free dimension follows from their number."""
    if len(specs) != 1 or specs[0].shape.count(-1) > 1:
        raise HttpError(400, "a body of nothing but bytes is for models with one input and one free dimension at most")
    (spec,) = specs
    one = math.prod(size for size in spec.shape if size != -1) * np.dtype(spec.dtype).itemsize
    count, over = divmod(len(body), one)
    if over or count == 0 or (count != 1 and -1 not in spec.shape):
        raise HttpError(
            400, f"input '{spec.name}' has {one} bytes{' or a multiple' * (-1 in spec.shape)}, not {len(body)}"
        )
    array: Array = np.frombuffer(body, _little(spec.dtype)).reshape(
        [count if size == -1 else size for size in spec.shape]
    )
    return array


def _little(dtype: str) -> "np.dtype[Any]":
    return np.dtype(dtype).newbyteorder("<")


def _from_json(data: object, shape: list[int], spec: TensorSpec) -> Array:
    """Return the numbers of a flat or nested list; none is rounded or wrapped to fit."""
    numbers = _list(data, f"the data of input '{spec.name}'")
    try:
        found = np.asarray(numbers)
    except (ValueError, OverflowError, RecursionError) as exc:
        raise HttpError(400, f"the data of input '{spec.name}' is no list of numbers of one shape") from exc
    target = np.dtype(spec.dtype)
    if found.size == 0:
        found = found.astype(target)
    if found.size != math.prod(shape):
        raise HttpError(400, f"input '{spec.name}' has {found.size} numbers and its shape {math.prod(shape)}")
    kinds = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[target.kind]
    if found.dtype.kind not in kinds:
        raise HttpError(400, f"the data of input '{spec.name}' is not all {NAMES[spec.dtype]}")
    if target.kind in "iu" and found.size:
        limits = np.iinfo(target)
        if int(found.min()) < limits.min or int(found.max()) > limits.max:
            raise HttpError(400, f"the data of input '{spec.name}' is not all within {NAMES[spec.dtype]}")
    with np.errstate(over="ignore"):
        array: Array = found.astype(target).reshape(shape)
    return array


def render(
    asked: Asked, answer: Mapping[str, Array], model: str, version: str, more: Mapping[str, object] | None = None
) -> tuple[int | None, list[bytes]]:
    """Return the answer's body in pieces, and how long its JSON is where binary data follows.

    Raises:
        HttpError: if an output that is wanted is none, or holds what JSON cannot carry.
    """
    for name in asked.outputs:
        if name not in answer:
            raise HttpError(400, f"output '{name}' is no output of the model")
    outputs, pieces = [], []
    for name in asked.outputs or answer:
        array, binary = answer[name], asked.outputs.get(name)
        told: dict[str, object] = {"name": name, "datatype": NAMES[array.dtype.name], "shape": list(array.shape)}
        if asked.binary if binary is None else binary:
            pieces.append(np.ascontiguousarray(array, _little(array.dtype.name)).tobytes())
            told["parameters"] = {"binary_data_size": len(pieces[-1])}
        else:
            told["data"] = array.ravel().tolist()
        outputs.append(told)
    document = {
        "model_name": model,
        "model_version": version,
        **({} if asked.id is None else {"id": asked.id}),
        **({"parameters": more} if more else {}),
        "outputs": outputs,
    }
    try:
        head = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as exc:
        raise HttpError(500, "an output holds values that are no numbers: ask for it with binary_data") from exc
    return len(head) if pieces else None, [head, *pieces]


def _table(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise HttpError(400, f"{what} is no JSON object")
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise HttpError(400, f"{what} is missing or no list")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise HttpError(400, f"{what} is missing or no text")
    return value
