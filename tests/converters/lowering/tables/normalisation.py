"""Normalisations with parameters from everywhere, before and after a convolution, against the source's own run."""

from collections.abc import Mapping
from typing import Any

IMAGE = {"x": "float[2, 4, 6, 5]"}
VOLUME = {"x": "float[2, 4, 3, 2, 5]"}
CONV = {"w": [4, 4, 1, 1]}
CHANNELS = dict.fromkeys(("s", "o"), "float[4]")


def both(name: str, body: str, weights: Mapping[str, Any] | None = None, **more: Any) -> dict[str, dict[str, Any]]:
    """Return ops on `c` twice: on the input as it is, and after a convolution."""
    weights, inputs = weights or {}, {**IMAGE, **more.pop("inputs", {})}
    plain = {"inputs": inputs, "body": f"c = Identity(x)\n {body}", "weights": weights, **more}
    turned = {"inputs": inputs, "body": f"c = Conv(x, w)\n {body}", "weights": {**CONV, **weights}, **more}
    return {name: plain, f"{name}, after a convolution": turned}


CASES: dict[str, dict[str, Any]] = {
    **both(
        "batch, parameters from inputs",
        "y = BatchNormalization(c, s, o, m, v)",
        inputs=CHANNELS | dict.fromkeys("mv", "float[4]"),
        range=[0.5, 2],
    ),
    **both(
        "batch, some parameters from inputs",
        "y = BatchNormalization(c, s, o, m, v)",
        {"o": [4], "v": {"float": [0.5, 1.5, 2.5, 0.1]}},
        inputs={"s": "float[4]", "m": "float[4]"},
    ),
    **both("instance, parameters from inputs", "y = InstanceNormalization(c, s, o)", inputs=CHANNELS),
    "instance, 1-D": {
        "inputs": {"x": "float[2, 4, 9]"},
        "body": "y = InstanceNormalization<epsilon = 0.01>(x, s, o)",
        "weights": {"s": [4], "o": [4]},
    },
    "instance, 3-D": {
        "inputs": VOLUME,
        "body": "y = InstanceNormalization(x, s, o)",
        "weights": {"s": [4], "o": [4]},
    },
    **both(
        "groups, scaled by channel", "y = GroupNormalization<num_groups = 2>(c, s, o)", {"s": [4], "o": [4]}, opset=21
    ),
    **both(
        "groups, scaled by group", "y = GroupNormalization<num_groups = 2>(c, s, o)", {"s": [2], "o": [2]}, opset=18
    ),
    **both(
        "groups, scaled by group, from inputs",
        "y = GroupNormalization<num_groups = 2, epsilon = 0.1>(c, s, o)",
        inputs={"s": "float[2]", "o": "float[2]"},
        opset=18,
    ),
    "groups, rows": {
        "inputs": {"x": "float[3, 6]"},
        "body": "y = GroupNormalization<num_groups = 3>(x, s, o)",
        "weights": {"s": [6], "o": [6]},
        "opset": 21,
    },
    **both(
        "layer, scale from an input",
        "y = LayerNormalization(c, s, o)",
        inputs={"s": "float[5]", "o": "float[5]"},
        opset=17,
    ),
    **both(
        "layer from axis 1, mean and deviation used",
        "y, m, d = LayerNormalization<axis = 1>(c, s)",
        {"s": [4, 6, 5]},
        outputs={"y": "float", "m": "float", "d": "float"},
        opset=17,
    ),
    **both(
        "layer from axis 2, a large mean",
        "y = LayerNormalization<axis = -2>(c, s)",
        {"s": [6, 5]},
        opset=17,
        range=[90, 100],
    ),
    **both("root mean square", "y = RMSNormalization(c, s)", {"s": [5]}, opset=23),
    **both(
        "root mean square from axis 1", "y = RMSNormalization<axis = 1>(c, s)", inputs={"s": "float[4, 6, 5]"}, opset=23
    ),
    **both("mean and variance", "y = MeanVarianceNormalization(c)"),
    **both("mean and variance of one axis", "y = MeanVarianceNormalization<axes = [-1]>(c)"),
    **both("length", "y = LpNormalization<axis = 1>(c)"),
    **both("absolute length", "y = LpNormalization<p = 1>(c)"),
    "length of nothing": {"inputs": {"x": "float[3, 6]"}, "body": "y = LpNormalization(x)", "range": [0, 0]},
    "dropout by an input": {
        "inputs": {"x": "float[2, 3]", "r": "float"},
        "feeds": {"r": 0.3},
        "body": "y = Dropout(x, r)",
    },
    **both("dropout with its mask", "y, m = Dropout(c, r)", {"r": {"float": 0.3}}, outputs={"y": "float", "m": "bool"}),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "dropout in training": (
        {"inputs": IMAGE, "body": "y = Dropout(x, r, t)", "weights": {"r": {"float": 0.3}, "t": {"bool": True}}},
        "training",
    ),
}
