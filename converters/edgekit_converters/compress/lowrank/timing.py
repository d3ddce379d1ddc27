"""A layer by itself against its factors, timed by ONNX Runtime on one thread."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit_converters.compress.lowrank.factors import Factor
from edgekit_converters.compress.lowrank.rewriting import rewrite
from edgekit_converters.compress.lowrank.sites import Site
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.oracle import session

if TYPE_CHECKING:
    import onnx_ir as ir

_RUNS, _WARM = 30, 3
FASTER = 0.95
"""Factors are to take at most so much of the layer's own time: less is noise."""


def speed(model: "ir.Model", site: Site, factors: Sequence[Factor]) -> tuple[float, float] | None:
    """Return the median milliseconds of a layer and of its factors; None where its input's shape is not known.

    Free dimensions count as 1.
    """
    value = site.weights.node.inputs[1 - site.weights.place]
    if value is None or value.shape is None:
        return None
    array = np.random.default_rng(0).normal(size=[size or 1 for size in graph_model.dimensions(value)])
    ready = [_session(model, site, made) for made in (None, factors)]
    feed = {str(value.name): array.astype(value.dtype.numpy() if value.dtype else np.float32)}
    times: list[list[float]] = [[], []]
    for number in range(_WARM + _RUNS):
        for one, found in zip(ready, times, strict=True):
            begin = time.perf_counter()
            one.run(None, feed)
            if number >= _WARM:
                found.append(1000 * (time.perf_counter() - begin))
    before, after = map(statistics.median, times)
    return before, after


def _session(model: "ir.Model", site: Site, factors: Sequence[Factor] | None) -> Any:  # noqa: ANN401  # of ONNX Runtime
    """Return the layer alone, as it is or as factors, ready to be run."""
    import onnx_ir as ir

    node, place = site.weights.node, site.weights.place
    old, weights = node.inputs[1 - place], site.weights.value
    given = ir.Value(name=old.name, shape=old.shape, type=old.type)  # type: ignore[union-attr]  # it is there
    stored = ir.Value(name=weights.name, shape=weights.shape, type=weights.type, const_value=weights.const_value)
    alone = ir.node(node.op_type, [given, stored] if place else [stored, given], dict(node.attributes))
    alone.outputs[0].name, alone.outputs[0].type = "made", old.type  # type: ignore[union-attr]
    graph = ir.Graph([given], alone.outputs, nodes=[alone], opset_imports=model.graph.opset_imports, name="alone")
    graph.register_initializer(stored)
    whole = ir.Model(graph, ir_version=model.ir_version)
    if factors is not None:
        rewrite(whole, replace(site, weights=replace(site.weights, node=alone, value=stored)), factors)
    return session(ir.serde.serialize_model(whole), optimise=True)
