"""Values picked, put and padded by operands that are constants or come at run time, against ONNX Runtime.

Each is run twice, the second time on other values (and sizes, where one is free) than the file was made with.
"""

from collections.abc import Mapping
from typing import Any

TABLE = {"x": "float[3, 4, 5]"}
IMAGE = {"x": "float[2, 4, 6, 5]"}
FREE = {"x": "float[N, 4, 6, 5]"}
CONV = "c = Conv(x, w)\n "
W = {"w": [4, 4, 1, 1]}


def ints(*values: Any) -> dict[str, Any]:
    """Return a constant of whole numbers."""
    return {"int64": list(values)}


def images(name: str, body: str, weights: Mapping[str, Any] | None = None, **more: Any) -> dict[str, dict[str, Any]]:
    """Return ops on `c`, stored with channels last: of two images, and of a free number of them."""
    case = {"body": CONV + body, "weights": {**W, **(weights or {})}, **more}
    return {name: {"inputs": IMAGE, **case}, f"{name}, free batch": {"inputs": FREE, **case}}


def at_run_time(inputs: Mapping[str, str], body: str, weights: Mapping[str, Any] | None = None, **more: Any) -> Any:
    """Return ops on a table `x` and further inputs, which hold 0 to 3."""
    return {"inputs": {**TABLE, **inputs}, "body": body, "weights": weights or {}, **more}


