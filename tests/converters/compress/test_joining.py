"""Two models as one: it computes what they do one after the other, or side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit_converters._exchange import specs_from_json
from edgekit_converters.compress import joining_job
from edgekit_converters.compress.joining import Wires
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph.oracle import session
from tests.converters.compress import random_nets as r
from tests.converters.compress.rewritten import feeds_of, net, normal

W = {"w": normal(0, 4, 3, 3, 3), "m": normal(1, 6, 6), "k": normal(3, 6, 3)}
IMAGE = "image[N,3,8,8] -> features: features=Conv(image,w)"
ROWS = "x[N,6] -> y: h=MatMul(x,m) y=Relu(h)"


def test_the_only_output_goes_into_the_only_input_and_names_that_clash_get_a_prefix(tmp_path: Path) -> None:
    made, answer = _joined(tmp_path, net(ROWS, W), net(ROWS, W))
    assert answer["chain"] == {"x": "y"}
    x = feeds_of(made)["x"]
    once = _run(net(ROWS, W), {"x": x})["y"]
    assert np.array_equal(_run(made, {"x": x})["second/y"], _run(net(ROWS, W), {"x": once})["y"])
    assert {one.name for one in made.graph.initializer} == {"m", "second/m"}
    assert len({node.name for node in made.graph.node}) == 4


def test_models_that_share_an_input_have_both_outputs(tmp_path: Path) -> None:
    other = net("picture[N,3,8,8]; s[N] -> mean; s2: mean=GlobalAveragePool(picture) s2=Relu(s)", W)
    made, answer = _joined(tmp_path, net(IMAGE, W), other, share={"picture": "image"})
    assert [one.name for one in specs_from_json(answer["inputs"])] == ["image", "s"]
    assert [one.name for one in specs_from_json(answer["outputs"])] == ["features", "mean", "s2"]
    feeds = feeds_of(made)
    found = _run(made, feeds)
    assert np.array_equal(found["features"], _run(net(IMAGE, W), {"image": feeds["image"]})["features"])
    assert np.allclose(found["mean"], feeds["image"].mean(axis=(2, 3), keepdims=True), atol=1e-6)


def test_an_output_that_is_not_taken_stays_one(tmp_path: Path) -> None:
    first = net("x[N,6] -> a; y: a=MatMul(x,m) y=Relu(a)", W)
    second = net("z[N,6]; x[N,6] -> v: h=Add(z,x) v=MatMul(h,k)", W)
    made, _ = _joined(tmp_path, first, second, chain={"z": "y"}, share={"x": "x"})
    assert [one.name for one in made.graph.input] == ["x"]
    assert [one.name for one in made.graph.output] == ["a", "v"]


@pytest.mark.parametrize(("one", "other"), [(11, 18), (18, 11), (13, 21)])
def test_the_older_opset_is_raised(one: int, other: int, tmp_path: Path) -> None:
    second = net("q[N,6] -> z: c=Clip(q,lo) z=Softmax<axis=1>(c)", {"lo": np.float32(0.1)}, other)
    made, _ = _joined(tmp_path, net(ROWS, W, one), second)
    assert made.opset_import[0].version == max(one, other)


def test_a_free_size_that_meets_a_fixed_one_becomes_it(tmp_path: Path) -> None:
    made, _ = _joined(tmp_path, net(ROWS, W), net("q[3,6] -> z; v: z=MatMul(q,k) v=Relu(z)", W))
    assert [size.dim_value for size in made.graph.input[0].type.tensor_type.shape.dim] == [3, 6]


def test_names_inside_branches_are_kept_apart(tmp_path: Path) -> None:
    import onnx

    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18]> g (float[2,6] x, bool c) => (float[2,6] y) {
            y = If(c)<then_branch = t() => (float[2,6] h) { h = Relu(x) },
                      else_branch = e() => (float[2,6] i) { i = Neg(x) }>
        }"""
    )
    made, _ = _joined(tmp_path, proto, proto, chain={"x": "y"}, share={"c": "c"})
    x = normal(5, 2, 6)
    assert np.array_equal(_run(made, {"x": x, "c": np.zeros((), np.bool_)})["second/y"], x)


REFUSED = {
    "an output that is not there": (ROWS, ROWS, {"x": "z"}, {}, "the first model has no output 'z'; it has: y"),
    "an input that is not there": (ROWS, ROWS, {"z": "y"}, {}, "the second model has no input 'z'; it has: x"),
    "an input of the first that is not there": (ROWS, ROWS, {}, {"x": "z"}, "the first model has no input 'z'"),
    "another shape": (
        IMAGE,
        ROWS,
        {"x": "features"},
        {},
        "'features' does not fit the second model's input 'x': shape ?x4x6x6 against ?x6",
    ),
    "another size": (ROWS, "q[N,7] -> v: v=Relu(q)", {}, {}, "shape ?x6 against ?x7"),
    "another type": (ROWS, "double q[N,6] -> double v: v=Neg(q)", {}, {}, "float against double"),
    "nothing that is clear": (
        "x[N,6] -> a; y: a=MatMul(x,m) y=Relu(a)",
        "q[N,6] -> v: v=Relu(q)",
        {},
        {},
        "which output goes into which input is not clear: the first model gives a, y, the second takes q",
    ),
    "an input wired twice": (ROWS, ROWS, {"x": "y"}, {"x": "x"}, "input 'x' is to be chained and shared"),
    "sizes that contradict": (
        "x[N,6] -> a; y: a=MatMul(x,m) y=Relu(a)",
        "q[2,6]; v[3,6] -> z; u: z=Relu(q) u=Relu(v)",
        {"q": "a", "v": "y"},
        {},
        "the free dimension 'N' would have to be 2 and 3",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(case: tuple[str, str, Wires, Wires, str], tmp_path: Path) -> None:
    one, other, chain, share, why = case
    with pytest.raises(UnsupportedError) as refused:
        _joined(tmp_path, net(one, W), net(other, W), chain=chain, share=share)
    assert why in str(refused.value)


@given(data=st.data())
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_models_one_after_the_other_compute_the_same(data: Any, tmp_path: Path) -> None:
    """The job itself runs both ways; here the models are of any opset and the second takes what the first gives."""
    first = data.draw(r.nets((r.conv, r.affine, r.bound, r.pooled), (2, 4, 8, 8), data.draw(st.sampled_from([13, 17]))))
    last = first.graph.output[0]
    shape = tuple(size.dim_value for size in last.type.tensor_type.shape.dim)
    second = data.draw(r.nets((r.affine, r.bound, r.reshaped, r.dense), shape, data.draw(st.sampled_from([13, 18]))))
    made, answer = _joined(tmp_path, first, second, chain={"x": last.name})
    assert answer["nodes"] == len(made.graph.node) == len(first.graph.node) + len(second.graph.node)


def _joined(
    work: Path, first: Any, second: Any, chain: Mapping[str, str] | None = None, share: Mapping[str, str] | None = None
) -> tuple[Any, Any]:
    import onnx

    (work / "scratch").mkdir(exist_ok=True)
    sides = {"first": str(work / "a.onnx"), "second": str(work / "b.onnx")}
    onnx.save(first, sides["first"])
    onnx.save(second, sides["second"])
    output = work / "made.onnx"
    asked = {"output": str(output), "work": str(work / "scratch"), "prefix": "second"}
    answer = joining_job.run({**sides, **asked, "chain": dict(chain or {}), "share": dict(share or {})})
    return onnx.load(str(output)), answer


def _run(proto: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    names = [one.name for one in proto.graph.output]
    return dict(zip(names, session(proto).run(names, dict(feeds)), strict=True))
