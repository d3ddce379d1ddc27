"""Limits that a worker puts on itself, before it loads anything; standard library only.

They hold whatever the system is: no control groups, no service manager. What a process takes on cannot be taken off by
a runtime or driver that runs in it later.
"""

import contextlib
import ctypes
import grp
import os
import pwd
import resource
from pathlib import Path

from edgekit_agent import cgroups
from edgekit_agent.config import LimitsConfig
from edgekit_agent.errors import LimitsError

DIES_FIRST = 500
"""Of -1000 to 1000: when the system runs out of memory, workers are ended before the supervisor, which tells of it."""
_PR_SET_NO_NEW_PRIVS = 38


def apply(limits: LimitsConfig) -> dict[str, object]:
    """Take on the limits and return those that are in force, as the kernel tells them.

    Raises:
        LimitsError: if one cannot be had: it would be a promise nobody keeps.
    """
    _write("/proc/self/oom_score_adj", DIES_FIRST)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _hard(resource.RLIMIT_NOFILE, limits.open_files, "open_files")
    if limits.memory_mb:
        _hard(resource.RLIMIT_AS, limits.memory_mb << 20, "memory_mb")
    if limits.cpu_s:  # the soft one ends it by SIGXCPU, which says why
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    if limits.nice:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, limits.nice)
        except OSError as exc:
            raise LimitsError(f"nice {limits.nice} cannot be set: {exc.strerror}") from exc
    if limits.user is not None:
        _become(limits.user)
    no_new_privileges()
    return in_force(limits)


def in_force(limits: LimitsConfig) -> dict[str, object]:
    """Return the limits of this process, and under `missing` those that were asked for and are not there."""
    found: dict[str, object] = {
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "oom_score_adj": _number("/proc/self/oom_score_adj"),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
    }
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space != resource.RLIM_INFINITY:
        found["memory_mb"] = space >> 20
    seconds, _ = resource.getrlimit(resource.RLIMIT_CPU)
    if seconds != resource.RLIM_INFINITY:
        found["cpu_s"] = seconds
    if limits.user is not None:
        found["user"] = pwd.getpwuid(os.geteuid()).pw_name
    found |= cgroups.in_force()
    missing = [name for name in limits.of_a_group if name not in found]
    return {**found, "missing": missing} if missing else found


def check_user(name: str) -> pwd.struct_passwd:
    """Return the user a worker is to run as.

    Raises:
        LimitsError: if there is none of this name, or this process may not become it.
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError as exc:
        raise LimitsError(f"there is no user '{name}' for a worker to run as") from exc
    if user.pw_uid != os.geteuid() and os.geteuid() != 0:
        error = LimitsError(f"only root can run a worker as another user, '{name}'")
        error.add_note("leave model.limits.user out, or run the agent as root")
        raise error
    return user


def _become(name: str) -> None:
    user = check_user(name)
    if user.pw_uid == os.geteuid():
        return
    # the user's own groups are kept: devices are opened by them (video, render)
    groups = [user.pw_gid, *(one.gr_gid for one in grp.getgrall() if name in one.gr_mem)]
    try:
        os.setgroups(groups)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    except OSError as exc:
        raise LimitsError(f"the worker cannot become user '{name}': {exc.strerror}") from exc


def no_new_privileges() -> None:
    """Give up the gain of rights by programs that this process may start; not on kernels that cannot."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _hard(what: int, value: int, name: str) -> None:
    """Set a limit that the process cannot raise again; one that is lower already stays."""
    _, most = resource.getrlimit(what)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    try:
        resource.setrlimit(what, (value, value))
    except (OSError, ValueError) as exc:
        raise LimitsError(f"limit {name} {value} cannot be set: {exc}") from exc


def _write(path: str, value: int) -> None:
    with contextlib.suppress(OSError):  # a sandbox may hide it; what is in force is read back
        Path(path).write_text(str(value))


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
