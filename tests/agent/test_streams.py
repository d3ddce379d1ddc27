"""Several inferences at a time: what they compute, how they are counted, and one that fails."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from edgekit_agent import measure, runtimes, streams
from edgekit_agent.errors import ModelError
from edgekit_agent.runtimes.base import Array, Session

PORTS = {
    "inputs": [{"name": "x", "shape": [1, 2], "dtype": "float32"}],
    "outputs": [{"name": "y", "shape": [1, 2], "dtype": "float32"}],
}
FEEDS: list[list[Array]] = [[np.ones((1, 2), np.float32)]]


def scripted(folder: Path, **more: object) -> Path:
    path = folder / "net.null"
    path.write_text(json.dumps({**PORTS, **more}))
    return path


def pool(path: Path, count: int) -> list[Session]:
    return streams.load(runtimes.get("null"), path, count)


def test_every_pool_is_measured_with_all_its_streams(tmp_path: Path) -> None:
    path = scripted(tmp_path, latency_ms=[10.0])
    found = streams.measure({"1": pool(path, 1), "4": pool(path, 4)}, FEEDS, seconds=0.5, turns=2)
    assert [one.streams for one in found.values()] == [1, 4]
    for one in found.values():
        assert one.per_second > 0
        assert one.timing.quantile_ms(0.0) >= 9  # the script's own wait


def test_inferences_a_second_are_all_of_them_over_the_time_they_took(tmp_path: Path) -> None:
    path = scripted(tmp_path, latency_ms=[5.0])
    (one,) = streams.measure({"2": pool(path, 2)}, FEEDS, seconds=0.1, turns=1).values()
    row = one.to_json()
    assert row["per_second"] == pytest.approx(row["inferences"] / one.seconds)


def test_one_stream_that_fails_ends_all_with_its_reason(tmp_path: Path) -> None:
    good, bad = pool(scripted(tmp_path), 2), pool(scripted(tmp_path, faults={"0": "raise"}), 1)
    before = set(threading.enumerate())
    with pytest.raises(ModelError, match="the script raises here"):
        streams.measure({"3": [*good, *bad]}, FEEDS, seconds=0.1)
    assert set(threading.enumerate()) <= before


def test_a_request_gets_a_row_for_one_stream_and_one_for_several(tmp_path: Path) -> None:
    models = [{"id": "a", "path": str(scripted(tmp_path, latency_ms=[1.0]))}]
    request = {"models": models, "runs": 3, "warmup": 0, "streams": 3, "streams_s": 0.1}
    answer = measure.run(request)["models"]["a"]
    assert [row["streams"] for row in answer["throughput"]] == [1, 3]
    assert "throughput" not in measure.run({**request, "streams": 1})["models"]["a"]


def test_a_model_that_fails_among_streams_loses_no_other(tmp_path: Path) -> None:
    good = scripted(tmp_path, latency_ms=[1.0])
    bad = tmp_path / "bad.null"
    bad.write_text(json.dumps({**PORTS, "faults": {"6": "raise"}}))
    models = [{"id": "bad", "path": str(bad)}, {"id": "good", "path": str(good)}]
    answer = measure.run({"models": models, "runs": 2, "warmup": 0, "streams": 2, "streams_s": 0.1})["models"]
    assert answer["bad"]["error"]["message"] == "the script raises here"
    assert len(answer["good"]["throughput"]) == 2


@pytest.mark.parametrize("name", ["ai-edge-litert", "onnxruntime", "openvino"])
def test_sessions_of_a_pool_run_at_the_same_time_and_compute_what_one_does(name: str, models: Path) -> None:
    runtime = runtimes.get(name)
    if not runtime.available().ok:
        pytest.skip(f"needs {name}")
    path = models / ("dense.onnx" if name == "onnxruntime" else "dense.tflite")
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(1, 4)).astype(np.float32) for _ in range(40)]
    alone = runtime.load(path)
    wanted = [np.array(alone.invoke([one])[0]) for one in given]
    sessions = streams.load(runtime, path, 4)
    got: list[list[Array]] = [[] for _ in sessions]

    def run(at: int) -> None:
        got[at] = [np.array(sessions[at].invoke([one])[0]) for one in given]

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(sessions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for outputs in got:
        np.testing.assert_allclose(outputs, wanted, rtol=1e-6)  # type: ignore[arg-type]  # floats
