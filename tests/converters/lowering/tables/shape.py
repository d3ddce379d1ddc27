"""Ops that move values about, alone and on images that are stored with channels last, against ONNX Runtime."""

from collections.abc import Mapping
from typing import Any

IMAGE = {"x": "float[2, 4, 6, 5]"}
CONV = {"w": [4, 4, 1, 1]}
TWO_IN = {"x": "float[2, 4, 6, 5]", "z": "float[2, 4, 6, 5]"}
TWO_OUT = {"y": "float", "v": "float"}


def ints(*values: int) -> dict[str, Any]:
    """Return a constant of whole numbers."""
    return {"int64": list(values)}


def after_conv(body: str, weights: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return ops on `c`, an image that is stored with channels last."""
    return {"inputs": IMAGE, "body": f"c = Conv(x, w)\n {body}", "weights": {**CONV, **(weights or {})}, **more}


def both(name: str, body: str, weights: Mapping[str, Any] | None = None, **more: Any) -> dict[str, dict[str, Any]]:
    """Return ops on `c` twice: on the input as it is, and after a convolution."""
    plain = {"inputs": IMAGE, "body": f"c = Identity(x)\n {body}", "weights": weights or {}, **more}
    return {name: plain, f"{name}, after a convolution": after_conv(body, weights, **more)}


CASES: dict[str, dict[str, Any]] = {
    **both("flatten", "y = Flatten(c)"),
    **both("flatten at axis 2", "y = Flatten<axis = 2>(c)"),
    **both("flatten at axis 0", "y = Flatten<axis = 0>(c)"),
    **both("rows and columns joined", "y = Reshape(c, s)", {"s": ints(2, 4, 30)}),
    **both("0 and -1 in a shape", "y = Reshape(c, s)", {"s": ints(0, 0, -1)}),
    **both("another rank altogether", "y = Reshape(c, s)", {"s": ints(3, 16, 5)}),
    **both("channels in groups", "y = Reshape(c, s)", {"s": ints(2, 2, 2, 6, 5)}),
    **both("places first", "a = Reshape(c, s)\n y = Transpose<perm = [0, 2, 1]>(a)", {"s": ints(2, 4, 30)}),
    **both(
        "channel shuffle",
        "a = Reshape(c, s)\n t = Transpose<perm = [0, 2, 1, 3, 4]>(a)\n y = Reshape(t, u)",
        {"s": ints(2, 2, 2, 6, 5), "u": ints(2, 4, 6, 5)},
    ),
    **both("squeeze and unsqueeze", "a = Unsqueeze(c, k)\n b = Relu(a)\n y = Squeeze(b, k)", {"k": ints(2)}),
    "squeeze all": after_conv("g = GlobalAveragePool(c)\n y = Squeeze(g)"),
    "squeeze, opset 11": after_conv("g = GlobalMaxPool(c)\n y = Squeeze<axes = [2, 3]>(g)", opset=11),
    **both("transpose to NHWC", "y = Transpose<perm = [0, 2, 3, 1]>(c)"),
    **both("transpose, all turned round", "y = Transpose(c)"),
    **both("transposes that cancel", "a = Transpose<perm = [0, 2, 3, 1]>(c)\n y = Transpose<perm = [0, 3, 1, 2]>(a)"),
    **both("concat of channels", "r = Relu(c)\n y = Concat<axis = 1>(c, r, x)"),
    **both("concat of rows, axis from behind", "r = Relu(c)\n y = Concat<axis = -2>(c, r)"),
    **both("concat with a constant", "y = Concat<axis = 1>(c, k)", {"k": [2, 3, 6, 5]}),
    "concat of two inputs": {"inputs": TWO_IN, "body": "y = Concat<axis = 3>(z, x)"},
    **both("split in equal parts", "y, v = Split<axis = 1>(c)", outputs=TWO_OUT, opset=11),
    **both("split of sizes", "y, v = Split<axis = 1>(c, s)", {"s": ints(1, 3)}, outputs=TWO_OUT),
    **both("split, opset 11", "y, v = Split<axis = 2, split = [4, 2]>(c)", outputs=TWO_OUT, opset=11),
    **both("split, opset 18", "y, v = Split<axis = 3, num_outputs = 2>(c)", outputs=TWO_OUT, opset=18),
    **both("slice of channels", "y = Slice(c, a, b, k)", {"a": ints(1), "b": ints(3), "k": ints(1)}),
    **both(
        "slice from behind to the end",
        "y = Slice(c, a, b, k)",
        {"a": ints(-3, 1), "b": ints(9223372036854775807, -1), "k": ints(2, -1)},
    ),
    **both(
        "slice with steps",
        "y = Slice(c, a, b, k, s)",
        {"a": ints(0, 1), "b": ints(4, 5), "k": ints(1, 2), "s": ints(2, 3)},
    ),
    **both(
        "slice backwards",
        "y = Slice(c, a, b, k, s)",
        {"a": ints(-1), "b": ints(-9223372036854775807), "k": ints(2), "s": ints(-1)},
    ),
    **both(
        "slice backwards over two axes, with steps",
        "y = Slice(c, a, b, k, s)",
        {"a": ints(5, 3), "b": ints(0, -9), "k": ints(2, 1), "s": ints(-2, -3)},
    ),
    **both("slice, opset 9", "y = Slice<starts = [1, 0], ends = [4, -1], axes = [1, 3]>(c)", opset=9),
    **both("pad with zeros", "y = Pad(c, p)", {"p": ints(0, 0, 1, 2, 0, 0, 3, 0)}),
    **both("pad with a value", "y = Pad(c, p, v)", {"p": ints(0, 1, 1, 2, 0, 2, 3, 0), "v": {"float": 1.5}}),
    **both("pad, reflected", 'y = Pad<mode = "reflect">(c, p)', {"p": ints(0, 0, 1, 2, 0, 0, 3, 0)}),
    **both("pad, cut", "y = Pad(c, p)", {"p": ints(0, 0, -1, 2, 0, -1, 3, -2)}),
    **both("pad, axes named", "y = Pad(c, p, , k)", {"p": ints(1, 2, 0, 3), "k": ints(2, -1)}, opset=18),
    **both("pad, opset 10", "y = Pad<pads = [0, 0, 1, 1, 0, 0, 1, 1], value = 2.0>(c)", opset=10),
    "pad of a fitting convolution": after_conv(
        "p = Pad(c, q)\n y = Conv(p, u)", {"q": ints(0, 0, 1, 1, 0, 0, 1, 1), "u": [2, 4, 3, 3]}
    ),
    **both("gather channels", "y = Gather<axis = 1>(c, i)", {"i": ints(3, 0, -1)}),
    **both("gather one row", "y = Gather<axis = 2>(c, i)", {"i": {"int64": 2}}),
    **both("gather a table", "y = Gather<axis = 1>(c, i)", {"i": {"int64": [[0, 1], [2, -4]]}}),
    **both("expand", "g = GlobalAveragePool(c)\n y = Expand(g, s)", {"s": ints(2, 4, 6, 5)}),
    **both("expand to a higher rank", "g = GlobalAveragePool(c)\n y = Expand(g, s)", {"s": ints(3, 1, 1, 1, 2)}),
    **both("tile", "y = Tile(c, s)", {"s": ints(1, 2, 1, 3)}),
    **both("pixel shuffle", 'y = DepthToSpace<blocksize = 2, mode = "CRD">(c)'),
    **both("depth to space", "y = DepthToSpace<blocksize = 2>(c)"),
    "depth to space, many channels": {
        "inputs": {"x": "float[1, 12, 3, 2]"},
        "body": 'y = DepthToSpace<blocksize = 2, mode = "CRD">(x)',
    },
    "space to depth": {"inputs": {"x": "float[1, 3, 6, 4]"}, "body": "y = SpaceToDepth<blocksize = 2>(x)"},
    "pixel shuffle written out": {
        "inputs": {"x": "float[1, 12, 3, 2]"},
        "body": "c = Relu(x)\n a = Reshape(c, s)\n t = Transpose<perm = [0, 1, 4, 2, 5, 3]>(a)\n y = Reshape(t, u)",
        "weights": {"s": ints(1, 3, 2, 2, 3, 2), "u": ints(1, 3, 6, 4)},
    },
    "shape chain as PyTorch leaves it": after_conv(
        "s = Shape(c)\n n = Gather<axis = 0>(s, zero)\n m = Unsqueeze(n, zero1)\n k = Concat<axis = 0>(m, rest)\n"
        " y = Reshape(c, k)",
        {"zero": {"int64": 0}, "zero1": ints(0), "rest": ints(-1)},
    ),
    "constants, ranges and fills": after_conv(
        "a = Constant<value_float = 2.0>()\n i = Range(p, q, d)\n f = Cast<to = 1>(i)\n o = ConstantOfShape(s)\n"
        " b = Add(f, o)\n m = Mul(b, a)\n y = Mul(c, m)",
        {"p": {"int64": 0}, "q": {"int64": 5}, "d": {"int64": 1}, "s": ints(6, 1)},
    ),
    "what nobody uses": after_conv("d = Relu(c)\n e = Transpose<perm = [3, 2, 1, 0]>(d)\n y = Neg(c)"),
    "a value and what comes of it both go out": after_conv("v = Relu(c)\n y = Neg(v)", outputs=TWO_OUT),
    "an input goes out as it is": {"inputs": IMAGE, "body": "y = Identity(x)"},
    "a constant goes out": {
        "inputs": IMAGE,
        "body": "y = Relu(x)\n v = Identity(k)",
        "weights": {"k": [3]},
        "outputs": TWO_OUT,
    },
    "one value goes out twice": {"inputs": IMAGE, "body": "y = Relu(x)\n v = Identity(y)", "outputs": TWO_OUT},
}
