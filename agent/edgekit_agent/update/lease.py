"""The host's leave to go on, asked for at the moment it is needed. No I/O; the steady clock comes with each call.

A release that is rolled out with a lease is tried, and kept, only with an answer to a question the device has put after
it came to that point: an answer that was on its way for longer than the lease, or was given to an earlier question,
is none. So a device that is cut off when a rollout is aborted cannot go on, whatever reaches it late.
"""

import secrets

from edgekit_agent.actions import Now


class Lease:
    """One question at a time."""

    def __init__(self) -> None:
        """Begin without one."""
        self.question: str | None = None
        """What the host is asked with, None while nothing is asked for."""
        self._asked_s = 0.0
        self._granted = False

    def held(self, now: Now, lease_s: float | None) -> bool:
        """Whether there is leave now; where there is none it is asked for (again, once the question is too old)."""
        if lease_s is None:
            return True
        fresh = self.question is not None and 0 <= now.s - self._asked_s < lease_s
        if fresh and self._granted:
            return True
        if not fresh:
            self.question, self._asked_s, self._granted = secrets.token_hex(6), now.s, False
        return False

    def granted(self, question: str) -> None:
        """Note the host's answer; one to another question changes nothing."""
        self._granted = self._granted or (self.question is not None and secrets.compare_digest(question, self.question))

    def drop(self) -> None:
        """Forget it: the point it was asked for is passed or left."""
        self.question, self._granted = None, False

    def next_time(self, lease_s: float) -> float | None:
        """Return when a question is too old, on the steady clock."""
        return None if self.question is None else self._asked_s + lease_s
