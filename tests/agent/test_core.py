"""The agent's rules, over hours in milliseconds."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from edgekit_agent.config import AgentConfig, LimitsConfig, ModelConfig
from edgekit_agent.core import (
    BACKOFF_S,
    CRASH_WINDOW_S,
    CRASHES,
    STEADY_S,
    Action,
    Core,
    KillWorker,
    Now,
    Queue,
    Send,
    StartWorker,
)
from edgekit_agent.protocol import Event, Info, Kind, Report, State

At = Callable[[float], Now]
Measured = Callable[..., dict[str, Any]]
Ready = Mapping[str, Any]
CRASH = {"signal": "SIGSEGV", "stderr": ["Fatal Python error"]}


@pytest.fixture
def core(agent_config: AgentConfig) -> Core:
    return Core(agent_config, "0f3c", {"arch": "x86_64"}, {"ai-edge-litert": "2.3.0"})


def codes(actions: list[Action]) -> list[str]:
    return [action.message.code for action in actions if isinstance(action, Send) and isinstance(action.message, Event)]


def reports(actions: list[Action]) -> list[Report]:
    return [action.report for action in actions if isinstance(action, Queue)]


def states(actions: list[Action]) -> list[State]:
    return [action.message for action in actions if isinstance(action, Send) and isinstance(action.message, State)]


def starts(actions: list[Action]) -> list[str]:
    return [action.model.name for action in actions if isinstance(action, StartWorker)]


def test_starts_every_model(agent_config: AgentConfig, at: At) -> None:
    second = ModelConfig(name="vww", path="vww.tflite")
    core = Core(replace(agent_config, model=(*agent_config.model, second)), "b", {}, {})
    actions = core.start(at(0))
    assert starts(actions) == ["kws", "vww"]
    assert codes(actions) == ["agent-started"]


class TestWindows:
    def test_a_window_is_closed_when_it_is_measured_in_full(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.ready("kws", ready, at(1))
        found = [reports(core.measured("kws", measured(), at(1 + second))) for second in range(1, 11)]
        assert [len(one) for one in found] == [0] * 9 + [1]
        ((report,),) = (one for one in found if one)
        assert (report.seq, report.inferences, report.window_s) == (1, 100, 10.0)
        assert (report.model, report.version, report.runtime) == ("kws", "1.2.0", "ai-edge-litert 2.3.0")
        assert (report.boot, report.executed_on, report.rss_bytes) == ("0f3c", ("CPU",), 40_000_000)

    def test_the_latencies_of_all_pieces_are_in_the_report(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.ready("kws", ready, at(0))
        for second in range(1, 10):
            core.measured("kws", measured(10, infer_ms=2), at(second))
        (report,) = reports(core.measured("kws", measured(10, infer_ms=50), at(10)))
        infer = report.latency.infer
        assert infer.count == 100
        assert infer.quantile(0.5) == pytest.approx(0.002, rel=0.023)
        assert infer.quantile(0.95) == pytest.approx(0.050, rel=0.023)
        assert infer.maximum == pytest.approx(0.050)

    def test_sequence_numbers_have_no_gap_over_an_hour_and_every_inference_is_counted(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.ready("kws", ready, at(0))
        found = []
        for second in range(1, 3601):
            found += reports([*core.measured("kws", measured(3), at(second)), *core.tick(at(second))])
        assert [report.seq for report in found] == list(range(1, 361))
        assert sum(report.inferences for report in found) == 3 * 3600

    def test_a_window_with_nothing_in_it_is_not_reported(self, core: Core, at: At, ready: Ready) -> None:
        core.start(at(0))
        core.ready("kws", ready, at(0))
        assert reports(core.tick(at(20))) == []

    def test_a_silent_worker_s_window_is_closed_by_the_clock(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.ready("kws", ready, at(0))
        core.measured("kws", measured(), at(1))
        assert reports(core.tick(at(14))) == []
        (report,) = reports(core.tick(at(15.1)))
        assert (report.inferences, report.window_s) == (10, 1.0)

    def test_a_crash_closes_the_window_early(self, core: Core, at: At, ready: Ready, measured: Measured) -> None:
        core.start(at(0))
        core.ready("kws", ready, at(0))
        core.measured("kws", measured(), at(1))
        actions = core.died("kws", CRASH, at(2))
        assert [report.inferences for report in reports(actions)] == [10]
        assert codes(actions) == ["worker-crashed"]

    def test_errors_drops_and_statistics_are_added(self, core: Core, at: At, ready: Ready, measured: Measured) -> None:
        core.start(at(0))
        core.ready("kws", ready, at(0))
        piece = {"err": {"InputDataError": 2}, "drop": 3, "stat": {"top1": {"4": 5}, "correct": 1}, "failures": ["bad"]}
        first = core.measured("kws", measured(1, span_s=5.0, **piece), at(5))
        (report,) = reports(core.measured("kws", measured(1, span_s=5.0, **{**piece, "failures": []}), at(10)))
        assert codes(first) == ["inference-failed"]
        assert (report.errors, report.dropped) == ({"InputDataError": 4}, 6)
        assert report.statistics == {"top1": {"4": 10}, "correct": 2}

    def test_a_window_of_errors_only_is_reported(self, core: Core, at: At, ready: Ready, measured: Measured) -> None:
        core.start(at(0))
        core.ready("kws", ready, at(0))
        (report,) = reports(core.measured("kws", measured(0, span_s=10.0, err={"ModelError": 7}), at(10)))
        assert (report.inferences, report.errors) == (0, {"ModelError": 7})

    def test_the_end_of_the_data_closes_the_window_and_nothing_starts_again(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.ready("kws", ready, at(0))
        core.measured("kws", measured(), at(1))
        actions = core.finished("kws", at(2))
        assert (len(reports(actions)), codes(actions)) == (1, ["source-finished"])
        assert core.died("kws", {"exit_code": 0}, at(3)) == []
        assert starts(core.tick(at(10_000))) == []


class TestRestarts:
    def test_the_pause_doubles_up_to_a_minute(self, agent_config: AgentConfig, at: At) -> None:
        core = Core(agent_config, "b", {}, {})
        core.start(at(0))
        now, pauses = 0.0, []
        for _ in range(9):
            now += CRASH_WINDOW_S  # far apart, so that it is no loop
            core.died("kws", CRASH, at(now))
            due = core.next_time()
            assert due is not None
            pauses.append(due - now)
            assert starts(core.tick(at(due - 0.01))) == []
            assert starts(core.tick(at(due))) == ["kws"]
            now = due
        assert pauses == [*BACKOFF_S, 60.0, 60.0]

    def test_a_worker_that_was_steady_starts_over_with_a_short_pause(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        for start in (0, 700):
            core.died("kws", CRASH, at(start))
            core.tick(at(start + 2))
        assert codes(core.ready("kws", ready, at(710))) == ["worker-restarted"]
        core.measured("kws", measured(), at(710 + STEADY_S))
        core.died("kws", CRASH, at(1500))
        assert starts(core.tick(at(1501))) == ["kws"]

    def test_five_crashes_within_ten_minutes_are_a_loop_and_the_model_stays_down(self, core: Core, at: At) -> None:
        core.start(at(0))
        found: list[list[str]] = []
        for number in range(CRASHES):
            found.append(codes(core.died("kws", CRASH, at(100 * number))))
            core.tick(at(100 * number + 70))
        assert found == [["worker-crashed"]] * (CRASHES - 1) + [["worker-crashed", "crash-loop"]]
        assert starts(core.tick(at(10**6))) == []

    def test_another_model_goes_on_while_one_is_down(
        self, agent_config: AgentConfig, at: At, ready: Ready, measured: Measured
    ) -> None:
        second = ModelConfig(name="vww", path="vww.tflite")
        core = Core(replace(agent_config, model=(*agent_config.model, second)), "b", {}, {})
        core.start(at(0))
        core.ready("vww", ready, at(0))
        core.died("kws", CRASH, at(1))
        (report,) = reports(core.measured("vww", measured(span_s=10.0), at(10)))
        assert (report.model, report.seq) == ("vww", 1)

    def test_a_refusal_is_tried_again_and_says_why(self, core: Core, at: At) -> None:
        core.start(at(0))
        refusal = {"code": "runtime-missing", "text": "no runtime", "hints": ["pip install x"]}
        (sent,) = (action for action in core.refused("kws", refusal, at(1)) if isinstance(action, Send))
        assert isinstance(sent.message, Event)
        assert (sent.message.code, sent.message.level) == ("runtime-missing", "error")
        assert sent.message.detail == {"text": "no runtime", "hints": ["pip install x"]}
        assert starts(core.tick(at(2))) == ["kws"]

    def test_the_crash_event_holds_signal_and_last_words(self, core: Core, at: At) -> None:
        core.start(at(0))
        (sent,) = (action for action in core.died("kws", CRASH, at(1)) if isinstance(action, Send))
        assert isinstance(sent.message, Event)
        assert sent.message.detail == CRASH
        assert (sent.message.model, sent.message.boot) == ("kws", "0f3c")

    def test_a_silent_worker_is_killed_and_reported_as_hung(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.ready("kws", ready, at(0))
        core.measured("kws", measured(), at(5))
        assert KillWorker("kws") not in core.tick(at(35))
        assert KillWorker("kws") in core.tick(at(35.1))
        assert codes(core.died("kws", {"signal": "SIGKILL"}, at(35.2), hung=True)) == ["worker-hung"]
        assert starts(core.tick(at(36.3))) == ["kws"]

    def test_a_worker_that_never_gets_ready_is_killed(self, core: Core, at: At) -> None:
        core.start(at(0))
        assert core.next_time() == 30
        assert core.tick(at(31)) == [KillWorker("kws")]

    def test_a_process_that_cannot_be_killed_is_killed_again_later(self, agent_config: AgentConfig, at: At) -> None:
        model = replace(agent_config.model[0], limits=LimitsConfig(hang_s=1))
        core = Core(replace(agent_config, model=(model,)), "b", {}, {})
        core.start(at(0))
        killed = [second for second in range(1, 7) if KillWorker("kws") in core.tick(at(second))]
        assert killed == [2, 4, 6]


class TestPresence:
    def test_a_connection_is_announced_with_what_the_device_is(self, core: Core, at: At) -> None:
        core.start(at(0))
        actions = core.connected(7, at(1))
        (state,) = states(actions)
        assert (state.state, state.birth, state.boot, state.heartbeat_s) == ("online", 7, "0f3c", 10.0)
        (info,) = (action for action in actions if isinstance(action, Send) and action.kind is Kind.INFO)
        assert info.retained
        assert isinstance(info.message, Info)
        assert info.message.models[0].name == "kws"

    def test_the_heartbeat_comes_in_time_and_only_while_connected(self, core: Core, at: At) -> None:
        core.start(at(0))
        assert states(core.tick(at(1))) == []
        core.connected(1, at(1))
        beats = [second for second in range(2, 50) if states(core.tick(at(second)))]
        assert beats == [11, 21, 31, 41]
        core.disconnected()
        assert states(core.tick(at(100))) == []

    def test_the_description_is_sent_again_only_when_it_changes(self, core: Core, at: At, ready: Ready) -> None:
        def told(actions: list[Action]) -> int:
            return sum(isinstance(action, Send) and action.kind is Kind.INFO for action in actions)

        core.start(at(0))
        assert told(core.connected(1, at(1))) == 1
        assert told(core.ready("kws", ready, at(2))) == 1
        core.died("kws", CRASH, at(3))
        assert told(core.ready("kws", ready, at(5))) == 0
        assert told(core.connected(2, at(6))) == 1

    def test_the_will_carries_the_birth_of_its_connection(self, core: Core) -> None:
        will = core.will(9)
        assert (will.state, will.birth, will.boot, will.why) == ("offline", 9, "0f3c", None)

    def test_a_clean_stop_closes_windows_and_says_goodbye_last(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.connected(3, at(0))
        core.ready("kws", ready, at(0))
        core.measured("kws", measured(), at(1))
        actions = core.stop(at(2))
        assert [report.inferences for report in reports(actions)] == [10]
        last = actions[-1]
        assert isinstance(last, Send)
        assert isinstance(last.message, State)
        assert (last.retained, last.message.state, last.message.why) == (True, "offline", "stop")

    def test_without_a_connection_a_stop_says_nothing(self, core: Core, at: At) -> None:
        core.start(at(0))
        assert core.stop(at(1)) == []


class TestLostReports:
    def test_a_long_outage_is_told_once_a_minute_and_in_all(self, core: Core, at: At) -> None:
        """Not one event a report: they would push every other event out."""
        core.start(at(0))
        told: list[Mapping[str, object]] = []
        for second in range(10, 3610, 10):
            for action in [*core.lost(1, at(second)), *core.tick(at(second))]:
                if isinstance(action, Send) and isinstance(action.message, Event):
                    assert action.message.code == "reports-dropped"
                    told.append(action.message.detail)
            core._slots["kws"].heard = second  # the worker is there
        assert len(told) == 60
        assert told[0] == {"count": 1, "total": 1}
        total = 0
        for detail in told:
            assert isinstance(detail["count"], int)
            total += detail["count"]
            assert detail["total"] == total

    def test_the_rest_is_told_when_its_minute_is_over(self, core: Core, at: At) -> None:
        core.start(at(0))
        assert codes(core.lost(1, at(0))) == ["reports-dropped"]
        assert codes(core.lost(4, at(1))) == []
        core._slots["kws"].heard = 59
        assert core.next_time() == 60
        assert codes(core.tick(at(60))) == ["reports-dropped"]
