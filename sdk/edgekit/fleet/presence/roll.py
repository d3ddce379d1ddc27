"""The presence of all devices. What strikes many at once is taken for the broker's, or our own, before it is theirs."""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from edgekit.fleet.presence.deadline import DEFAULT_BEAT_S
from edgekit.fleet.presence.device import LATE_S, SEEN_S, Cause, Device, Presence, Remembered, Told, Verdict

Key = tuple[str, str]
CROWD_LEAST, CROWD_SHARE = 5, 0.2
"""So many last wills within `TOGETHER_S` are those of a broker that restarts, or a network that breaks."""
TOGETHER_S = 2.0
RETURN_S = 35.0
"""After a broker came back: devices try again after 1 to 30 s, and a quarter more."""
COMMON_LEAST = 5
COMMON_MOST_BEATS = 2.0
COMMON_S, COUNT_S = 1.0, 5.0
DEAF_GAPS, DEAF_LEAST_S = 10.0, 1.0
"""Nothing of anybody for ten times as long as is usual between two arrivals: it is we who do not hear."""


@dataclass(frozen=True, slots=True)
class Change:
    """A device whose presence, or the reason for it, is another now."""

    key: Key
    verdict: Verdict


class Roll:
    """Feed it what comes and what time it is; it answers with what has changed."""

    def __init__(self) -> None:
        """Begin with no devices, and a host that is connected."""
        self._devices: dict[Key, Device] = {}
        self._due: list[tuple[float, Key]] = []
        self._wills: deque[tuple[float, Key]] = deque()
        self._held: dict[Key, float] = {}
        """Those that are stale because of the broker, and until when they may come again."""
        self._willed: set[Key] = set()
        self._cut_off_s: float | None = None
        self._returned_s = float("-inf")
        self._common_s, self._common_at = 0.0, float("-inf")
        self._last_s = self._deaf_limit_s = float("inf")
        self._deaf_s, self._counted_s = 0.0, float("-inf")

    def __contains__(self, key: Key) -> bool:
        """Whether anything is known of a device."""
        return key in self._devices

    def __iter__(self) -> Iterator[tuple[Key, Verdict]]:
        """Yield all devices."""
        return ((key, device.verdict) for key, device in self._devices.items())

    def verdict(self, key: Key) -> Verdict:
        """Return a device's presence as it stands."""
        known = self._devices.get(key)
        return known.verdict if known else Verdict(Presence.UNKNOWN, Cause.NEVER_SEEN, 0.0)

    def last_heard_s(self, key: Key) -> float | None:
        """Return when anything of a device came last."""
        known = self._devices.get(key)
        return known.heard_s if known else None

    def forget(self, key: Key) -> None:
        """Know nothing of a device any more."""
        self._devices.pop(key, None)
        self._let_go(key)

    def remember(self, key: Key, state: str, told: Remembered, now_s: float) -> None:
        """Begin with what was known of a device earlier: one that was online has its time from now on."""
        device = self._devices[key] = Device(Verdict(Presence.UNKNOWN, Cause.NEVER_SEEN, now_s), now_s)
        device.birth, device.boot, device.spoken = told.birth, told.boot, True
        device.heartbeat_s = told.heartbeat_s or DEFAULT_BEAT_S
        if state == "online":
            if told.presence == Presence.OFFLINE:
                device.verdict = Verdict(Presence.OFFLINE, Cause.SILENT, now_s)
            else:
                self._back(key, device, now_s)
        elif told.why == "stop":
            self._set(key, Presence.STOPPED, Cause.CLEAN_STOP, now_s)
        else:
            self._set(key, Presence.OFFLINE, Cause.CONNECTION_LOST, now_s)

    # --- what comes

    def state(self, key: Key, told: Told, now_s: float, *, retained: bool = False) -> list[Change]:
        """Take in what a device, or the broker in its place, says of it; `retained` is what the broker had kept."""
        self._listen(now_s)
        device = self._devices.get(key)
        if device is None:
            device = self._devices[key] = Device(Verdict(Presence.UNKNOWN, Cause.NEVER_SEEN, now_s), now_s)
        if device.says_nothing(told):
            return []
        if told.state == "online":
            if (
                retained
                and device.verdict.cause is Cause.SILENT
                and (told.birth, told.boot) == (device.birth, device.boot)
            ):
                return []  # the broker repeats what we know to be over
            device.born(told, now_s, retained=retained)
            device.deaf_s = self._deaf_s
            return self._back(key, device, now_s)
        device.spoken, device.birth, device.boot = True, told.birth, told.boot
        if told.why == "stop":
            self._let_go(key)
            return self._set(key, Presence.STOPPED, Cause.CLEAN_STOP, now_s)
        return self._lost(key, device, now_s, retained=retained)

    def says_nothing(self, key: Key, told: Told) -> bool:
        """Whether a state changes nothing: the will of another connection, or of one that has said goodbye."""
        known = self._devices.get(key)
        return known is not None and known.says_nothing(told)

    def heard(self, key: Key, now_s: float, at_s: float | None = None) -> list[Change]:
        """Note that something else of a device has come, a moment ago or `at_s`."""
        at_s = now_s if at_s is None else min(at_s, now_s)
        self._listen(now_s)
        device = self._devices.get(key)
        if device is None:
            self._devices[key] = Device(Verdict(Presence.UNKNOWN, Cause.NEVER_SEEN, now_s), at_s)
            return []
        before, device.heard_s, device.deaf_s = device.verdict, max(device.heard_s, at_s), self._deaf_s
        if not device.spoken or before.presence is Presence.ONLINE:
            return []
        ended = before.cause in {Cause.CONNECTION_LOST, Cause.CLEAN_STOP} or key in self._willed
        late_s = LATE_S if ended else SEEN_S if before.presence is Presence.OFFLINE else float("-inf")
        if at_s <= before.since_s + late_s:
            return []  # sent before that, and late
        return self._back(key, device, now_s)

    def host(self, now_s: float, *, connected: bool) -> list[Change]:
        """Note that our own connection to the broker is gone, or stands again.

        Nobody is declared dead in between, and all get their whole time again after it: they have to come back too.
        """
        if not connected:
            self._cut_off_s = now_s if self._cut_off_s is None else self._cut_off_s
            online = [key for key, device in self._devices.items() if device.verdict.presence is Presence.ONLINE]
            return [one for key in online for one in self._set(key, Presence.STALE, Cause.BROKER_RESTART, now_s)]
        if self._cut_off_s is not None:
            self._cut_off_s, self._returned_s = None, now_s
            for key, device in self._devices.items():
                if device.verdict.presence is Presence.STALE:
                    self._held[key] = now_s + RETURN_S
        return []

    # --- time

    def tick(self, now_s: float) -> list[Change]:
        """Declare those that are over their time; call it at least once a second."""
        if self._cut_off_s is not None:
            return []
        changes = self._release(now_s)
        late: list[Key] = []
        while self._due and self._due[0][0] <= now_s:
            _, key = heapq.heappop(self._due)
            device = self._devices.get(key)
            if device is None:
                continue
            device.watched = False
            if device.verdict.presence is not Presence.ONLINE:
                continue
            if device.due_s > now_s:
                self._watch(key, device, device.due_s)
            else:
                late.append(key)
        for key in late:
            device = self._devices[key]
            most_s = COMMON_MOST_BEATS * device.heartbeat_s
            due_s = device.due_s + min(most_s, max(self._common(now_s), self._deaf(now_s) - device.deaf_s))
            if due_s > now_s:
                self._watch(key, device, min(due_s, now_s + COMMON_S))
            else:
                changes += self._set(key, Presence.OFFLINE, Cause.SILENT, now_s)
        return changes

    def _common(self, now_s: float) -> float:
        """Return by how much most devices are late: that is the broker, the network or us, and none of them is dead."""
        if now_s - self._common_at < COMMON_S:
            return self._common_s
        online = [one for one in self._devices.values() if one.verdict.presence is Presence.ONLINE]
        self._common_at, self._common_s = now_s, 0.0
        if len(online) >= COMMON_LEAST:
            late_s = median(now_s - one.heard_s - one.heartbeat_s for one in online)
            self._common_s = max(0.0, 2 * late_s)
        return self._common_s

    def _listen(self, now_s: float) -> None:
        """Note that something came of somebody."""
        if now_s - self._last_s > self._deaf_limit_s:
            self._deaf_s += now_s - self._last_s
        self._last_s = now_s
        if now_s - self._counted_s > COUNT_S:
            self._counted_s = now_s
            beats = [one.heartbeat_s for one in self._devices.values() if one.verdict.presence is Presence.ONLINE]
            usual_s = 1 / sum(1 / beat_s for beat_s in beats) if beats else float("inf")
            self._deaf_limit_s = max(DEAF_LEAST_S, DEAF_GAPS * usual_s)

    def _deaf(self, now_s: float) -> float:
        """Return for how long we have heard nobody, all in all."""
        silent_s = now_s - self._last_s
        return self._deaf_s + (silent_s if silent_s > self._deaf_limit_s else 0.0)

    def _release(self, now_s: float) -> list[Change]:
        """Decide about those that were held back and have not come again."""
        changes = []
        for key in [key for key, until_s in self._held.items() if until_s <= now_s]:
            del self._held[key]
            cause = Cause.CONNECTION_LOST if key in self._willed else Cause.SILENT
            self._willed.discard(key)
            changes += self._set(key, Presence.OFFLINE, cause, now_s)
        return changes

    # --- wills

    def _lost(self, key: Key, device: Device, now_s: float, *, retained: bool) -> list[Change]:
        """The broker says that a connection is gone."""
        if device.verdict.presence is Presence.ONLINE and not retained:
            while self._wills and self._wills[0][0] < now_s - TOGETHER_S:
                self._wills.popleft()
            self._wills.append((now_s, key))
            if now_s - self._returned_s < RETURN_S and not device.told_since(self._returned_s):
                return self._hold(key, now_s)
            if len(self._wills) >= max(CROWD_LEAST, CROWD_SHARE * self._online()):
                return [change for _, one in self._wills for change in self._hold(one, now_s)]
        if device.verdict.presence is Presence.STALE:
            return self._hold(key, now_s)
        return self._set(key, Presence.OFFLINE, Cause.CONNECTION_LOST, now_s)

    def _hold(self, key: Key, now_s: float) -> list[Change]:
        if key not in self._devices or self._devices[key].verdict.presence is Presence.STOPPED:
            return []
        self._held.setdefault(key, now_s + RETURN_S)
        self._willed.add(key)
        return self._set(key, Presence.STALE, Cause.BROKER_RESTART, now_s)

    def _online(self) -> int:
        """Return how many were online before the last wills."""
        return len(self._wills) + sum(one.verdict.presence is Presence.ONLINE for one in self._devices.values())

    # --- small things

    def _back(self, key: Key, device: Device, now_s: float) -> list[Change]:
        self._let_go(key)
        self._watch(key, device, device.due_s)
        return self._set(key, Presence.ONLINE, device.online_cause(now_s), now_s)

    def _watch(self, key: Key, device: Device, at_s: float) -> None:
        """Look at it then; each device stands in the heap once."""
        if not device.watched:
            device.watched = True
            heapq.heappush(self._due, (at_s, key))

    def _let_go(self, key: Key) -> None:
        self._held.pop(key, None)
        self._willed.discard(key)

    def _set(self, key: Key, presence: Presence, cause: Cause, now_s: float) -> list[Change]:
        device = self._devices[key]
        before = device.verdict
        if (before.presence, before.cause) == (presence, cause):
            return []
        since_s = before.since_s if before.presence is presence else now_s
        device.verdict = Verdict(presence, cause, since_s)
        return [Change(key, device.verdict)]
