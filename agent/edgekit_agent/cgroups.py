"""Control groups (version 2): what of them the agent was given, and a group for each worker; standard library only.

A service manager gives the agent its own part of the tree (`Delegate=yes`) and marks that by an extended attribute.
Nothing is written anywhere else: a tree that is not ours is the system's. A group with limits for those below it may
hold no process itself, so the supervisor moves into one of its own first. Where nothing is delegated and a service
manager runs, `systemd-run --scope` asks it for a group instead.

The kernel's side is told in its Documentation/admin-guide/cgroup-v2.rst.
"""

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edgekit_agent.config import LimitsConfig

SUPERVISOR = "supervisor"
CONTROLLERS = ("memory", "cpu", "pids")
PERIOD_US = 100_000
_DELEGATED = ("user.delegate", "trusted.delegate")
_SCOPE_TIMEOUT_S = 10.0
# our name -> the file of a group, systemd's property
_FILES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "resident_mb": ("memory.max", "MemoryMax"),
        "cpu_percent": ("cpu.max", "CPUQuota"),
        "processes": ("pids.max", "TasksMax"),
    }
)


@dataclass(frozen=True, slots=True)
class Group:
    """The group of one worker."""

    folder: Path

    def add(self, pid: int) -> None:
        """Move a process into it.

        Raises:
            OSError: if the kernel refuses.
        """
        (self.folder / "cgroup.procs").write_text(str(pid))

    @property
    def killed(self) -> int:
        """How many of its processes the kernel has ended for want of memory."""
        return _event(self.folder / "memory.events", "oom_kill")

    def remove(self) -> None:
        """Take it away, with what a worker has left running in it."""
        with contextlib.suppress(OSError):
            (self.folder / "cgroup.kill").write_text("1")
        with contextlib.suppress(OSError):
            self.folder.rmdir()  # one that still holds a dying process is taken away with the agent's own group


class Groups:
    """The agent's own part of the tree."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, and make it one that can hold groups with limits.

        Raises:
            OSError: if the kernel refuses.
        """
        self._folder = folder
        own = folder / SUPERVISOR
        own.mkdir(exist_ok=True)
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (own / "cgroup.procs").write_text(pid)
        there = (folder / "cgroup.controllers").read_text().split()
        for name in CONTROLLERS:
            if name in there:
                (folder / "cgroup.subtree_control").write_text(f"+{name}")

    def make(self, name: str, limits: LimitsConfig) -> Group:
        """Make a worker's group with those of its limits whose controllers are there.

        Raises:
            OSError: if the kernel refuses.
        """
        group = Group(self._folder / f"worker-{name.replace('/', '-')}")
        group.remove()  # of a worker of the same name that was ended badly
        group.folder.mkdir(exist_ok=True)
        for limit in limits.of_a_group:
            file, _ = _FILES[limit]
            if (group.folder / file).exists():
                (group.folder / file).write_text(_in_a_file(limit, getattr(limits, limit)))
        # without this a worker of several processes is left half alive
        with contextlib.suppress(OSError):
            if (group.folder / "memory.oom.group").exists():
                (group.folder / "memory.oom.group").write_text("1")
        return group


def delegated(proc: Path = Path("/proc")) -> Groups | None:
    """Return the agent's part of the tree, or None where it has none."""
    folder = own_folder(proc)
    try:
        if folder is None or not _is_delegated(folder):
            return None
        return Groups(folder)
    except OSError:
        return None


def own_folder(proc: Path = Path("/proc")) -> Path | None:
    """Return the folder of this process's group of version 2, or None where there is none."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
        name = next(line.removeprefix("0::") for line in lines if line.startswith("0::"))
        mounts = (proc / "self" / "mountinfo").read_text().splitlines()
        mount = next(line.split()[4] for line in mounts if " - cgroup2 " in line)
    except (OSError, StopIteration, IndexError):
        return None
    return Path(mount, name.lstrip("/"))


def in_force(proc: Path = Path("/proc")) -> dict[str, int]:
    """Return the limits that this process's own group has."""
    folder, found = own_folder(proc), dict[str, int]()
    if folder is None:
        return found
    for name, (file, _) in _FILES.items():
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = (folder / file).read_text().split()
            if words[0] != "max":
                found[name] = _from_a_file(name, words)
    return found


def scope_command(limits: LimitsConfig, name: str) -> list[str]:
    """Return what has to stand before a worker's command to run it in a group that the service manager makes."""
    properties = [
        word
        for limit in limits.of_a_group
        for word in ("--property", f"{_FILES[limit][1]}={_as_property(limit, getattr(limits, limit))}")
    ]
    user = ["--user"] if os.geteuid() else []
    described = ["--description", f"EdgeKit worker {name}"]
    return ["systemd-run", *user, "--scope", "--quiet", "--collect", *described, *properties, "--"]


def can_scope(run: Sequence[str] = ("systemd-run",)) -> bool:
    """Say whether the service manager makes groups for this process: it is asked for one that does nothing."""
    if not Path("/run/systemd/system").is_dir():
        return False
    command = scope_command(LimitsConfig(processes=1000), "test")
    try:
        tried = subprocess.run([*run, *command[1:], "true"], capture_output=True, timeout=_SCOPE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


class Enclosure:
    """How the workers of this agent get groups: its own, the service manager's, or none."""

    def __init__(self, groups: Groups | None = None, *, scopes: bool = False) -> None:
        """Take what there is."""
        self._groups, self._scopes = groups, scopes

    @classmethod
    def found(cls, limits: Sequence[LimitsConfig]) -> "Enclosure":
        """Return what is here; the service manager is only asked when a worker's limits need a group."""
        groups = delegated()
        return cls(groups, scopes=groups is None and any(one.of_a_group for one in limits) and can_scope())

    def prefix(self, name: str, limits: LimitsConfig) -> list[str]:
        """Return what stands before a worker's command."""
        return scope_command(limits, name) if self._scopes and limits.of_a_group else []

    def group(self, name: str, limits: LimitsConfig) -> Group | None:
        """Return a new group for a worker; None where there is none, or the kernel refuses."""
        if self._groups is not None:
            with contextlib.suppress(OSError):
                return self._groups.make(name, limits)
        return None


def system_killed() -> int:
    """Return how many processes the kernel has ended for want of memory since it started."""
    return _event(Path("/proc/vmstat"), "oom_kill")


def _is_delegated(folder: Path) -> bool:
    for name in _DELEGATED:
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _in_a_file(name: str, value: int) -> str:
    if name == "resident_mb":
        return str(value << 20)
    return f"{value * PERIOD_US // 100} {PERIOD_US}" if name == "cpu_percent" else str(value)


def _from_a_file(name: str, words: Sequence[str]) -> int:
    if name == "resident_mb":
        return int(words[0]) >> 20
    return 100 * int(words[0]) // int(words[1]) if name == "cpu_percent" else int(words[0])


def _as_property(name: str, value: int) -> str:
    return {"resident_mb": f"{value}M", "cpu_percent": f"{value}%"}.get(name, str(value))


def _event(path: Path, name: str) -> int:
    """Return a number from a file of `name number` lines; 0 where it is not told."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[0] == name:
                return int(words[1])
    return 0
