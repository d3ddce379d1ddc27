"""Files that are old or new after a failure or a power cut, never something between."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgekit_agent.durable import StateFile, held, sweep, write_durably, writing
from tests.agent.crash_states import MemoryFiles, crash_states

HERE = Path("/state")
TARGET = HERE / "a.json"
OLD, NEW = b"the old content", b"the new one"


def survey(files: MemoryFiles, start: Mapping[str, bytes]) -> tuple[int, list[bytes | None]]:
    """Return how many states there are, and what is bad in them: not the old or new content, or a promise broken."""
    count, bad = 0, []
    for state in crash_states(files.log, start):
        count += 1
        content = state.files.get(str(TARGET))
        allowed = {NEW} if state.promised == "new" else {OLD, NEW}
        if content not in allowed:
            bad.append(content)
    return count, bad


def in_place(files: MemoryFiles) -> None:
    handle = files.create(TARGET, 0o644)
    files.write(handle, NEW)
    files.sync(handle)
    files.sync_folder(HERE)


class NoFileSync(MemoryFiles):
    def sync(self, handle: int) -> None:
        """Forget to flush."""


class NoFolderSync(MemoryFiles):
    def sync_folder(self, path: Path) -> None:
        """Forget to flush."""


class TestPowerCut:
    def test_a_replaced_file_is_old_or_new_in_every_state(self) -> None:
        files = MemoryFiles.holding({str(TARGET): OLD})
        write_durably(TARGET, NEW, files=files)
        files.mark("new")
        count, bad = survey(files, {str(TARGET): OLD})
        print(f"{count} states, {len(bad)} bad")  # noqa: T201
        assert count > 10
        assert bad == []

    @pytest.mark.parametrize(
        ("files", "do", "expected"),
        [
            (NoFileSync, lambda files: write_durably(TARGET, NEW, files=files), b""),
            (NoFolderSync, lambda files: write_durably(TARGET, NEW, files=files), OLD),
            (MemoryFiles, in_place, b""),
        ],
        ids=["file not flushed", "folder not flushed", "written in place"],
    )
    def test_the_survey_finds_what_is_wrong(
        self, files: type[MemoryFiles], do: Callable[[MemoryFiles], None], expected: bytes
    ) -> None:
        disk = files.holding({str(TARGET): OLD})
        do(disk)
        disk.mark("new")
        _, bad = survey(disk, {str(TARGET): OLD})
        assert expected in bad

    def test_a_state_file_has_the_last_or_the_value_before_in_every_state(self) -> None:
        """Three saves in a row, so that both generations and their leftovers are there."""
        files = MemoryFiles()
        for number in (1, 2, 3):
            StateFile(TARGET, files=files).save({"n": number})
            files.mark(number)
        count = 0
        for state in crash_states(files.log):
            promised = state.promised if isinstance(state.promised, int) else 0
            kept = StateFile(TARGET, files=MemoryFiles.holding(state.files)).load()
            found = 0 if kept.value is None else kept.value["n"]
            assert found in {promised, promised + 1}
            count += 1
        assert count > 30

    def test_after_every_crash_the_next_save_works(self) -> None:
        files = MemoryFiles()
        for number in (1, 2):
            StateFile(TARGET, files=files).save({"n": number})
        for state in crash_states(files.log):
            again = MemoryFiles.holding(state.files)
            sweep(HERE, again)
            StateFile(TARGET, files=again).save({"n": 9})
            assert StateFile(TARGET, files=again).load().value == {"n": 9}
            assert set(again.tree) <= {str(TARGET), f"{TARGET}.prev"}


class TestStateFile:
    @pytest.fixture
    def saved(self, tmp_path: Path) -> StateFile:
        """A file with the values 1 and, before it, 0."""
        for number in (0, 1):
            StateFile(tmp_path / "s.json").save({"n": number})
        return StateFile(tmp_path / "s.json")

    def test_nothing_was_saved(self, tmp_path: Path) -> None:
        kept = StateFile(tmp_path / "s.json").load()
        assert (kept.value, kept.doubt) == (None, None)

    def test_gives_back_what_was_saved_and_counts_generations(self, saved: StateFile, tmp_path: Path) -> None:
        kept = saved.load()
        assert (kept.value, kept.doubt) == ({"n": 1}, None)
        assert json.loads((tmp_path / "s.json").read_bytes())["generation"] == 2
        assert (tmp_path / "s.json").stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize(
        "content",
        [b"", b"[]", b"null", b'{"generation": true, "sha256": 1, "state": 2}', b"[" * 100_000, bytes(300)],
        ids=["empty", "list", "null", "types", "deep", "zeros"],
    )
    def test_a_broken_file_gives_the_one_before_it_and_says_so(
        self, saved: StateFile, tmp_path: Path, content: bytes
    ) -> None:
        (tmp_path / "s.json").write_bytes(content)
        kept = saved.load()
        assert kept.value == {"n": 0}
        assert kept.doubt == f"'{tmp_path / 's.json'}' is broken: the one before it is used"

    @pytest.mark.parametrize(
        ("old", "new"),
        [(b"}", b""), (b'"n": 1', b'"n": 7'), (b'"generation": 2', b'"generation": 3'), (b"{", b"\xff{")],
        ids=["cut", "value", "generation", "binary"],
    )
    def test_a_torn_or_changed_file_gives_the_one_before_it(
        self, saved: StateFile, tmp_path: Path, old: bytes, new: bytes
    ) -> None:
        path = tmp_path / "s.json"
        path.write_bytes(path.read_bytes().replace(old, new))
        assert saved.load().value == {"n": 0}

    def test_a_lost_file_gives_the_one_before_it_and_says_so(self, saved: StateFile, tmp_path: Path) -> None:
        (tmp_path / "s.json").unlink()
        kept = saved.load()
        assert kept.value == {"n": 0}
        assert str(kept.doubt).endswith("is missing: the one before it is used")

    def test_two_broken_files_are_told(self, saved: StateFile, tmp_path: Path) -> None:
        for name in ("s.json", "s.json.prev"):
            (tmp_path / name).write_bytes(b"{")
        kept = saved.load()
        assert kept.value is None
        assert str(kept.doubt).endswith("is broken, and the one before it is broken")
        saved.save({"n": 5})
        assert saved.load().value == {"n": 5}

    def test_a_broken_file_never_replaces_the_good_one_before_it(self, saved: StateFile, tmp_path: Path) -> None:
        (tmp_path / "s.json").write_bytes(b"{")
        saved.load()
        saved.save({"n": 2})
        (tmp_path / "s.json").write_bytes(b"{")
        assert saved.load().value == {"n": 0}

    def test_what_could_not_be_read_again_is_not_written(self, tmp_path: Path) -> None:
        file = StateFile(tmp_path / "s.json")
        with pytest.raises(ValueError, match="the limit is 1048576"):
            file.save({"text": "x" * (1 << 20)})
        with pytest.raises(ValueError, match="JSON"):
            file.save({"n": float("nan")})
        assert list(tmp_path.iterdir()) == []


class TestWriting:
    def test_replaces_the_content_and_leaves_nothing_beside(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        path.write_bytes(b"old")
        write_durably(path, b"new", mode=0o600)
        assert path.read_bytes() == b"new"
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_after_a_failure_the_old_file_is_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        path = tmp_path / "a.json"
        path.write_bytes(b"old")

        def fail(*_arguments: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
        with pytest.raises(OSError, match="No space left"):
            write_durably(path, b"new")
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_pieces_become_one_file_when_the_block_ends(self, tmp_path: Path) -> None:
        path = tmp_path / "big"
        with writing(path) as write:
            for number in range(3):
                write(bytes([number]) * 100_000)
            assert not path.exists()
        assert path.read_bytes() == b"\0" * 100_000 + b"\1" * 100_000 + b"\2" * 100_000

    def test_parts_are_written_as_they_come(self, tmp_path: Path) -> None:
        write_durably(tmp_path / "a", (f"{number};".encode() for number in range(3)))
        assert (tmp_path / "a").read_bytes() == b"0;1;2;"

    def test_parts_that_fail_leave_the_old_file(self, tmp_path: Path) -> None:
        def parts() -> Iterator[bytes]:
            yield b"half"
            raise RuntimeError

        (tmp_path / "a").write_bytes(b"old")
        with pytest.raises(RuntimeError):
            write_durably(tmp_path / "a", parts())
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]

    def test_a_block_that_raises_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "big"
        path.write_bytes(b"old")

        def fail() -> None:
            with writing(path) as write:
                write(b"half")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_link_in_the_way_is_not_followed(self, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.write_bytes(b"mine")
        (tmp_path / f".a.{os.getpid()}.part").symlink_to(victim)
        with pytest.raises(OSError, match="symbolic"):
            write_durably(tmp_path / "a", b"new")
        assert victim.read_bytes() == b"mine"

    def test_what_a_killed_write_left_is_removed_and_nothing_else(self, tmp_path: Path) -> None:
        for name in (".a.json.17.part", "a.part", ".hidden", "a.json"):
            (tmp_path / name).touch()
        assert sweep(tmp_path) == [".a.json.17.part"]
        assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "a.json", "a.part"]
        assert sweep(tmp_path / "nowhere") == []


class TestLock:
    def test_a_second_process_is_refused_until_the_first_is_killed(self, tmp_path: Path, repository: Path) -> None:
        path = tmp_path / "lock"
        code = (
            "import sys; from pathlib import Path; from edgekit_agent.durable import held\n"
            "with held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
        )
        environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(repository / "agent")}
        command = [sys.executable, "-c", code, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(BlockingIOError), held(path):
                pass
            other.kill()
            other.wait()
            with held(path):
                assert path.exists()

    def test_a_file_that_is_only_there_holds_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "lock").touch()
        with held(tmp_path / "lock"):
            pass
