"""An agent process, a real broker, and what a subscriber hears."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit_agent.protocol import BY_KIND, Info, Kind, Report, State

pytestmark = pytest.mark.slow

NOT_FOR_THE_SUPERVISOR = ("numpy", "typer", "rich", "tensorflow", "edgekit", "edgekit_converters", "PIL", "openvino")
PSS_LIMIT_KIB = 25 * 1024


def test_reports_latency_of_a_real_model(
    broker: Any,
    listen: Callable[..., Any],
    start_agent: Callable[..., Any],
    agent_toml: Callable[..., str],
    repository: Path,
) -> None:
    listener = listen(broker.port)
    model = repository / "tests" / "data" / "models" / "conv_int8.tflite"
    start_agent(agent_toml(broker.port, model=model, rate_hz=50))
    first, second = listener.wait("tele", 2)[:2]
    report = Report.from_json(second.body)
    assert (first.body["seq"], report.seq) == (1, 2)
    assert (report.model, report.version) == ("kws", "1.2.0")
    assert re.fullmatch(r"(ai-edge-litert|tflite-runtime) \d+\.\d+\.\d+", report.runtime)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", report.artifact)
    assert report.executed_on == ("CPU",)
    assert 0.9 <= report.window_s <= 5
    assert 1 <= report.inferences <= 60 * report.window_s
    assert report.latency.infer.count == report.latency.e2e.count == report.inferences
    assert 0 < report.latency.infer.quantile(0.5) < 1
    assert report.rss_bytes is not None
    assert sum(second.body["stat"]["top1"].values()) == report.inferences


def test_presence_and_description_are_retained(
    broker: Any, listen: Callable[..., Any], start_agent: Callable[..., Any], agent_toml: Callable[..., str]
) -> None:
    early = listen(broker.port)
    start_agent(agent_toml(broker.port))
    early.wait("event", code="model-ready")
    late = listen(broker.port)
    (state,) = late.wait("state")[:1]
    (info,) = late.wait("info")[:1]
    assert state.retained
    assert info.retained
    told = State.from_json(state.body)
    assert (told.state, told.birth, told.heartbeat_s) == ("online", 1, 2.0)
    described = Info.from_json(info.body)
    assert [model.name for model in described.models] == ["kws"]
    assert described.hardware["cores"]


def test_every_message_fits_the_contract(
    broker: Any, listen: Callable[..., Any], start_agent: Callable[..., Any], agent_toml: Callable[..., str]
) -> None:
    listener = listen(broker.port)
    agent = start_agent(agent_toml(broker.port))
    listener.wait("tele")
    agent.stop()
    listener.wait("state", why="stop")
    for kind in (Kind.STATE, Kind.INFO, Kind.TELE, Kind.EVENT):
        for heard in listener.of(kind):
            assert BY_KIND[kind].from_json(heard.body).extra == {}


def test_a_finite_source_ends_and_says_so(
    broker: Any, listen: Callable[..., Any], start_agent: Callable[..., Any], agent_toml: Callable[..., str]
) -> None:
    listener = listen(broker.port)
    start_agent(agent_toml(broker.port, rate_hz=0, more="source = {limit = 100}"))
    listener.wait("event", code="source-finished")
    assert sum(one.body["n"] for one in listener.wait("tele")) == 100


def test_the_supervisor_is_small_and_loads_no_library_of_the_models(
    broker: Any, listen: Callable[..., Any], start_agent: Callable[..., Any], agent_toml: Callable[..., str]
) -> None:
    listener = listen(broker.port)
    agent = start_agent(agent_toml(broker.port), "-X", "importtime")
    listener.wait("tele", 2)
    imported = {line.rpartition("|")[2].strip() for line in agent.log.splitlines() if line.startswith("import time:")}
    assert "edgekit_agent.service" in imported
    assert not {name for name in imported if name.partition(".")[0] in NOT_FOR_THE_SUPERVISOR}
    mapped = Path(f"/proc/{agent.pid}/maps").read_text()
    assert not re.search(r"numpy|tensorflow|openvino|litert|tflite", mapped)


@pytest.mark.usefixtures("compiled_agent")
def test_the_idle_supervisor_takes_at_most_25_mib(
    broker: Any, listen: Callable[..., Any], start_agent: Callable[..., Any], agent_toml: Callable[..., str]
) -> None:
    listener = listen(broker.port)
    agent = start_agent(agent_toml(broker.port))
    listener.wait("tele", 2)
    rollup = Path(f"/proc/{agent.pid}/smaps_rollup").read_text()
    (pss,) = re.findall(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    assert int(pss) <= PSS_LIMIT_KIB


def test_an_agent_without_models_is_there(
    broker: Any, listen: Callable[..., Any], start_agent: Callable[..., Any]
) -> None:
    listener = listen(broker.port)
    text = f'device = "bare-1"\nstate_dir = "state"\n[broker]\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
    agent = start_agent(text)
    listener.wait("state", st="online")
    assert agent.stop() == 0
    listener.wait("state", why="stop")
