"""The agent's rules, over hours in milliseconds."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from edgekit_agent.actions import Action, EndWorker, KillWorker, Now, Queue, Send, StartWorker, WorkerId
from edgekit_agent.config import AgentConfig, LimitsConfig, ModelConfig, TelemetryConfig
from edgekit_agent.core import Core
from edgekit_agent.crew import BACKOFF_S, CRASH_WINDOW_S, CRASHES, DRAIN_S, STEADY_S
from edgekit_agent.protocol import Event, Info, Kind, Report, State

At = Callable[[float], Now]
Measured = Callable[..., dict[str, Any]]
Ready = Mapping[str, Any]
KWS, VWW = WorkerId("kws", 1), WorkerId("vww", 2)
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
        core.ready(KWS, ready, at(1))
        found = [reports(core.measured(KWS, measured(), at(1 + second))) for second in range(1, 11)]
        assert [len(one) for one in found] == [0] * 9 + [1]
        ((report,),) = (one for one in found if one)
        assert (report.seq, report.inferences, report.window_s) == (1, 100, 10.0)
        assert (report.model, report.version, report.runtime) == ("kws", "1.2.0", "ai-edge-litert 2.3.0")
        assert (report.boot, report.executed_on, report.rss_bytes) == ("0f3c", ("CPU",), 40_000_000)

    def test_the_latencies_of_all_pieces_are_in_the_report(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.ready(KWS, ready, at(0))
        for second in range(1, 10):
            core.measured(KWS, measured(10, infer_ms=2), at(second))
        (report,) = reports(core.measured(KWS, measured(10, infer_ms=50), at(10)))
        infer = report.latency.infer
        assert infer.count == 100
        assert infer.quantile(0.5) == pytest.approx(0.002, rel=0.023)
        assert infer.quantile(0.95) == pytest.approx(0.050, rel=0.023)
        assert infer.maximum == pytest.approx(0.050)

    def test_sequence_numbers_have_no_gap_over_an_hour_and_every_inference_is_counted(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.ready(KWS, ready, at(0))
        found = []
        for second in range(1, 3601):
            found += reports([*core.measured(KWS, measured(3), at(second)), *core.tick(at(second))])
        assert [report.seq for report in found] == list(range(1, 361))
        assert sum(report.inferences for report in found) == 3 * 3600

    def test_a_window_with_nothing_in_it_is_not_reported(self, core: Core, at: At, ready: Ready) -> None:
        core.start(at(0))
        core.ready(KWS, ready, at(0))
        assert reports(core.tick(at(20))) == []

    def test_a_silent_worker_s_window_is_closed_by_the_clock(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.ready(KWS, ready, at(0))
        core.measured(KWS, measured(), at(1))
        assert reports(core.tick(at(14))) == []
        (report,) = reports(core.tick(at(15.1)))
        assert (report.inferences, report.window_s) == (10, 1.0)

    def test_a_crash_closes_the_window_early(self, core: Core, at: At, ready: Ready, measured: Measured) -> None:
        core.start(at(0))
        core.ready(KWS, ready, at(0))
        core.measured(KWS, measured(), at(1))
        actions = core.died(KWS, CRASH, at(2))
        assert [report.inferences for report in reports(actions)] == [10]
        assert codes(actions) == ["worker-crashed"]

    def test_errors_drops_and_statistics_are_added(self, core: Core, at: At, ready: Ready, measured: Measured) -> None:
        core.start(at(0))
        core.ready(KWS, ready, at(0))
        piece = {"err": {"InputDataError": 2}, "drop": 3, "stat": {"top1": {"4": 5}, "correct": 1}, "failures": ["bad"]}
        first = core.measured(KWS, measured(1, span_s=5.0, **piece), at(5))
        (report,) = reports(core.measured(KWS, measured(1, span_s=5.0, **{**piece, "failures": []}), at(10)))
        assert codes(first) == ["inference-failed"]
        assert (report.errors, report.dropped) == ({"InputDataError": 4}, 6)
        assert report.statistics == {"top1": {"4": 10}, "correct": 2}

    def test_a_window_of_errors_only_is_reported(self, core: Core, at: At, ready: Ready, measured: Measured) -> None:
        core.start(at(0))
        core.ready(KWS, ready, at(0))
        (report,) = reports(core.measured(KWS, measured(0, span_s=10.0, err={"ModelError": 7}), at(10)))
        assert (report.inferences, report.errors) == (0, {"ModelError": 7})

    def test_the_end_of_the_data_closes_the_window_and_nothing_starts_again(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.ready(KWS, ready, at(0))
        core.measured(KWS, measured(), at(1))
        actions = core.finished(KWS, at(2))
        assert (len(reports(actions)), codes(actions)) == (1, ["source-finished"])
        assert core.died(KWS, {"exit_code": 0}, at(3)) == []
        assert starts(core.tick(at(10_000))) == []


class TestRestarts:
    def test_the_pause_doubles_up_to_a_minute(self, agent_config: AgentConfig, at: At) -> None:
        core = Core(agent_config, "b", {}, {})
        core.start(at(0))
        now, pauses = 0.0, []
        for _ in range(9):
            now += CRASH_WINDOW_S  # far apart, so that it is no loop
            core.died(KWS, CRASH, at(now))
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
            core.died(KWS, CRASH, at(start))
            core.tick(at(start + 2))
        assert codes(core.ready(KWS, ready, at(710))) == ["worker-restarted"]
        core.measured(KWS, measured(), at(710 + STEADY_S))
        core.died(KWS, CRASH, at(1500))
        assert starts(core.tick(at(1501))) == ["kws"]

    def test_five_crashes_within_ten_minutes_are_a_loop_and_the_model_stays_down(self, core: Core, at: At) -> None:
        core.start(at(0))
        found: list[list[str]] = []
        for number in range(CRASHES):
            found.append(codes(core.died(KWS, CRASH, at(100 * number))))
            core.tick(at(100 * number + 70))
        assert found == [["worker-crashed"]] * (CRASHES - 1) + [["worker-crashed", "crash-loop"]]
        assert starts(core.tick(at(10**6))) == []

    def test_another_model_goes_on_while_one_is_down(
        self, agent_config: AgentConfig, at: At, ready: Ready, measured: Measured
    ) -> None:
        second = ModelConfig(name="vww", path="vww.tflite")
        core = Core(replace(agent_config, model=(*agent_config.model, second)), "b", {}, {})
        core.start(at(0))
        core.ready(VWW, ready, at(0))
        core.died(KWS, CRASH, at(1))
        (report,) = reports(core.measured(VWW, measured(span_s=10.0), at(10)))
        assert (report.model, report.seq) == ("vww", 1)

    def test_a_refusal_is_tried_again_and_says_why(self, core: Core, at: At) -> None:
        core.start(at(0))
        refusal = {"code": "runtime-missing", "text": "no runtime", "hints": ["pip install x"]}
        (sent,) = (action for action in core.refused(KWS, refusal, at(1)) if isinstance(action, Send))
        assert isinstance(sent.message, Event)
        assert (sent.message.code, sent.message.level) == ("runtime-missing", "error")
        assert sent.message.detail == {"text": "no runtime", "hints": ["pip install x"]}
        assert starts(core.tick(at(2))) == ["kws"]

    def test_the_crash_event_holds_signal_and_last_words(self, core: Core, at: At) -> None:
        core.start(at(0))
        (sent,) = (action for action in core.died(KWS, CRASH, at(1)) if isinstance(action, Send))
        assert isinstance(sent.message, Event)
        assert sent.message.detail == CRASH
        assert (sent.message.model, sent.message.boot) == ("kws", "0f3c")

    def test_a_silent_worker_is_killed_and_reported_as_hung(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.ready(KWS, ready, at(0))
        core.measured(KWS, measured(), at(5))
        assert KillWorker(KWS) not in core.tick(at(35))
        assert KillWorker(KWS) in core.tick(at(35.1))
        assert codes(core.died(KWS, {"signal": "SIGKILL"}, at(35.2), hung=True)) == ["worker-hung"]
        assert starts(core.tick(at(36.3))) == ["kws"]

    def test_a_worker_that_never_gets_ready_is_killed(self, core: Core, at: At) -> None:
        core.start(at(0))
        assert core.next_time() == 30
        assert core.tick(at(31)) == [KillWorker(KWS)]

    def test_a_process_that_cannot_be_killed_is_killed_again_later(self, agent_config: AgentConfig, at: At) -> None:
        model = replace(agent_config.model[0], limits=LimitsConfig(hang_s=1))
        core = Core(replace(agent_config, model=(model,)), "b", {}, {})
        core.start(at(0))
        killed = [second for second in range(1, 7) if KillWorker(KWS) in core.tick(at(second))]
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
        assert told(core.ready(KWS, ready, at(2))) == 1
        core.died(KWS, CRASH, at(3))
        assert told(core.ready(KWS, ready, at(5))) == 0
        assert told(core.connected(2, at(6))) == 1

    def test_the_will_carries_the_birth_of_its_connection(self, core: Core) -> None:
        will = core.will(9)
        assert (will.state, will.birth, will.boot, will.why) == ("offline", 9, "0f3c", None)

    def test_a_clean_stop_closes_windows_and_says_goodbye_last(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.connected(3, at(0))
        core.ready(KWS, ready, at(0))
        core.measured(KWS, measured(), at(1))
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
    def test_a_long_outage_is_told_once_a_minute_and_in_all(self, core: Core, at: At, measured: Measured) -> None:
        """Not one event a report: they would push every other event out."""
        core.start(at(0))
        told: list[Mapping[str, object]] = []
        for second in range(10, 3610, 10):
            lost = second // 10
            for action in [*core.lost(lost, 40 + lost, at(second)), *core.tick(at(second))]:
                if isinstance(action, Send) and isinstance(action.message, Event):
                    assert action.message.code == "reports-dropped"
                    told.append(action.message.detail)
            core.measured(KWS, measured(0), at(second))  # the worker is there
        assert len(told) == 60
        assert told[0] == {"count": 1, "total": 41}  # 40 were lost before this run
        total = 40
        for detail in told:
            assert isinstance(detail["count"], int)
            total += detail["count"]
            assert detail["total"] == total

    def test_the_rest_is_told_when_its_minute_is_over(self, core: Core, at: At, measured: Measured) -> None:
        core.start(at(0))
        assert codes(core.lost(0, 7, at(0))) == []
        assert codes(core.lost(1, 8, at(0))) == ["reports-dropped"]
        assert codes(core.lost(5, 12, at(1))) == []
        core.measured(KWS, measured(0), at(59))
        assert core.next_time() == 60
        assert codes(core.tick(at(60))) == ["reports-dropped"]

    def test_a_disk_that_takes_no_reports_is_told_when_it_begins(self, core: Core, at: At) -> None:
        core.start(at(0))
        assert codes(core.disk(None, at(1))) == []
        (action,) = core.disk("No space left on device", at(2))
        assert isinstance(action, Send)
        assert isinstance(action.message, Event)
        assert (action.message.code, action.message.detail) == (
            "reports-in-memory",
            {"text": "No space left on device"},
        )
        assert codes(core.disk("No space left on device", at(3))) == []
        assert codes(core.disk(None, at(4))) == []
        assert codes(core.disk("Input/output error", at(5))) == ["reports-in-memory"]


class TestCrews:
    """Several workers of a model, and two releases of it at work."""

    @pytest.fixture
    def three(self, agent_config: AgentConfig) -> Core:
        model = replace(agent_config.model[0], workers=3)
        return Core(replace(agent_config, model=(model,)), "b", {}, {})

    def test_every_worker_has_an_id_of_its_own(self, three: Core, at: At) -> None:
        ids = [action.worker for action in three.start(at(0)) if isinstance(action, StartWorker)]
        assert ids == [WorkerId("kws", 1, number) for number in range(3)]

    def test_a_window_holds_what_all_workers_measured(
        self, three: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        three.start(at(0))
        found = []
        for number in range(3):
            three.ready(WorkerId("kws", 1, number), ready, at(0))
        for second in range(1, 11):
            for number in range(3):
                found += reports(three.measured(WorkerId("kws", 1, number), measured(4, drop=1), at(second)))
        (report,) = found
        assert (report.inferences, report.dropped, report.window_s) == (112, 28, 10.0)
        assert report.latency.infer.count == 112
        assert (report.rss_bytes, report.cpu_percent) == (120_000_000, 36.0)

    def test_the_death_of_one_is_told_with_its_number_and_the_others_go_on(
        self, three: Core, at: At, ready: Ready
    ) -> None:
        three.start(at(0))
        for number in range(3):
            three.ready(WorkerId("kws", 1, number), ready, at(0))
        (sent,) = (action for action in three.died(WorkerId("kws", 1, 2), CRASH, at(1)) if isinstance(action, Send))
        assert isinstance(sent.message, Event)
        assert sent.message.detail == {**CRASH, "worker": 2}
        crew = three.current("kws")
        assert crew is not None
        assert (crew.serving, crew.all_ready) == (True, False)
        (again,) = (action for action in three.tick(at(2)) if isinstance(action, StartWorker))
        assert again.worker == WorkerId("kws", 1, 2)

    def test_deaths_of_all_workers_of_a_release_count_together(self, three: Core, at: At, ready: Ready) -> None:
        three.start(at(0))
        for number in range(3):
            three.ready(WorkerId("kws", 1, number), ready, at(0))
        for number in range(CRASHES - 1):
            three.died(WorkerId("kws", 1, number % 2), CRASH, at(10 * number))
            three.tick(at(10 * number + 9))
        assert codes(three.died(WorkerId("kws", 1, 0), CRASH, at(50)))[-1] == "crash-loop"
        crew = three.current("kws")
        assert crew is not None
        assert crew.broken
        assert crew.serving  # the third was never dead
        assert starts(three.tick(at(10**6))) == []

    def test_a_release_that_takes_over_serves_before_the_one_before_is_told_to_end(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.ready(KWS, ready, at(0))
        crew, actions = core.employ(replace(core.config.model[0], version="1.3.0"), at(1))
        new = WorkerId("kws", 2)
        assert [action.worker for action in actions if isinstance(action, StartWorker)] == [new]
        core.ready(new, ready, at(2))
        found = [
            *core.measured(new, measured(5, span_s=10.0), at(12)),
            *core.measured(KWS, measured(span_s=10.0), at(12)),
        ]
        assert [(report.version, report.inferences) for report in reports(found)] == [("1.3.0", 5), ("1.2.0", 10)]
        assert core.promote(crew, at(13)) == [EndWorker(KWS)]
        assert core.current("kws") is crew
        core.measured(KWS, measured(3), at(14))
        assert [report.inferences for report in reports(core.died(KWS, {"exit_code": 0}, at(14)))] == [3]
        assert core.measured(new, measured(), at(14)) == []

    def test_a_release_that_is_dismissed_ends_without_a_complaint_and_is_not_started_again(
        self, core: Core, at: At, ready: Ready
    ) -> None:
        core.start(at(0))
        crew, _ = core.employ(core.config.model[0], at(0))
        assert core.dismiss(crew, at(1)) == [EndWorker(WorkerId("kws", 2))]
        assert core.ready(WorkerId("kws", 2), ready, at(2)) == []
        assert core.died(WorkerId("kws", 2), CRASH, at(3)) == []
        assert crew.gone
        assert starts(core.tick(at(100))) == []

    def test_one_that_does_not_end_is_killed_until_it_is_gone(self, core: Core, at: At, ready: Ready) -> None:
        core.start(at(0))
        core.ready(KWS, ready, at(0))
        crew = core.current("kws")
        assert crew is not None
        core.dismiss(crew, at(1))
        killed = [second for second in range(1, 60) if KillWorker(KWS) in core.tick(at(second))]
        assert killed == [22, 43]
        assert DRAIN_S == 20

    def test_one_that_waits_to_be_started_again_is_gone_at_once(self, core: Core, at: At) -> None:
        core.start(at(0))
        core.died(KWS, CRASH, at(0))
        crew = core.current("kws")
        assert crew is not None
        assert core.dismiss(crew, at(0.5)) == []
        assert crew.gone
        assert starts(core.tick(at(100))) == []


class TestConfigure:
    def test_a_window_s_length_changes_without_a_restart(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        core.ready(KWS, ready, at(0))
        core.measured(KWS, measured(), at(1))
        assert core.configure(TelemetryConfig(window_s=2), at(1.5)) == []
        assert [report.window_s for report in reports(core.measured(KWS, measured(), at(2)))] == [2.0]

    def test_the_next_heartbeat_comes_in_the_new_time(self, core: Core, at: At) -> None:
        core.start(at(0))
        core.connected(1, at(0))
        core.configure(TelemetryConfig(heartbeat_s=2), at(1))
        assert (len(states(core.tick(at(2.9)))), len(states(core.tick(at(3))))) == (0, 1)

    def test_a_model_whose_workers_must_be_told_anew_is_replaced_and_others_go_on(
        self, agent_config: AgentConfig, at: At
    ) -> None:
        threads = {"kws": 1, "vww": 1}
        config = replace(agent_config, model=(*agent_config.model, ModelConfig(name="vww", path="vww.tflite")))
        core = Core(config, "b", {}, {}, lambda release: replace(release, threads=threads[release.name]))
        core.start(at(0))
        assert core.configure(config.telemetry, at(1)) == []
        for number, count in enumerate((4, 1)):
            threads["vww"] = count
            actions = core.configure(config.telemetry, at(5 + number))
            (started,) = (action for action in actions if isinstance(action, StartWorker))
            (ended,) = (action for action in actions if isinstance(action, EndWorker))
            assert (started.model.name, started.model.threads, ended.worker.model) == ("vww", count, "vww")
            assert core.configure(config.telemetry, at(5 + number)) == []

    def test_what_is_installed_later_runs_with_it_too(self, core: Core, agent_config: AgentConfig, at: At) -> None:
        core = Core(agent_config, "b", {}, {}, lambda release: replace(release, rate_hz=7))
        core.start(at(0))
        crew, _ = core.employ(replace(agent_config.model[0], version="2.0.0", threads=3), at(1), prove=True)
        assert (crew.config.version, crew.config.threads, crew.config.rate_hz) == ("2.0.0", 3, 7)

    def test_patience_with_a_silent_worker_changes_at_once(
        self, agent_config: AgentConfig, at: At, ready: Ready
    ) -> None:
        limits = [LimitsConfig(hang_s=30)]
        core = Core(agent_config, "b", {}, {}, lambda release: replace(release, limits=limits[-1]))
        core.start(at(0))
        core.ready(KWS, ready, at(0))
        limits.append(LimitsConfig(hang_s=5))
        assert core.configure(agent_config.telemetry, at(1)) == []
        assert KillWorker(KWS) in core.tick(at(6))


class TestDrift:
    def test_drift_that_stays_is_told_and_scores_are_in_reports(
        self, core: Core, at: At, ready: Ready, measured: Measured
    ) -> None:
        core.start(at(0))
        baseline = {"inputs": {"x": {"mean": 0.0, "std": 1.0, "samples": 100}}, "classes": {"0": 900, "1": 100}}
        core.ready(KWS, {**ready, "baseline": baseline}, at(0))
        n = 300
        sums = {"n": 30, "values": n, "sum": [2.0 * n], "squares": [5.0 * n]}
        told: list[Event] = []
        for window in range(1, 5):
            piece = measured(n, span_s=10.0, stat={"top1": {"0": 100, "1": 200}, "in": {"x": sums}})
            actions = core.measured(KWS, piece, at(10 * window))
            (report,) = reports(actions)
            assert report.statistics["top1"] == {"0": 100, "1": 200}
            assert report.statistics["in"] == {
                "x": {"mean": 2.0, "std": 1.0, "samples": 30, "channel_mean": [], "channel_std": []}
            }
            drift = report.statistics["drift"]
            assert isinstance(drift, dict)
            assert drift["inputs"] == {"x": 2.0}
            told += [one.message for one in actions if isinstance(one, Send) and isinstance(one.message, Event)]
        (event,) = told
        assert (event.code, event.level, event.model) == ("drift-suspected", "warning", "kws")
        assert event.detail["limits"] == {"classes": 0.25, "inputs": 0.5, "times": 3}


class TestClock:
    @pytest.mark.parametrize("jump_s", [3600.0, -86400.0, 56 * 365 * 86400.0, 1.5])
    def test_a_jump_of_the_time_of_day_is_told_once_and_changes_nothing_else(
        self, core: Core, at: At, ready: Ready, measured: Measured, jump_s: float
    ) -> None:
        def jumped(seconds: float) -> Now:
            now = at(seconds)
            return replace(now, ms=now.ms + int(1000 * jump_s) if seconds >= 5 else now.ms)

        core.start(jumped(0))
        core.connected(1, jumped(0))
        core.ready(KWS, ready, jumped(0))
        told, found, beats = [], [], 0
        for second in range(1, 31):
            actions = [*core.measured(KWS, measured(), jumped(second)), *core.tick(jumped(second))]
            told += [one.message for one in actions if isinstance(one, Send) and isinstance(one.message, Event)]
            found += reports(actions)
            beats += len(states(actions))
        assert [(event.code, event.detail) for event in told] == [("clock-jumped", {"by_s": jump_s})]
        assert [(report.seq, report.inferences, report.window_s) for report in found] == [
            (1, 100, 10.0),
            (2, 100, 10.0),
            (3, 100, 10.0),
        ]
        assert beats == 3

    def test_a_clock_that_is_steered_is_not_told(self, core: Core, at: At) -> None:
        core.start(at(0))
        for second in range(1, 1000):
            core._crews[1]._workers[0].heard = second
            now = at(second)
            assert codes(core.tick(replace(now, ms=now.ms + second))) == []
