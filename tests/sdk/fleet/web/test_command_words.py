"""What the fleet's commands say: nothing yet, who is not let in, units, narrow terminals, a reader that goes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from edgekit.fleet.store import Store
from edgekit.fleet.wire import Reported, decode
from edgekit_agent.protocol import Kind
from tests.sdk.fleet.web import made_fleet
from tests.sdk.fleet.web.conftest import TOKEN, Served

Run = Callable[..., str]
EDGEKIT = [sys.executable, "-m", "edgekit.cli.main"]


@pytest.fixture
def fleet(served: Served) -> Run:
    """Run `edgekit fleet ...` against the service; what it says on stdout, or on stderr where it ends with `code`."""

    def run(*arguments: str, code: int = 0, **variables: str) -> str:
        environment = {"EDGEKIT_FLEET_SERVER": served.url, "EDGEKIT_FLEET_TOKEN": TOKEN, **variables}
        done = subprocess.run(
            [*EDGEKIT, "fleet", *arguments], capture_output=True, text=True, check=False, timeout=120,
            env={**os.environ, **environment},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    return run


@pytest.mark.slow
def test_nothing_yet_is_said(fleet: Run) -> None:
    assert fleet("rollout", "ls") == "no rollouts yet\n"
    assert json.loads(fleet("rollout", "ls", "--json")) == {"schema": 1, "rollouts": []}
    assert fleet("audit", "ls", "--subject", "rollout/kws-1") == "nothing was noted of 'rollout/kws-1'\n"
    assert fleet("alerts", "rules") == "no rules yet\n"
    assert fleet("alerts", "silences") == "nothing is silenced\n"
    assert fleet("top", "--once") == "nothing was measured in this time\n"
    assert fleet("query") == "nothing was measured in the last 1h\n"


@pytest.mark.slow
def test_what_is_not_there_and_who_is_not_let_in(fleet: Run) -> None:
    assert fleet("rollout", "show", "kws-1", code=2) == "error: there is no rollout 'kws-1'\n"
    assert "alerts.toml" in fleet("alerts", "test", "ops", code=2)
    told = fleet("ls", code=5, EDGEKIT_FLEET_TOKEN=TOKEN[:-1])
    assert "does not know this token" in told
    assert "is no digest" in fleet("audit", "verify", "--noted", "abc", code=2)
    assert "--filter" in fleet("forget", "cam-1", "--older", "90d", code=2)


@pytest.mark.slow
def test_a_device_is_shown_with_units_and_what_it_was_updated_to(fleet: Run, store: Store) -> None:
    now_ms = int(time.time() * 1000)
    (made,) = made_fleet.devices(1)
    made_fleet.introduce(store, [made], now_ms)
    made_fleet.history(store, [made], [now_ms - 5000])
    model = {"name": made.model, "version": made.version, "phase": "committed", "serving": made.version}
    raw = json.dumps({"v": 4, "models": [model]}).encode()
    said = decode(Kind.REPORTED, raw)
    assert isinstance(said, Reported)
    store.devices.put_reported(made.key, said, raw, now_ms)
    told = fleet("show", "cam-00000")
    assert f"update {made.model} {made.version}: committed" in told
    for unit in (" MiB", " °C", " %"):
        assert unit in told


@pytest.mark.slow
def test_an_alert_says_what_it_measures_and_hides_what_would_steer_the_terminal(fleet: Run, store: Store) -> None:
    from edgekit.fleet.alerts.part import AlertsPart
    from edgekit.fleet.alerts.settings import Settings
    from edgekit.fleet.alerts.watching import Sources

    made_fleet.history(store, made_fleet.devices(1), [int(time.time() * 1000) - 5000])
    fleet("alerts", "add", "slow", "p99 > 0.001", "--for", "0")
    AlertsPart(sources=Sources.of(store), settings=Settings()).look()
    (alert,) = json.loads(fleet("alerts", "ls", "--json"))["alerts"]
    assert (alert["when"], alert["unit"]) == ("p99 > 0.001", "ms")
    told = fleet("alerts", "ls").splitlines()
    assert told[0].split() == ["phase", "severity", "rule", "of", "when", "now", "worst", "since"]
    assert "p99 > 0.001" in told[1]
    assert " ms" in told[1]
    fleet("alerts", "silence", "slow", "*", "--comment", "new \x1b[31mcooling")
    silenced = fleet("alerts", "silences")
    assert "cooling" in silenced
    assert "\x1b" not in silenced + fleet("audit", "ls")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [["--help"], ["fleet", "simulate", "--faults"], ["fleet", "export", "telegraf"], ["fleet", "ls"]],
    ids=" ".join,
)
def test_a_reader_that_has_enough_is_no_error(served: Served, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "EDGEKIT_FLEET_SERVER": served.url, "EDGEKIT_FLEET_TOKEN": TOKEN}
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run(
            [*EDGEKIT, *words], stdout=gone, stderr=subprocess.PIPE, text=True, check=False, timeout=120,
            env=environment,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_narrow_terminals_keep_names_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from edgekit.cli import _console
    from edgekit.cli.fleet import figures

    point = {"p50_ms": 1.0, "p90_ms": 2.0, "p99_ms": 3.0, "max_ms": 4.0, "inferences": 100_000, "errors": 0,
             "dropped": 0, "rate_hz": 10.0}  # fmt: skip
    rows = [{"device": f"hall/sim-0000{number}", **point} for number in range(3)]
    monkeypatch.setattr(_console, "stdout", lambda: Console(width=80))
    _console.stdout().print(figures._table(rows))
    told = capsys.readouterr().out
    assert [f"hall/sim-0000{number}" in told for number in range(3)] == [True] * 3
    assert "p99 ms" in told
    assert "dropped" not in told
