"""Channels taken out of random graphs: what runs then is the graph with those channels' weights at zero."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_converters.compress.figures import infer_shapes, macs_of
from edgekit_converters.compress.groups.cutting import cut
from edgekit_converters.compress.groups.units import Costs, Groups, groups_of
from tests.converters.compress.prune_nets import Net, run

pytest.importorskip("onnx")


def masked(model: Any, groups: Groups, gone: list[int]) -> Any:
    """Return the model with the weights at zero that sum over the units."""
    import onnx_ir as ir

    other = model.clone()
    for layer in groups.layers:
        if layer.taken is None:
            continue
        value = other.graph.initializers[layer.weights.value.name]
        array = np.array(value.const_value.numpy())
        units = groups.labels.of(layer.weights.value, layer.taken)
        np.moveaxis(array, layer.taken, 0)[np.isin(units, gone)] = 0
        value.const_value = ir.tensor(array, name=value.name)
    return other


def prune(model: Any, groups: Groups, gone: list[int]) -> None:
    import onnx
    import onnx_ir as ir

    cut(model, groups.labels, gone)
    infer_shapes(model)
    onnx.checker.check_model(ir.serde.serialize_model(model), full_check=True)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), opset=st.sampled_from([11, 13, 18, 21]))
def test_a_pruned_graph_is_the_graph_without_what_those_channels_bring(data: st.DataObject, opset: int) -> None:
    net = Net(opset, seed=data.draw(st.integers(0, 99)), free=data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(1, 6))):
        net.grow(data.draw)
    model = net.finished(data.draw)
    groups = groups_of(model)
    gone = [
        unit
        for block in groups.blocks
        for unit in data.draw(st.sets(st.sampled_from(block.units.tolist()), max_size=len(block.units) - 1))
    ]
    wanted = run(masked(model, groups, gone), net.samples())
    counts = [sum(unit in gone for unit in block.units.tolist()) for block in groups.blocks]
    costs = Costs(model, groups, macs_of(model))
    prune(model, groups, gone)
    assert np.allclose(run(model, net.samples()), wanted, atol=1e-4)
    assert costs.macs(counts) == pytest.approx(sum(macs_of(model).values()), rel=1e-6)
    floats = [one.const_value for one in model.graph.initializers.values() if one.const_value.dtype.is_floating_point()]
    assert costs.parameters(counts) == sum(one.size for one in floats)
