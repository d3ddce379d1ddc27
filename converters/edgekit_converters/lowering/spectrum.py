"""Fourier transforms as products with constant matrices of cosines and sines.

TFLite's RFFT2D knows powers of two and complex values only, which nothing behind it takes. A matrix does every
length, direction and axis in one FULLY_CONNECTED; of the short-time transform, one convolution that strides.
"""

import math

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.lowering.activations import Lowering
from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, identity
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.matrix import dense
from edgekit_converters.lowering.module import Ref

Waves = NDArray[np.float64]
_LARGEST = 2**22  # values of a matrix: 16 MiB, a complex transform of 1024 or a real one of 2048


def dft(b: Builder, node: Node) -> None:
    """Forward and inverse, of real or complex numbers, one-sided or not; shorter or longer than the input."""
    x, out = b.input(node), b.shape_of(node.outputs[0])
    axis = _axis(b, node) % x.rank
    inverse, one_sided = (bool(node.attributes.get(name, 0)) for name in ("inverse", "onesided"))
    given, parts = x.shape[axis], x.shape[-1]
    wanted = b.constant_of(node, 1)
    length = int(wanted.item()) if wanted is not None else 2 * (given - 1) if inverse and one_sided else given
    if is_free(given) or is_free(out[axis]):
        raise b.refuse(node, "its length is free")
    used = min(given, length // 2 + 1 if inverse and one_sided else length)
    _check(b, node, used * parts * out[axis] * out[-1])
    waves = (
        _inverse_of_half(used, length) if inverse and one_sided else _waves(used, out[axis], length, inverse=inverse)
    )
    perm = (*(one for one in range(x.rank - 1) if one != axis), axis, x.rank - 1)
    ref = _front(b, b.order(x, perm).ref, used)
    kept = ref.shape[:-2]
    flat = b.reshaped(ref, (*kept, used * parts))
    kernel = waves[:, :parts].reshape(used * parts, -1).T.astype(np.float32)
    result = dense(b, flat, b.module.constant(kernel))
    b.set(node.outputs[0], Tensor(b.reshaped(result, (*kept, out[axis], out[-1])), perm))


def _axis(b: Builder, node: Node) -> int:
    if b.graph.opset < 20:  # noqa: PLR2004
        return int(node.attributes.get("axis", 1))
    axis = b.constant_of(node, 2)
    return -2 if axis is None else int(axis.item())


def _check(b: Builder, node: Node, values: int) -> None:
    if values > _LARGEST:
        raise b.refuse(node, f"its matrix would have {values} values, {_LARGEST} are the most")


def _front(b: Builder, ref: Ref, size: int) -> Ref:
    """Return the first values of the last axis but one."""
    if ref.shape[-2] == size:
        return ref
    shape = (*ref.shape[:-2], size, ref.shape[-1])
    return b.module.op("slice", [ref, b.module.ints([0] * len(shape)), b.module.ints(shape)], "", shape, ref.dtype)


def _angles(rows: int, columns: int, length: int) -> Waves:
    turns = np.outer(np.arange(rows), np.arange(columns)) % length  # whole numbers: no digits are lost
    angles: Waves = turns.astype(np.float64) * (2 * math.pi / length)
    return angles


def _waves(rows: int, columns: int, length: int, *, inverse: bool) -> Waves:
    """Return [row, real or imaginary part, column, real or imaginary part] of exp(-+ 2 pi i row column / length)."""
    angles = _angles(rows, columns, length)
    cosine, sine = np.cos(angles), np.sin(angles) * (1 if inverse else -1)
    waves: Waves = np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], 1)
    return waves / length if inverse else waves


def _inverse_of_half(rows: int, length: int) -> Waves:
    """Return the same for half a spectrum: all but its ends stand for two, and only a real part comes out."""
    angles = _angles(rows, length, length)
    ends = (np.arange(rows) == 0) | (2 * np.arange(rows) == length)
    weights = np.where(ends, 1, 2)[:, None] / length
    waves: Waves = np.stack([weights * np.cos(angles), -weights * np.sin(angles)], 1)[..., None]
    return waves


def stft(b: Builder, node: Node) -> None:
    """A convolution whose filters are the waves times the window; the frames are its strides."""
    x, out = b.input(node), b.shape_of(node.outputs[0])
    step, window, given = (b.constant_of(node, place) for place in (1, 2, 3))
    if step is None or (window is None and given is None):
        raise b.refuse(node, "its frame length is not given")
    length = window.size if window is not None else int(given.item()) if given is not None else 0
    bins, parts = out[2], x.shape[2]
    _check(b, node, length * parts * bins * 2)
    waves = _waves(length, bins, length, inverse=False)[:, :parts]
    if window is not None:
        waves = waves * window.astype(np.float64).reshape(-1, 1, 1, 1)
    kernel = waves.reshape(length, parts, bins * 2).transpose(2, 0, 1)[:, None].astype(np.float32)  # OHWI
    image = b.reshaped(b.plain(x), (x.shape[0], 1, *x.shape[1:]))
    bias = b.module.constant(np.zeros(bins * 2, np.float32))
    attributes = (
        f'{NO_ACTIVATION}, padding = "VALID", stride_h = 1 : i32, stride_w = {int(step.item())} : i32, '
        "dilation_h_factor = 1 : i32, dilation_w_factor = 1 : i32"
    )
    operands = [image, b.module.constant(kernel), bias]
    ref = b.module.op("conv_2d", operands, attributes, (out[0], 1, out[1], bins * 2), x.dtype)
    b.set(node.outputs[0], Tensor(b.reshaped(ref, out), identity(4)))


SPECTRUM: dict[str, Lowering] = {"DFT": dft, "STFT": stft}
