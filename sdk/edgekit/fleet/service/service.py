"""The service: a store, a connection to the broker, and parts that use them."""

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar

from edgekit.fleet.service.health import Health
from edgekit.fleet.service.host import HostLink, Message
from edgekit.fleet.service.identity import host_id
from edgekit.fleet.service.parts import PARTS, Part
from edgekit.fleet.service.settings import ServeSettings
from edgekit.fleet.store import Store
from edgekit.fleet.store.engine import first_line, is_away
from edgekit_agent.protocol import Kind

_log = logging.getLogger(__name__)

_FAILED = "failed, starts again"
Handler = Callable[[Sequence[Message]], Awaitable[None]]
BACK_OFF_S = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
LASTING_S = 60.0  # a part that ran so long failed for a new reason
WELL_S = 10.0  # one that runs again so long is well
STORE = "store"
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Service:
    """What parts work with. `listen` before the messages flow: in the part's constructor."""

    def __init__(self, settings: ServeSettings, store: Store) -> None:
        """Use an open store; `run` does the rest."""
        self.settings, self.store = settings, store
        self.health = Health()
        self.link = HostLink(settings.broker, settings.site, self.health, f"ek-host-{host_id(settings.data)}")
        self.page_url: str | None = None  # where the page is, once its part has taken the address
        self.renew: Callable[[], None] = lambda: None  # reads the page's certificate anew
        self._handlers: dict[Kind, list[Handler]] = {}

    def listen(self, kinds: Iterable[Kind], handler: Handler) -> None:
        """Have a handler called with the messages of some kinds (state, info, event, reported, res), a few at a time.

        Those of a kind come in order. A handler that raises is logged, and the messages count as handled.
        """
        for kind in kinds:
            self._handlers.setdefault(kind, []).append(handler)

    async def handle(self, messages: Sequence[Message]) -> None:
        """Give messages to those who listen, those of a kind together and in order: a commit costs more than they."""
        by_kind: dict[Kind, list[Message]] = {}
        for message in messages:
            by_kind.setdefault(message.topic.kind, []).append(message)
        for kind, some in by_kind.items():
            for handler in self._handlers.get(kind, ()):
                try:
                    await handler(some)
                except Exception:  # noqa: BLE001  # a part's mistake must not stop the others
                    _log.exception("a handler of '%s' failed", kind)

    async def stored(self, work: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
        """Do work of the store in a thread, again and again while the store is away: what came is not lost with it.

        Work is a transaction: done as a whole or not at all. Meanwhile messages wait, here and with the broker.
        """
        tries = 0
        while True:
            try:
                done = await asyncio.to_thread(work, *arguments, **named)
            except Exception as exc:
                if not is_away(exc):
                    raise
                self.health.says(STORE, f"the store does not answer: {first_line(exc)}")
                await asyncio.sleep(BACK_OFF_S[min(tries, 3)])
                tries += 1
            else:
                if tries:
                    self.health.says(STORE, None)
                return done

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Run all parts until `stop`; `ready` is called when all are started."""
        made = [(name, _load(place)(self)) for name, place in PARTS]
        self.link.start()
        tasks = [asyncio.create_task(self._keep(name, part), name=name) for name, part in made]
        ready()
        await stop.wait()
        for task in reversed(tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(self.link.stop)

    async def _keep(self, name: str, part: Part) -> None:
        """Run a part, again and again."""
        loop, tries = asyncio.get_running_loop(), 0
        self.health.part(name)
        while True:
            began = loop.time()
            try:
                await self._watched(name, part)
                reason = "ended by itself"
            except Exception as exc:  # noqa: BLE001  # a part's mistake must not stop the others
                _log.debug("part '%s' failed", name, exc_info=True)
                reason = f"the store does not answer: {first_line(exc)}" if is_away(exc) else _named(exc)
            tries = 0 if loop.time() - began > LASTING_S else tries + 1
            self.health.part(name).restarts += 1
            self.health.says(name, f"{_FAILED}: {reason}")
            await asyncio.sleep(BACK_OFF_S[min(tries, len(BACK_OFF_S) - 1)])

    async def _watched(self, name: str, part: Part) -> None:
        """Run a part; one that failed before and runs now is well again."""
        running = asyncio.ensure_future(part.run())
        try:
            done, _ = await asyncio.wait({running}, timeout=WELL_S)
            if not done and (self.health.part(name).trouble or "").startswith(_FAILED):
                self.health.says(name, None)
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _named(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"


def _load(place: str) -> Any:  # noqa: ANN401  # a part's class
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
