"""Commands: carried out once and in time, or answered with a reason; over restarts too."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgekit_agent.actions import Now, WorkerId
from edgekit_agent.benchmark import Benchmark
from edgekit_agent.commands import LONGEST_MS, MOST_BYTES, MOST_KEPT, Answer, CommandError, Commands
from edgekit_agent.config import ModelConfig
from edgekit_agent.durable import StateFile
from edgekit_agent.logtail import MOST_LINE, LogTail, log_tail
from edgekit_agent.protocol import Reason, Result
from tests.agent.crash_states import MemoryFiles
from tests.agent.spooling import at

PLACE = Path("/state/commands.json")
PATIENCE_S = 60.0
WORKERS = {WorkerId("kws", 1): ["Fatal error", "rtsp://me:hunter2@camera/1"], WorkerId("vww", 2, 1): ["fine"]}


class Waiting:
    """A job that ends when it is told to."""

    def __init__(self) -> None:
        """Begin."""
        self.results: list[Result] = []
        self.stopped = False

    def poll(self, _now: Now) -> list[Result]:
        told, self.results = self.results, []
        return told

    def stop(self) -> None:
        self.stopped = True


class Device:
    """Commands with one of each sort, on a disk of its own."""

    def __init__(self) -> None:
        """Begin with an empty disk."""
        self.files = MemoryFiles()
        self.files.make_folder(PLACE.parent)
        self.begun: list[tuple[Mapping[str, object], float]] = []
        self.asked: list[Mapping[str, object]] = []
        self.job = Waiting()
        self.start()

    def start(self) -> list[Answer]:
        self.commands = Commands(StateFile(PLACE, files=self.files), {"look": self.look}, {"work": self.work})
        return self.commands.start()

    def look(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        self.asked.append(arguments)
        if arguments.get("bad"):
            raise CommandError(Reason.COMMAND_INVALID, "bad")
        return {"seen": 1}

    def work(self, arguments: Mapping[str, object], end_s: float) -> Waiting:
        if arguments.get("bad"):
            raise CommandError(Reason.COMMAND_FAILED, "cannot begin")
        self.begun.append((arguments, end_s))
        return self.job

    def send(
        self, op: str, command: str = "c1", *, now_s: float = 0.0, exp_s: float = 60.0, **args: Any
    ) -> list[Result]:
        body = {"op": op, "args": args, "exp": at(now_s).ms + int(1000 * exp_s)}
        return [one.result for one in self.commands.received(command, json.dumps(body).encode(), at(now_s))]


@pytest.fixture
def device() -> Device:
    return Device()


def reasons(results: list[Result]) -> list[str | None]:
    return [result.reason for result in results]


class TestOnce:
    def test_what_is_asked_is_answered_at_once(self, device: Device) -> None:
        assert device.send("look", lines=3) == [Result(status="done", result={"seen": 1})]
        assert device.asked == [{"lines": 3}]

    def test_the_same_id_is_not_carried_out_again_not_even_by_the_next_process(self, device: Device) -> None:
        device.send("look")
        assert reasons(device.send("look")) == ["command-repeated"]
        assert device.start() == []
        assert reasons(device.send("work", "c1")) == ["command-repeated"]
        assert len(device.asked) == 1
        assert device.begun == []

    def test_ids_are_remembered_in_a_bounded_number(self, device: Device) -> None:
        for number in range(MOST_KEPT + 1):
            device.send("look", f"c{number}")
        device.start()
        assert reasons(device.send("look", "c1")) == ["command-repeated"]
        assert reasons(device.send("look", "c0")) == [None]

    def test_a_retained_command_that_is_taken_back_says_nothing(self, device: Device) -> None:
        assert device.commands.received("c1", b"", at(0)) == []

    @pytest.mark.parametrize("kept", [{"done": 3}, {"done": [1, ["a"], ["b", 1], ["c", True]]}, {}])
    def test_a_file_of_another_form_is_no_reason_to_stop(self, device: Device, kept: dict[str, object]) -> None:
        StateFile(PLACE, files=device.files).save(kept)
        assert device.start() == []
        assert reasons(device.send("look", "a")) == [None]


class TestRefused:
    @pytest.mark.parametrize(
        ("exp_s", "reason"),
        [(0.0, "command-expired"), (-5.0, "command-expired"), (LONGEST_MS / 1000 + 1, "command-invalid")],
        ids=["now", "over", "clock-not-set"],
    )
    def test_a_command_out_of_its_time(self, device: Device, exp_s: float, reason: str) -> None:
        assert reasons(device.send("look", exp_s=exp_s)) == [reason]
        assert device.asked == []

    @pytest.mark.parametrize(
        ("payload", "reason"),
        [
            (b"garbage", "command-invalid"),
            (b"\xff\xfe", "command-invalid"),
            (b"[]", "command-invalid"),
            (b'{"op":5}', "command-invalid"),
            (b'{"op":"look"}', "command-invalid"),
            (b'{"op":"look","args":[]}', "command-invalid"),
            (b"[" * 10_000, "command-invalid"),
            (b" " * (MOST_BYTES + 1), "command-too-large"),
        ],
        ids=["garbage", "bytes", "list", "type", "no-exp", "args", "deep", "large"],
    )
    def test_what_is_no_command(self, device: Device, payload: bytes, reason: str) -> None:
        (answer,) = device.commands.received("c1", payload, at(0))
        assert (answer.command, answer.result.status, answer.result.reason) == ("c1", "refused", reason)

    def test_an_unknown_operation_is_told_with_those_that_are_known(self, device: Device) -> None:
        (result,) = device.send("reboot" * 100)
        assert result.reason == "command-unknown"
        assert result.text is not None
        assert result.text.endswith("is not one of: look, work")
        assert len(result.text) < 200

    def test_a_refused_command_may_come_again(self, device: Device) -> None:
        assert reasons(device.send("look", bad=True)) == ["command-invalid"]
        assert reasons(device.send("look")) == [None]

    def test_a_job_that_cannot_be_written_down_is_not_begun(self, tmp_path: Path, device: Device) -> None:
        device.commands = Commands(
            StateFile(tmp_path / "gone" / "c.json"), {"look": device.look}, {"work": device.work}
        )
        assert reasons(device.send("work")) == ["disk-full"]
        assert device.begun == []
        assert reasons(device.send("look")) == [None]


class TestJobs:
    def test_a_job_tells_that_it_began_its_progress_and_its_end(self, device: Device) -> None:
        assert device.send("work", now_s=5, exp_s=60) == [Result(status="running", progress=0.0)]
        assert device.begun == [({}, 65.0)]
        device.job.results = [Result(status="running", progress=0.5)]
        assert [one.result.progress for one in device.commands.tick(at(6))] == [0.5]
        assert device.commands.tick(at(7)) == []
        device.job.results = [Result(status="done")]
        assert device.commands.busy
        assert [one.result.status for one in device.commands.tick(at(8))] == ["done"]
        assert not device.commands.busy

    def test_its_end_is_on_the_steady_clock_whatever_the_time_of_day_does(self, device: Device) -> None:
        device.send("work", now_s=5, exp_s=60)
        ((_, end_s),) = device.begun
        assert end_s == 65.0  # decided when it came: later jumps of the time of day mean nothing

    def test_one_at_a_time(self, device: Device) -> None:
        device.send("work", "c1")
        assert reasons(device.send("work", "c2")) == ["command-busy"]
        assert reasons(device.send("look", "c3")) == [None]
        device.job.results = [Result(status="failed")]
        device.commands.tick(at(1))
        assert reasons(device.send("work", "c2")) == [None]

    def test_one_that_was_cut_off_is_told_once_and_not_begun_again(self, device: Device) -> None:
        device.send("work")
        (answer,) = device.start()
        assert (answer.command, answer.result.status, answer.result.reason) == ("c1", "failed", "command-interrupted")
        assert reasons(device.send("work")) == ["command-repeated"]
        assert device.start() == []
        assert len(device.begun) == 1

    def test_one_that_cannot_begin_is_not_tried_again(self, device: Device) -> None:
        assert reasons(device.send("work", bad=True)) == ["command-failed"]
        assert not device.commands.busy
        assert reasons(device.send("work")) == ["command-repeated"]
        assert device.start() == []

    def test_an_agent_that_ends_ends_it_and_says_so(self, device: Device) -> None:
        assert device.commands.stop() == []
        device.send("work")
        (answer,) = device.commands.stop()
        assert (answer.result.reason, device.job.stopped) == ("command-interrupted", True)
        assert device.start() == []


class TestLogTail:
    @pytest.fixture
    def tail(self) -> LogTail:
        tail = LogTail(["s3cret-word"])
        for number in range(5):
            tail.handle(logging.makeLogRecord({"msg": f"event=e{number}", "levelname": "INFO"}))
        return tail

    def test_the_last_lines_of_the_agent_and_of_all_workers(self, tail: LogTail) -> None:
        found = log_tail(tail, WORKERS, {"lines": 2})
        log, workers = found["log"], found["workers"]
        assert isinstance(log, list)
        assert [line.rpartition(" ")[2] for line in log] == ["event=e3", "event=e4"]
        assert workers == {"kws/1/0": ["Fatal error", "rtsp://me:***@camera/1"], "vww/2/1": ["fine"]}

    def test_of_one_model_where_that_is_asked(self, tail: LogTail) -> None:
        assert log_tail(tail, WORKERS, {"model": "vww", "lines": 1})["workers"] == {"vww/2/1": ["fine"]}

    def test_secrets_are_not_in_it(self, tail: LogTail) -> None:
        tail.handle(logging.makeLogRecord({"msg": "refused s3cret-word, http://u:pw1234@host/x", "levelname": "INFO"}))
        (line,) = tail.last(1)
        assert line.endswith("refused ***, http://u:***@host/x")

    def test_it_is_bounded(self) -> None:
        tail = LogTail()
        for _ in range(3000):
            tail.handle(logging.makeLogRecord({"msg": "x" * 3000}))
        log = log_tail(tail, {}, {"lines": 1000})["log"]
        assert isinstance(log, list)
        assert len(log[0]) == MOST_LINE
        assert len(json.dumps(log)) < 70_000

    @pytest.mark.parametrize(
        "arguments",
        [{"lines": 0}, {"lines": 10**9}, {"lines": "5"}, {"model": "other"}, {"model": 5}, {"file": "/etc"}],
    )
    def test_wrong_arguments_are_refused(self, tail: LogTail, arguments: dict[str, object]) -> None:
        with pytest.raises(CommandError) as caught:
            log_tail(tail, WORKERS, arguments)
        assert caught.value.reason is Reason.COMMAND_INVALID


class TestBenchmark:
    @pytest.fixture
    def model(self, tmp_path: Path) -> Callable[..., ModelConfig]:
        """Makes a model of the null runtime."""

        def make(**script: Any) -> ModelConfig:
            port = {"shape": [1, 2], "dtype": "float32"}
            path = tmp_path / "m.null"
            path.write_text(
                json.dumps({"inputs": [{**port, "name": "x"}], "outputs": [{**port, "name": "y"}], **script})
            )
            return ModelConfig(name="kws", version="1.2.0", path=str(path))

        return make

    @staticmethod
    def finish(job: Benchmark, step_s: float = 0.05) -> list[Result]:
        """Poll as the supervisor does, until the end."""
        results: list[Result] = []
        end = time.monotonic() + PATIENCE_S
        while not results or results[-1].status == "running":
            assert time.monotonic() < end
            time.sleep(step_s)
            results += job.poll(Now(s=time.monotonic(), ms=0))
        return results

    @staticmethod
    def begin(model: ModelConfig, limit_s: float = PATIENCE_S, **arguments: Any) -> Benchmark:
        now = Now(s=time.monotonic(), ms=0)
        return Benchmark(model, arguments, now.s + limit_s, now)

    def test_it_tells_progress_and_the_latency(self, model: Callable[..., ModelConfig]) -> None:
        *running, result = self.finish(self.begin(model(latency_ms=[10.0]), runs=150))
        assert result.status == "done"
        assert (result.result["model"], result.result["ver"]) == ("kws", "1.2.0")
        timing: Any = result.result["timing"]
        assert timing["runs"] == 150
        assert timing["p50_ms"] >= 10
        shares = [one.progress or 0.0 for one in running]
        assert shares == sorted(shares)
        assert shares

    def test_a_model_that_ends_the_process_is_a_result(self, model: Callable[..., ModelConfig]) -> None:
        *_, result = self.finish(self.begin(model(faults={"5": "segfault"})))
        assert (result.status, result.reason) == ("failed", "command-failed")
        assert result.text is not None
        assert "killed by signal 11" in result.text

    def test_a_model_that_cannot_be_loaded_says_why(self, model: Callable[..., ModelConfig]) -> None:
        made = model()
        Path(made.path).write_text("garbage")
        *_, result = self.finish(self.begin(made))
        assert result.reason == "command-failed"
        assert result.text is not None
        assert "m.null" in result.text

    def test_when_its_time_is_over_it_is_ended(self, model: Callable[..., ModelConfig]) -> None:
        job = self.begin(model(latency_ms=[60_000.0]), limit_s=1.0)
        *_, result = self.finish(job)
        assert (result.status, result.reason) == ("failed", "command-expired")
        assert job._process.returncode == -9

    @pytest.mark.parametrize("arguments", [{"runs": 0}, {"runs": 10**6}, {"threads": "2"}, {"path": "/etc/passwd"}])
    def test_wrong_arguments_start_nothing(self, model: Callable[..., ModelConfig], arguments: dict[str, Any]) -> None:
        with pytest.raises(CommandError) as caught:
            self.begin(model(), **arguments)
        assert caught.value.reason is Reason.COMMAND_INVALID
