"""Updates as the service sees them: what comes in, what goes out, when to look again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgekit_agent import __version__
from edgekit_agent.actions import Action, Now
from edgekit_agent.config import AgentConfig
from edgekit_agent.core import Core
from edgekit_agent.fetch.launch import FetchProcess
from edgekit_agent.fetch.messages import FetchRequest
from edgekit_agent.fetch.slots import AGENT
from edgekit_agent.protocol import Desired, RemoteState, Reported
from edgekit_agent.update.hands import RealHands
from edgekit_agent.update.polling import Poller
from edgekit_agent.update.records import Records
from edgekit_agent.update.serving import configured_versions
from edgekit_agent.update.store import Store
from edgekit_agent.update.telling import EVENTS, Way, detail_of, reported
from edgekit_agent.update.updater import Updater

LOOK_S = 1.0
"""How often a trial, and a process that says nothing, is looked at."""


class Updates:
    """The updates of one agent process."""

    def __init__(
        self,
        config: AgentConfig,
        core: Core,
        store: Store,
        do: Callable[[list[Action]], None],
        watch: Callable[[FetchProcess, bool], None],
    ) -> None:
        """Take what carries out actions, and what begins (True) and ends to wake up for a process."""
        self._config, self._core, self._do = config, core, do
        self._hands = RealHands(config, core, do, watch)
        known = {model.name for model in config.model} | ({AGENT} if config.update.agent else set())
        configured = configured_versions(config.model, Path(config.state_dir))
        self._updater = Updater(config.update, frozenset(known), store, self._hands, configured)
        self._poller: Poller | None = None
        self._told = ""

    @property
    def records(self) -> Records:
        """What is installed, and what is on its way."""
        return self._updater.records

    def start(self, now: Now) -> None:
        """Go on with what another process of this agent began; the models are started already."""
        if self._config.update.poll_s and self._config.update.repository:
            names = tuple(model.name for model in self._config.model)
            self._poller = Poller(names, self._config.update.poll_s, now)
        self._updater.start(now)

    def desired(self, desired: Desired, now: Now) -> None:
        """Note an announcement."""
        if desired.lease is not None:
            self._granted(desired)
        else:
            self._updater.desired(desired, now)

    def _granted(self, desired: Desired) -> None:
        """Note the host's leave; it says nothing else."""
        if desired.version == self.records.v and desired.lease is not None:
            self._updater.lease.granted(desired.lease)

    def tick(self, now: Now) -> None:
        """Do what is due."""
        self._updater.tick(now)
        if self._poller is not None:
            self._poll(self._poller, now)
        ended, self._updater.ended = self._updater.ended, []
        for name, outcome in ended:
            level, code = EVENTS[outcome.phase]
            self._do(self._core.tell(level, code, now, name, detail_of(outcome)))

    def next_time(self, now: Now) -> float | None:
        """Return when `tick` has something to do, on the steady clock."""
        times = [self._updater.next_time(), self._poller.next_time() if self._poller is not None else None]
        if not self._updater.idle:
            times.append(now.s + LOOK_S)
        return min((one for one in times if one is not None), default=None)

    def news(self, configuration: RemoteState | None) -> Reported | None:
        """Return the message that says how updates and the configuration stand, if it is not what was last `told`."""
        message = replace(self._message(), configuration=configuration)
        return message if message.to_bytes().decode() != self._told else None

    def told(self, message: Reported | None) -> None:
        """Note what the broker was given; None when it has to be given it again."""
        self._told = message.to_bytes().decode() if message is not None else ""

    def phases(self) -> list[dict[str, object]]:
        """Return how updates stand, as it is reported."""
        return [phase.to_json() for phase in self._message().models]

    @property
    def trying(self) -> bool:
        """Whether a release is on trial: nothing may disturb its figures."""
        return self._hands.trying

    @property
    def restart(self) -> bool:
        """Whether the agent is to end and begin anew, as another version."""
        return self._hands.own.restart

    def close(self) -> None:
        """Leave off; another process goes on."""
        self._hands.close()
        if self._poller is not None:
            self._poller.close()

    def _message(self) -> Reported:
        own = {AGENT: __version__} if AGENT in self.records.models else {}
        versions = {**self._core.versions(), **own}
        updater = self._updater
        way = Way(trouble=updater.trouble, progress=self._hands.progress, question=updater.lease.question)
        return reported(self.records, versions, way)

    def _poll(self, poller: Poller, now: Now) -> None:
        found = poller.answer(self.records.v)
        if found is not None:
            self._updater.offer(*found, now)
        poller.tick(self._updater.idle, self._request, now)

    def _request(self, name: str) -> FetchRequest | None:
        repository = self._config.update.repository
        return self._hands.request(name, self.records.of(name), repository) if repository else None
