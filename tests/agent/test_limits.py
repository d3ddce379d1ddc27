"""Limits that workers put on themselves, in processes of their own."""

import json
import os
import pwd
import subprocess
import sys
from typing import Any

import pytest

from edgekit_agent import limits
from edgekit_agent.config import LimitsConfig
from edgekit_agent.errors import ConfigError, LimitsError

CODE = """
import json, sys
from edgekit_agent import limits
from edgekit_agent.config import LimitsConfig
print(json.dumps(limits.apply(LimitsConfig(**json.loads(sys.argv[1])))))
sys.stdout.flush()
"""


def under(asked: dict[str, object], code: str = "") -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    """Run code under limits; return those in force and how it ended."""
    command = [sys.executable, "-c", CODE + code, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return json.loads(done.stdout.splitlines()[0]), done


def test_those_that_are_always_there() -> None:
    told, done = under(
        {}, "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))\nprint(open('/proc/self/status').read())"
    )
    assert (told["open_files"], told["nice"]) == (1024, os.getpriority(os.PRIO_PROCESS, 0))
    assert told["oom_score_adj"] == limits.DIES_FIRST
    assert "(0, 0)" in done.stdout
    assert "NoNewPrivs:\t1" in done.stdout
    assert "missing" not in told


def test_memory_files_and_priority() -> None:
    told, done = under(
        {"memory_mb": 500, "open_files": 40, "nice": 19},
        "try: bytearray(b'x') * (600 << 20)\nexcept MemoryError: print('no memory')\n"
        "try: held = [open('/dev/null') for n in range(100)]\nexcept OSError as exc: print(exc.strerror)\n",
    )
    assert (told["memory_mb"], told["open_files"], told["nice"]) == (500, 40, 19)
    assert done.stdout.splitlines()[1:] == ["no memory", "Too many open files"]


def test_it_cannot_take_them_off_again() -> None:
    code = "import resource\ntry: resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))\n"
    code += "except ValueError as exc: print(exc)"
    if os.geteuid() == 0:
        pytest.skip("root may raise its limits again")
    _, done = under({"memory_mb": 900}, code)
    assert "not allowed" in done.stdout


def test_the_time_of_the_processor_ends_it_by_a_signal_that_says_so() -> None:
    told, done = under({"cpu_s": 1}, "while True: pass")
    assert told["cpu_s"] == 1
    assert done.returncode == -24  # SIGXCPU


def test_limits_of_a_group_that_are_not_there_are_named() -> None:
    told, _ = under({"resident_mb": 64, "processes": 10})
    assert set(told["missing"]) <= {"resident_mb", "processes"}
    assert set(told["missing"]) | set(told) >= {"resident_mb", "processes"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_it_becomes_the_user_it_is_to_run_as() -> None:
    told, done = under(
        {"user": "nobody"}, "import os\nprint(os.getresuid())\ntry: os.setuid(0)\nexcept OSError: print('no way back')"
    )
    number = pwd.getpwnam("nobody").pw_uid
    assert told["user"] == "nobody"
    assert done.stdout.splitlines()[1:] == [str((number, number, number)), "no way back"]


def test_a_user_that_is_not_there_is_named() -> None:
    with pytest.raises(LimitsError, match="no user 'nobody-of-that-name'"):
        limits.check_user("nobody-of-that-name")


def test_only_root_runs_workers_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(LimitsError, match="only root"):
        limits.check_user("root")


@pytest.mark.parametrize(
    "garbage",
    [
        {"memory_mb": -1},
        {"open_files": 0},
        {"nice": 20},
        {"cpu_s": -5},
        {"cpu_percent": 10**9},
        {"processes": -1},
        {"hang_s": 0},
    ],
    ids=lambda one: next(iter(one)),
)
def test_garbage_is_refused(garbage: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"model.limits.{next(iter(garbage))} is .* and not between"):
        LimitsConfig(**garbage)
