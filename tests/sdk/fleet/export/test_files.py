"""CSV, Parquet, dashboards and configurations, as the command line writes them."""

import csv
import io
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgekit.cli.fleet._store_options import moment_ms
from edgekit.cli.main import app
from edgekit.errors import EnvironmentMissingError, UsageError
from edgekit.fleet.export.grafana import WIDTH, dashboards
from edgekit.fleet.export.metrics import BY_NAME
from edgekit.fleet.store import DeviceKey, Store
from edgekit.fleet.store import history as module
from edgekit.fleet.store.history import Extract
from edgekit_agent.protocol import ExpHistogram

Fill = Callable[..., None]
MINUTE_MS = 60_000
BEGIN_MS = 1_799_999_940_000  # a whole minute
NOW_MS = BEGIN_MS + 600_000


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["fleet", *arguments], catch_exceptions=False)


@pytest.fixture
def filled(store: Store, fill: Fill, known: Callable[..., DeviceKey]) -> str:
    """A store with two devices and three minutes; its URL."""
    known("dev-1")
    known("dev-2", board="=cmd()")
    for minute in range(3):
        for device in ("dev-1", "dev-2"):
            for part in range(2):
                fill(
                    device, seq=2 * minute + part + 1, at_ms=BEGIN_MS + MINUTE_MS * minute + 1000 * part,
                    values=(0.001 * (minute + 1), 0.002), temperature_c=40.0 + part,
                )  # fmt: skip
    store.rollups.roll_all()
    return str(store.engine.url)


SPAN = ("--from", "2027-01-15T07:59", "--to", "2027-01-15T08:05")


def test_csv_has_a_row_a_minute_and_device(filled: str) -> None:
    result = _run("export", "csv", "--store", filled, *SPAN, "--histograms")
    assert result.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(int(row["at_ms"]), row["device"]) for row in rows] == [
        (BEGIN_MS + MINUTE_MS * minute, device) for minute in range(3) for device in ("dev-1", "dev-2")
    ]
    assert (rows[0]["reports"], rows[0]["inferences"], rows[0]["temperature_c_mean"]) == ("2", "4", "40.5")
    assert rows[0]["temperature_c_max"] == "41.0"
    assert ExpHistogram.from_json(json.loads(rows[2]["infer_histogram"])) == ExpHistogram.of((0.002,) * 4, 4)
    assert float(rows[2]["infer_p50_ms"]) == pytest.approx(2.0, rel=0.022)
    assert (rows[0]["pre_count"], rows[0]["pre_p50_ms"]) == ("0", "")
    assert rows[1]["hardware"] == "'=cmd()"  # no spreadsheet runs it


def test_rows_are_chosen_by_device_label_model_and_detail(filled: str, tmp_path: Path) -> None:
    def count(*arguments: str) -> int:
        result = _run("export", "csv", "--store", filled, *SPAN, *arguments)
        assert result.exit_code == 0
        return len(result.stdout.splitlines()) - 1

    assert count("--detail", "report") == 12
    assert count("--detail", "hour", "--from", "2027-01-15T07:00") == 4  # 07:59 is another hour than 08:00
    assert count("--filter", "device=dev-1") == 3
    assert count("--filter", "label.room=lab and device~*-2", "--model", "kws") == 3
    assert count("--filter", "label.room=attic") == count("--model", "other") == count("--version", "9") == 0
    file = tmp_path / "out.csv"
    assert _run("export", "csv", str(file), "--store", filled, *SPAN).stderr == f"{file}: 6 rows\n"
    assert [path.name for path in tmp_path.iterdir() if "csv" in path.name] == ["out.csv"]


