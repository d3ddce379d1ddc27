"""The accuracy gate on a net that plain int8 ruins: few layers in float, an honest report, and no trial made twice."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.converters.quantize.hard_nets import CULPRITS

pytestmark = pytest.mark.slow

Run = Callable[[list[str]], "subprocess.CompletedProcess[str]"]
Words = Callable[..., list[str]]

INT8 = ("--precision", "int8:ranges=mse", "--max-drop", "0.005")
TFLITE = ("--to", "tflite", *INT8)


def reported(folder: Path) -> list[dict[str, Any]]:
    """Return the artifacts of a folder's report."""
    found: list[dict[str, Any]] = json.loads((folder / "report.json").read_text())["artifacts"]
    return found


def ledger(output: Path) -> Path:
    return output.with_name(f".{output.name}.search.jsonl")


@pytest.fixture(scope="module")
def searched(hard: Path, command: Words, run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a whole search for TFLite found, `g` having been asked to stay in float."""
    output = tmp_path_factory.mktemp("searched") / "out"
    done = run(command(hard, output, *TFLITE, "--float-layers", "g"))
    assert done.returncode == 0, done.stderr
    assert not ledger(output).exists()
    (artifact,) = reported(output)
    return {**artifact, "folder": output}


def test_a_hard_net_passes_with_few_layers_in_float(searched: dict[str, Any]) -> None:
    first, *_, _ = trials = searched["search"]["trials"]
    assert searched["status"] == "ok"
    assert (first["why"], first["float_layers"], first["passed"]) == ("as asked for", [], False)
    assert first["drop"] > 0.05
    assert searched["accuracy"]["drop"] <= 0.005
    assert searched["search"]["ended"] == "found"
    assert len(trials) < 20
    passing = [one for one in trials if one["passed"]]
    fewest = min(len(one["float_layers"]) for one in passing)
    assert fewest <= 3
    tried = [(one["precision"], tuple(sorted(one["float_layers"]))) for one in trials]
    assert len(set(tried)) == len(tried)


def test_the_report_tells_who_left_a_layer_in_float_and_what_layers_cost(searched: dict[str, Any]) -> None:
    reasons = {one["name"]: one["reason"] for one in searched["float_layers"]}
    assert reasons.pop("g") == "asked for"
    assert reasons
    assert set(reasons.values()) == {"the accuracy gate"}
    assert {"narrow", "bent"} <= set(reasons)
    layers = {one["name"]: one for one in searched["layers"]}
    assert all(layers[name]["kept_float"] for name in CULPRITS[:2])
    assert not layers["ra"]["kept_float"]
    damages = [one["damage"] for one in searched["layers"]]
    assert damages == sorted(damages, reverse=True)
    assert [one["pass"] for one in searched["steps"]][-1:] == ["accuracy gate"]
    assert searched["steps"][-1]["after"]["drop"] == searched["accuracy"]["drop"]


def test_the_layers_named_are_in_float_in_the_file(searched: dict[str, Any]) -> None:
    from edgekit_converters import tflite_file
    from edgekit_converters.layers import tflite

    view = tflite.view(tflite_file.read(searched["folder"] / searched["path"]))
    kinds = {node.name: view.values[node.outputs[0]].dtype for node in view.nodes if node.op.endswith("_2D")}
    assert kinds["narrow"] == "float32"
    assert kinds["rc"] == "int8"


def test_openvino_names_the_sources_layers(hard: Path, command: Words, run: Run, tmp_path: Path) -> None:
    words = command(hard, tmp_path / "o", "--to", "openvino", *INT8, model="hard.onnx")
    done = run(words)
    assert done.returncode == 0, done.stderr
    (artifact,) = reported(tmp_path / "o")
    names = {one["name"] for one in artifact["float_layers"]}
    assert names
    assert names & {"narrow", "bent", "wide", "narrow/WithoutBiases", "wide/WithoutBiases"}
    assert artifact["accuracy"]["drop"] <= 0.005
    assert {one["reason"] for one in artifact["float_layers"]} == {"the accuracy gate"}
    text = (tmp_path / "o" / artifact["path"]).read_text()
    assert "FakeQuantize" in text


def test_no_time_ends_with_6_and_a_later_run_goes_on_and_replaces_what_was_rejected(
    hard: Path, command: Words, run: Run, tmp_path: Path
) -> None:
    output = tmp_path / "o"
    both = ("--to", "tflite", "--to", "openvino", *INT8)
    done = run(command(hard, output, *both, "--time-budget", "0"))
    assert done.returncode == 6, done.stderr
    assert "rejected: top1 drops by" in done.stderr
    names = sorted(file.name for file in (output / "models").iterdir())
    stem = "hard.int8-rangesmse"
    assert names == [f"{stem}.bin.rejected", f"{stem}.tflite.rejected", f"{stem}.xml.rejected"]
    for artifact in reported(output):
        assert artifact["status"] == "rejected"
        assert artifact["path"].endswith(".rejected")
        assert (output / artifact["path"]).is_file()
        assert artifact["search"]["ended"] == "budget"
        assert artifact["layers"][0]["damage"] > 0
        assert not artifact["chosen"]
    kept = [json.loads(line) for line in ledger(output).read_text().splitlines() if line]
    assert [one["float_layers"] for one in kept] == [[], []]

    done = run(command(hard, output, *both, "--max-drop", "1"))
    assert done.returncode == 0, done.stderr
    assert "resumed: 2 trials are made already" in done.stderr
    assert sorted(file.name for file in (output / "models").iterdir()) == [
        f"{stem}.{one}" for one in ("bin", "tflite", "xml")
    ]
    assert not ledger(output).exists()


def _until(happens: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def test_a_killed_search_goes_on_where_it_was_and_finds_the_same(
    hard: Path, command: Words, run: Run, searched: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "o"
    words = command(hard, output, *TFLITE, "--float-layers", "g")
    process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        _until(lambda: sum(bool(one["float_layers"]) for one in _lines(ledger(output))) >= 2, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the command and the job it waits for
        process.communicate()
    made = _lines(ledger(output))
    assert not (output / "report.json").exists()
    with ledger(output).open("a") as file:
        file.write('{"run": "cut sho')
    done = run(words)
    assert done.returncode == 0, done.stderr
    assert f"resumed: {len(made)} trials are made already" in done.stderr
    (artifact,) = reported(output)
    trials = artifact["search"]["trials"]
    assert [one["seconds"] for one in trials[: len(made)]] == [one["seconds"] for one in made]
    before = searched["search"]["trials"]
    assert [(one["float_layers"], one["drop"]) for one in trials] == [(o["float_layers"], o["drop"]) for o in before]
    assert artifact["float_layers"] == searched["float_layers"]
    assert artifact["sha256"] == searched["sha256"]
    assert not ledger(output).exists()


def test_an_interrupt_leaves_nothing_half_written(hard: Path, command: Words, tmp_path: Path) -> None:
    output = tmp_path / "o"
    words = command(hard, output, *TFLITE)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    _until(lambda: bool(_lines(ledger(output))), process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: the command and its job
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not output.exists()


def test_other_data_is_another_search(hard: Path, command: Words, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "o"
    copies = tmp_path / "data"
    copies.mkdir()
    for name in ("hard.tflite", "calib.npz", "test.npz"):
        (copies / name).write_bytes((hard / name).read_bytes())
    words = command(copies, output, *TFLITE, "--time-budget", "0")
    assert run(words).returncode == 6
    with np.load(copies / "test.npz") as data:
        np.savez(copies / "test.npz", x=data["x"], y=(data["y"] + 1) % 6)
    done = run(words)
    assert "resumed" not in done.stderr


def test_a_metric_where_less_is_better_has_its_gate(hard: Path, command: Words, run: Run, tmp_path: Path) -> None:
    with np.load(hard / "test.npz") as data:
        np.savez(tmp_path / "test.npz", x=data["x"][:60], y=np.eye(6, dtype=np.float32)[data["y"][:60]])
    more = ("--eval", f"{tmp_path}/test.npz", "--metric", "mae", "--to", "tflite", "--precision", "int8")
    done = run(command(hard, tmp_path / "o", *more, "--max-drop", "0.0001", "--time-budget", "0"))
    assert done.returncode == 6, done.stderr
    (artifact,) = reported(tmp_path / "o")
    assert artifact["accuracy"]["drop"] == pytest.approx(
        artifact["accuracy"]["artifact"] - artifact["accuracy"]["source"]
    )
    assert artifact["accuracy"]["drop"] > 0.0001
    done = run(command(hard, tmp_path / "o", *more, "--max-drop", "1000"))
    assert done.returncode == 0, done.stderr


def test_a_gate_without_labels_is_refused_before_any_work(hard: Path, command: Words, run: Run, tmp_path: Path) -> None:
    with np.load(hard / "test.npz") as data:
        np.savez(tmp_path / "bare.npz", x=data["x"][:8])
    done = run(command(hard, tmp_path / "o", *TFLITE, "--eval", f"{tmp_path}/bare.npz"))
    assert done.returncode == 3
    assert "has no labels: top1 needs" in done.stderr
    assert "load:" not in done.stderr
    assert not (tmp_path / "o").exists()


def test_the_output_may_be_the_current_folder(hard: Path, command: Words, tmp_path: Path) -> None:
    words = command(hard, Path(), "--to", "tflite", "--precision", "int8-weights", "--max-drop", "1")
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models" / "hard.int8-weights.tflite").is_file()


def test_auto_takes_the_fastest_that_passes_and_is_not_slower_than_float(
    hard: Path, command: Words, run: Run, tmp_path: Path
) -> None:
    words = command(hard, tmp_path / "o", "--precision", "auto", "--time-budget", "0", bench=True)
    done = run(words)
    assert done.returncode == 0, done.stderr
    artifacts = reported(tmp_path / "o")
    for form in ("tflite", "openvino"):
        mine = [one for one in artifacts if one["format"] == form]
        assert {one["precision"]: one["status"] for one in mine}["int8"] == "rejected"
        (chosen,) = [one for one in mine if one["chosen"]]
        assert chosen["status"] == "ok"
        assert chosen["accuracy"]["drop"] <= 0.005
        speed = chosen["latency"]["speedup"]
        assert chosen["precision"] == "fp32" or speed >= 0.97
        quicker = [
            one["precision"]
            for one in mine
            if one["status"] == "ok" and one["latency"]["p50_ms"] < chosen["latency"]["p50_ms"]
        ]
        assert all(one["latency"]["speedup"] < 1 for one in mine if one["precision"] in quicker)


@pytest.mark.parametrize("more", [("--precision", "auto"), ("--precision", "auto", "--eval", "x.npz", "--no-bench")])
def test_auto_needs_data_and_measuring(more: tuple[str, ...], hard: Path, run: Run, command: Words) -> None:
    words = [*command(hard, Path("o"))[:5], *more]
    done = run(words)
    assert done.returncode == 2
    assert "precision auto takes the fastest that passes; it needs" in done.stderr
