"""The part of the service that looks at rules every few seconds and tells what is to be told."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgekit.errors import EdgeKitError
from edgekit.fleet import _clock
from edgekit.fleet.alerts.machine import step
from edgekit.fleet.alerts.notifiers import Publish, tell
from edgekit.fleet.alerts.settings import Email, Mqtt, Settings, load
from edgekit.fleet.alerts.watching import Look, Sources
from edgekit.fleet.store import Store
from edgekit.fleet.store.alerts import MessageRow

_LOG = logging.getLogger(__name__)

LOOK_S = 10.0
TELL_S = 1.0
REST = 4.0
BACKOFF_S = (5.0, 900.0)
GIVE_UP_S = 86_400.0


class Service(Protocol):
    """What this part needs of the service: a store, a folder, and a connection to the broker."""

    @property
    def store(self) -> Store:
        """The store."""
        ...

    @property
    def settings(self) -> Any:  # noqa: ANN401  # has `data`, the service's folder
        """What the service was told."""
        ...

    @property
    def link(self) -> Any:  # noqa: ANN401  # has `publish(topic, payload)`
        """The connection to the broker."""
        ...


@dataclass(slots=True, kw_only=True)
class AlertsPart:
    """Rules, and whom to tell. All that must survive is in the store; one process runs it."""

    sources: Sources
    settings: Settings = field(default_factory=Settings)
    publish: Publish | None = None
    now_ms: Callable[[], int] = _clock.now_ms

    async def run(self) -> None:
        """Look and tell until cancelled."""
        await asyncio.to_thread(self.configure)
        both = [asyncio.ensure_future(self._every(seconds, work)) for seconds, work in self._turns()]
        try:
            await asyncio.gather(*both)
        finally:  # one that fails takes the other along: they start again together
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    def _turns(self) -> tuple[tuple[float, Callable[[], int]], ...]:
        return (LOOK_S, self.look), (TELL_S, self.deliver)

    async def _every(self, seconds: float, work: Callable[[], int]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            await asyncio.to_thread(work)
            # with very many devices a look takes its time: it may not take the service's
            await asyncio.sleep(max(seconds, REST * (loop.time() - began_s)))

    def configure(self) -> None:
        """Take over rules and names of notifiers from the service's file.

        Raises:
            UsageError: if a rule names a notifier that is none.
        """
        kinds = {name: _kind(one) for name, one in self.settings.notifiers.items()}
        self.sources.store.alerts.configure(self.settings.rules, kinds, self.now_ms())

    def look(self) -> int:
        """Evaluate all rules once; return how many things happened."""
        store, now = self.sources.store.alerts, self.now_ms()
        rules = store.rules()
        seen, looking = [], Look(self.sources, now)
        for rule in rules.values():
            try:
                seen += looking.observe(rule)
            except EdgeKitError as exc:  # a rule that cannot be looked at must not stop the others
                _LOG.warning("rule=%s cannot be evaluated: %s", rule.name, exc)
        standings = [row.standing for row in store.standing()]
        after, changes = step(rules, seen, standings, store.silences(now), now)
        store.save(rules, after, changes, now)
        return len(changes)

    def deliver(self) -> int:
        """Tell what is due, once each; return how many arrived.

        After one that does not arrive, its notifier has a rest until the next round: others are not to wait for it.
        """
        arrived, resting = 0, set[str]()
        for message in self.sources.store.alerts.due(self.now_ms()):
            if message.notifier in resting:
                continue
            if self._deliver(message):
                arrived += 1
            else:
                resting.add(message.notifier)
        return arrived

    def _deliver(self, message: MessageRow) -> bool:
        store, now = self.sources.store.alerts, self.now_ms()
        notifier = self.settings.notifiers.get(message.notifier)
        if notifier is None:
            store.tried(message.id, "given-up", now, "there is no such notifier any more")
            return False
        try:
            tell(notifier, message.id, message.body, now // 1000, self.publish)
        except EdgeKitError as exc:
            late = now - message.created_ms > 1000 * GIVE_UP_S
            wait_s = min(BACKOFF_S[1], BACKOFF_S[0] * 2.0 ** min(message.tries, 16))
            store.tried(message.id, "given-up" if late else "waiting", now + int(1000 * wait_s), str(exc))
            _LOG.warning("message=%d notifier=%s failed: %s", message.id, message.notifier, exc)
            return False
        store.tried(message.id, "sent", now)
        return True


def for_service(service: Service) -> AlertsPart:
    """Return the part for a service: its file is `alerts.toml` in the service's folder, where there is one.

    Raises:
        DataError: if the file is broken.
    """
    file = service.settings.data / "alerts.toml"
    settings = load(file) if file.exists() else Settings()
    return AlertsPart(sources=Sources.of(service.store), settings=settings, publish=service.link.publish)


def _kind(notifier: object) -> str:
    if isinstance(notifier, Email):
        return "email"
    return "mqtt" if isinstance(notifier, Mqtt) else "webhook"
