"""Messages of others as a model's inputs: pictures, `.npy`, JSON, or bare bytes."""

import json
from io import BytesIO
from math import prod

import numpy as np

from edgekit_agent import feeds
from edgekit_agent.errors import InputDataError
from edgekit_agent.runtimes.base import Array, TensorSpec
from edgekit_agent.sources.base import Prepared
from edgekit_agent.sources.pictures import Pictures
from edgekit_agent.sources.wanted import Wanted

_NPY = b"\x93NUMPY"
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"RIFF")
_OPENING = (b"{", b"[")
_HEADS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Payloads:
    """Makes inputs of messages; `auto` tells by a message's first bytes."""

    def __init__(self, wanted: Wanted, form: str, what: str) -> None:
        """Take a form of `settings.PAYLOADS`."""
        self._inputs, self._form, self._what = wanted.inputs, form, what
        self._pictures: Pictures | None = None
        try:
            self._pictures = Pictures(wanted, what)
        except InputDataError:
            if form == "image":
                raise

    def prepare(self, payload: bytes) -> Prepared:
        """Decode one message.

        Raises:
            InputDataError: if it is broken or does not fit.
        """
        form = self._form if self._form != "auto" else _form_of(payload)
        if form == "image":
            if self._pictures is None:
                raise InputDataError(f"{self._what}: the message is a picture and the model takes none")
            return self._pictures.prepare(payload, self._what)
        if form == "json":
            arrays = self._from_json(payload)
        elif form == "npy":
            arrays = {feeds.ONLY: read_npy(payload, self._what)}
        else:
            arrays = {feeds.ONLY: self._bare(payload)}
        return Prepared(self._fitted(arrays))

    def _fitted(self, arrays: dict[str, Array]) -> list[Array]:
        names = [spec.name for spec in self._inputs]
        if len(names) == 1 and set(arrays) == {feeds.ONLY}:
            arrays = {names[0]: arrays[feeds.ONLY]}
        if set(arrays) != set(names):
            raise InputDataError(f"{self._what}: the message's arrays are not the inputs {', '.join(names)}")
        return [feeds.fit(_batched(arrays[spec.name], spec), spec, self._what) for spec in self._inputs]

    def _from_json(self, payload: bytes) -> dict[str, Array]:
        try:
            body = json.loads(payload)
        except (ValueError, RecursionError) as exc:
            raise InputDataError(f"{self._what}: the message is no JSON") from exc
        given = body if isinstance(body, dict) else {feeds.ONLY: body}
        try:
            # no type is said: what holds no number is no numeric array, and `fit` says so
            return {name: np.asarray(values) for name, values in given.items()}
        except (ValueError, OverflowError) as exc:
            raise InputDataError(f"{self._what}: the message holds lists of different lengths") from exc

    def _bare(self, payload: bytes) -> Array:
        spec = self._inputs[0]
        shape = [1 if size == -1 else size for size in spec.shape]
        dtype = np.dtype(spec.dtype).newbyteorder("<")
        if len(self._inputs) != 1 or len(payload) != prod(shape) * dtype.itemsize:
            raise InputDataError(
                f"{self._what}: the message has {len(payload)} bytes and the input {prod(shape) * dtype.itemsize}"
            )
        return np.frombuffer(payload, dtype).reshape(shape).astype(spec.dtype, copy=False)


def read_npy(data: bytes, what: str) -> Array:
    """Return the array of a `.npy` file's bytes; what its head says is believed only if the bytes are there.

    Raises:
        InputDataError: if it is cut, longer than it says, or holds anything but numbers.
    """
    stream = BytesIO(data)
    error = InputDataError(f"{what}: the message is no .npy of numbers")
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = _HEADS[version](stream)
    except Exception as exc:  # NumPy reads the head as Python does, with errors of that
        raise error from exc
    begin = stream.tell()
    if dtype.kind not in "fiub" or prod(shape) * dtype.itemsize != len(data) - begin:
        raise error
    array = np.frombuffer(data, dtype, offset=begin)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _form_of(payload: bytes) -> str:
    if payload.startswith(_NPY):
        return "npy"
    if payload.startswith(_PICTURES):
        return "image"
    return "json" if payload.lstrip()[:1] in _OPENING else "raw"


def _batched(array: Array, spec: TensorSpec) -> Array:
    """Return an array with the batch's axis, which a message may leave out."""
    return array[None] if array.ndim + 1 == len(spec.shape) else array
