"""Jobs: answers, errors and crashes of a child process."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edgekit_converters.errors import JobCrashedError, UnsupportedError
from edgekit_converters.events import Event
from edgekit_converters.jobs import JobRunner

JOBS = {
    "answers": "def run(request):\n    print('noise')\n    return {'double': 2 * request['n']}\n",
    "refuses": (
        "from edgekit_converters.errors import UnsupportedError\n"
        "def run(request):\n    e = UnsupportedError('op X')\n    e.add_note('try Y')\n    raise e\n"
    ),
    "has_a_bug": "def run(request):\n    return {}['missing']\n",
    "fills_the_disk": (
        "import errno\ndef run(request):\n    raise OSError(errno.ENOSPC, 'No space left', 'model.bin')\n"
    ),
    "aborts": (
        "import os, sys\ndef run(request):\n    print('last words', file=sys.stderr, flush=True)\n    os.abort()\n"
    ),
    "takes_all_memory": "def run(request):\n    raise MemoryError('24 TiB')\n",
    "never_ends": "def run(request):\n    while True:\n        pass\n",
    "tells": (
        "import time\nfrom pathlib import Path\nfrom edgekit_converters.events import Event, written_to\n"
        "def run(request):\n    tell = written_to(Path(request['events']))\n"
        "    tell(Event(stage='s', detail='first', done=1, total=2))\n    time.sleep(1.2)\n"
        "    tell(Event(stage='s', detail='second'))\n    return time.time()\n"
    ),
    "sleeps": (
        "import os, time\nfrom pathlib import Path\n"
        "def run(request):\n    Path(request['here']).write_text(str(os.getpid()))\n    time.sleep(60)\n"
    ),
    "reads": "import sys\ndef run(request):\n    return sys.stdin.read()\n",
    "exits": "import os\ndef run(request):\n    os._exit(7)\n",
}


@pytest.fixture
def runner(tmp_path: Path) -> JobRunner:
    folder = tmp_path / "jobs"
    folder.mkdir()
    for name, code in JOBS.items():
        (folder / f"{name}.py").write_text(code)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return JobRunner(log=tmp_path / "run.log", environment={"PYTHONPATH": path})


def test_a_job_answers_and_its_noise_goes_to_the_log(runner: JobRunner, capfd: pytest.CaptureFixture[str]) -> None:
    assert runner.run("answers", {"n": 21}) == {"double": 42}
    assert "noise" in runner.log.read_text()
    assert capfd.readouterr() == ("", "")


def test_what_a_job_tells_is_handed_on_while_it_runs(runner: JobRunner) -> None:
    told: list[tuple[Event, float]] = []
    end = runner.run("tells", {}, on_event=lambda event: told.append((event, time.time())))
    assert [event for event, _ in told] == [
        Event(stage="s", detail="first", done=1, total=2),
        Event(stage="s", detail="second"),
    ]
    assert told[0][1] < end < told[1][1]


def test_an_expected_error_comes_back_with_its_kind_and_notes(runner: JobRunner) -> None:
    with pytest.raises(UnsupportedError, match="op X") as caught:
        runner.run("refuses", {})
    assert caught.value.__notes__ == ["try Y"]


def test_a_full_disk_stays_an_os_error(runner: JobRunner) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        runner.run("fills_the_disk", {})
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "model.bin")


def test_no_memory_is_told_as_an_end_of_the_process(runner: JobRunner) -> None:
    with pytest.raises(JobCrashedError, match="takes_all_memory ran out of memory: 24 TiB"):
        runner.run("takes_all_memory", {})


def test_a_job_that_never_ends_is_ended(runner: JobRunner) -> None:
    with pytest.raises(JobCrashedError, match=r"never_ends had not ended after 0\.5 s"):
        replace(runner, deadline_s=0.5).run("never_ends", {})


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_ends_with_its_parent_however_that_ends(
    runner: JobRunner, tmp_path: Path, number: signal.Signals
) -> None:
    here = tmp_path / "pid"
    script = (
        "from pathlib import Path\nfrom edgekit_converters.jobs import JobRunner\n"
        f"JobRunner(log=Path({str(runner.log)!r})).run('sleeps', {{'here': {str(here)!r}}})\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], env={**os.environ, **runner.environment}) as parent:
        try:
            assert _comes_true(lambda: here.exists() and bool(here.read_text()))
            job = psutil.Process(int(here.read_text()))
        finally:
            parent.send_signal(number)
    assert parent.returncode == -number
    gone, _ = psutil.wait_procs([job], timeout=10)
    assert gone == [job]


def test_a_job_finds_nothing_at_stdin(runner: JobRunner) -> None:
    assert not runner.run("reads", {})


def _comes_true(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_a_bug_comes_back_with_its_traceback(runner: JobRunner) -> None:
    with pytest.raises(RuntimeError) as caught:
        runner.run("has_a_bug", {})
    assert "KeyError" in caught.value.__notes__[0]


@pytest.mark.parametrize(("job", "words"), [("aborts", "killed by SIGABRT"), ("exits", "ended with code 7")])
def test_a_crash_is_one_sentence(runner: JobRunner, job: str, words: str) -> None:
    with pytest.raises(JobCrashedError, match=words):
        runner.run(job, {})


def test_a_crash_brings_the_last_line_of_the_log(runner: JobRunner) -> None:
    with pytest.raises(JobCrashedError) as caught:
        runner.run("aborts", {})
    assert caught.value.__notes__ == ["its last line: last words"]


def test_a_file_in_the_current_folder_is_not_imported(
    runner: JobRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the user's own json.py was run')")
    monkeypatch.chdir(tmp_path)
    assert runner.run("answers", {"n": 1}) == {"double": 2}
