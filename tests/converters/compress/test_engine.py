"""Steps carried out on a model: proved, counted, refused before any work."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress.engine import compress
from edgekit_converters.compress.steps import parse_steps
from edgekit_converters.errors import CalibrationError, UnsupportedError
from edgekit_converters.graph.proof import prove
from edgekit_converters.jobs import JobRunner


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A convolution with a norm behind it and a dense layer, its batch free."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    shapes = {"w": (4, 3, 3, 3), "s": (4,), "b": (4,), "m": (4,), "d": (4, 5)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["v"] = np.ones(4, np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], "norm"),
        helper.make_node("GlobalAveragePool", ["n"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "d"], ["y"], "dense"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", 1, ["n", 5])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def done(net: Path, tmp_path: Path, *texts: str, **more: Any) -> Any:
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return compress(net, parse_steps(texts), JobRunner(log=tmp_path / "log"), work, **more)


def test_stages_follow_each_other_and_are_counted(net: Path, tmp_path: Path) -> None:
    import onnxruntime

    made = done(net, tmp_path, "snap:bits=8", "snap:bits=2,layers=dense")
    assert [one.step.text for one in made.stages] == ["snap:bits=8", "snap:bits=2,layers=dense"]
    first, second = made.stages
    assert first.after == second.before
    assert first.before["parameters"] == 4 * 27 + 4 + 20
    assert first.before["macs"] == 36 * 4 * 27 + 20
    assert {one.layer for one in first.effect.changes} == {"conv", "dense"}
    assert [one.layer for one in second.effect.changes] == ["dense"]
    assert not first.exact
    x = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)
    files = (net, made.before, made.path)
    outputs = [onnxruntime.InferenceSession(str(one)).run(None, {"x": x})[0] for one in files]
    assert np.allclose(outputs[0], outputs[1], atol=1e-4)
    assert not np.allclose(outputs[0], outputs[2], atol=1e-4)


@pytest.mark.parametrize(
    ("texts", "words", "note"),
    [
        (
            ["snap", "snap:layers=nothing"],
            "no layer is called 'nothing'",
            "layers with weights are called: conv, dense",
        ),
        (["snap", "snap:layers=pool"], "cannot be done to model 'net.onnx': it has no weights", ""),
    ],
)
def test_a_step_that_cannot_be_done_is_refused_before_any_work(
    net: Path, tmp_path: Path, texts: list[str], words: str, note: str
) -> None:
    with pytest.raises(UnsupportedError, match=words) as caught:
        done(net, tmp_path, *texts)
    assert note in " ".join(getattr(caught.value, "__notes__", []))
    assert not list((tmp_path / "work").glob("net.1.onnx"))


def test_an_optional_step_that_cannot_be_done_changes_nothing(net: Path, tmp_path: Path) -> None:
    made = done(net, tmp_path, "snap:optional,layers=pool", "snap:bits=3")
    first, second = made.stages
    assert first.after == first.before
    assert [(one.layer, one.why) for one in first.effect.left] == [("-", "it has no weights a grid is for")]
    assert second.effect.changes


def test_samples_that_do_not_fit_are_refused(net: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="calibration data"):
        done(net, tmp_path, "snap", calibration={"x": np.zeros((4, 2, 8, 8), np.float32)})


def test_a_difference_is_found() -> None:
    right: list[dict[str, Any]] = [{"y": np.array([1.0, -2.0], np.float32)}]
    prove("a model", right, right)
    with pytest.raises(UnsupportedError, match=r"a model: its output 'y' differs by 0\.001"):
        prove("a model", [{"y": np.array([1.0, -2.001], np.float32)}], right)