FREE_PAIR = {"x": "float[N, M, 3]"}
FROM_BEHIND = {"two": {"int64": 2}}
PADS = {"p": ints(1, 0, 0, 2), "k": ints(1, -1)}
SLICES: dict[str, dict[str, Any]] = {
    **images("every other row", "y = Slice(c, a, b, k, s)", {"a": ints(1), "b": ints(99), "k": ints(2), "s": ints(2)}),
    **images(
        "samples from behind, backwards",
        "y = Slice(c, a, b, k, s)",
        {"a": ints(-1), "b": ints(-(2**63)), "k": ints(0), "s": ints(-1)},
    ),
    **images(
        "of the free size all but the first",
        "y = Slice(c, a, b, k)",
        {"a": ints(1, 1), "b": ints(2**63 - 1, 3), "k": ints(0, 1)},
    ),
    **images("the last sample", "y = Slice(c, a, b, k)", {"a": ints(-1), "b": ints(2**31 - 1), "k": ints(0)}),
    **images("split of the channels", "u, v = Split<axis = 1>(c, s)\n y = Concat<axis = 1>(v, u)", {"s": ints(3, 1)}),
    "slice from an input on": at_run_time({"a": "int64[1]"}, "y = Slice(x, a, b, k)", {"b": ints(9), "k": ints(1)}),
    "slice up to an input, on the last axis": at_run_time(
        {"b": "int32[1]"}, "y = Slice(x, a, b, k)", {"a": {"int32": [0]}, "k": {"int32": [-1]}}
    ),
    "slice along the axes of an input": at_run_time(
        {"k": "int64[1]"}, "m = Min(k, two)\n y = Slice(x, a, b, m)",
        {"two": ints(2), "a": ints(-2), "b": ints(2**63 - 1)},
    ),
    "slice with the step of an input": at_run_time(
        {"s": "int64[1]"}, "t = Sub(s, four)\n y = Slice(x, a, b, k, t)",
        {"four": ints(4), "a": ints(4), "b": ints(-(2**63)), "k": ints(2)},
    ),
    "slice of an image up to an input": {
        "inputs": {**IMAGE, "b": "int64[1]"},
        "body": CONV + "d = Add(b, one)\n y = Slice(c, a, d, k)",
        "weights": {**W, "one": ints(1), "a": ints(0), "k": ints(1)},
    },
    "uneven split, the last smaller": at_run_time(
        {}, "y, v, u = Split<axis = 2, num_outputs = 3>(x)", outputs=dict.fromkeys("yvu", "float"), opset=18
    ),
    "split of large numbers": at_run_time(
        {"t": "int64[4, 3]"}, "a, b = Split<axis = 0>(t)\n y = Add(a, b)", outputs={"y": "int64"}
    ),
    "split of a truth": at_run_time(
        {"t": "bool[4, 3]"}, "a, b = Split<axis = 0>(t)\n y = And(a, b)", outputs={"y": "bool"}
    ),
}  # fmt: skip
PADDED: dict[str, dict[str, Any]] = {
    **images("edges", 'y = Pad<mode = "edge">(c, p)', {"p": ints(0, 0, 1, 2, 0, 0, 3, 0)}),
    **images("reflected further than once", 'y = Pad<mode = "reflect">(c, p)', {"p": ints(0, 0, 5, 4, 0, 0, 0, 4)}),
    **images("wrapped", 'y = Pad<mode = "wrap">(c, p, , k)', PADS, opset=19),
    **images("a border of ones", "y = Pad(c, p, v, k)", {**PADS, "v": {"float": 1.0}}, opset=18),
    **{
        f"{mode} along free sizes": {
            "inputs": {"x": "float[1, N, 3, M]"}, "body": f'y = Pad<mode = "{mode}">(x, p)', "opset": 19,
            "weights": {"p": ints(0, 1, 0, 0, 0, 1, 2, 1)},
        }
        for mode in ("edge", "reflect", "wrap")
    },
    "pads of an input": at_run_time({"p": "int64[6]"}, "y = Pad(x, p)"),
    "pads of an input, which cut too": at_run_time(
        {"p": "int64[6]"}, "q = Sub(p, one)\n y = Pad(x, q)", {"one": ints(1)}
    ),
    "pads, axes and value of inputs": at_run_time(
        {"p": "int64[2]", "v": "float", "k": "int64[1]"}, "m = Min(k, two)\n y = Pad(x, p, v, m)",
        {"two": ints(2)}, opset=18,
    ),
    "whole numbers": {
        "inputs": {"x": "int64[2, 3]"}, "body": "y = Pad(x, p, v)", "outputs": {"y": "int64"},
        "weights": {"p": ints(1, 0, 0, 2), "v": {"int64": 2**40 + 1}},
    },
    "truths": {
        "inputs": {"x": "bool[2, 3]"}, "body": "y = Pad(x, p, v)", "outputs": {"y": "bool"},
        "weights": {"p": ints(1, 0, 0, 2), "v": {"bool": True}},
    },
    "cropped and padded about the middle": {
        "inputs": IMAGE, "body": CONV + "y = CenterCropPad<axes = [2, 3]>(c, s)",
        "weights": {**W, "s": ints(3, 8)}, "opset": 18,
    },
}  # fmt: skip
GATHERED: dict[str, dict[str, Any]] = {
    "by an input": at_run_time({"i": "int64[2]"}, "m = Min(i, two)\n y = Gather(x, m)", FROM_BEHIND),
    "by an input, on the last axis, from behind": at_run_time(
        {"i": "int64[2, 3]"}, "j = Sub(i, two)\n y = Gather<axis = -1>(x, j)", FROM_BEHIND
    ),
    "one place by an input": at_run_time({"i": "int32"}, "y = Gather<axis = 1>(x, i)"),
    "channels of an image by an input": {
        "inputs": {**IMAGE, "i": "int64[3]"},
        "body": CONV + "j = Sub(i, two)\n y = Gather<axis = 1>(c, j)",
        "weights": {**W, **FROM_BEHIND},
    },
    "one row of an image by an input": {
        "inputs": {**FREE, "i": "int64"},
        "body": CONV + "y = Gather<axis = 2>(c, i)",
        "weights": W,
    },
    "words in a table": {
        "inputs": {"i": "int64[N, M]"},
        "body": "y = Gather(w, i)",
        "weights": {"w": [4, 8]},
    },
    "words in a table of a list, from behind": {
        "inputs": {"i": "int32[7]"},
        "body": "j = Sub(i, two)\n y = Gather(w, j)",
        "weights": {"w": [4, 8], "two": {"int32": 2}},
    },
    "a table of whole numbers": {
        "inputs": {"i": "int64[2, 2]"}, "body": "y = Gather(w, i)", "outputs": {"y": "int64"},
        "weights": {"w": ints(5, 6, 7, 2**40)},
    },
    "the last of a free size": {
        "inputs": {"x": "float[2, N, 3]"}, "body": "y = Gather<axis = 1>(x, i)", "weights": {"i": {"int64": -1}},
    },
    "the last of two free sizes": {"inputs": FREE_PAIR, "body": "y = GatherND(x, i)", "weights": {"i": ints([-1, -2])}},
    "elements on the last axis": at_run_time({"i": "int64[3, 4, 2]"}, "y = GatherElements<axis = 2>(x, i)"),
    "elements on the middle axis, fewer than there are": at_run_time(
        {"i": "int64[2, 3, 4]"}, "j = Sub(i, two)\n y = GatherElements<axis = 1>(x, j)", FROM_BEHIND
    ),
    "elements of an image by constants": {
        "inputs": {"x": "float[1, 4, 3, 2]"},
        "body": CONV + "y = GatherElements<axis = 1>(c, i)",
        "weights": {**W, "i": ints([[[3, -1], [0, 1], [2, 2]], [[0, 0], [1, 1], [-4, 2]]])},
    },
    "elements of a list": {"inputs": {"x": "float[4]", "i": "int64[9]"}, "body": "y = GatherElements(x, i)"},
    "tuples of all axes": at_run_time(
        {"i": "int64[2, 5, 3]"}, "j = Sub(i, three)\n y = GatherND(x, j)", {"three": ints(3)}
    ),
    "tuples of two axes, constants": at_run_time({}, "y = GatherND(x, i)", {"i": ints([[0, -1], [2, 3]])}),
    "tuples in batches": at_run_time(
        {"i": "int64[3, 2, 2]"}, "j = Sub(i, three)\n y = GatherND<batch_dims = 1>(x, j)", {"three": ints(3)}
    ),
    "single indices in two batches": at_run_time({"i": "int64[3, 4, 1]"}, "y = GatherND<batch_dims = 2>(x, i)"),
}  # fmt: skip
SCATTERED: dict[str, dict[str, Any]] = {
    "elements replaced": at_run_time(
        {"u": "float[1, 2, 2]"}, "y = ScatterElements<axis = 1>(x, i, u)", {"i": ints([[0, 1], [-1, 2]])}
    ),
    "elements replaced on the first axis of opset 9": at_run_time(
        {"u": "float[1, 1, 4]"}, "y = Scatter(x, i, u)", {"i": ints([[0, 2, 1, 0]])}, opset=9
    ),
    "elements replaced by an input": at_run_time(
        {"i": "int64[3, 4, 1]", "u": "float[3, 4, 1]"}, "j = Sub(i, two)\n y = ScatterElements<axis = 2>(x, j, u)",
        FROM_BEHIND,
    ),
    **{
        f"elements, {kind}": at_run_time(
            {"i": "int64[2, 3, 4]", "u": "float[2, 3, 4]"},
            f'y = ScatterElements<axis = 1, reduction = "{kind}">(x, i, u)', opset=18,
        )
        for kind in ("add", "mul", "max", "min")
    },
    "rows replaced, the last of two wins": at_run_time(
        {"u": "float[3, 5]"}, "y = ScatterND(x, i, u)", {"i": ints([0, 1], [2, 3], [0, 1])}
    ),
    "rows replaced by an input": at_run_time(
        {"i": "int64[1, 2]", "u": "float[1, 5]"}, "m = Min(i, t)\n y = ScatterND(x, m, u)", {"t": ints(2, 3)}
    ),
    **{
        f"tuples, {kind}": at_run_time(
            {"i": "int64[7, 3]", "u": "float[7]"},
            f'm = Min(i, t)\n y = ScatterND<reduction = "{kind}">(x, m, u)', {"t": ints(2, 3, 4)}, opset=18,
        )
        for kind in ("add", "mul", "max", "min")
    },
    "whole numbers, the largest": {
        "inputs": {"x": "int64[4]", "i": "int64[6]", "u": "int64[6]"}, "outputs": {"y": "int64"},
        "body": 'y = ScatterElements<reduction = "max">(x, i, u)', "opset": 18,
    },
    "part of an image": {
        "inputs": {**IMAGE, "u": "float[1, 6, 5]"},
        "body": CONV + "y = ScatterND(c, i, u)",
        "weights": {**W, "i": ints([1, 2])},
    },
    "the last of a free number of rows, replaced": {
        "inputs": {**FREE_PAIR, "u": "float[1, 3]"}, "body": "y = ScatterND(x, i, u)", "weights": {"i": ints([-1, -2])},
    },
    "the last of a free number of rows, added to": {
        "inputs": {**FREE_PAIR, "u": "float[2, 3]"}, "body": 'y = ScatterND<reduction = "add">(x, i, u)',
        "weights": {"i": ints([-1, -2], [0, 0])}, "opset": 18,
    },
    "rows of a free number of cells": {
        "inputs": {"x": "float[4, N]", "u": "float[1, N]"},
        "body": "y = ScatterND(x, i, u)", "weights": {"i": ints([2])},
    },
}  # fmt: skip
SELECTED: dict[str, dict[str, Any]] = {
    "what is not zero": at_run_time({}, "r = Relu(x)\n y = NonZero(r)", outputs={"y": "int64"}),
    "what is true": {"inputs": {"x": "bool[7]"}, "body": "y = NonZero(x)", "outputs": {"y": "int64"}},
    "what is not zero, counted": at_run_time(
        {}, "i = NonZero(x)\n s = Shape(i)\n n = Size(i)\n m = Unsqueeze(n, z)\n y = Concat<axis = 0>(s, m)",
        {"z": ints(0)}, outputs={"y": "int64"},
    ),
    "the values that are not zero": at_run_time(
        {}, "r = Relu(x)\n i = NonZero(r)\n t = Transpose(i)\n y = GatherND(r, t)"
    ),
    "channels of an image by a condition": {
        "inputs": {**IMAGE, "k": "bool[4]"}, "body": CONV + "y = Compress<axis = 1>(c, k)", "weights": W,
    },
    "the flat image by a constant condition": {
        "inputs": IMAGE, "body": CONV + "y = Compress(c, k)", "weights": {**W, "k": {"bool": [True, False, True]}},
    },
    "boxes": {
        "inputs": {"b": "float[2, 9, 4]", "s": "float[2, 3, 9]"}, "outputs": {"y": "int64"}, "range": [0, 1],
        "body": "y = NonMaxSuppression(b, s, m, o, t)",
        "weights": {"m": ints(4), "o": {"float": [0.1]}, "t": {"float": [0.3]}},
    },
    "boxes by their middle, most without overlap": {
        "inputs": {"b": "float[1, 20, 4]", "s": "float[1, 1, 20]"}, "outputs": {"y": "int64"}, "range": [0, 0.5],
        "body": "y = NonMaxSuppression<center_point_box = 1>(b, s, m)",
        "weights": {"m": ints(2**62)},
    },
    "the boxes that are left": {
        "inputs": {"b": "float[1, 9, 4]", "s": "float[1, 1, 9]"}, "range": [0, 1],
        "body": "n = NonMaxSuppression(b, s, m, o)\n i = Gather<axis = 1>(n, two)\n"
        "z = Squeeze(b, first)\n y = Gather(z, i)",
        "weights": {"m": ints(9), "o": {"float": [0.2]}, "two": {"int64": 2}, "first": ints(0)},
    },
}  # fmt: skip
REPEATED: dict[str, dict[str, Any]] = {
    **images("pooled and spread again", "g = GlobalAveragePool(c)\n y = Expand(g, s)", {"s": ints(1, 1, 3, 2)}),
    "tiled by an input": at_run_time({"t": "int64[3]"}, "u = Add(t, one)\n y = Tile(x, u)", {"one": ints(1)}),
    "spread to the shape of an input": at_run_time(
        {"s": "int64[1]"}, "m = Concat<axis = 0>(s, t)\n y = Expand(x, m)", {"t": ints(3, 1, 5)}
    ),
    "as large as another": {
        "inputs": {"x": "float[1, 4]", "z": "float[N, 4]"}, "body": "s = Shape(z)\n y = Expand(x, s)",
    },
    "in the shape of an input": at_run_time(
        {"s": "int64[1]"}, "m = Max(s, one)\n t = Concat<axis = 0>(m, r)\n y = Reshape(x, t)",
        {"one": ints(1), "r": ints(-1, 5)},
    ),
    "in a shape of an input with a 0": at_run_time(
        {"s": "int64[1]"}, "m = Max(s, one)\n t = Concat<axis = 0>(z, r, m)\n y = Reshape(x, t)",
        {"one": ints(1), "z": ints(0), "r": ints(-1)}, feeds={"s": [2]},
    ),
    "sequences turned round": {
        "inputs": {"x": "float[5, 3, 2]", "l": "int64[3]"}, "body": "n = Add(l, one)\n y = ReverseSequence(x, n)",
        "weights": {"one": ints(1)}, "opset": 10,
    },
    "images turned round in part": {
        "inputs": {"x": "float[2, 4, 6, 5]"},
        "body": CONV + "y = ReverseSequence<batch_axis = 0, time_axis = 2>(c, l)", "weights": {**W, "l": ints(6, 2)},
    },
}  # fmt: skip
QUANTIZED: dict[str, dict[str, Any]] = {
    **images(
        "to 8 bits and back",
        "z = Cast<to = 3>(t)\n q = QuantizeLinear(c, s, z)\n y = DequantizeLinear(q, s, z)",
        {"s": {"float": 0.0625}, "t": {"int64": 3}},
    ),
    **images(
        "to 8 bits and back by channel",
        "z = Cast<to = 2>(t)\n q = QuantizeLinear<axis = -3>(c, s, z)\n y = DequantizeLinear(q, s, z)",
        {"s": {"float": [0.5, 0.25, 0.125, 0.0078125]}, "t": ints(0, 3, 128, 255)},
    ),
    "by a scale of an input": at_run_time(
        {"s": "float"}, "p = Abs(s)\n q = QuantizeLinear(x, p)\n y = DequantizeLinear(q, p)"
    ),
    "whole numbers back": at_run_time({"q": "int32[3]"}, "y = DequantizeLinear(q, s)", {"s": {"float": 0.1}}),
}  # fmt: skip
CASES = {**SLICES, **PADDED, **GATHERED, **SCATTERED, **SELECTED, **REPEATED, **QUANTIZED}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "split of a free size, the last smaller": (
        {
            "inputs": {"x": "float[2, N]"}, "body": "y, v = Split<axis = 1, num_outputs = 2>(x)", "opset": 18,
            "outputs": dict.fromkeys("yv", "float"),
        },
        "2 parts of axis 1, whose size is free, are not all the same",
    ),
    "edges by an input": (
        at_run_time({"p": "int64[6]"}, 'y = Pad<mode = "edge">(x, p)'),
        "its pads are no constants, and its mode is 'edge'",
    ),
    "the largest of very many": (
        {
            "inputs": {"x": "float[3000]", "i": "int64[3000]", "u": "float[3000]"},
            "body": 'y = ScatterElements<reduction = "max">(x, i, u)', "opset": 18,
        },
        "3000 updates on 3000 rows",
    ),
    "boxes of very many classes": (
        {
            "inputs": {"b": "float[1, 9, 4]", "s": "float[1, 300, 9]"}, "body": "y = NonMaxSuppression(b, s, m)",
            "outputs": {"y": "int64"}, "weights": {"m": ints(2)},
        },
        "up to 256 rounds",
    ),
    "a slice of nothing": (
        {
            "inputs": {"x": "float[2, 9, 5]", "a": "int64[1]"}, "body": "y = Slice(x, a, b, c)",
            "outputs": {"y": "float[2, 0, 5]"}, "feeds": {"a": [100]}, "weights": {"b": ints(200), "c": ints(1)},
        },
        "output 'y' never holds a value (its shape is (2, 0, 5))",
    ),
}  # fmt: skip
