"""A program started by way of `parent` ends with its starter, also when that is killed."""

import os
import subprocess
import sys
import time

START = """
import os, subprocess, sys
command = [sys.executable, "-P", "-m", "edgekit_agent.parent", str(os.getpid()), sys.executable, "-c", sys.argv[1]]
print(subprocess.Popen(command, stdout=subprocess.DEVNULL).pid, flush=True)
sys.stdin.read()
"""
SLEEP = "import time; time.sleep(300)"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_program_ends_with_the_process_that_started_it() -> None:
    command = [sys.executable, "-c", START, SLEEP]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        time.sleep(0.5)
        assert alive(pid)
        starter.kill()
    end = time.monotonic() + 30
    while alive(pid):
        assert time.monotonic() < end, "it was left behind"
        time.sleep(0.05)


def test_its_end_is_that_of_the_program() -> None:
    command = [sys.executable, "-P", "-m", "edgekit_agent.parent", str(os.getpid()), sys.executable, "-c", "exit(7)"]
    assert subprocess.run(command, timeout=60, check=False).returncode == 7


def test_nothing_is_started_for_a_process_that_is_gone() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    command = [sys.executable, "-P", "-m", "edgekit_agent.parent", str(gone.pid), sys.executable, "-c", "exit(7)"]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0
