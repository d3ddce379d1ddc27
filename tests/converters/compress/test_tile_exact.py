"""Tiles compute what the whole does: random stacks, every segment, against ONNX Runtime on the model as it was."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.tile_reach import NotLocalError, spatial
from edgekit_converters.compress.tile_rewrite import rewrite
from edgekit_converters.compress.tile_segment import Segment, segments, split, steps
from edgekit_converters.graph.oracle import session
from tests.converters.compress.image_nets import Stack, grow

TOLERANCE = 1e-5  # of the largest value: sums of a few hundred products in another order


def read(proto: Any) -> Any:
    import onnx_ir as ir

    model = ir.serde.deserialize_model(proto)
    infer_shapes(model)
    return model


def run(proto: Any, image: Any) -> list[Any]:
    outputs: list[Any] = session(proto).run(None, {"x": image})
    return outputs


def assert_same(model: Any, proto: Any, image: Any) -> None:
    import onnx
    import onnx_ir as ir

    made = ir.serde.serialize_model(model)
    onnx.checker.check_model(made, full_check=True)
    for got, wanted in zip(run(made, image), run(proto, image), strict=True):
        largest = max(1.0, float(np.abs(wanted).max(initial=0.0)))
        np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE * largest)


def all_segments(model: Any) -> list[Segment]:
    nodes = list(model.graph)
    starts = [*model.graph.inputs, *(node.outputs[0] for node in nodes)]
    return [one for start in starts for one in segments(nodes, start)[0]]


@given(data=st.data(), seed=st.integers(0, 2**16), rank=st.integers(1, 2))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_segment_of_a_random_stack_computes_the_same_in_any_tiles(data: Any, seed: int, rank: int) -> None:
    def draw(low: int, high: int) -> int:
        drawn: int = data.draw(st.integers(low, high))
        return drawn

    stack = Stack(seed, draw(1, 4), tuple(draw(1, 17) for _ in range(rank)))
    grow(stack, draw, 6)
    proto = stack.proto()
    model = read(proto)
    found = all_segments(model)
    assert found
    segment = found[draw(0, len(found) - 1)]
    grid = tuple(draw(1, min(size, 6)) for size in spatial(segment.end))
    try:
        done = steps(segment, grid)
    except NotLocalError as exc:
        assert "sees nothing of" in str(exc)  # noqa: PT017  # a tile of padding is refused, which is right
        return
    if len(done) == len(segment.nodes):  # a single tile
        return
    rewrite(model, segment, done)
    assert_same(model, proto, stack.image())


@pytest.mark.parametrize("count", range(1, 14))
def test_every_number_of_tiles_is_exact(count: int) -> None:
    stack = Stack(3, 3, (26, 9))
    stack.conv(6, (3, 3), strides=[2, 2], pads=[0, 0, 1, 1])
    stack.add("Relu")
    stack.conv(6, (5, 5), group=6, pads=[2, 2, 2, 2])
    stack.conv(4, (1, 1))
    proto = stack.proto()
    model = read(proto)
    (segment, *_) = [one for one in all_segments(model) if len(one.nodes) == 4]
    done = steps(segment, (count, 1))
    if count > 1:
        rewrite(model, segment, done)
        ops = Counter(node.op_type for node in model.graph)
        assert ops == {"Slice": count, "Conv": 3 * count, "Relu": count, "Concat": 1}
        assert len(model.graph.initializers) <= 6 + 3 * count  # the weights are there once
    assert_same(model, proto, stack.image())


def test_a_skip_around_a_convolution_is_cut_to_its_places() -> None:
    stack = Stack(5, 4, (12, 12))
    stack.conv(4, (3, 3), pads=[1, 1, 1, 1])
    side = stack.last
    stack.add("Add", side, "x")
    proto = stack.proto()
    model = read(proto)
    segment = max(all_segments(model), key=lambda one: len(one.nodes))
    rewrite(model, segment, steps(segment, (3, 1)))
    assert Counter(node.op_type for node in model.graph)["Slice"] == 6
    assert_same(model, proto, stack.image())


def test_a_segment_whose_end_is_an_output_keeps_its_name_and_other_users() -> None:
    stack = Stack(5, 2, (8, 8))
    middle = stack.conv(4, (3, 3))
    stack.conv(3, (1, 1))
    proto = stack.proto(outputs=(middle,))
    model = read(proto)
    for end in (middle, stack.last):
        (segment,) = [one for one in all_segments(model) if one.end.name == end and one.start.name in {"x", middle}]
        rewrite(model, segment, steps(segment, (2, 2)))
        infer_shapes(model)
    assert [one.name for one in model.graph.outputs] == [middle, stack.last]
    assert_same(model, proto, stack.image())


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 13, 18])
def test_slices_are_written_as_the_opset_has_them(opset: int) -> None:
    stack = Stack(5, 2, (9, 9), batch=1)
    stack.conv(4, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
    stack.add("MaxPool", kernel_shape=[2, 2])
    proto = stack.proto(opset)
    model = read(proto)
    segment = max(all_segments(model), key=lambda one: len(one.nodes))
    rewrite(model, segment, steps(segment, (2, 2)))
    assert_same(model, proto, stack.image())


def test_tiles_are_computed_one_after_the_other() -> None:
    stack = Stack(5, 2, (12, 4))
    stack.conv(4, (3, 3))
    stack.add("Relu")
    model = read(stack.proto())
    segment = max(all_segments(model), key=lambda one: len(one.nodes))
    rewrite(model, segment, steps(segment, (3, 1)))
    assert [node.op_type for node in model.graph] == [*("Slice", "Conv", "Relu") * 3, "Concat"]


def test_an_axis_is_split_evenly() -> None:
    assert split(10, 4) == [(0, 2), (2, 5), (5, 7), (7, 10)]
