"""Connection pruning: zeros where and as many as asked, outputs nearer with a re-fit, refusals with their reason."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_converters.compress.base import Effect, Setting
from edgekit_converters.compress.engine import compress
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.prune_weights import PruneWeights
from edgekit_converters.compress.steps import parse_step, parse_steps
from edgekit_converters.errors import CalibrationError, PrecisionError, UnsupportedError
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.oracle import session
from edgekit_converters.graph.plain import make_plain
from edgekit_converters.jobs import JobRunner
from tests.converters import onnx_text

pytest.importorskip("onnx")

NET = """(float[N, 4, 8, 8] x) => (float[N, 5] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)
    r = Relu(a)
    d = Conv<group = 8, pads = [1, 1, 1, 1]>(r, w2)
    e = Relu(d)
    p = Conv(e, w3)
    g = GlobalAveragePool(p)
    f = Flatten(g)
    m = MatMul(f, w4)
    s = Add(m, b4)
    t = Relu(s)
    y = Gemm<transB = 1>(t, w5, b5)
}"""
SHAPES = {"w1": (8, 4, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "w3": (12, 8, 1, 1), "w4": (12, 16), "b4": (16,),
          "w5": (5, 16), "b5": (5,)}  # fmt: skip
SMALL = "(float[N, 8] x) => (float[N, 4] y) { y = "


def _weights(shapes: dict[str, tuple[int, ...]], seed: int = 0, kind: type = np.float32) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(kind) for name, shape in shapes.items()}


def _net(folder: Path, text: str = NET, weights: dict[str, Any] | None = None) -> Path:
    return onnx_text.write(folder / "net.onnx", text, weights or _weights(SHAPES))


def _loaded(path: Path) -> Any:
    model = graph_model.load(path)
    make_plain(model)
    infer_shapes(model)
    return model


def _setting(folder: Path, **more: Any) -> Setting:
    return Setting(work=folder, source=folder / "net.onnx", **more)


def _inputs(seed: int = 1, count: int = 24, shape: tuple[int, ...] = (4, 8, 8)) -> Any:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, *shape)) + rng.normal(size=(count, *shape[:1], *([1] * (len(shape) - 1))))
    return mixed.astype(np.float32)


def _applied(path: Path, step: str, folder: Path, **more: Any) -> tuple[Any, Effect]:
    model, asked = _loaded(path), parse_step(step)
    setting = _setting(folder, **more)
    assert PruneWeights().check(model, asked.values, setting) is None
    return model, PruneWeights().apply(model, asked.values, setting)


def _ran(model: Any, x: Any, folder: Path) -> Any:
    path = folder / "ran.onnx"
    graph_model.save(model, path)
    return session(path).run(None, {"x": x})[0]


def _zeros(model: Any) -> dict[str, float]:
    return {name: float(np.mean(one.const_value.numpy() == 0)) for name, one in model.graph.initializers.items()}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.floats(0.05, 0.95))
def test_the_smallest_weights_of_each_layer_go_and_nothing_else_changes(
    tmp_path_factory: pytest.TempPathFactory, seed: int, share: float
) -> None:
    folder = tmp_path_factory.mktemp("net")
    weights = _weights(SHAPES, seed)
    model, effect = _applied(_net(folder, weights=weights), f"prune-weights:sparsity={share}", folder)
    wanted = dict(weights)
    for name in ("w1", "w2", "w3", "w4", "w5"):
        array = weights[name]
        least = np.sort(np.abs(array).ravel())[: round(share * array.size)]
        wanted[name] = np.where(np.isin(np.abs(array), least), 0, array)
    assert len(effect.changes) == 5
    assert effect.left == ()
    for name, array in wanted.items():
        assert np.array_equal(model.graph.initializers[name].const_value.numpy(), array)
    x = _inputs(count=2)
    plain = _ran(_loaded(_net(folder, weights=wanted)), x, folder)
    assert np.allclose(_ran(model, x, folder), plain, atol=1e-4)


def test_a_global_share_is_that_of_the_model_and_spares_the_small_layers(tmp_path: Path) -> None:
    weights = _weights(SHAPES)
    weights["w3"] *= 100
    model, effect = _applied(_net(tmp_path, weights=weights), "prune-weights:sparsity=0.7,scope=global", tmp_path)
    assert effect.figures["sparsity"] == pytest.approx(0.7, abs=0.01)
    zeros = _zeros(model)
    shares = [zeros[name] for name in ("w1", "w2", "w3", "w4", "w5")]
    assert max(shares) > 0.7 > min(shares) > 0
    assert max(shares) < 1


@pytest.mark.parametrize("step", ["sparsity=0.6", "pattern=2:4,layers=p,layers=y", "sparsity=0.5,scope=global"])
def test_damage_and_refit_keep_outputs_nearer_than_size_alone(step: str, tmp_path: Path) -> None:
    path, x = _net(tmp_path), _inputs(2)
    wanted = _ran(_loaded(path), x, tmp_path)
    lost = []
    for more in ("", ",refit", ",by=obs"):
        asked = {"calibration": {"x": _inputs(1, 200)}, "only": frozenset({"p", "y"}) if "layers" in step else None}
        model, effect = _applied(path, f"prune-weights:{step}{more}", tmp_path, **asked)
        lost.append(float(np.mean((_ran(model, x, tmp_path) - wanted) ** 2)))
        assert all(("output_error" in one.figures) == bool(more) for one in effect.changes)
    assert lost[1] < lost[0]
    assert lost[2] < lost[0]


def test_a_layer_by_itself_gets_the_least_squares_fit_with_its_bias(tmp_path: Path) -> None:
    weights = _weights({"w": (4, 8), "b": (4,)})
    path = _net(tmp_path, SMALL + "Gemm<transB = 1>(x, w, b) }", weights)
    x = _inputs(0, 500, (8,)) + 3
    model, _ = _applied(path, "prune-weights:sparsity=0.5,refit", tmp_path, calibration={"x": x})
    made = _ran(model, x, tmp_path)
    wanted = x @ weights["w"].T + weights["b"]
    stays = model.graph.node(0).inputs[1].const_value.numpy() != 0
    assert stays.mean() == 0.5
    best = np.zeros_like(wanted)
    for output in range(4):
        rows = np.column_stack([x[:, stays[output]], np.ones(len(x))])
        best[:, output] = rows @ np.linalg.lstsq(rows, wanted[:, output], rcond=None)[0]
    assert np.mean((made - wanted) ** 2) == pytest.approx(np.mean((best - wanted) ** 2), rel=0.02)
    assert np.abs((made - wanted).mean(axis=0)).max() < 1e-3  # the bias takes what is left of the mean


def test_n_of_m_runs_along_the_channels_of_a_place_as_runtimes_have_them(tmp_path: Path) -> None:
    model, effect = _applied(_net(tmp_path), "prune-weights:pattern=2:4", tmp_path)
    kernel = model.graph.initializers["w1"].const_value.numpy().transpose(0, 2, 3, 1)
    assert ((kernel.reshape(-1, 4) != 0).sum(axis=1) == 2).all()
    dense = model.graph.initializers["w4"].const_value.numpy().T
    assert ((dense.reshape(-1, 4) != 0).sum(axis=1) == 2).all()
    assert [(one.layer, one.why) for one in effect.left] == [("d", "its 1 inputs are no multiple of the pattern's 4")]


def test_blocks_of_outputs_and_inputs_go_together(tmp_path: Path) -> None:
    model, effect = _applied(_net(tmp_path), "prune-weights:pattern=4x2,sparsity=0.5", tmp_path)
    blocks = (model.graph.initializers["w3"].const_value.numpy().reshape(3, 4, 4, 2) != 0).mean(axis=(1, 3))
    assert set(blocks.ravel()) == {0.0, 1.0}
    assert {one.layer: one.why for one in effect.left} == {
        "d": "its 1 inputs are no multiple of the pattern's 2",
        "y": "its 5 outputs are no multiple of the pattern's 4",
    }


def test_weights_of_two_layers_are_pruned_once_for_what_both_take(tmp_path: Path) -> None:
    text = "(float[N, 8] x) => (float[N, 8] y) { a = MatMul(x, w)\n r = Relu(a)\n y = MatMul(r, w) }"
    path = _net(tmp_path, text, _weights({"w": (8, 8)}))
    x = _inputs(0, 100, (8,))
    model, effect = _applied(path, "prune-weights:by=obs", tmp_path, calibration={"x": x})
    assert [one.layer for one in effect.changes] == ["a"]
    assert _zeros(model)["w"] == 0.5
    assert [node.inputs[1].name for node in model.graph if node.op_type == "MatMul"] == ["w", "w"]


def test_a_product_from_the_left_is_fitted_too(tmp_path: Path) -> None:
    weights = _weights({"w": (6, 8)})
    path = _net(tmp_path, "(float[N, 8, 5] x) => (float[N, 6, 5] y) { y = MatMul(w, x) }", weights)
    x, lost = _inputs(0, 80, (8, 5)), []
    for more in ("", ",by=obs"):
        model, _ = _applied(path, f"prune-weights:sparsity=0.5{more}", tmp_path, calibration={"x": x})
        assert _zeros(model)["w"] == 0.5
        lost.append(float(np.mean((_ran(model, x, tmp_path) - weights["w"] @ x) ** 2)))
    assert lost[1] < lost[0]


@pytest.mark.parametrize(("name", "kind"), [("float16", np.float16), ("double", np.float64)])
def test_other_floats_keep_their_type(name: str, kind: type, tmp_path: Path) -> None:
    text = f"({name}[N, 8] x) => ({name}[N, 4] y) {{ y = Gemm(x, w, b) }}"
    path = _net(tmp_path, text, _weights({"w": (8, 4), "b": (4,)}, kind=kind))
    x = _inputs(0, 50, (8,)).astype(kind)
    model, _ = _applied(path, "prune-weights:by=obs", tmp_path, calibration={"x": x})
    assert {one.const_value.numpy().dtype for one in model.graph.initializers.values()} == {np.dtype(kind)}
    assert np.isfinite(_ran(model, x, tmp_path)).all()


RECURRENT = """(float[5, N, 3] x) => (float y) { y, h, c = LSTM<hidden_size = 4>(x, w, r) }"""
LEFT = {
    "a stack": (
        "(float[2, N, 4] x) => (float y) { y = MatMul(x, w) }",
        {"w": (2, 4, 3)}, "pattern=2:4", "its weights are no matrix",
    ),
    "on the left": (
        "(float[4, 5] x) => (float[3, 5] y) { y = Gemm(w, x) }",
        {"w": (3, 4)}, "by=obs", "its weights stand on the left",
    ),
    "recurrent": (RECURRENT, {"w": (1, 16, 3), "r": (1, 16, 4)}, "by=obs", "LSTM is no convolution"),
    "transposed": (
        "(float[N, 4, 5, 5] x) => (float y) { y = ConvTranspose(x, w) }",
        {"w": (4, 4, 2, 2)}, "pattern=1:2", "ConvTranspose is no convolution and no dense layer",
    ),
    "taken elsewhere": (
        "(float[N, 8] x) => (float y, float z) { y = MatMul(x, w)\n z = Neg(w) }",
        {"w": (8, 4)}, "sparsity=0.3", "its weights are taken by 'z' too",
    ),
    "an output": (
        "(float[N, 8] x) => (float y, float[8, 4] w) { y = MatMul(x, w) }",
        {"w": (8, 4)}, "sparsity=0.3", "its weights are an output of the model",
    ),
    "shared in two forms": (
        "(float[N, 4] x) => (float y) { a = MatMul(x, w)\n y = Gemm<transB = 1>(a, w) }",
        {"w": (4, 4)}, "by=obs", "shared with a layer that takes them in another form",
    ),
    "odd width": ("(float[N, 6] x) => (float y) { y = MatMul(x, w) }", {"w": (6, 4)}, "pattern=2:4", "its 6 inputs"),
    "global pattern": (SMALL + "MatMul(x, w) }", {"w": (8, 4)}, "pattern=2:4,scope=global", "has no global scope"),
    "other share": (SMALL + "MatMul(x, w) }", {"w": (8, 4)}, "pattern=1:4,sparsity=0.6", "is a sparsity of 0.75"),
    "nothing": ("(float[N, 8] x) => (float y) { y = Relu(x) }", {}, "sparsity=0.3", "no layer with stored weights"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "shapes", "options", "why"), LEFT.values(), ids=LEFT)
def test_what_cannot_be_done_is_refused_with_the_reason(
    text: str, shapes: dict[str, tuple[int, ...]], options: str, why: str, tmp_path: Path
) -> None:
    model = _loaded(_net(tmp_path, text, _weights(shapes)))
    asked = parse_step(f"prune-weights:{options}")
    setting = _setting(tmp_path, calibration={"x": np.zeros((1, 1))})
    assert why in str(PruneWeights().check(model, asked.values, setting))


def test_weights_that_are_no_numbers_or_shared_with_a_protected_layer_are_left(tmp_path: Path) -> None:
    weights = _weights({"w": (8, 8), "v": (8, 8)})
    weights["v"][0, 0] = np.nan
    text = "(float[N, 8] x) => (float y) { a = MatMul(x, w)\n b = MatMul(a, w)\n y = MatMul(b, v) }"
    model = _loaded(_net(tmp_path, text, weights))
    asked = parse_step("prune-weights:sparsity=0.5")
    why = PruneWeights().check(model, asked.values, _setting(tmp_path, only=frozenset({"a", "y"})))
    assert why == "its weights are shared with a layer that is not to be changed (layer 'a')"
    effect = PruneWeights().apply(model, asked.values, _setting(tmp_path))
    assert [one.layer for one in effect.changes] == ["a"]
    assert [one.why for one in effect.left] == ["its weights hold values that are no numbers"]


def test_recurrent_and_transposed_layers_are_pruned_by_size(tmp_path: Path) -> None:
    path = _net(tmp_path, RECURRENT, _weights({"w": (1, 16, 3), "r": (1, 16, 4)}))
    model, effect = _applied(path, "prune-weights:sparsity=0.5", tmp_path)
    assert len(effect.changes) == 2
    assert _zeros(model) == {"w": 0.5, "r": 0.5}


@pytest.mark.parametrize(
    "text",
    ["sparsity=1", "sparsity=-0.1", "sparsity=x", "pattern=4:2", "pattern=abc", "by=size", "scope=each", "amount=0.5"],
)
def test_wrong_options_are_refused_while_they_are_read(text: str) -> None:
    with pytest.raises(PrecisionError, match=r"prune-weights"):
        parse_step(f"prune-weights:{text}")


@pytest.mark.slow
def test_the_engine_runs_it_and_refuses_before_any_work(tmp_path: Path) -> None:
    path, jobs = _net(tmp_path), JobRunner(log=tmp_path / "log")
    done = compress(
        path, parse_steps(["prune-weights:pattern=2:4,by=obs"]), jobs, tmp_path, calibration={"x": _inputs()}
    )
    (stage,) = done.stages
    assert stage.effect.figures["sparsity"] == 0.5
    counts = stage.before["parameters"], stage.after["parameters"]
    assert counts == (757, 757 + 12)  # and the bias of p, that was not there
    with pytest.raises(CalibrationError, match="by=obs"):
        compress(path, parse_steps(["prune-weights:by=obs"]), jobs, tmp_path)
    with pytest.raises(UnsupportedError, match="no global scope"):
        compress(path, parse_steps(["prune-weights:pattern=2:4,scope=global"]), jobs, tmp_path)