def test_rows_are_read_part_by_part(store: Store, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert filled
    whole = list(store.history.rows(Extract(from_ms=0, to_ms=NOW_MS)))
    raw = list(store.history.rows(Extract(from_ms=0, to_ms=NOW_MS, detail="report")))
    monkeypatch.setattr(module, "CHUNK", 2)
    assert list(store.history.rows(Extract(from_ms=0, to_ms=NOW_MS))) == whole
    assert list(store.history.rows(Extract(from_ms=0, to_ms=NOW_MS, detail="report"))) == raw
    assert len(raw) == 12


def test_parquet_has_the_same_columns_and_values_as_csv(filled: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'edgekit-sdk[parquet]'")
    file = tmp_path / "out.parquet"
    assert _run("export", "parquet", str(file), "--store", filled, *SPAN).exit_code == 0
    table = parquet.read_table(file)
    rows = list(csv.DictReader(io.StringIO(_run("export", "csv", "--store", filled, *SPAN).stdout)))
    assert table.column_names == list(rows[0])
    assert table.num_rows == len(rows)
    assert table["infer_p99_ms"].to_pylist() == [float(row["infer_p99_ms"]) for row in rows]
    assert table["pre_p99_ms"].to_pylist() == [None] * 6
    assert [int(at.timestamp() * 1000) for at in table["at_ms"].to_pylist()] == [int(row["at_ms"]) for row in rows]


def test_a_missing_library_or_store_is_told(filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentMissingError, match="there is no store"):
        _run("export", "csv", "--store", f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pyarrow" else True)
    with pytest.raises(EnvironmentMissingError, match="needs pyarrow") as caught:
        _run("export", "parquet", str(tmp_path / "x"), "--store", filled)
    assert "edgekit-sdk[parquet]" in caught.value.__notes__[0]


def test_times_are_ago_or_iso() -> None:
    assert moment_ms("now", NOW_MS) == NOW_MS
    assert moment_ms("2h", NOW_MS) == NOW_MS - 7_200_000
    assert moment_ms("2027-01-15T07:59", 0) == moment_ms("2027-01-15T08:59+01:00", 0) == BEGIN_MS
    for text in ("", "h", "soon", "2027-13-01", "9999999999d"):
        with pytest.raises(UsageError, match="is no time"):
            moment_ms(text, NOW_MS)


# --- Grafana and Telegraf

_VALUES = {"$__rate_interval": "1m", "$site": "a", "$model": "b", "$hardware": "c", "$stage": "infer"}


def _expressions(dashboard: dict[str, Any]) -> list[str]:
    found = []
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in _VALUES.items():
                text = text.replace(name, value)
            found.append(text)
    return found


def test_dashboards_are_whole_and_name_only_metrics_that_there_are(tmp_path: Path) -> None:
    assert _run("export", "grafana", str(tmp_path)).stdout.split() == [str(tmp_path / name) for name in dashboards()]
    assert len(dashboards()) == 3
    for name, dashboard in dashboards().items():
        assert json.loads((tmp_path / name).read_text()) == dashboard
        assert dashboard["uid"] == name.removesuffix(".json")
        variables = {one["name"] for one in dashboard["templating"]["list"]}
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken
            assert max(x for x, _ in cells) < WIDTH
            taken |= cells
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert sorted(panel["id"] for panel in dashboard["panels"]) == list(range(1, len(dashboard["panels"]) + 1))
        text = json.dumps(dashboard)
        assert set(re.findall(r"edgekit_[a-z_]+", text)) <= set(BY_NAME)
        assert set(re.findall(r"\$\{?([a-z]+)\}?", text)) <= variables
        assert not any("$" in one for one in _expressions(dashboard))


def test_prometheus_understands_every_question_of_the_dashboards(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool: apt-get install prometheus")
    every = [one for dashboard in dashboards().values() for one in _expressions(dashboard)]
    rules = [{"record": f"r:{number}", "expr": one} for number, one in enumerate(every)]
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    checked = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert f"{len(every)} rules found" in checked.stdout


def test_the_telegraf_snippet_reads_what_devices_send(make_report: Callable[..., Any]) -> None:
    result = _run("export", "telegraf", "--server", "https://fleet.example/")
    parsed = tomllib.loads(result.stdout)["inputs"]
    assert parsed["prometheus"][0]["urls"] == ["https://fleet.example/metrics"]
    consumer = parsed["mqtt_consumer"][0]
    report = json.loads(
        make_report(
            cpu_percent=1.0, rss_bytes=1, temperature_c=1.0, throttled=0, frequency_mhz=1.0, power_w=1.0, dropped=1
        ).to_bytes()
    )
    (parser,) = consumer["json_v2"]
    for one in [*parser["field"], *parser["tag"], {"path": parser["timestamp_path"]}]:
        assert one["path"] in report
    with pytest.raises(UsageError, match="quote"):
        _run("export", "telegraf", "--server", 'http://x"\n[[inputs.exec]]')
