"""What the command line imports and how it ends, in real processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("numpy", "tensorflow", "openvino", "paho", "onnx", "nncf", "ai_edge_litert", "sklearn", "PIL")


def _edgekit(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "edgekit.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=cwd)


@pytest.mark.parametrize("arguments", [["--help"], ["convert", "--help"], ["fleet", "watch", "--help"]], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, json\nfrom edgekit.cli import main\n"
        f"sys.argv = ['edgekit', *{arguments!r}]\n"
        "try:\n    main.app()\nexcept SystemExit as end:\n    assert end.code in (0, None), end.code\n"
        f"print('@' + json.dumps([name for name in {HEAVY!r} if name in sys.modules]))\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(answer.stdout.rpartition("@")[2]) == []


def test_every_command_is_listed_and_explains_itself_with_an_example() -> None:
    listed = _edgekit("--help").stdout
    for command in (
        "quickstart",
        "convert",
        "inspect",
        "compare",
        "evaluate",
        "bench",
        "cut",
        "flash",
        "fleet",
        "doctor",
        "pack",
        "repo",
    ):
        assert f" {command} " in listed
        help_text = _edgekit(command, "--help").stdout
        assert "edgekit" in help_text


def test_no_arguments_and_an_unknown_option_are_usage_errors() -> None:
    assert _edgekit().returncode == 2
    answer = _edgekit("convert", "--precison", "int8", "x")
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr


def test_the_version_is_the_agents() -> None:
    from edgekit_agent import __version__

    assert _edgekit("--version").stdout.strip() == f"edgekit {__version__}"
