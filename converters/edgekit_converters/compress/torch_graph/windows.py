"""What looks at windows: convolutions, and pools."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch.nn import functional

from edgekit_converters.compress.torch_graph.calls import Call, Function, Given, Tensor

_CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)
_TRANSPOSED = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
_MAXIMA = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)


class _Windows:
    """The windows of a node: sizes, strides and dilations an axis, padding before and behind each."""

    def __init__(self, call: Call, sizes: Sequence[int], kernel: Sequence[int]) -> None:
        """Read the attributes; `sizes` are those of the image.

        Raises:
            UnsupportedError: if it has more than three dimensions.
        """
        self.rank = len(kernel)
        if not 1 <= self.rank <= len(_CONVOLUTIONS):
            raise call.refuse(f"it has {self.rank} dimensions")
        self.kernel = list(kernel)
        self.strides = call.get("strides", [1] * self.rank)
        self.dilations = call.get("dilations", [1] * self.rank)
        pads = call.get("pads", [0] * 2 * self.rank)
        self.before, self.behind = list(pads[: self.rank]), list(pads[self.rank :])
        auto = call.get("auto_pad", "NOTSET")
        if auto == "VALID":
            self.before, self.behind = [0] * self.rank, [0] * self.rank
        for axis, (size, span) in enumerate(zip(sizes, self.spans, strict=True)):
            if auto.startswith("SAME"):
                step = self.strides[axis]
                total = max(0, (-(-size // step) - 1) * step + span - size)
                half = total // 2
                self.before[axis] = total - half if auto == "SAME_LOWER" else half
                self.behind[axis] = total - self.before[axis]

    @property
    def spans(self) -> list[int]:
        """How far a window reaches, an axis."""
        return [(size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True)]

    def padded(self, x: Tensor, value: float = 0.0, more: Sequence[int] | None = None) -> Tensor:
        """Return an image with its padding, and `more` behind each axis."""
        behind = [a + b for a, b in zip(self.behind, more or [0] * self.rank, strict=True)]
        pads = [one for pair in zip(reversed(self.before), reversed(behind), strict=True) for one in pair]
        return functional.pad(x, pads, value=value) if any(pads) else x

    def ceiling(self, call: Call, sizes: Sequence[int]) -> list[int]:
        """Return what is missing behind each axis for the last, incomplete window of `ceil_mode`."""
        if not call.get("ceil_mode", 0):
            return [0] * self.rank
        more = []
        for axis, (size, span) in enumerate(zip(sizes, self.spans, strict=True)):
            step, whole = self.strides[axis], size + self.before[axis] + self.behind[axis]
            steps = -(-(whole - span) // step)
            if steps * step >= size + self.before[axis]:  # a window in the padding alone is none
                steps -= 1
            more.append(max(0, steps * step + span - whole))
        return more


def _conv(call: Call, x: Tensor, weights: Tensor, bias: Given = None) -> Tensor:
    windows = _Windows(call, x.shape[2:], weights.shape[2:])
    same = windows.before == windows.behind
    return _CONVOLUTIONS[windows.rank - 1](
        x if same else windows.padded(x),
        weights,
        bias,
        stride=windows.strides,
        padding=windows.before if same else 0,
        dilation=windows.dilations,
        groups=call.get("group", 1),
    )


def _conv_transpose(call: Call, x: Tensor, weights: Tensor, bias: Given = None) -> Tensor:
    """Compute without padding; then cut it off, or add what `output_padding` and `output_shape` ask for."""
    windows = _Windows(call, x.shape[2:], weights.shape[2:])
    wanted, auto = call.get("output_shape"), call.get("auto_pad", "NOTSET")
    extra = call.get("output_padding", [0] * windows.rank)
    function = _TRANSPOSED[windows.rank - 1]
    groups = call.get("group", 1)
    y = function(x, weights, None, stride=windows.strides, dilation=windows.dilations, groups=groups)
    cuts: list[int] = []
    for axis in reversed(range(windows.rank)):
        before, behind = windows.before[axis], windows.behind[axis]
        whole = y.shape[2 + axis] + extra[axis]
        size = wanted[axis] if wanted else None
        if auto.startswith("SAME") and not wanted:
            size = x.shape[2 + axis] * windows.strides[axis]
        if size is not None:
            total = max(0, whole - size)
            before = total - total // 2 if auto != "SAME_UPPER" else total // 2
            behind = whole - size - before
        cuts += [-before, extra[axis] - behind]
    y = functional.pad(y, cuts)
    return y if bias is None else y + bias.reshape(-1, *[1] * windows.rank)


def _max_pool(call: Call, x: Tensor) -> Tensor:
    if call.outputs > 1:
        raise call.refuse("it has the places of the largest as an output")
    windows = _Windows(call, x.shape[2:], call.get("kernel_shape"))
    padded = windows.padded(x, -math.inf, windows.ceiling(call, x.shape[2:]))
    return _MAXIMA[windows.rank - 1](padded, windows.kernel, windows.strides, 0, windows.dilations)


def _average_pool(call: Call, x: Tensor) -> Tensor:
    """Divide the sums of windows by the places that count in each: without those of the ceiling, or of any padding."""
    windows = _Windows(call, x.shape[2:], call.get("kernel_shape"))
    more = windows.ceiling(call, x.shape[2:])
    ones = x.new_ones((1, 1, *x.shape[2:]))
    if call.get("count_include_pad", 0):
        counted = functional.pad(windows.padded(ones, 1.0), [one for size in reversed(more) for one in (0, size)])
    else:
        counted = windows.padded(ones, 0.0, more)
    rows = windows.padded(x, 0.0, more)
    flat = rows.reshape(-1, 1, *rows.shape[2:])
    sums, counts = _sums(windows, flat), _sums(windows, counted)
    return (sums / counts).reshape(*x.shape[:2], *sums.shape[2:])


def _sums(windows: _Windows, x: Tensor) -> Tensor:
    kernel = x.new_ones((1, 1, *windows.kernel))
    return _CONVOLUTIONS[windows.rank - 1](x, kernel, stride=windows.strides, dilation=windows.dilations)


def _lp_pool(call: Call, x: Tensor) -> Tensor:
    windows, power = _Windows(call, x.shape[2:], call.get("kernel_shape")), call.get("p", 2)
    rows = windows.padded(x.abs() ** power, 0.0, windows.ceiling(call, x.shape[2:]))
    sums = _sums(windows, rows.reshape(-1, 1, *rows.shape[2:]))
    return (sums ** (1 / power)).reshape(*x.shape[:2], *sums.shape[2:])


def _global_average_pool(_call: Call, x: Tensor) -> Tensor:
    return x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


def _global_max_pool(_call: Call, x: Tensor) -> Tensor:
    return torch.amax(x, dim=tuple(range(2, x.dim())), keepdim=True)


WINDOWS: Mapping[str, Function] = MappingProxyType(
    {
        "Conv": _conv, "ConvTranspose": _conv_transpose, "MaxPool": _max_pool, "AveragePool": _average_pool,
        "LpPool": _lp_pool, "GlobalAveragePool": _global_average_pool, "GlobalMaxPool": _global_max_pool,
    }
)  # fmt: skip
