"""The stopwatch and the measuring process."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit_agent import bench, measure
from edgekit_agent.bench import Stages, Timing
from edgekit_agent.protocol import MEMORY_SCALE, ExpHistogram


def test_many_readings_at_once_count_like_one_after_the_other(rng: np.random.Generator) -> None:
    spans = (rng.lognormal(-6, 2, 5000) * 1e9).astype(np.int64)
    stages = Stages()
    stages.extend([(0, int(span), int(span), int(span)) for span in spans])
    assert stages.pre == ExpHistogram.of(span * 1e-9 for span in spans.tolist())
    assert stages.infer.zeros == 5000


def test_values_on_a_bucket_s_edge_fall_where_the_law_says() -> None:
    stages = Stages()
    edges = [2**power * 1_000_000_000 for power in range(-5, 5) if power >= 0]
    stages.extend([(0, edge, edge, edge) for edge in edges])
    assert stages.pre == ExpHistogram.of(float(edge) * 1e-9 for edge in edges)


def test_no_readings_are_an_empty_histogram() -> None:
    stages = Stages()
    stages.extend([])
    assert stages.latency(MEMORY_SCALE).e2e.count == 0


@pytest.mark.parametrize(("q", "wanted"), [(0.0, 1000), (0.5, 2000), (0.99, 4000), (1.0, 4000)])
def test_quantiles_are_of_the_nearest_rank(q: float, wanted: float) -> None:
    assert Timing(seconds=(4.0, 1.0, 3.0, 2.0)).quantile_ms(q) == wanted


def test_the_summary_holds_the_whole_distribution(rng: np.random.Generator) -> None:
    seconds = rng.lognormal(-7, 0.5, 333)
    summary = Timing(seconds=tuple(seconds.tolist())).to_json()
    wanted = 1000 * np.quantile(seconds, np.arange(101) / 100, method="inverted_cdf")
    assert summary["quantiles_ms"] == pytest.approx(wanted, rel=1e-12)
    assert [summary[f"p{percent}_ms"] for percent in (50, 90, 99)] == pytest.approx(wanted[[50, 90, 99]], rel=1e-12)


@pytest.mark.slow
def test_models_are_measured_side_by_side_and_one_failure_loses_no_other(models: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "in.npz", image=rng.random((5, 8, 8, 3), dtype=np.float32))
    request = {
        "models": [
            {"id": "float", "path": str(models / "conv.tflite")},
            {"id": "int8", "path": str(models / "conv_int8.tflite")},
            {"id": "gone", "path": str(tmp_path / "gone.tflite")},
        ],
        "inputs": str(tmp_path / "in.npz"),
        "outputs": str(tmp_path),
        "runs": 20,
        "warmup": 2,
    }
    answer = measure.run(request)["models"]
    assert answer["gone"]["error"]["kind"] == "ModelError"
    results = {}
    for key in ("float", "int8"):
        assert answer[key]["timing"]["runs"] == 20
        with np.load(answer[key]["result"], allow_pickle=False) as archive:
            results[key] = archive["scores"]
    assert results["float"].shape == results["int8"].shape == (5, 5)
    # outputs are real values whatever the model stores: a few steps of 0.026 apart
    assert np.allclose(results["float"], results["int8"], rtol=0, atol=0.11)


def test_the_time_limit_ends_it_after_a_few(models: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")
    from edgekit_agent import feeds, runtimes

    session = runtimes.get("ai-edge-litert").load(models / "conv.tflite")
    inputs = {"a": feeds.synthetic(session.inputs, 0)}
    timing = bench.measure({"a": session}, inputs, runs=10**6, warmup=0, limit_s=0.05)["a"]
    assert 3 <= len(timing.seconds) < 10**6


def test_a_model_that_loads_and_then_fails_loses_no_other(tmp_path: Path) -> None:
    ports = {
        "inputs": [{"name": "x", "shape": [1, 2], "dtype": "float32"}],
        "outputs": [{"name": "y", "shape": [1, 2], "dtype": "float32"}],
    }
    (tmp_path / "good.null").write_text(json.dumps(ports))
    (tmp_path / "bad.null").write_text(json.dumps({**ports, "faults": {"0": "raise"}}))
    words = {**ports, "inputs": [{"name": "x", "shape": [1], "dtype": "str"}]}
    (tmp_path / "words.null").write_text(json.dumps(words))
    models = [{"id": name, "path": str(tmp_path / f"{name}.null")} for name in ("bad", "words", "good")]
    answer = measure.run({"models": models, "runs": 5, "warmup": 1})["models"]
    assert answer["good"]["timing"]["runs"] == 5
    assert answer["bad"]["error"]["message"] == "the script raises here"
    assert answer["words"]["error"]["kind"] == "InputDataError"
