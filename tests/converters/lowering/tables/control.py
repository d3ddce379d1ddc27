"""`If`, `Loop` and `Scan` written out, against ONNX Runtime running them."""

from typing import Any

ROWS = {"x": "float[3, 4]"}
CHOICE = (
    "then_branch = first () => (float[3, 4] p) { a = Relu(x) p = Add(a, w) }, "
    "else_branch = second () => (float[3, 4] q) { a = Neg(x) q = Mul(a, w) }"
)
SHAPED = "s = Shape(x) d = Gather(s, one) c = Equal(d, {}) "
ONE = {"one": {"int64": 1}, "four": {"int64": 4}, "five": {"int64": 5}, "w": [3, 4]}


def loop(body: str, carried: str, head: str = "m, t", **more: Any) -> dict[str, Any]:
    """Return a loop that starts from `x`."""
    weights = {"m": {"int64": 4}, "t": {"bool": True}, "w": [4, 4], "zero": {"int64": 0}, "lim": {"int64": 20}}
    return {"inputs": ROWS, "body": f"{carried} = Loop({head}) <body = {body}>", "weights": weights, **more}


STEP = "step (int64 i, bool g, float[3, 4] v) => (bool h, float[3, 4] n, float[3, 4] o)"
CASES: dict[str, dict[str, Any]] = {
    "if, true by the shape": {"inputs": ROWS, "body": SHAPED.format("four") + f"y = If(c) <{CHOICE}>", "weights": ONE},
    "if, false by the shape": {"inputs": ROWS, "body": SHAPED.format("five") + f"y = If(c) <{CHOICE}>", "weights": ONE},
    "if, decided at run time": {
        "inputs": {**ROWS, "c": "bool"},
        "body": f"y = If(c) <{CHOICE}>",
        "weights": ONE,
    },
    "if in an if, which takes values of both": {
        "inputs": ROWS,
        "body": SHAPED.format("four") + "y = If(c) <then_branch = first () => (float[3, 4] p) { a = Relu(x) "
        "d2 = Add(d, one) e = Equal(d2, five) p = If(e) <then_branch = inner () => (float[3, 4] u) { u = Sub(a, w) }, "
        "else_branch = other () => (float[3, 4] r) { r = Identity(a) }> }, "
        "else_branch = second () => (float[3, 4] q) { q = Identity(x) }>",
        "weights": ONE,
    },
    "if, a branch that passes a value of outside": {
        "inputs": ROWS,
        "body": SHAPED.format("five") + "k = Relu(x) y = If(c) <then_branch = first () => (float[3, 4] p) "
        "{ p = Neg(x) }, else_branch = second () => (float[3, 4] q) { q = Identity(k) }>",
        "weights": ONE,
    },
    "if, two of them with the same names inside": {
        "inputs": ROWS,
        "body": SHAPED.format("four") + f"z = If(c) <{CHOICE}> "
        "y = If(c) <then_branch = third () => (float[3, 4] p) { a = Abs(z) p = Add(a, w) }, "
        "else_branch = fourth () => (float[3, 4] q) { q = Neg(z) }>",
        "weights": ONE,
    },
    "loop of a fixed length": loop(
        f"{STEP} {{ h = Identity(g) a = MatMul(v, w) n = Tanh(a) o = Neg(n) }}", "y, s", "m, t, x",
        outputs={"y": "float", "s": "float"},
    ),
    "loop that uses the number of the round": loop(
        f"{STEP} {{ h = Identity(g) f = Cast<to = 1>(i) n = Add(v, f) o = Mul(v, f) }}", "y, s", "m,, x",
        outputs={"y": "float", "s": "float"},
    ),
    "loop until what it counts is large": loop(
        "step (int64 i, bool g, int64 k, float[3, 4] v) => (bool h, int64 k2, float[3, 4] n, float[3, 4] o) "
        "{ j = Add(i, k) k2 = Add(j, j2) h = Less(k2, lim) n = Tanh(v) o = Neg(n) }",
        "k, y, s", ", t, zero, x",
        outputs={"y": "float", "s": "float"},
    ) | {"weights": {"t": {"bool": True}, "zero": {"int64": 0}, "lim": {"int64": 20}, "j2": {"int64": 3}}},
    "loop that breaks off before its length": loop(
        f"{STEP} {{ h = Less(i, one) n = Tanh(v) o = Neg(n) }}", "y, s", "m, t, x",
        outputs={"y": "float", "s": "float"},
    ) | {"weights": {"t": {"bool": True}, "m": {"int64": 7}, "one": {"int64": 1}}},
    "loop that never runs": loop(
        "step (int64 i, bool g, float[3, 4] v) => (bool h, float[3, 4] n) { h = Identity(g) n = Tanh(v) }",
        "y", "zero, t, x",
    ),
    "loop in a loop": loop(
        "step (int64 i, bool g, float[3, 4] v) => (bool h, float[3, 4] n) { h = Identity(g) n = Loop(m, t, v) "
        "<body = inner (int64 i2, bool g2, float[3, 4] v2) => (bool h2, float[3, 4] n2) "
        "{ h2 = Identity(g2) n2 = Tanh(v2) }> }",
        "y", "m, t, x",
    ),
    "scan over rows and columns, backwards": {
        "inputs": {"x": "float[3, 4]", "z": "float[4, 3]"},
        "body": "u = Mul(x, x) t = ReduceSum<keepdims = 0>(u) "
        "y, s = Scan<num_scan_inputs = 2, scan_input_axes = [1, 0], "
        "scan_input_directions = [1, 0], scan_output_axes = [1], scan_output_directions = [1], "
        "body = step (float v, float[3] a, float[3] b) => (float n, float[3] o) "
        "{ p = Mul(a, b) o = Add(p, v) n = ReduceMax<keepdims = 0>(o) }>(t, x, z)",
        "outputs": {"y": "float", "s": "float"},
    },
}  # fmt: skip
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a loop of a length known at run time": (
        {
            "inputs": {**ROWS, "m": "int64"},
            "body": "y = Loop(m,, x) <body = step (int64 i, bool g, float[3, 4] v) => (bool h, float[3, 4] n) "
            "{ h = Identity(g) n = Tanh(v) }>",
        },
        "its trip count is known only at run time",
    ),
    "a loop until a result is small": (
        loop(
            "step (int64 i, bool g, float[3, 4] v) => (bool h, float[3, 4] n) "
            "{ n = Tanh(v) r = ReduceMax<keepdims = 0>(n) f = Cast<to = 9>(r) h = And(f, g) }",
            "y", "m, t, x",
        ),
        "'x', which its condition depends on, is known only at run time",
    ),
    "a loop too long to write out": (
        loop(
            "step (int64 i, bool g, float[3, 4] v) => (bool h, float[3, 4] n) "
            "{ h = Identity(g) a = Abs(v) b = Abs(a) d = Abs(b) n = Tanh(d) }",
            "y", "m, t, x",
        ) | {"weights": {"m": {"int64": 9000}, "t": {"bool": True}}},
        "9000 rounds of 5 ops",
    ),
    "an if whose branches give different shapes": (
        {
            "inputs": {**ROWS, "c": "bool"},
            "body": "y = If(c) <then_branch = a () => (p) { p = Relu(x) }, "
            "else_branch = b () => (q) { q = ReduceMax<axes = [0]>(x) }>",
        },
        "decided at run time, whose branches give different shapes",
    ),
}  # fmt: skip
