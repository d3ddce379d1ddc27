"""Pipelines of stages in processes of their own: results, order, stages that fail or die, and files that are wrong."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_agent import measure, pipeline_file, pipes, runtimes, streams
from edgekit_agent.errors import InputDataError, ModelError
from edgekit_agent.runtimes.base import Array
from edgekit_agent.runtimes.pipeline import PipelineRuntime, PipelineSession


def port(name: str, shape: list[int] | None = None) -> dict[str, object]:
    return {"name": name, "shape": shape or [1, 2], "dtype": "float32"}


def pipeline(folder: Path, count: int = 2, **scripts: dict[str, object]) -> Path:
    """Write stages of the null runtime, each of which gives the mean of what it takes; scripts by `stageN`."""
    stages = []
    for at in range(count):
        name = f"stage{at}"
        script = {"inputs": [port(f"v{at}")], "outputs": [port(f"v{at + 1}")], **scripts.get(name, {})}
        (folder / f"{name}.null").write_text(json.dumps(script))
        stages.append({"file": f"{name}.null", "runtime": "null", "takes": [f"v{at}"], "gives": [f"v{at + 1}"]})
    return written(folder, inputs=[port("v0", [-1, 2])], outputs=[f"v{count}"], stages=stages)


def written(folder: Path, **document: object) -> Path:
    path = folder / "net.pipeline"
    path.write_text(json.dumps({"schema": 1, **document}))
    return path


def opened(path: Path) -> PipelineSession:
    return PipelineRuntime().load(path)


def given(value: float) -> list[Array]:
    return [np.full((1, 2), value, np.float32)]


def running() -> list[int]:
    """The stages among this process's children."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = folder.joinpath("status").read_text()
        except OSError:
            continue
        if f"PPid:\t{os.getpid()}\n" in status and _alive(int(folder.name)):
            found.append(int(folder.name))
    return found


def test_it_is_a_model_like_any_other(tmp_path: Path) -> None:
    path = pipeline(tmp_path, 3)
    session = runtimes.choose(path).load(path)
    assert [one.name for one in session.inputs] == ["v0"]
    assert session.inputs[0].shape == (1, 2)
    assert [one.name for one in session.outputs] == ["v3"]
    assert session.executed_on == ("CPU",)
    np.testing.assert_array_equal(session.invoke(given(7)), [np.full((1, 2), 7)])
    session.close()
    assert running() == []


def test_several_inferences_are_on_their_way_and_each_gets_its_own_result(tmp_path: Path) -> None:
    slow: dict[str, object] = {"latency_ms": [40.0]}
    path = pipeline(tmp_path, 3, stage0=slow, stage1=slow, stage2=slow)
    sessions = streams.load(PipelineRuntime(), path, 3)

    def run(at: int) -> list[float]:
        return [float(sessions[at].invoke(given(10 * at + number))[0].flat[0]) for number in range(5)]

    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(run, range(3)))
    assert results == [[10 * at + number for number in range(5)] for at in range(3)]
    for one in sessions:
        one.close()
    assert running() == []


def test_what_skips_stages_is_handed_on(tmp_path: Path) -> None:
    scripts = [
        {"inputs": [port("x")], "outputs": [port("a")]},
        {"inputs": [port("a")], "outputs": [port("b")]},
        {"inputs": [port("x"), port("b")], "outputs": [port("c")]},
    ]
    stages = []
    for at, script in enumerate(scripts):
        (tmp_path / f"{at}.null").write_text(json.dumps(script))
        takes, gives = ([str(one["name"]) for one in script[side]] for side in ("inputs", "outputs"))
        stages.append({"file": f"{at}.null", "takes": takes, "gives": gives})
    path = written(tmp_path, inputs=[port("x"), port("unused")], outputs=["c", "a", "x"], stages=stages)
    told = pipeline_file.read(path)
    assert told.taken == ("x",)
    assert [one.keeps for one in told.stages] == [("a", "x"), ("a", "b", "x"), ("a", "c", "x")]
    session = opened(path)
    outputs = session.invoke([*given(3), *given(0)])
    assert [float(one.flat[0]) for one in outputs] == [3, 3, 3]
    session.close()


def test_a_stage_that_fails_is_named_with_its_reason(tmp_path: Path) -> None:
    session = opened(pipeline(tmp_path, 2, stage1={"faults": {"1": "raise"}}))
    session.invoke(given(1))
    for _ in range(2):  # and says so again
        with pytest.raises(
            ModelError, match=r"stage 2 of the pipeline, 'stage1\.null', failed: the script raises here"
        ):
            session.invoke(given(1))
    session.close()
    assert running() == []


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_stage_that_is_killed_ends_all_and_is_named(stage: int, tmp_path: Path) -> None:
    scripts: dict[str, dict[str, object]] = {f"stage{stage}": {"faults": {"1": "segfault"}}}
    session = opened(pipeline(tmp_path, 3, **scripts))
    session.invoke(given(1))
    with pytest.raises(ModelError, match=rf"stage {stage + 1} of the pipeline, .* was killed by SIGSEGV"):
        session.invoke(given(1))
    session.close()
    assert running() == []


def test_nobody_waits_for_a_stage_that_died(tmp_path: Path) -> None:
    path = pipeline(tmp_path, 2, stage1={"latency_ms": [200.0], "faults": {"2": "segfault"}})
    sessions = streams.load(PipelineRuntime(), path, 4)
    with ThreadPoolExecutor(4) as threads:
        found = [one.exception() for one in [threads.submit(session.invoke, given(1)) for session in sessions]]
    assert [type(one) for one in found].count(ModelError) == 2
    for one in sessions:
        one.close()
    assert running() == []


