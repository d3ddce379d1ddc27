"""The agent's own update: another version runs from a slot, on trial until it has been on line for a while."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgekit_agent import launcher
from edgekit_agent.actions import Now
from edgekit_agent.launcher import Boot
from edgekit_agent.protocol import Reason
from edgekit_agent.update.records import Update
from edgekit_agent.update.rules import Act
from edgekit_agent.update.updater import Done, Refused


class OwnVersion:
    """Which slot the agent runs from, and which it is to; `restart` asks the service to end and begin anew."""

    def __init__(self, state: Path, trial_s: float, online: Callable[[], bool]) -> None:
        """Take the state folder, for how long a version has to be on line, and whether it is."""
        self._state, self._trial_s, self._online = state, trial_s, online
        self._online_since: float | None = None
        self._trying = False
        self.restart = False

    def begin(self, act: Act, update: Update) -> Done | Refused | None:
        """Try, keep or give up the version in an update's slot; None while that goes on, in another process maybe."""
        boot, slot = Boot.of(self._state), update.slot
        here = launcher.running() == slot
        try:
            if act is Act.PROMOTE:
                return self._settle(replace(boot, current=slot, trial=None, starts=0, failed=None), here=not here)
            if act is Act.DISMISS:
                return self._settle(replace(boot, trial=None, starts=0, failed=slot), here=here)
            if here:
                self._trying = True
                return None
            if boot.failed == slot:
                return Refused(reason=Reason.AGENT_NOT_STARTED, detail={"starts": launcher.MOST_STARTS})
            replace(boot, trial=slot, starts=0).keep(self._state)
        except OSError as exc:
            return Refused(reason=Reason.DISK_FULL, detail={"text": str(exc)})
        self.restart = True
        return None

    def _settle(self, boot: Boot, *, here: bool) -> Done | None:
        """Write it; where this process runs from the wrong slot, another one goes on from here."""
        self._trying = False
        boot.keep(self._state)
        self.restart = here
        return None if here else Done()

    def look(self, now: Now) -> Done | None:
        """Return whether the version on trial has been on line for long enough."""
        if not self._trying:
            return None
        if not self._online():
            self._online_since = None
        elif self._online_since is None:
            self._online_since = now.s
        since = self._online_since
        return Done() if since is not None and now.s - since >= self._trial_s else None

    def stop(self) -> None:
        """Leave off."""
        self._trying, self._online_since = False, None
