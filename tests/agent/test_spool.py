"""The spool: in order, within its limits, counted where it loses, alive on a full disk, right when clocks jump."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_agent.actions import Now
from edgekit_agent.spool import Limits, Spool, kernel_boot
from edgekit_agent.spool.records import decode
from tests.agent.crash_states import MemoryFiles
from tests.fuzz.byte_mutants import flipped

HERE = Path("/spool")
MONDAY_MS = 1_780_000_000_000
DAY_S = 86400.0
KERNEL, OTHER_KERNEL = b"k" * 16, b"o" * 16
PAYLOAD_BYTES = 1000

At = Callable[[float], Now]


def at(seconds: float) -> Now:
    return Now(s=seconds, ms=MONDAY_MS + int(1000 * seconds))


def open_spool(files: MemoryFiles, now: Now | None = None, *, kernel: bytes = KERNEL, **limits: Any) -> Spool:
    all_limits = {"disk_bytes": 100_000, "age_s": DAY_S, "in_memory": 5, **limits}
    return Spool(HERE, Limits(**all_limits), now or at(0), kernel=kernel, files=files)


def payload(boot: str, seq: int) -> bytes:
    return f"{boot}-{seq}".encode().ljust(PAYLOAD_BYTES)


def fill(spool: Spool, boot: str, first: int, last: int, every_s: float = 1.0) -> None:
    for seq in range(first, last + 1):
        spool.put(boot, seq, payload(boot, seq), at(seq * every_s))
        spool.sync()


def waiting(spool: Spool) -> list[tuple[str, int]]:
    """Return what a sender would read, and check that each report is the one that was put."""
    found = []
    for position in range(spool.first, spool.end):
        record = spool.get(position)
        if record is not None:
            assert record.payload == payload(record.boot, record.seq)
            found.append((record.boot, record.seq))
    assert len(spool) == len(found)
    return found


def of(boot: str, first: int, last: int) -> list[tuple[str, int]]:
    return [(boot, seq) for seq in range(first, last + 1)]


class TestKeeping:
    def test_reports_come_back_in_order_after_a_restart(self) -> None:
        files = MemoryFiles()
        fill(open_spool(files), "a", 1, 10)
        second = open_spool(files)
        fill(second, "b", 1, 5)
        assert waiting(open_spool(files)) == of("a", 1, 10) + of("b", 1, 5)

    def test_real_files_work_as_those_in_memory(self, tmp_path: Path) -> None:
        limits = Limits(disk_bytes=100_000, age_s=DAY_S, in_memory=5)
        folder = tmp_path / "state" / "spool"
        spool = Spool(folder, limits, at(0), kernel=KERNEL)
        fill(spool, "a", 1, 10)
        spool.release("a", 4)
        spool.close()
        again = Spool(folder, limits, at(0), kernel=KERNEL)
        assert waiting(again) == of("a", 5, 10)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}

    def test_an_acknowledgement_releases_up_to_its_number_and_of_its_boot_only(self) -> None:
        files = MemoryFiles()
        fill(open_spool(files), "a", 1, 3)
        spool = open_spool(files)
        fill(spool, "b", 1, 6)
        spool.release("b", 4)
        assert waiting(spool) == of("a", 1, 3) + of("b", 5, 6)
        spool.release("a", 3)
        assert waiting(spool) == of("b", 5, 6)
        spool.release("nobody", 99)
        assert waiting(spool) == of("b", 5, 6)

    def test_files_go_when_all_in_them_is_released(self) -> None:
        files = MemoryFiles()
        spool = open_spool(files)
        fill(spool, "a", 1, 40)
        assert len(files.tree) >= 10
        spool.release("a", 39)
        assert len(files.tree) == 1
        spool.release("a", 40)
        assert files.tree == {}
        assert (spool.first, len(spool)) == (spool.end, 0)
        fill(spool, "a", 41, 42)
        assert waiting(spool) == of("a", 41, 42)

    def test_a_number_out_of_the_air_releases_nothing_that_is_still_to_come(self) -> None:
        spool = open_spool(MemoryFiles())
        fill(spool, "a", 1, 3)
        spool.release("a", 2**62)
        fill(spool, "a", 4, 5)
        assert waiting(spool) == of("a", 4, 5)
        spool.release("a", -7)
        assert waiting(spool) == of("a", 4, 5)

    def test_releasing_before_a_position_goes_over_boots_and_memory(self) -> None:
        files = MemoryFiles()
        fill(open_spool(files), "a", 1, 3)
        spool = open_spool(files)
        fill(spool, "b", 1, 3)
        files.room = 0
        fill(spool, "b", 4, 6)
        spool.release_before(spool.end - 1)
        assert waiting(spool) == of("b", 6, 6)

    def test_the_lowest_number_of_a_boot_is_known(self) -> None:
        files = MemoryFiles()
        fill(open_spool(files), "a", 5, 8)
        spool = open_spool(files)
        assert (spool.lowest("a"), spool.lowest("b")) == (5, 0)
        spool.release("a", 6)
        assert spool.lowest("a") == 7

    def test_whether_a_host_is_known_survives(self) -> None:
        files = MemoryFiles()
        open_spool(files).host = True
        assert open_spool(files).host
        open_spool(files).host = False
        assert not open_spool(files).host

    def test_what_is_no_file_of_the_spool_is_left_alone_but_leftovers_go(self) -> None:
        names = {f"{HERE}/{name}": b"x" for name in ("notes.txt", "1.seg", "x0000001.seg", ".state.json.7.part")}
        files = MemoryFiles.holding(names)
        fill(open_spool(files), "a", 1, 1)
        assert {Path(name).name for name in files.tree} == {"notes.txt", "1.seg", "x0000001.seg", "00000001.seg"}


class TestLimits:
    def test_the_oldest_go_first_and_are_counted(self) -> None:
        files = MemoryFiles()
        spool = open_spool(files)
        fill(spool, "a", 1, 200)
        assert 0 < spool.dropped < 200
        assert waiting(spool) == of("a", spool.dropped + 1, 200)
        assert sum(len(content) for name, content in files.contents().items() if name.endswith(".seg")) <= 100_000
        assert len(spool) * PAYLOAD_BYTES > 100_000 * 0.7

    def test_the_counter_survives_restarts(self) -> None:
        files = MemoryFiles()
        spool = open_spool(files)
        fill(spool, "a", 1, 150)
        first = spool.dropped
        spool = open_spool(files)
        assert (spool.dropped, spool.dropped_here) == (first, 0)
        fill(spool, "b", 1, 100)
        assert len(spool) + spool.dropped == 250
        assert spool.dropped_here == spool.dropped - first

    def test_a_smaller_limit_than_last_time_drops_at_once(self) -> None:
        files = MemoryFiles()
        fill(open_spool(files), "a", 1, 80)
        spool = open_spool(files, disk_bytes=30_000)
        assert len(spool) + spool.dropped == 80
        assert waiting(spool) == of("a", spool.dropped + 1, 80)
        assert len(spool) <= 30

    def test_reports_get_too_old_and_are_counted(self) -> None:
        spool = open_spool(MemoryFiles(), age_s=100)
        fill(spool, "a", 1, 50)
        spool.expire(at(100))
        assert len(spool) == 50
        spool.expire(at(130))
        assert len(spool) + spool.dropped == 50
        assert 20 <= len(spool) <= 24
        spool.expire(at(151))
        assert (len(spool), spool.dropped) == (0, 50)

    def test_a_report_no_host_would_take_is_dropped(self) -> None:
        spool = open_spool(MemoryFiles())
        spool.put("a", 1, bytes(300_000), at(0))
        spool.put("a", 2, bytes(60_000), at(0))
        assert (len(spool), spool.dropped) == (0, 2)

    def test_many_short_runs_do_not_fill_the_folder(self) -> None:
        """Each run has a file of its own, and a small file takes a block of the disk."""
        files = MemoryFiles()
        for run in range(100):
            spool = open_spool(files)
            fill(spool, f"run{run}", 1, 1)
        assert len(files.tree) <= 100_000 / 4096 + 3
        assert len(spool) + spool.dropped == 100

    def test_without_a_disk_everything_is_in_memory(self) -> None:
        files = MemoryFiles()
        spool = open_spool(files, disk_bytes=0)
        fill(spool, "a", 1, 8)
        assert waiting(spool) == of("a", 4, 8)
        assert (spool.dropped, spool.trouble, files.tree) == (3, None, {})


class TestFullDisk:
    def test_reports_wait_in_memory_and_move_to_the_disk_when_it_has_room(self) -> None:
        files = MemoryFiles()
        spool = open_spool(files)
        fill(spool, "a", 1, 6)
        files.room = files.used() + 500  # not one report fits whole
        fill(spool, "a", 7, 10)
        assert spool.trouble == "No space left on device"
        assert waiting(spool) == of("a", 1, 10)
        files.room = None
        fill(spool, "a", 11, 11)
        assert spool.trouble is None
        assert spool.dropped == 0
        assert waiting(spool) == of("a", 1, 11)
        assert waiting(open_spool(files)) == of("a", 1, 11)

    def test_a_full_memory_drops_the_oldest_of_the_disk_and_uses_its_room(self) -> None:
        files = MemoryFiles()
        spool = open_spool(files)
        fill(spool, "a", 1, 20)
        files.room = files.used()
        fill(spool, "a", 21, 60)
        assert spool.dropped > 0
        assert waiting(spool) == of("a", spool.dropped + 1, 60)
        assert len(spool) >= 15

    def test_with_nothing_on_the_disk_the_oldest_in_memory_go(self) -> None:
        files = MemoryFiles(room=0)
        spool = open_spool(files)
        fill(spool, "a", 1, 12)
        assert waiting(spool) == of("a", 8, 12)
        assert spool.dropped == 7
        files.room = None
        fill(spool, "a", 13, 13)
        again = open_spool(files)
        assert (waiting(again), again.dropped) == (of("a", 8, 13), 7)

    @pytest.mark.parametrize("seed", range(20))
    def test_the_counter_is_right_however_the_room_changes(self, seed: int) -> None:
        """Over restarts too: what waits in memory when an agent ends is the only loss that nobody counts."""
        rng = np.random.default_rng(seed)
        files = MemoryFiles()
        put = in_memory = 0
        for run in range(4):
            spool = open_spool(files)
            lost_with_memory, in_memory = in_memory, 0
            put -= lost_with_memory
            for seq in range(1, 80):
                files.room = (None, None, files.used() + int(rng.integers(3000)), 0)[int(rng.integers(4))]
                spool.put(f"run{run}", seq, payload(f"run{run}", seq), at(seq))
                spool.sync()
                put += 1
                assert len(spool) + spool.dropped == put
            files.room = None
            spool.sync()
            in_memory = len(spool._memory)
            found = waiting(spool)
            assert found == sorted(found)

    def test_a_disk_that_does_not_flush_is_told_and_nothing_is_lost_without_a_power_cut(self) -> None:
        files = MemoryFiles()
        spool = open_spool(files)
        fill(spool, "a", 1, 2)
        files.broken_sync = True
        fill(spool, "a", 3, 4)
        assert spool.trouble == "Input/output error"
        assert waiting(spool) == of("a", 1, 4)
        files.broken_sync = False
        fill(spool, "a", 5, 5)
        assert spool.trouble is None
        assert waiting(spool) == of("a", 1, 5)


class TestDamage:
    @pytest.fixture
    def one_file(self) -> tuple[str, bytes]:
        files = MemoryFiles()
        fill(open_spool(files), "a", 1, 3)
        ((name, content),) = files.contents().items()
        return name, content

    def test_cut_at_every_byte_what_is_whole_comes_back_and_the_loss_is_counted_once(
        self, one_file: tuple[str, bytes]
    ) -> None:
        name, content = one_file
        size = len(content) // 3
        for cut in range(len(content)):
            files = MemoryFiles.holding({name: content[:cut]})
            spool = open_spool(files)
            assert waiting(spool) == of("a", 1, cut // size)
            assert spool.dropped == bool(cut % size)
            again = open_spool(files)
            assert (waiting(again), again.dropped) == (of("a", 1, cut // size), bool(cut % size))
            fill(again, "b", 1, 1)
            assert waiting(open_spool(files))[-1] == ("b", 1)

    def test_flipped_bits_cost_their_records_and_are_counted_once(
        self, one_file: tuple[str, bytes], rng: np.random.Generator
    ) -> None:
        name, content = one_file
        for _ in range(500):
            files = MemoryFiles.holding({name: flipped(rng, content)})
            spool = open_spool(files)
            found = waiting(spool)
            assert set(found) <= set(of("a", 1, 3))
            assert spool.dropped <= 3 - len(found)
            assert bool(spool.dropped) == (len(found) < 3)
            assert open_spool(files).dropped == spool.dropped

    def test_more_damage_in_a_file_is_counted_as_more(self, one_file: tuple[str, bytes]) -> None:
        name, content = one_file
        files = MemoryFiles.holding({name: content})
        size = len(content) // 3
        for place, dropped in ((10, 1), (2 * size + 10, 2)):
            (inode,) = (number for path, number in files.tree.items() if path == name)
            files.data[inode][place] ^= 4
            assert open_spool(files).dropped == dropped

    def test_a_record_damaged_while_the_agent_runs_is_passed_over_and_counted_once(self) -> None:
        files = MemoryFiles()
        spool = open_spool(files)
        fill(spool, "a", 1, 3)
        (inode,) = files.tree.values()
        files.data[inode][-5] ^= 1
        assert spool.get(spool.end - 1) is None
        assert waiting(spool) == of("a", 1, 2)
        assert spool.dropped == 1
        spool.release("a", 2)
        assert spool.lowest("a") == 0
        spool.sync()
        assert open_spool(files).dropped == 1

    def test_a_file_that_is_gone_costs_what_was_in_it(self) -> None:
        files = MemoryFiles()
        spool = open_spool(files)
        fill(spool, "a", 1, 2)
        files.tree.clear()
        assert [spool.get(position) for position in range(spool.first, spool.end)] == [None, None]
        assert spool.dropped == 2

    @pytest.mark.parametrize(
        "value",
        [
            {"dropped": -1, "host": 1, "floors": [], "damaged": "x"},
            {"dropped": True, "floors": {"a": "1", "b": None}, "damaged": {"x": 2**80}},
            {},
        ],
        ids=["wrong", "wrong inside", "empty"],
    )
    def test_numbers_that_are_none_count_from_the_beginning(self, value: dict[str, object]) -> None:
        from edgekit_agent.durable import StateFile

        files = MemoryFiles()
        fill(open_spool(files), "a", 1, 2)
        StateFile(HERE / "state.json", files=files).save(value)
        spool = open_spool(files)
        assert (waiting(spool), spool.dropped, spool.host) == (of("a", 1, 2), 0, False)

    def test_both_generations_broken_cost_only_the_numbers(self, caplog: pytest.LogCaptureFixture) -> None:
        files = MemoryFiles()
        spool = open_spool(files)
        fill(spool, "a", 1, 150)
        for name in (f"{HERE}/state.json", f"{HERE}/state.json.prev"):
            files.data[files.tree[name]][:] = b"{"
        assert waiting(open_spool(files)) == waiting(spool)
        assert "spool-state-doubtful" in caplog.text


class TestClocks:
    def test_within_a_boot_of_the_kernel_only_the_steady_clock_counts(self) -> None:
        files = MemoryFiles()
        spool = open_spool(files, Now(s=1000, ms=0), age_s=100)
        spool.put("a", 1, payload("a", 1), Now(s=1000, ms=0))  # no clock was set
        spool.sync()
        later = Now(s=1090, ms=MONDAY_MS)  # and now it is
        assert waiting(open_spool(files, later, age_s=100)) == of("a", 1, 1)
        assert waiting(open_spool(files, Now(s=1101, ms=0), age_s=100)) == []

    def test_of_another_boot_the_time_of_day_counts(self) -> None:
        files = MemoryFiles()
        fill(open_spool(files, age_s=100), "a", 1, 1)
        for age_s, left in ((60, of("a", 1, 1)), (99, of("a", 1, 1)), (102, [])):
            now = Now(s=5, ms=MONDAY_MS + 1000 * age_s)
            copy = MemoryFiles.holding(files.contents())
            assert waiting(open_spool(copy, now, kernel=OTHER_KERNEL, age_s=100)) == left

    def test_of_another_boot_the_rest_of_the_time_runs_on_the_steady_clock(self) -> None:
        files = MemoryFiles()
        fill(open_spool(files, age_s=100), "a", 1, 1)
        spool = open_spool(files, Now(s=5, ms=MONDAY_MS + 61_000), kernel=OTHER_KERNEL, age_s=100)
        spool.expire(Now(s=44, ms=MONDAY_MS - 10**9))
        assert len(spool) == 1
        spool.expire(Now(s=46, ms=0))
        assert (len(spool), spool.dropped) == (0, 1)

    @pytest.mark.parametrize(
        ("made_ms", "now_ms"),
        [(1000, MONDAY_MS), (MONDAY_MS, 1000), (MONDAY_MS, MONDAY_MS - 10**10), (0, 0)],
        ids=["not set then", "not set now", "jumped back", "never set"],
    )
    def test_a_clock_that_was_not_set_or_jumped_back_makes_nothing_old(self, made_ms: int, now_ms: int) -> None:
        files = MemoryFiles()
        spool = open_spool(files, Now(s=7, ms=made_ms), age_s=100)
        spool.put("a", 1, payload("a", 1), Now(s=7, ms=made_ms))
        spool.sync()
        again = open_spool(files, Now(s=3, ms=now_ms), kernel=OTHER_KERNEL, age_s=100)
        assert waiting(again) == of("a", 1, 1)
        again.expire(Now(s=104, ms=now_ms))
        assert len(again) == 0

    def test_the_kernels_boot_id_is_the_same_as_long_as_it_runs(self) -> None:
        assert kernel_boot() == kernel_boot()
        assert len(kernel_boot()) == 16


def test_the_format_on_the_disk_is_as_released(repository: Path) -> None:
    """Files of a released agent keep being read: this one was written by the first that had a spool."""
    content = (repository / "tests" / "data" / "spool" / "00000001.seg").read_bytes()
    first = decode(content)
    assert first is not None
    assert (first.record.boot, first.record.seq, first.record.kernel) == ("0f3c9a7b52d1e684", 1, KERNEL)
    assert json.loads(first.record.payload)["seq"] == 1
    spool = open_spool(MemoryFiles.holding({f"{HERE}/00000001.seg": content}))
    assert [spool.get(position) is not None for position in range(spool.first, spool.end)] == [True, True, True]
