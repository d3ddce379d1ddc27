"""Approximation: ops by cheaper ones, as long as the outputs stay near enough."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress import technique_for
from edgekit_converters.compress.base import Effect, Setting
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.steps import parse_step
from edgekit_converters.errors import PrecisionError
from edgekit_converters.graph.oracle import session
from tests.converters.compress.rewritten import net, normal

SWISH = "x[N,8] -> y: a=MatMul(x,m) s=Sigmoid(a) h=Mul(a,s) b=MatMul(h,k) y=Sigmoid(b)"
W = {"m": normal(0, 8, 8), "k": normal(1, 8, 4)}


def test_swish_and_sigmoid_become_hard_where_the_outputs_allow_it(tmp_path: Path) -> None:
    proto = net(SWISH, W)
    model, effect = _approximated(proto, "approximate:error=0.2", tmp_path)
    assert _ops(model) == ["MatMul", "HardSwish", "MatMul", "HardSigmoid"]
    wanted, got = _run(proto), _run(_serialized(model))
    measured = np.sqrt(np.sum((got - wanted) ** 2) / np.sum(wanted**2))
    assert effect.figures["error"] == pytest.approx(measured, rel=0.05)
    assert max(float(one.figures["error"] or 0) for one in effect.changes) == pytest.approx(effect.figures["error"])


def test_what_costs_the_outputs_too_much_is_left_with_its_price(tmp_path: Path) -> None:
    model, effect = _approximated(net(SWISH, W), "approximate:error=0.000001", tmp_path)
    assert "HardSwish" not in _ops(model)
    assert not effect.changes
    assert all("the outputs would be off by" in one.why for one in effect.left)
    assert {one.why.partition(":")[0] for one in effect.left} == {"swish-to-hard", "sigmoid-to-hard"}


def test_an_old_opset_keeps_its_swish(tmp_path: Path) -> None:
    _, effect = _approximated(net(SWISH, W, 13), "approximate:rules=swish-to-hard,error=1", tmp_path)
    assert [one.why for one in effect.left] == ["swish-to-hard: HardSwish is of opset 14, and the model's is 13"]


CONVOLUTIONS = {
    "5x5": ("x[N,6,12,12]", (6, 6, 5, 5), "<pads=[2,2,2,2]>", [(3, 3), (3, 3)]),
    "7x7": ("x[N,4,14,14]", (8, 4, 7, 7), "<pads=[3,2,1,0]>", [(3, 3), (3, 3), (3, 3)]),
    "depthwise": ("x[N,4,12,12]", (4, 1, 5, 5), "<pads=[2,2,2,2],group=4>", [(3, 3), (3, 3)]),
    "a few channels to many": ("x[N,2,12,12]", (16, 2, 5, 5), "", [(3, 3), (3, 3)]),
}


@pytest.mark.parametrize(("takes", "kernel", "how", "sides"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_kernels_that_are_two_behind_each_other_are_found(
    takes: str, kernel: tuple[int, ...], how: str, sides: list[tuple[int, int]], tmp_path: Path
) -> None:
    """The wanted kernel is made of smaller ones; what is found is nearly that, at the edges too."""
    weights = {"w": _made_of_small(*kernel[:3]), "b": normal(4, kernel[0])}
    proto = net(f"{takes} -> y: y=Conv{how}(x,w,b)", weights)
    model, effect = _approximated(proto, "approximate:rules=stacked,error=0.3", tmp_path)
    kernels = [tuple(node.inputs[1].shape)[2:] for node in model.graph if node.op_type == "Conv"]
    assert kernels == sides, effect.left
    wanted, got = _run(proto), _run(_serialized(model))
    error = np.sqrt(np.sum((got - wanted) ** 2) / np.sum(wanted**2))
    assert effect.figures["error"] == pytest.approx(error, rel=1e-3)
    assert error < (0.02 if "group" in how else 0.3)
    before, after = weights["w"].size, sum(node.inputs[1].const_value.size for node in model.graph if node.inputs[1])
    assert after < 0.8 * before


NEAR = {
    "a stride": ("x[N,1,12,12] -> y: y=Conv<strides=[2,2]>(x,corners)", "its stride throws most of the first's away"),
    "gaps": ("x[N,6,12,12] -> y: y=Conv<dilations=[2,2]>(x,w)", "its kernel has gaps"),
    "padding that follows": (
        'x[N,6,12,12] -> y: y=Conv<auto_pad="SAME_UPPER">(x,w)',
        "its padding follows from the size",
    ),
    "shared weights": ("x[N,6,12,12] -> y; z: y=Conv(x,w) z=Conv(x,w)", "its weights 'w' are used elsewhere too"),
    "no two that are near": ("x[N,1,12,12] -> y: y=Conv(x,corners)", "the outputs would be off by"),
}


@pytest.mark.parametrize(("text", "why"), NEAR.values(), ids=NEAR)
def test_near_misses_are_left_with_a_reason(text: str, why: str, tmp_path: Path) -> None:
    corners = np.zeros((1, 1, 5, 5), np.float32)
    corners[0, 0, ::4, ::4] = [[1, -1], [1, 1]]
    weights = {"w": normal(5, 6, 6, 5, 5), "corners": corners}
    _, effect = _approximated(net(text, weights), "approximate:rules=stacked", tmp_path)
    assert not effect.changes
    assert why in effect.left[0].why


@pytest.mark.parametrize("text", ["approximate:error=2", "approximate:rules=all+stacked", "approximate:rules=nothing"])
def test_bad_options_are_refused(text: str) -> None:
    with pytest.raises(PrecisionError):
        parse_step(text)


def _made_of_small(outputs: int, inputs: int, side: int) -> Any:
    """Return a kernel that is 3x3 ones behind each other."""
    from edgekit_converters.compress.rules.stacked import _composed

    made = normal(6, outputs, inputs, 3, 3).astype(np.float64)
    while made.shape[2] < side:
        behind = normal(7, outputs, outputs if inputs > 1 else 1, 3, 3).astype(np.float64)
        if inputs == 1:
            made = np.concatenate(
                [_composed(one[np.newaxis], two[np.newaxis]) for one, two in zip(made, behind, strict=True)]
            )
        else:
            made = _composed(made, behind)
    return made.astype(np.float32)


def _approximated(proto: Any, text: str, work: Path) -> tuple[Any, Effect]:
    import onnx_ir as ir

    model = ir.serde.deserialize_model(proto)
    infer_shapes(model)
    step = parse_step(text)
    setting = Setting(work=work, source=work, calibration={"x": _samples(proto, 1)})
    effect = technique_for("approximate").apply(model, step.values, setting)
    infer_shapes(model)
    return model, effect


def _samples(proto: Any, seed: int) -> Any:
    shape = [size.dim_value for size in proto.graph.input[0].type.tensor_type.shape.dim[1:]]
    return np.random.default_rng(seed).normal(size=(32, *shape)).astype(np.float32)


def _run(proto: Any) -> Any:
    return session(proto).run(None, {"x": _samples(proto, 1)})[0].astype(np.float64)


def _serialized(model: Any) -> Any:
    import onnx
    import onnx_ir as ir

    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _ops(model: Any) -> list[str]:
    return [node.op_type for node in model.graph]
