"""A release on trial: a crew beside the one that serves, until it is judged."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from edgekit_agent.actions import Action, Now
from edgekit_agent.config import ModelConfig, UpdateConfig
from edgekit_agent.core import Core
from edgekit_agent.crew import Crew, Tally
from edgekit_agent.protocol import Reason
from edgekit_agent.sources.settings import REQUESTS, SourceConfig
from edgekit_agent.update.trial import since, verdict
from edgekit_agent.update.updater import Done, Refused

SHARE_S = 5.0
Do = Callable[[list[Action]], None]


class Trials:
    """One trial at a time; what serves goes on whatever comes of it."""

    def __init__(self, config: UpdateConfig, core: Core, do: Do) -> None:
        """Take the rules, and what carries out their actions."""
        self._config, self._core, self._do = config, core, do
        self._rules = config
        self._running: _Trial | None = None

    @property
    def running(self) -> bool:
        """Whether a release is on trial."""
        return self._running is not None

    def start(self, release: ModelConfig, now: Now, *, brief: bool = False) -> None:
        """Put a release to work beside what serves; a brief trial ends once it has proved itself and is at work."""
        self._rules = replace(self._config, trial_s=0.0, trial_inferences=0) if brief else self._config
        self._employ(release, release, now)

    def look(self, now: Now) -> Done | Refused | None:
        """Return how the trial ended, None while it goes on or there is none."""
        trial = self._running
        if trial is None:
            return None
        result = trial.look(now)
        if not trial.wants_a_stand_in(result):
            return result
        # a source that only one can read, a camera: the old one goes on reading, the new one is tried without
        self.end(now)
        self._employ(trial.release, replace(trial.release, source=SourceConfig()), now)
        return None

    def end(self, now: Now) -> None:
        """End the trial, if there is one."""
        trial, self._running = self._running, None
        if trial is not None:
            self._do(self._core.dismiss(trial.crew, now))

    def promote(self, now: Now) -> None:
        """Let the new release stand for the model; after a restart it has been started as such already."""
        trial, self._running = self._running, None
        if trial is None:
            return
        if trial.crew.config == trial.release:
            self._do(self._core.promote(trial.crew, now))
            return
        crew, starts = self._core.employ(trial.release, now)
        self._do(self._core.promote(crew, now))  # the old one lets go of the source
        self._do(self._core.dismiss(trial.crew, now))
        self._do(starts)

    def _employ(self, release: ModelConfig, tried: ModelConfig, now: Now) -> None:
        crew, actions = self._core.employ(tried, now, prove=True)
        self._running = _Trial(self._rules, crew, self._core.current(release.name), release, self._do)
        self._do(actions)


@dataclass(slots=True)
class _Trial:
    """A crew on trial beside the one that serves."""

    config: UpdateConfig
    crew: Crew
    current: Crew | None
    release: ModelConfig
    do: Do
    share_at: float = 0.0
    began: tuple[float, Tally, Tally] | None = None

    def look(self, now: Now) -> Done | Refused | None:
        """Return how it ended, None while it goes on."""
        failure = self.crew.last_failure
        if failure is not None and failure.refused:
            return Refused(reason=failure.reason, detail=failure.detail)
        if self.crew.broken:
            return Refused(reason=Reason.CRASH_LOOP, detail=failure.detail if failure is not None else {})
        if self.began is None and self.crew.all_ready:
            self.began = (now.s, replace(self.crew.tally), self._served())
        if self.began is None:
            return None
        at, new, old = self.began
        if self.current is not None and now.s >= self.share_at and self._is_quiet(new):
            self.share_at = now.s + SHARE_S
            self.do(self.current.share())
        found = verdict(
            since(old, self._served()) if self.current is not None else None,
            since(new, self.crew.tally),
            now.s - at,
            self.config,
        )
        if found is None:
            return None
        if found.reason is not None:
            last = failure.detail if failure is not None else {}
            return Refused(reason=found.reason, detail={**last, **found.detail})
        # one that is being started again has not shown that it can stay
        return Done() if self.crew.all_ready else None

    def wants_a_stand_in(self, result: Done | Refused | None) -> bool:
        """Whether the source is what failed, while the release that serves reads it."""
        own = self.crew.config == self.release and self.release.source.kind not in {REQUESTS, SourceConfig().kind}
        return own and self.current is not None and getattr(result, "reason", None) is Reason.SOURCE_FAILED

    def _is_quiet(self, began: Tally) -> bool:
        """Whether applications stay with the workers they know, so that some have to be sent over."""
        return since(began, self.crew.tally).inferences < self.config.trial_inferences

    def _served(self) -> Tally:
        return replace(self.current.tally) if self.current is not None else Tally()
