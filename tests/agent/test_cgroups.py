"""Control groups, on a folder that holds the files a kernel's would: this machine need not have been given any."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit_agent import cgroups
from edgekit_agent.cgroups import Enclosure, Groups
from edgekit_agent.config import LimitsConfig

LIMITS = LimitsConfig(resident_mb=64, cpu_percent=150, processes=20)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A group with this process and the usual controllers."""
    folder = tmp_path / "agent.service"
    folder.mkdir()
    (folder / "cgroup.procs").write_text("12\n13\n")
    (folder / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    return folder


@pytest.fixture
def proc(tmp_path: Path, tree: Path) -> Path:
    """What the kernel tells of this process's group."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(f"4:memory:/x\n0::/{tree.name}\n")
    mount = f"35 24 0:30 / {tmp_path} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
    (tmp_path / "proc" / "self" / "mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/root rw\n" + mount)
    return tmp_path / "proc"


def with_files(tree: Path, name: str) -> Path:
    """Make a worker's group with the files that a kernel makes in it."""
    folder = tree / name
    folder.mkdir()
    for file in ("memory.max", "cpu.max", "pids.max", "memory.oom.group", "cgroup.procs"):
        (folder / file).write_text("max\n")
    return folder


def test_the_supervisor_moves_out_of_the_way_and_the_controllers_are_handed_down(tree: Path) -> None:
    Groups(tree)
    assert (tree / "supervisor" / "cgroup.procs").read_text() == "13"  # the last one written
    assert (tree / "cgroup.subtree_control").read_text() == "+pids"


def test_a_worker_gets_its_limits(tree: Path) -> None:
    folder = with_files(tree, "worker-kws-1-0")
    group = Groups(tree).make("kws/1/0", LIMITS)
    group.add(77)
    read = {one.name: one.read_text() for one in folder.iterdir()}
    assert (read["memory.max"], read["cpu.max"], read["pids.max"]) == (str(64 << 20), "150000 100000", "20")
    assert (read["memory.oom.group"], read["cgroup.procs"]) == ("1", "77")


def test_what_is_not_limited_is_left_alone(tree: Path) -> None:
    folder = with_files(tree, "worker-a-1-0")
    Groups(tree).make("a/1/0", LimitsConfig())
    assert (folder / "memory.max").read_text() == "max\n"


def test_kills_for_want_of_memory_are_counted(tree: Path) -> None:
    folder = with_files(tree, "worker-a-1-0")
    group = Groups(tree).make("a/1/0", LIMITS)
    assert group.killed == 0
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n")
    assert group.killed == 1


def test_what_is_in_force_is_read_from_the_own_group(tree: Path, proc: Path) -> None:
    assert cgroups.in_force(proc) == {}
    (tree / "memory.max").write_text(f"{64 << 20}\n")
    (tree / "cpu.max").write_text("150000 100000\n")
    (tree / "pids.max").write_text("max\n")
    assert cgroups.in_force(proc) == {"resident_mb": 64, "cpu_percent": 150}


def test_nothing_is_written_where_nothing_is_delegated(tree: Path, proc: Path) -> None:
    before = sorted(one.name for one in tree.iterdir())
    assert cgroups.own_folder(proc) == tree
    assert cgroups.delegated(proc) is None
    assert sorted(one.name for one in tree.iterdir()) == before


@pytest.mark.parametrize("text", ["", "garbage", "0::", "4:memory:/x\n"])
def test_a_machine_without_version_2_has_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text(text)
    (tmp_path / "self" / "mountinfo").write_text(text)
    assert cgroups.delegated(tmp_path) is None
    assert cgroups.in_force(tmp_path) == {}


class TestEnclosure:
    def test_the_service_manager_is_asked_for_the_limits_that_are_given(self) -> None:
        command = Enclosure(scopes=True).prefix("kws/1/0", LIMITS)
        assert command[0] == "systemd-run"
        assert {"--scope", "--collect", "MemoryMax=64M", "CPUQuota=150%", "TasksMax=20"} <= set(command)
        assert command[-1] == "--"

    def test_and_not_where_none_are_or_the_agent_has_groups_of_its_own(self, tree: Path) -> None:
        assert Enclosure(scopes=True).prefix("kws/1/0", LimitsConfig()) == []
        assert Enclosure(Groups(tree)).prefix("kws/1/0", LIMITS) == []
        assert Enclosure().group("kws/1/0", LIMITS) is None

    def test_a_group_that_the_kernel_refuses_does_not_stop_the_worker(self, tree: Path) -> None:
        groups = Groups(tree)
        (tree / "worker-kws-1-0").write_text("in the way")
        assert Enclosure(groups).group("kws/1/0", LIMITS) is None


REAL = """
import os, subprocess, sys
import os
import subprocess
import sys
from pathlib import Path
from edgekit_agent import cgroups
from edgekit_agent.config import LimitsConfig
folder = Path(sys.argv[1])
(folder / "cgroup.procs").write_text(str(os.getpid()))
enclosure = cgroups.Enclosure.found([LimitsConfig()])
print(cgroups.own_folder().name)
group = enclosure.group("kws/1/0", LimitsConfig())
child = subprocess.Popen(["sleep", "60"])
group.add(child.pid)
print(Path(f"/proc/{child.pid}/cgroup").read_text().rpartition("/")[2].strip(), group.killed)
group.remove()
print(child.wait())
group.remove()
print(group.folder.exists())
"""


def test_a_kernel_takes_it() -> None:
    """Without limits: which controllers there are is the machine's affair."""
    own = cgroups.own_folder()
    if own is None:
        pytest.skip("needs control groups of version 2")
    folder = own / f"edgekit-test-{os.getpid()}"
    try:
        folder.mkdir()
        os.setxattr(folder, "trusted.delegate", b"1")
    except OSError as exc:
        pytest.skip(f"needs the right to make control groups: {exc.strerror}")
    try:
        done = subprocess.run([sys.executable, "-c", REAL, folder], capture_output=True, text=True, check=False)
    finally:
        for one in (*(path for path in folder.iterdir() if path.is_dir()), folder):
            one.rmdir()
    assert done.stdout.splitlines() == ["supervisor", "worker-kws-1-0 0", "-9", "False"], done.stderr
