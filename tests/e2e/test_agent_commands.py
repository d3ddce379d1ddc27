"""The commands of `edgekit-agent` besides `run`, as processes."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def agent(agent_python: tuple[str, dict[str, str]]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs a command to its end."""
    python, extra = agent_python

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [python, "-P", "-m", "edgekit_agent", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=200, env={**os.environ, **extra}
        )

    return run


def test_bench_gives_one_document(agent: Callable[..., Any], repository: Path) -> None:
    model = repository / "tests" / "data" / "models" / "conv_int8.tflite"
    done = agent("bench", str(model), "--runs", "50", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["schema"], document["timing"]["runs"]) == (1, 50)
    assert document["timing"]["min_ms"] <= document["timing"]["p50_ms"] <= document["timing"]["p99_ms"]


def test_bench_takes_a_device_and_properties(agent: Callable[..., Any], repository: Path) -> None:
    model = repository / "tests" / "data" / "models" / "conv_int8.tflite"
    common = ("bench", str(model), "--runtime", "openvino", "--runs", "5", "--json")
    done = agent(*common, "--device", "AUTO:CPU", "--property", "PERFORMANCE_HINT=THROUGHPUT")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["executed_on"] == ["CPU"]
    done = agent(*common, "--device", "NPU")
    assert (done.returncode, "no device 'NPU' here" in done.stderr) == (3, True)
    assert agent(*common, "--property", "nothing").returncode == 2


def test_bench_of_a_broken_model_ends_with_3(agent: Callable[..., Any], tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"text")
    done = agent("bench", str(broken))
    assert done.returncode == 3
    assert done.stderr.startswith("error: model '")
    assert "Traceback" not in done.stderr


def test_probe_tells_hardware_and_runtimes(agent: Callable[..., Any]) -> None:
    done = agent("probe", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["hardware"]["cores"] >= 1
    assert any(state["ok"] for state in found["runtimes"].values())


def test_check_config_says_what_will_run(
    agent: Callable[..., Any], agent_toml: Callable[..., str], tmp_path: Path
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(agent_toml(1883))
    done = agent("check-config", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert "model kws: version 1.2.0" in done.stdout
    config.write_text(agent_toml(1883, model=tmp_path / "gone.null"))
    done = agent("check-config", "--config", str(config))
    assert done.returncode == 3
    assert "gone.null' does not exist" in done.stderr
    config.write_text(agent_toml(1883, more='limits = {user = "nobody-of-that-name"}'))
    assert "no user 'nobody-of-that-name'" in agent("check-config", "--config", str(config)).stderr
    config.write_text(agent_toml(1883, more='delegate = "lib/x.so"'))
    assert "lib/x.so' does not exist" in agent("check-config", "--config", str(config)).stderr
    config.write_text(agent_toml(1883, more='threads = "many"'))
    assert "model.threads is 'many'" in agent("check-config", "--config", str(config)).stderr
