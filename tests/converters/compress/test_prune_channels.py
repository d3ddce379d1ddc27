"""Pruned channels: budgets kept to, what remains re-fitted, and what cannot go says why."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress import technique_for
from edgekit_converters.compress.base import Effect, Setting
from edgekit_converters.compress.engine import Compressed, compress
from edgekit_converters.compress.figures import infer_shapes, macs_of
from edgekit_converters.compress.steps import parse_step, parse_steps
from edgekit_converters.errors import CalibrationError, PrecisionError, UnsupportedError
from edgekit_converters.graph import model as graph_model
from edgekit_converters.jobs import JobRunner
from tests.converters import onnx_text
from tests.converters.compress.prune_nets import run

pytest.importorskip("onnx")

SAMPLES = 64
PLAIN = """(float[n,4,6,6] x) => (float[n,5,6,6] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w, b)  r = Relu(a)  y = Conv<pads = [1, 1, 1, 1]>(r, v, c)
}"""
RESIDUAL = """(float[n,4,6,6] x) => (float[n,3] y) {
    a = Conv(x, w, b)  r = Relu(a)
    i = Conv<pads = [1, 1, 1, 1]>(r, v, c)  j = Relu(i)  k = Conv<pads = [1, 1, 1, 1]>(j, u)
    s = Add(k, r)  t = Relu(s)  g = GlobalAveragePool(t)  f = Flatten(g)  y = Gemm<transB = 1>(f, d)
}"""
DENSE = "(float[n,6] x) => (float[n,4] y) { a = MatMul(x, w)  s = Add(a, b)  r = Relu(s)  y = MatMul(r, v) }"


def weights(rng: np.random.Generator, **shapes: tuple[int, ...]) -> dict[str, Any]:
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def plain(rng: np.random.Generator) -> dict[str, Any]:
    return weights(rng, w=(8, 4, 3, 3), b=(8,), v=(5, 8, 3, 3), c=(5,))


def residual(rng: np.random.Generator) -> dict[str, Any]:
    return weights(rng, w=(8, 4, 1, 1), b=(8,), v=(12, 8, 3, 3), c=(12,), u=(8, 12, 3, 3), d=(3, 8))


def images(rng: np.random.Generator, *shape: int) -> dict[str, Any]:
    return {"x": rng.normal(size=(SAMPLES, *shape)).astype(np.float32)}


def applied(
    path: Path, step: str, calibration: dict[str, Any] | None, only: frozenset[str] | None = None
) -> tuple[Any, Effect]:
    """Return the pruned graph, and what the technique says of it."""
    from onnx_ir.passes import common

    asked = parse_step(step)
    model = graph_model.load(path)
    infer_shapes(model)
    technique = technique_for(asked.technique)
    setting = Setting(work=path.parent, source=path, calibration=calibration, only=only)
    assert technique.check(model, asked.values, setting) is None
    effect = technique.apply(model, asked.values, setting)
    common.RemoveUnusedNodesPass()(model)
    infer_shapes(model)
    return model, effect


def whole(path: Path) -> Any:
    model = graph_model.load(path)
    infer_shapes(model)
    return model


def shape(model: Any, name: str) -> tuple[int, ...]:
    return tuple(model.graph.initializers[name].const_value.shape)


def test_channels_that_are_copies_go_and_the_re_fit_gives_the_same_outputs(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    arrays = plain(rng)
    scales = np.array([1.0, 0.5, 2.0, 1.5], np.float32)
    arrays["w"][4:] = arrays["w"][:4] * scales[:, None, None, None]
    arrays["b"][4:] = arrays["b"][:4] * scales
    path = onnx_text.write(tmp_path / "m.onnx", PLAIN, arrays)
    data = images(rng, 4, 6, 6)
    pruned, effect = applied(path, "prune-channels:ratio=0.5", data)
    assert shape(pruned, "w") == (4, 4, 3, 3)
    assert shape(pruned, "v") == (5, 4, 3, 3)
    remaining = pruned.graph.initializers["w"].const_value.numpy()
    copies = [
        [int(np.allclose(one, other * at)) for at in (1, *scales)] for one in remaining for other in arrays["w"][:4]
    ]
    assert sum(map(max, copies)) == 4  # one of every pair
    fresh = images(np.random.default_rng(9), 4, 6, 6)["x"]
    assert np.allclose(run(pruned, fresh), run(whole(path), fresh), atol=1e-2)
    (fitted,) = [one for one in effect.changes if one.what == "re-fitted"]
    assert float(fitted.figures["error"] or 0) < 1e-5
    assert float(fitted.figures["error_before"] or 0) > 0.1


def test_a_layer_before_a_sum_is_fitted_to_the_sum(tmp_path: Path, rng: np.random.Generator) -> None:
    path = onnx_text.write(tmp_path / "m.onnx", RESIDUAL, residual(rng))
    data = images(rng, 4, 6, 6)
    fresh = images(np.random.default_rng(9), 4, 6, 6)["x"]
    wanted = run(whole(path), fresh)
    errors = {}
    for how in ("on", "off"):
        pruned, _ = applied(path, f"prune-channels:macs=0.5,refit={how}", data)
        assert sum(macs_of(pruned).values()) <= 0.5 * sum(macs_of(whole(path)).values())
        errors[how] = float(np.mean((run(pruned, fresh) - wanted) ** 2) / wanted.var())
    assert errors["on"] < 0.25 * errors["off"]


def test_layers_fitted_together_come_closer_than_each_alone(tmp_path: Path, rng: np.random.Generator) -> None:
    path = onnx_text.write(tmp_path / "m.onnx", RESIDUAL, residual(rng))
    data = {"x": rng.normal(size=(1024, 4, 6, 6)).astype(np.float32)}
    fresh = images(np.random.default_rng(9), 4, 6, 6)["x"]
    wanted = run(whole(path), fresh)
    errors = {}
    for how in ("on", "layers"):
        pruned, effect = applied(path, f"prune-channels:macs=0.5,refit={how}", data)
        errors[how] = float(np.mean((run(pruned, fresh) - wanted) ** 2))
        together = [one.layer for one in effect.changes if " and " in one.layer]
        assert bool(together) == (how == "on")
    assert errors["on"] < 0.9 * errors["layers"]


def test_a_dense_layer_without_a_bias_gets_one(tmp_path: Path, rng: np.random.Generator) -> None:
    path = onnx_text.write(tmp_path / "m.onnx", DENSE, weights(rng, w=(6, 16), b=(16,), v=(16, 4)))
    data = images(rng, 6)
    pruned, _ = applied(path, "prune-channels:ratio=0.5", data)
    assert shape(pruned, "w") == (6, 8)
    (added, *_) = [node for node in pruned.graph if node.op_type == "Add"]
    assert tuple(added.inputs[1].const_value.shape) == (8,)
    assert [node.op_type for node in pruned.graph] == ["MatMul", "Add", "Relu", "MatMul", "Add"]
    without, _ = applied(path, "prune-channels:ratio=0.5,refit=off", data)
    wanted = run(whole(path), data["x"])
    error, other = (float(np.mean((run(one, data["x"]) - wanted) ** 2)) for one in (pruned, without))
    assert error < 0.5 * other


@pytest.mark.parametrize("by", ["hessian", "activation", "l1", "l2"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_every_criterion_keeps_to_the_budget(tmp_path: Path, rng: np.random.Generator, by: str, scope: str) -> None:
    path = onnx_text.write(tmp_path / "m.onnx", RESIDUAL, residual(rng))
    data = images(rng, 4, 6, 6)
    pruned, _ = applied(path, f"prune-channels:parameters=0.6,by={by},scope={scope}", data)
    assert graph_model.parameters(pruned) <= 0.6 * graph_model.parameters(whole(path))
    assert shape(pruned, "u")[0] == shape(pruned, "w")[0] == shape(pruned, "d")[1]
    assert shape(pruned, "u")[1] == shape(pruned, "v")[0]


def test_one_share_for_every_layer_and_multiples_are_kept_to(tmp_path: Path, rng: np.random.Generator) -> None:
    path = onnx_text.write(tmp_path / "m.onnx", RESIDUAL, residual(rng))
    pruned, _ = applied(path, "prune-channels:ratio=0.5,scope=layer,by=l2,refit=off", None)
    assert (shape(pruned, "w")[0], shape(pruned, "v")[0]) == (4, 6)
    pruned, _ = applied(path, "prune-channels:ratio=0.3,by=l1,refit=off,round=4", None)
    assert {shape(pruned, "w")[0] % 4, shape(pruned, "v")[0] % 4} == {0}
    pruned, _ = applied(path, "prune-channels:ratio=0.4,by=l1,refit=off,least=6", None)
    assert min(shape(pruned, "w")[0], shape(pruned, "v")[0]) == 6


def test_rounds_come_to_the_same_budget_and_report_all_that_went(tmp_path: Path, rng: np.random.Generator) -> None:
    path = onnx_text.write(tmp_path / "m.onnx", RESIDUAL, residual(rng))
    data = images(rng, 4, 6, 6)
    pruned, effect = applied(path, "prune-channels:ratio=0.5,rounds=3", data)
    assert shape(pruned, "w")[0] + shape(pruned, "v")[0] == 10
    told = {one.layer: one.figures["channels"] for one in effect.changes if "channels" in one.figures}
    assert told == {"a": shape(pruned, "w")[0], "k": shape(pruned, "u")[0], "i": shape(pruned, "v")[0]}
    wanted = run(whole(path), data["x"])
    assert np.mean((run(pruned, data["x"]) - wanted) ** 2) < 0.5 * wanted.var()


def test_only_the_layers_named_lose_channels(tmp_path: Path, rng: np.random.Generator) -> None:
    path = onnx_text.write(tmp_path / "m.onnx", RESIDUAL, residual(rng))
    pruned, _ = applied(path, "prune-channels:ratio=0.5,by=l2,refit=off", None, frozenset({"i"}))
    assert (shape(pruned, "w")[0], shape(pruned, "v")[0]) == (8, 6)


REFUSED = {
    "no budget": (PLAIN, "prune-channels", "it takes one budget of ratio, macs, parameters, latency, and 0 are given"),
    "two budgets": (PLAIN, "prune-channels:ratio=0.5,macs=0.5", "and 2 are given"),
    "softmax": (
        "(float[n,4,6,6] x) => (float[n,5,6,6] y) { a = Conv(x, w)  s = Softmax<axis = 1>(a)  y = Conv(s, v) }",
        "prune-channels:ratio=0.5",
        "op 'Softmax' (node 's') works across them (layer 'a')",
    ),
    "an output": (
        "(float[n,4,6,6] x) => (float[n,8,6,6] a, float[n,5,6,6] y) { a = Conv(x, w)  y = Conv(a, v) }",
        "prune-channels:ratio=0.5",
        "they are those of the output 'a' (layer 'a')",
    ),
    "tied to the input": (
        "(float[n,8,6,6] x) => (float[n,5,6,6] y) { a = Conv(x, u)  s = Add(a, x)  y = Conv(s, v) }",
        "prune-channels:ratio=0.5",
        "input 'x' has these channels (layer 'a')",
    ),
    "nothing takes them": (
        "(float[n,4,6,6] x) => (float[n,6,6] y) { a = Conv(x, w)  y = ReduceMean<keepdims = 0>(a, axes) }",
        "prune-channels:ratio=0.5",
        "op 'ReduceMean' (node 'y') works across them (layer 'a')",
    ),
    "a layer norm": (
        "(float[n,7,4] x) => (float[n,7,5] y) { a = MatMul(x, m)  l = LayerNormalization(a, g)  y = MatMul(l, o) }",
        "prune-channels:ratio=0.5",
        "op 'LayerNormalization' (node 'l') works across them (layer 'a')",
    ),
    "space from depth": (
        "(float[n,4,6,6] x) => (float[n,5,12,12] y) { a = Conv(x, w) d = DepthToSpace<blocksize=2>(a) y = Conv(d, q) }",
        "prune-channels:ratio=0.5",
        "op 'DepthToSpace' (node 'd') works across them (layer 'a')",
    ),
}


@pytest.mark.parametrize(("text", "step", "why"), REFUSED.values(), ids=REFUSED)
def test_a_model_none_of_whose_channels_can_go_says_why(tmp_path: Path, text: str, step: str, why: str) -> None:
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "w": (8, 4, 1, 1), "b": (8,), "v": (5, 8, 1, 1), "c": (5,), "u": (8, 8, 1, 1), "m": (4, 8), "g": (8,),
        "o": (8, 5), "q": (5, 2, 1, 1),
    }  # fmt: skip
    arrays = {**weights(rng, **shapes), "axes": np.array([1])}
    path = onnx_text.write(tmp_path / "m.onnx", text, arrays)
    asked = parse_step(step)
    setting = Setting(work=tmp_path, source=path)
    said = technique_for("prune-channels").check(whole(path), asked.values, setting)
    assert said is not None
    assert why in said


def test_more_than_can_go_is_refused_with_how_much_can(tmp_path: Path, rng: np.random.Generator) -> None:
    path = onnx_text.write(tmp_path / "m.onnx", PLAIN, plain(rng))
    with pytest.raises(
        UnsupportedError, match=r"25% of the channels are left where technique prune-channels .*, not 10%"
    ):
        applied(path, "prune-channels:ratio=0.9,by=l2,refit=off,least=2", None)


def test_options_out_of_range_and_missing_data_are_refused_before_any_work(
    tmp_path: Path, jobs: JobRunner, rng: np.random.Generator
) -> None:
    with pytest.raises(PrecisionError, match=r"option 'ratio' takes 0.0 to 0.99, not '1.5'"):
        parse_step("prune-channels:ratio=1.5")
    path = onnx_text.write(tmp_path / "m.onnx", PLAIN, plain(rng))
    with pytest.raises(CalibrationError, match=r"prune-channels:ratio=0.5 needs calibration data"):
        compress(path, parse_steps(["prune-channels:ratio=0.5"]), jobs, tmp_path)


@pytest.mark.slow
def test_a_step_of_a_recipe_prunes_re_fits_and_counts(
    tmp_path: Path, jobs: JobRunner, rng: np.random.Generator
) -> None:
    path = onnx_text.write(tmp_path / "m.onnx", RESIDUAL, residual(rng))
    steps = parse_steps(["prune-channels:macs=0.5,round=2", "prune-channels:ratio=0.2,by=l1,refit=off"])
    done: Compressed = compress(path, steps, jobs, tmp_path, calibration=images(rng, 4, 6, 6))
    first, second = done.stages
    assert first.after["macs"] <= 0.5 * first.before["macs"]  # type: ignore[operator]
    assert first.before["parameters"] > first.after["parameters"] > second.after["parameters"]  # type: ignore[operator]
    assert {one.what.partition(" of ")[2] for one in first.effect.changes} >= {"12 channels remain"}
