"""Networks made hard to quantize out of networks that are not: ONNX models changed in place, no training.

Each keeps what the network computes in float (`hard_swish`: nearly), and spreads the ranges that one grid must cover.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

CLASSES, BOXES = 10, 4
IMAGE_SIZE = 640.0
"""Boxes are in pixels of an image of this size, beside scores from 0 to 1."""

Model = Any  # onnx.ModelProto: its Python types are generated
Node = Any


def spread(model: Model, decades: float = 1.5, seed: int = 1) -> int:
    """Multiply channels between two convolutions by 10**uniform(-decades, decades), and divide them again behind.

    A Relu between lets positive factors through, so the network computes the same; the values between them have
    ranges that differ by up to 10**(2 * decades).

    Returns:
        How many places were found.
    """
    rng = np.random.default_rng(seed)
    places = list(_between(model))
    for first, _, second in places:
        _scale(model, first, second, 10 ** rng.uniform(-decades, decades, _channels(model, first)))
    return len(places)


def hard_swish(model: Model, most: int = 1, low: float = 0.5, high: float = 3.0, seed: int = 1) -> int:
    """Put a hard swish in the place of a Relu between two convolutions, its channels times 10**uniform(low, high).

    Far from zero x * relu6(x + 3) / 6 is a Relu (Howard et al., "Searching for MobileNetV3", 2019), so the trained
    network stays nearly what it was; but as it does not let factors through, its channels cannot be evened out.
    It is done at the first `most` places: these have to be left in float, so they must not be the whole network.

    Returns:
        At how many places it was done.
    """
    rng = np.random.default_rng(seed)
    places = list(_between(model))[:most]
    for first, activation, second in places:
        _scale(model, first, second, 10 ** rng.uniform(low, high, _channels(model, first)))
        activation.op_type = "HardSwish"
    return len(places)


def detection_head(model: Model, seed: int = 1) -> int:
    """Join scores with boxes in one output [N, classes + 4], as detectors give them: 0 to 1 beside 0 to 640.

    The model must end in MatMul or Gemm, (Add,) Softmax. The boxes are computed from the same features.

    Returns:
        How many outputs were joined: 1.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    scores = graph.output[0].name
    dense = makers[scores]
    while dense.op_type not in {"MatMul", "Gemm"}:
        dense = makers[dense.input[0]]
    weights = _constant(model, dense.input[1])
    features = max(weights.shape[0], 1)
    rng = np.random.default_rng(seed)
    columns = rng.normal(0, 2 / features**0.5, (features, BOXES)).astype(np.float32)
    graph.initializer.append(numpy_helper.from_array(columns, "box_weights"))
    graph.initializer.append(numpy_helper.from_array(np.float32(IMAGE_SIZE), "image_size"))
    _rename(graph, scores, "scores")
    graph.node.append(helper.make_node("MatMul", [dense.input[0], "box_weights"], ["places"], "places"))
    graph.node.append(helper.make_node("Sigmoid", ["places"], ["shares"], "shares"))
    graph.node.append(helper.make_node("Mul", ["shares", "image_size"], ["boxes"], "boxes"))
    graph.node.append(helper.make_node("Concat", ["scores", "boxes"], [scores], "detections", axis=-1))
    graph.output[0].type.tensor_type.shape.dim[-1].dim_value += BOXES
    return 1


def class_is_right(outputs: Mapping[str, Any], labels: Any) -> Any:
    """Say of every sample whether its best score is that of its class, with or without boxes behind the scores.

    A metric for `edgekit convert --metric tests.benchmarks.hard_models:class_is_right`.
    """
    (scores,) = outputs.values()
    return scores[:, :CLASSES].argmax(-1) == labels


def _between(model: Model) -> Iterator[tuple[Node, Node, Node]]:
    """Yield every convolution, Relu and convolution that follow each other and nobody else looks at."""
    takers: dict[str, list[Node]] = {}
    for node in model.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    outputs = {one.name for one in model.graph.output}
    for first in model.graph.node:
        if first.op_type != "Conv" or first.output[0] in outputs:
            continue
        match takers.get(first.output[0], []):
            case [activation] if activation.op_type == "Relu":
                match takers.get(activation.output[0], []):
                    case [second] if second.op_type == "Conv" and activation.output[0] not in outputs:
                        yield first, activation, second


def _channels(model: Model, node: Node) -> int:
    return int(_constant(model, node.input[1]).shape[0])


def _scale(model: Model, first: Node, second: Node, factors: Any) -> None:
    column = factors.reshape(-1, 1, 1, 1)
    _multiply(model, first.input[1], column)
    if len(first.input) > 2:
        _multiply(model, first.input[2], factors)
    behind = _constant(model, second.input[1])
    depthwise = behind.shape[1] == 1 and behind.shape[0] == len(factors)
    _multiply(model, second.input[1], 1 / (column if depthwise else factors.reshape(1, -1, 1, 1)))


def _constant(model: Model, name: str) -> Any:
    from onnx import numpy_helper

    return numpy_helper.to_array(next(one for one in model.graph.initializer if one.name == name))


def _multiply(model: Model, name: str, factors: Any) -> None:
    from onnx import numpy_helper

    stored = next(one for one in model.graph.initializer if one.name == name)
    stored.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(stored) * factors).astype(np.float32), name))


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                if name == old:
                    names[at] = new
