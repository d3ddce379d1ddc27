"""Which version of the agent runs: the one that is installed, or one that an update has put into a slot.

`edgekit-agent run` asks this first, and becomes that version. `state_dir/agent/boot.json` names the slot that runs, and
the one on trial with the number of its starts: one that has been started three times without being committed is given
up. Nothing here may keep the installed version from starting.
"""

import contextlib
import os
import sys
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from edgekit_agent.durable import StateFile, held
from edgekit_agent.errors import ProtocolError
from edgekit_agent.fetch.slots import AGENT, marked, slots_of
from edgekit_agent.protocol import Message

SLOT, OUTSIDE = "EDGEKIT_AGENT_SLOT", "EDGEKIT_AGENT_PYTHONPATH"
MOST_STARTS = 3
_DEFAULT_STATE = "~/.local/state/edgekit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot(Message):
    """The slots: what runs (None is the installed version), what is tried, what was tried and given up."""

    current: str | None = None
    trial: str | None = None
    starts: int = 0
    failed: str | None = None

    @classmethod
    def of(cls, state: Path) -> Self:
        """Read it; what cannot be read stands for the installed version."""
        with contextlib.suppress(ProtocolError):
            return cls.from_json(_file(state).load().value or {})
        return cls()

    def keep(self, state: Path) -> None:
        """Write it.

        Raises:
            OSError: if that fails; what was written before stands.
        """
        (state / "agent").mkdir(exist_ok=True, mode=0o700)
        _file(state).save(self.to_json())


def _file(state: Path) -> StateFile:
    return StateFile(state / "agent" / "boot.json")


def launch(config: Path) -> None:
    """Become the version that is to run; return where that is this one."""
    if SLOT in os.environ:
        return
    state = _state_of(config)
    slot = None if state is None else _chosen(state)
    os.environ[SLOT] = slot or ""
    if state is None or slot is None:
        return
    before = os.environ.get("PYTHONPATH", "")
    folder = str(slots_of(state, AGENT) / slot)
    os.environ |= {OUTSIDE: before, "PYTHONPATH": f"{folder}{os.pathsep}{before}" if before else folder}
    os.execv(sys.executable, [sys.executable, "-P", "-m", "edgekit_agent", *sys.argv[1:]])  # noqa: S606  # no shell


def restart() -> None:
    """Begin anew with the installed version, which launches the one that is to run now."""
    os.environ.pop(SLOT, None)
    before = os.environ.pop(OUTSIDE, None)
    if before is not None:
        os.environ["PYTHONPATH"] = before
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # no shell


def running() -> str | None:
    """Return the slot that this process runs from."""
    return os.environ.get(SLOT) or None


def _state_of(config: Path) -> Path | None:
    """Return the state folder, of a configuration that may be of a newer version."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        found = tomllib.loads(config.read_text()).get("state_dir", _DEFAULT_STATE)
        return config.resolve().parent / Path(str(found)).expanduser()
    return None


def _chosen(state: Path) -> str | None:
    """Return the slot to run from, a start of one on trial being counted before it is made."""
    if not (state / "agent").is_dir():
        return None
    boot = Boot.of(state)
    slot = boot.current
    if boot.trial is not None:
        with contextlib.suppress(OSError), held(state / "lock"):  # of another agent that runs nothing is counted
            if boot.starts >= MOST_STARTS:
                replace(boot, trial=None, starts=0, failed=boot.trial).keep(state)
            else:
                replace(boot, starts=boot.starts + 1).keep(state)
                slot = boot.trial
    return slot if slot is not None and marked(slots_of(state, AGENT) / slot) is not None else None
