"""Measuring, scoring and timing artifacts, with the scripted runtime and real ones."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit._bench import bench
from edgekit._evaluate import evaluate
from edgekit._measure import Candidate, measure
from edgekit.errors import DataError
from edgekit_agent.errors import ModelError, RuntimeMissingError
from edgekit_converters.jobs import JobRunner

SCRIPT = {
    "inputs": [{"name": "x", "shape": [-1, 2], "dtype": "float32"}],
    "outputs": [{"name": "y", "shape": [-1, 3], "dtype": "float32"}],
}


def _script(folder: Path, name: str, **more: object) -> Path:
    path = folder / f"{name}.null"
    path.write_text(json.dumps({**SCRIPT, **more}))
    return path


def test_ratios_of_scripted_models_are_those_of_their_scripts(tmp_path: Path) -> None:
    slow, fast = _script(tmp_path, "slow", latency_ms=[20.0]), _script(tmp_path, "fast", latency_ms=[5.0])
    result = bench([slow, fast], runs=10, warmup=1)
    assert [row.model for row in result.rows] == [str(slow), str(fast)]
    assert result.rows[1].against_first == pytest.approx(4.0, rel=0.3)
    document = result.to_json()
    assert document["schema"] == 1


def test_several_streams_are_measured_beside_one(tmp_path: Path) -> None:
    result = bench([_script(tmp_path, "m", latency_ms=[10.0])], runs=3, warmup=0, streams=2)
    one, two = result.rows[0].stream_cells()
    assert (one[2], one[-1], two[2]) == ("1", "1.00x", "2")
    assert float(two[-1].removesuffix("x")) > 0
    assert result.to_json()["models"][0]["throughput"][1]["streams"] == 2  # type: ignore[index]  # JSON
    alone = bench([_script(tmp_path, "m")], runs=3, warmup=0)
    assert alone.rows[0].stream_cells() == []
    assert "throughput" not in alone.rows[0].to_json()


def test_one_model_that_fails_does_not_lose_the_others(tmp_path: Path) -> None:
    broken = tmp_path / "broken.null"
    broken.write_text("{")
    result = bench([_script(tmp_path, "good"), broken], runs=5, warmup=0)
    assert result.rows[0].measured.runs == 5
    with pytest.raises(ModelError, match=r"broken\.null"):
        result.check()


def test_outputs_come_back_in_order_for_every_sample(tmp_path: Path) -> None:
    x = np.arange(14, dtype=np.float32).reshape(7, 2)
    jobs = JobRunner(log=tmp_path / "log")
    got = measure([Candidate(key="m", path=_script(tmp_path, "m"))], jobs, tmp_path, inputs={"x": x}, runs=0)["m"]
    assert got.outputs is not None
    assert got.outputs["y"].shape == (7, 3)
    assert np.allclose(got.outputs["y"][:, 0], x.mean(axis=1))
    assert got.runs == 0


def test_a_model_of_a_fixed_batch_takes_so_many_samples_at_a_time(tmp_path: Path) -> None:
    inputs, outputs = (
        [{"name": name, "shape": [4, width], "dtype": "float32"}] for name, width in (("x", 2), ("y", 3))
    )
    model = _script(tmp_path, "four", inputs=inputs, outputs=outputs)
    candidate, jobs = Candidate(key="m", path=model), JobRunner(log=tmp_path / "log")
    x = np.arange(14, dtype=np.float32).reshape(7, 2)
    got = measure([candidate], jobs, tmp_path, inputs={"x": x}, runs=0)["m"]
    assert got.error is None
    assert got.outputs is not None
    assert got.outputs["y"].shape == (7, 3)


def test_a_runtime_that_is_not_here_keeps_its_kind(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(64))
    with pytest.raises(RuntimeMissingError, match="tflite-runtime"):
        bench([tmp_path / "m.tflite"], ["tflite-runtime"]).check()


@pytest.mark.slow
def test_evaluating_source_and_artifact_gives_the_reports_figures(digits: Path) -> None:
    score = evaluate(digits / "digits.keras", f"{digits}/test.npz")
    assert score.accuracy.samples == 540
    assert score.accuracy.artifact > 0.95
    assert score.measured is None


def test_data_without_labels_cannot_be_scored(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2), np.float32))
    with pytest.raises(DataError, match="has no labels"):
        evaluate(_script(tmp_path, "m"), f"{tmp_path}/d.npz")


@pytest.mark.slow
def test_inspect_shows_operators_of_every_format(digits: Path, tmp_path: Path) -> None:
    from edgekit import ConvertOptions, convert

    convert(digits / "digits.keras", ConvertOptions(bench=False), tmp_path / "out")
    wanted = {
        "digits.keras": "CONV_2D",
        "out/models/digits.fp32.tflite": "CONV_2D",
        "out/models/digits.fp32.xml": "Convolution",
    }
    for name, operator in wanted.items():
        path = digits / name if name.endswith(".keras") else tmp_path / name
        command = [sys.executable, "-m", "edgekit.cli.main", "inspect", str(path), "--json", "--progress", "off"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert answer.returncode == 0, answer.stderr
        found = json.loads(answer.stdout)
        rows = {row["op"]: row for row in found["operators"]}
        assert rows[operator]["count"] == 3, name
        assert found["macs"] == 198_976, name
        assert found["inputs"][0]["name"] == "image", name
        assert len(found["layers"]) == sum(row["count"] for row in rows.values()), name
        assert found["memory"]["peak_bytes"] == max(layer["alive_bytes"] for layer in found["layers"]), name
        assert found["memory"]["lower_bound_bytes"] <= found["memory"]["peak_bytes"] <= found["memory"]["arena_bytes"]
