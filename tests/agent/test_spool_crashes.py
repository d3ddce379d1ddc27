"""Power cuts: whatever survives of what was not flushed, the spool gives what it promised and nothing wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit_agent.actions import Now
from edgekit_agent.spool import Limits, Spool
from edgekit_agent.spool import spool as module
from tests.agent.crash_states import CrashState, MemoryFiles, crash_states

HERE = Path("/spool")
KERNEL = b"k" * 16
LIMITS = Limits(disk_bytes=600, age_s=1000, in_memory=50)


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of 200 bytes, three records each, so that few operations go through everything."""
    monkeypatch.setattr(module, "LEAST_SEGMENT_BYTES", 200)


def open_spool(files: MemoryFiles, seconds: float = 0.0) -> Spool:
    return Spool(HERE, LIMITS, Now(s=seconds, ms=0), kernel=KERNEL, files=files)


def put(spool: Spool, files: MemoryFiles, boot: str, seqs: range) -> None:
    """Put reports, and note what is promised: that these are safe, or counted as dropped."""
    for seq in seqs:
        spool.put(boot, seq, f"{boot}-{seq}".encode(), Now(s=seq, ms=0))
        spool.sync()
        files.mark(seq)


def readable(spool: Spool) -> list[tuple[str, int]]:
    found = []
    for position in range(spool.first, spool.end):
        record = spool.get(position)
        assert record is not None
        assert record.payload == f"{record.boot}-{record.seq}".encode()
        found.append((record.boot, record.seq))
    return found


def check(state: CrashState) -> str | None:
    """Return what is wrong with a state."""
    safe = state.promised if isinstance(state.promised, int) else 0
    files = MemoryFiles.holding(state.files)
    spool = open_spool(files)
    found = readable(spool)
    numbers = [seq for boot, seq in found if boot == "a"]
    if numbers != sorted(set(numbers)):
        return f"out of order: {numbers}"
    missing = set(range(1, safe + 1)) - set(numbers)
    # what was not safe yet may be torn, and is then counted
    if not len(missing) <= spool.dropped <= len(missing) + 1:
        return f"{len(missing)} of {safe} are missing, {spool.dropped} counted"
    if missing and max(missing) != len(missing):
        return f"not the oldest are missing: {sorted(missing)}"
    again = open_spool(files)
    if (readable(again), again.dropped) != (found, spool.dropped):
        return "another start finds something else"
    put(again, files, "z", range(1, 2))
    return None if ("z", 1) in readable(open_spool(files)) else "what was put afterwards is not there"


def survey(files: MemoryFiles) -> tuple[int, list[str]]:
    count, bad = 0, []
    for state in crash_states(files.log, every_byte=1000):
        count += 1
        wrong = check(state)
        if wrong is not None:
            bad.append(wrong)
    return count, bad


def grow(files: MemoryFiles) -> None:
    """Fill a file and begin another."""
    put(open_spool(files), files, "a", range(1, 5))


def overflow(files: MemoryFiles) -> None:
    """Fill the spool until it drops twice."""
    put(open_spool(files), files, "a", range(1, 11))


def restart(files: MemoryFiles) -> None:
    """Go on with another process, and drop what the first has left."""
    put(open_spool(files), files, "a", range(1, 4))
    put(open_spool(files), files, "a", range(4, 10))


def grow_old(files: MemoryFiles) -> None:
    """Let the oldest get too old."""
    spool = open_spool(files)
    put(spool, files, "a", range(1, 5))
    spool.expire(Now(s=1003.5, ms=0))
    files.mark(4)


@pytest.mark.parametrize("do", [grow, overflow, restart, grow_old], ids=lambda do: do.__name__)
def test_in_every_state_nothing_safe_is_missing_but_what_is_counted(do: Callable[[MemoryFiles], None]) -> None:
    files = MemoryFiles()
    do(files)
    count, bad = survey(files)
    print(f"{do.__name__}: {count} states, {len(bad)} bad")  # noqa: T201
    assert count > 50
    assert bad == []


def test_several_reports_flushed_at_once_are_torn_in_any_order_and_none_is_wrong() -> None:
    files = MemoryFiles()
    spool = open_spool(files)
    for seq in range(1, 4):
        spool.put("a", seq, f"a-{seq}".encode(), Now(s=seq, ms=0))
    states = list(crash_states(files.log))
    assert len(states) > 100
    for state in states:
        found = readable(open_spool(MemoryFiles.holding(state.files)))
        assert found == sorted(set(found))


class NoFileSync(MemoryFiles):
    def sync(self, handle: int) -> None:
        """Forget to flush."""


class NoFolderSync(MemoryFiles):
    def sync_folder(self, path: Path) -> None:
        """Forget to flush."""


@pytest.mark.parametrize("kind", [NoFileSync, NoFolderSync])
def test_the_survey_finds_a_spool_that_does_not_flush(kind: type[MemoryFiles]) -> None:
    files = kind()
    put(open_spool(files), files, "a", range(1, 3))
    _, bad = survey(files)
    assert any("are missing, 0 counted" in wrong for wrong in bad)


def test_the_survey_finds_numbers_forgotten_before_their_file_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit_agent.spool.folder.Folder.sync_names", lambda _self: None)
    files = MemoryFiles()
    overflow(files)
    assert survey(files)[1]
