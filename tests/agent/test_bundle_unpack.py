"""Unpacked bundles: whole or not there, whatever happens meanwhile; and damage on the disk is found."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit_agent import bundle
from edgekit_agent.bundle import archive
from edgekit_agent.errors import BundleError
from tests.agent.bundle_maker import contents, packed, plain

FULL = """
import resource, signal, sys
from pathlib import Path
from edgekit_agent import bundle
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    bundle.unpack(Path(sys.argv[1]), Path(sys.argv[2]))
except OSError as exc:
    print(exc.strerror)
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from edgekit_agent import bundle
flush, left = os.fsync, int(sys.argv[3])
def counted(handle):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    flush(handle)
os.fsync = counted
bundle.unpack(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A sound bundle."""
    path = tmp_path / "kws.ekb"
    path.write_bytes(packed(tmp_path / "made"))
    return path


def _child(repository: Path, script: str, *words: object) -> "subprocess.CompletedProcess[str]":
    """Run a script that sees the standard library and the agent only."""
    return subprocess.run(
        [sys.executable, "-S", "-P", "-c", script, *map(str, words)],
        capture_output=True, text=True, check=False, timeout=60,
        env={"PYTHONPATH": str(repository / "agent"), "PATH": os.environ["PATH"]},
    )  # fmt: skip


def test_reading_verifying_and_unpacking_need_neither_numpy_nor_paho(
    repository: Path, file: Path, tmp_path: Path
) -> None:
    script = "import sys; from pathlib import Path; from edgekit_agent import bundle\n"
    script += "bundle.unpack(Path(sys.argv[1]), Path(sys.argv[2])); bundle.verify_folder(Path(sys.argv[2]))"
    done = _child(repository, script, file, tmp_path / "slot")
    assert (done.returncode, done.stderr) == (0, "")
    assert bundle.verify_folder(tmp_path / "slot").model == "kws"


@pytest.mark.parametrize("room", [0, 1000, 4999])
def test_a_full_disk_leaves_nothing(repository: Path, file: Path, tmp_path: Path, room: int) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    done = _child(repository, FULL, file, folder / "slot", room)
    assert (done.stdout.strip(), done.stderr) == ("File too large", "")
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small file system")
def test_a_file_system_without_room_leaves_nothing_and_takes_it_with_room(file: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(small)], check=False)
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        ballast = small / "ballast"
        ballast.write_bytes(bytes(8192))
        with pytest.raises(OSError, match="No space left"):
            bundle.unpack(file, small / "slot")
        assert list(small.iterdir()) == [ballast]
        subprocess.run(["mount", "-o", "remount,size=256k", str(small)], check=True)
        bundle.unpack(file, small / "slot")
        assert bundle.verify_folder(small / "slot").model == "kws"
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize("flush", range(1, 12))
def test_killed_at_any_flush_the_folder_is_whole_or_not_there_and_the_next_time_it_is(
    repository: Path, file: Path, tmp_path: Path, flush: int
) -> None:
    slot = tmp_path / "slot"
    done = _child(repository, KILLED, file, slot, flush)
    assert done.returncode == (-signal.SIGKILL if flush <= 11 else 0), done.stderr
    if slot.exists():
        bundle.verify_folder(slot)
    else:
        bundle.unpack(file, slot)
    assert bundle.verify_folder(slot).model == "kws"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["kws.ekb", "made", "slot"]


def test_a_folder_that_is_there_is_never_touched(file: Path, tmp_path: Path) -> None:
    slot = tmp_path / "slot"
    slot.mkdir()
    with pytest.raises(FileExistsError, match="the folder is there already"):
        bundle.unpack(file, slot)
    assert list(slot.iterdir()) == []


def test_a_file_that_fails_at_its_end_leaves_nothing(file: Path, tmp_path: Path) -> None:
    data = bytearray(file.read_bytes())
    data[bundle.read(file).placed[-1].offset] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match=r"'labels\.txt' is damaged"):
        bundle.unpack(file, tmp_path / "slot")
    assert not list(tmp_path.glob("*slot*")) + list(tmp_path.glob(".slot*"))


@pytest.mark.parametrize("name", ["model.tflite", "labels.txt", "manifest.json", "manifest.sha256"])
@pytest.mark.parametrize("how", ["changed", "shorter", "longer", "gone"])
def test_damage_of_an_unpacked_bundle_is_found(file: Path, tmp_path: Path, name: str, how: str) -> None:
    slot = tmp_path / "slot"
    bundle.unpack(file, slot)
    data = bytearray((slot / name).read_bytes())
    data[5] ^= 1
    changed = {"changed": bytes(data), "shorter": bytes(data[:-1]), "longer": bytes(data) + b"!"}
    (slot / name).unlink()
    if how != "gone":
        (slot / name).write_bytes(changed[how])
    with pytest.raises(BundleError, match=r"damaged|cannot be read|is no unpacked bundle"):
        bundle.verify_folder(slot)


def test_a_bundle_can_be_packed_again_from_where_it_is_unpacked(file: Path, tmp_path: Path) -> None:
    slot = tmp_path / "slot"
    found = bundle.unpack(file, slot)
    again = b"".join(archive.write(found.manifest, {one.name: slot / one.name for one in found.manifest.files}))
    assert again == file.read_bytes()
    manifest, paths = plain(tmp_path / "made")
    assert {name: contents(slot)[name] for name in paths} == contents(tmp_path / "made")
    assert manifest == found.manifest
