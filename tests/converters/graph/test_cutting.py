"""Models cut into stages: where the cuts lie, what is handed over, and that the stages compute what the whole does."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph import cutting, cutting_job
from edgekit_converters.graph.oracle import session
from tests.converters.compress.image_nets import Stack, grow


def read(proto: Any) -> Any:
    import onnx_ir as ir

    model = ir.serde.deserialize_model(proto)
    infer_shapes(model)
    return model


def parsed(text: str, **weights: Any) -> Any:
    import onnx

    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g {text}')
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.checker.check_model(proto)
    return proto


def job(proto: Any, count: int, folder: Path) -> Any:
    import onnx

    onnx.save(proto, folder / "net.onnx")
    request = {"model": str(folder / "net.onnx"), "stages": count, "folder": str(folder), "name": "net", "seed": 0}
    return cutting_job.run({**request, "work": str(folder)})


def run(folder: Path, answer: Any, feeds: dict[str, Any]) -> dict[str, Any]:
    values = dict(feeds)
    for one in answer["stages"]:
        opened = session(folder / one["file"])
        names = [port.name for port in opened.get_outputs()]
        assert sorted(names) == sorted(one["gives"])
        assert sorted(port.name for port in opened.get_inputs()) == sorted(one["takes"])
        values |= dict(zip(names, opened.run(names, {name: values[name] for name in one["takes"]}), strict=True))
    return values


@given(data=st.data(), seed=st.integers(0, 2**16), count=st.integers(2, 4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_stages_of_random_nets_compute_what_the_whole_does(
    data: Any, seed: int, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    stack = Stack(seed, 2, (9, 8))
    grow(stack, lambda low, high: data.draw(st.integers(low, high)), 6)
    stack.add("Relu")
    middle = stack.last
    stack.add("Sigmoid")
    proto = stack.proto(outputs=(middle,))
    image = stack.image(1)
    if len(proto.graph.node) < count:
        with pytest.raises(UnsupportedError, match=f"operators, which make no {count} stages"):
            job(proto, count, folder)
        return
    answer = job(proto, count, folder)
    values = run(folder, answer, {"x": image})
    for name, wanted in zip((middle, stack.last), session(proto).run(None, {"x": image}), strict=True):
        np.testing.assert_allclose(values[name], wanted, rtol=0, atol=1e-5)
    assert answer["proved_on"] == 4


def test_the_cut_lies_where_least_is_handed_over_among_those_that_are_even_enough() -> None:
    stack = Stack(1, 4, (8, 8), batch=1)
    for channels in (8, 8, 2, 8, 8, 8):
        stack.conv(channels, (1, 1))
    model = read(stack.proto())
    first, behind = cutting.stages(model, 2, [1] * 6)
    assert (first.first, first.behind, behind.first, behind.behind) == (0, 3, 3, 6)
    assert first.hands_over_bytes == 2 * 64 * 4
    uneven = cutting.stages(model, 2, [10, 10, 10, 1, 1, 1])
    assert uneven[0].behind == 2  # balance is first


@pytest.mark.parametrize("count", [2, 3, 4])
def test_no_other_cuts_are_as_even_and_hand_over_less(count: int) -> None:
    rng = np.random.default_rng(count)
    stack = Stack(1, 3, (6, 6), batch=1)
    for channels in rng.integers(1, 9, 9):
        stack.conv(int(channels), (1, 1))
    work = rng.integers(1, 20, 9).tolist()
    model = read(stack.proto())
    sizes = [int(np.prod(node.outputs[0].shape.numpy())) * 4 for node in model.graph]

    def judged(ends: tuple[int, ...]) -> tuple[int, int]:
        bounds = [0, *ends, 9]
        return max(sum(work[a:b]) for a, b in itertools.pairwise(bounds)), sum(sizes[end - 1] for end in ends)

    every = [judged(ends) for ends in itertools.combinations(range(1, 9), count - 1)]
    most = min(largest for largest, _ in every) * (1 + cutting.SLACK)
    wanted = min(handed for largest, handed in every if largest <= most)
    found = judged(tuple(one.behind for one in cutting.stages(model, count, work)[:-1]))
    assert found[0] <= most
    assert found[1] == wanted


def test_what_skips_a_stage_is_counted_where_it_goes_by(tmp_path: Path) -> None:
    stack = Stack(1, 2, (6, 6), batch=1)
    skip = stack.conv(2, (1, 1))
    for _ in range(4):
        stack.conv(2, (1, 1))
    stack.add("Add", stack.last, skip)
    answer = job(stack.proto(), 3, tmp_path)
    assert answer["stages"][1]["takes"] == [answer["stages"][0]["gives"][-1]]
    assert answer["stages"][1]["hands_over_bytes"] == 2 * 2 * 36 * 4
    assert skip in answer["stages"][2]["takes"]


def test_branches_take_values_from_stages_before(tmp_path: Path) -> None:
    proto = parsed(
        """(float[1,4] x, bool c) => (float[1,4] y) {
        a = Relu(x)
        b = Neg(a)
        d = If(c) <then_branch = t () => (float[1,4] p) { p = Add(a, b) },
                   else_branch = e () => (float[1,4] q) { q = Mul(a, b) }>
        y = Tanh(d)
        }"""
    )
    answer = job(proto, 3, tmp_path)
    x = np.asarray([[1, -2, 3, -4]], np.float32)
    for truth in (True, False):
        feeds = {"x": x, "c": np.asarray(truth)}
        values = run(tmp_path, answer, feeds)
        np.testing.assert_allclose(values["y"], session(proto).run(None, feeds)[0], atol=1e-6)


def test_weights_go_where_they_are_used_and_shared_ones_to_both(tmp_path: Path) -> None:
    import onnx

    text = "(float[N,4] x) => (float[N,4] y) { a = MatMul(x, w) \n b = Relu(a) \n y = MatMul(b, w) }"
    proto = parsed(text, w=np.eye(4, dtype=np.float32))
    answer = job(proto, 2, tmp_path)
    names = [[one.name for one in onnx.load(tmp_path / part["file"]).graph.initializer] for part in answer["stages"]]
    assert names == [["w"], ["w"]]


def test_too_many_stages_are_refused_with_the_reason() -> None:
    model = read(parsed("(float[2] x) => (float[2] y) { y = Relu(x) }"))
    with pytest.raises(UnsupportedError, match="the model has 1 operators, which make no 2 stages"):
        cutting.stages(model, 2, [1])


def test_only_tensors_are_handed_over() -> None:
    text = "(float[2] x) => (float[4] y) { s = SequenceConstruct(x, x) \n y = ConcatFromSequence<axis=0>(s) }"
    with pytest.raises(UnsupportedError, match="too few places where only tensors"):
        cutting.stages(read(parsed(text)), 2, [1, 1])


def test_a_free_first_dimension_that_is_no_batch_is_not_handed_over() -> None:
    rows = "(float[N,3] x) => (float[M] y) { i = NonZero(x) \n f = Flatten(i) \n j = Squeeze(f) \n y = Cast<to=1>(j) }"
    with pytest.raises(UnsupportedError, match="whose first dimension is fixed or the batch"):
        cutting.stages(read(parsed(rows)), 4, [1, 1, 1, 1])