def test_a_stage_that_cannot_be_loaded_leaves_nothing_running(tmp_path: Path) -> None:
    path = pipeline(tmp_path, 3)
    (tmp_path / "stage1.null").write_text("{")
    with pytest.raises(ModelError, match=r"stage 2 of the pipeline, 'stage1\.null', failed: model .* is not a script"):
        opened(path)
    assert running() == []


def test_stages_end_when_whoever_started_them_is_killed(tmp_path: Path) -> None:
    path = pipeline(tmp_path, 2)
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom edgekit_agent.runtimes.pipeline import PipelineRuntime\n"
        "session = PipelineRuntime().load(Path(sys.argv[1]))\n"
        "print(*[one.process.pid for one in session._shared.chain._workers], flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    stages = [int(one) for one in parent.stdout.readline().split()]
    assert len(stages) == 2
    parent.send_signal(signal.SIGKILL)
    parent.communicate(timeout=10)
    end = time.monotonic() + 10
    while any(map(_alive, stages)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(map(_alive, stages))


def _alive(pid: int) -> bool:
    try:
        return "edgekit_agent.stage" in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return False


def test_wrong_inputs_are_refused_and_the_stages_live_on(tmp_path: Path) -> None:
    session = opened(pipeline(tmp_path))
    with pytest.raises(InputDataError, match=r"input 'v0' takes float32\(1, 2\), not float32\(1, 3\)"):
        session.invoke([np.ones((1, 3), np.float32)])
    with pytest.raises(InputDataError, match="2 arrays were given and the model has 1 inputs"):
        session.invoke([*given(1), *given(1)])
    assert session.invoke(given(2))[0].flat[0] == 2
    session.close()
    with pytest.raises(ModelError, match="the pipeline is closed"):
        session.invoke(given(1))


def test_bench_measures_it_beside_others_with_several_on_their_way(tmp_path: Path) -> None:
    path = pipeline(tmp_path, 2, stage0={"latency_ms": [10.0]}, stage1={"latency_ms": [10.0]})
    request = {"models": [{"id": "p", "path": str(path)}], "runs": 3, "warmup": 0, "streams": 2, "streams_s": 1.0}
    answer = measure.run(request)["models"]["p"]
    one, two = answer["throughput"]
    assert (one["streams"], two["streams"]) == (1, 2)
    assert min(one["per_second"], two["per_second"]) > 0
    assert running() == []


BROKEN: dict[str, tuple[Any, str]] = {
    "not JSON": ("{", "is no pipeline"),
    "a list": ("[]", "is no pipeline"),
    "another schema": ({"schema": 2}, "is a pipeline of schema 2, and 1 is known"),
    "no stages": ({"stages": []}, "has 0 stages: 1 to 64 can be run"),
    "another folder": ({"stages": [{"file": "../a.null", "takes": ["x"], "gives": ["y"]}]}, "stage 1 lies elsewhere"),
    "nobody gives": ({"stages": [{"file": "a.null", "takes": ["z"], "gives": ["y"]}]}, "stage 1 takes 'z', which none"),
    "lost output": ({"stages": [{"file": "a.null", "takes": ["x"], "gives": ["z"]}]}, "no stage gives the output 'y'"),
    "names that are none": ({"stages": [{"file": "a.null", "takes": "x", "gives": ["y"]}]}, "is no list of names"),
}


@pytest.mark.parametrize(("document", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_wrong_is_refused(document: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "net.pipeline"
    whole = {"schema": 1, "inputs": [port("x")], "outputs": ["y"]}
    path.write_text(document if isinstance(document, str) else json.dumps({**whole, **document}))
    with pytest.raises(ModelError, match=reason):
        opened(path)
    with pytest.raises(ModelError, match="cannot be read"):
        opened(tmp_path / "gone.pipeline")


ARRAYS: dict[str, Any] = {
    "floats": np.arange(6, dtype=np.float32).reshape(2, 3),
    "nothing": np.zeros((0, 3), np.float32),
    "a number": np.asarray(5, np.int64),
    "truths": np.asarray([True, False]),
    "a view": np.arange(24, dtype=np.int8).reshape(4, 6)[::2, ::3],
}


def test_arrays_of_any_kind_go_through_a_socket() -> None:
    near, far = socket.socketpair()
    with near, far:
        thread = threading.Thread(target=pipes.send, args=(near, ARRAYS))
        thread.start()
        got = pipes.Reader(far).receive()
        thread.join()
        assert got is not None
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(got[name], array)
            assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape)


@pytest.mark.parametrize(
    "line", [b"{}x\n", b'[["a","O",[1]]]\n', b'[["a","<f4",[-1]]]\n', b"[1]\n", b'[["a","<f8",[1e9]]]\n']
)
def test_what_is_no_message_is_said(line: bytes) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.sendall(line)
        with pytest.raises(pipes.BrokenPipeDataError, match="what came is no message"):
            pipes.Reader(far).receive()


def test_a_message_cut_short_is_the_end() -> None:
    near, far = socket.socketpair()
    with far:
        near.sendall(b'[["a","<f4",[2]]]\n1234')
        near.close()
        assert pipes.Reader(far).receive() is None
