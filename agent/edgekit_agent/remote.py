"""The part of the configuration that a host may set: which keys, checked as `agent.toml` is, all of them or none.

Nothing about the broker is among them, so no configuration can make a device lose its host.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, get_type_hints

from edgekit_agent.config import AgentConfig, ModelConfig, typed
from edgekit_agent.durable import Keeper
from edgekit_agent.errors import ConfigError
from edgekit_agent.logline import logline
from edgekit_agent.protocol import Desired, Reason, RefusedKey, RemoteState

_log = logging.getLogger(__name__)

LIVE, RESTART = "live", "restart"
KEYS: Mapping[str, str] = MappingProxyType(
    {
        "log_level": LIVE,
        "telemetry.window_s": LIVE,
        "telemetry.heartbeat_s": LIVE,
        "telemetry.spool_mb": LIVE,
        "telemetry.spool_days": LIVE,
        "telemetry.queue": LIVE,
        "telemetry.settle_s": LIVE,
        "telemetry.drift.classes": LIVE,
        "telemetry.drift.inputs": LIVE,
        "telemetry.drift.times": LIVE,
        "model.*.limits.hang_s": LIVE,
        "model.*.rate_hz": RESTART,
        "model.*.threads": RESTART,
        "model.*.workers": RESTART,
        "model.*.limits.memory_mb": RESTART,
    }
)
"""What may be set, `*` is a model's name; and whether the model's workers are started again for it."""
MOST_KEYS = 1000
_DEEPEST = 4
_SHOWN = 120

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaid:
    """What came of a configuration: another one, or why not, by key."""

    config: AgentConfig
    refused: Mapping[str, RefusedKey] = field(default_factory=dict)


def overlay(config: AgentConfig, wanted: Mapping[str, object]) -> Overlaid:
    """Return the configuration with what is wanted in place of its own, or with every key that is refused.

    Args:
        config: as the device has it.
        wanted: tables as in `agent.toml`, but models by name: `{"model": {"kws": {"rate_hz": 5}}}`.
    """
    refused: dict[str, RefusedKey] = {}
    together = config
    for number, (path, value) in enumerate(_leaves(wanted, ())):
        if number == MOST_KEYS:
            return _refusal(config, {"": _refused(Reason.KEY_INVALID, f"there are more than {MOST_KEYS} keys")})
        key = ".".join(path)[:_SHOWN]
        if _pattern(path) not in KEYS:
            refused[key] = _refused(Reason.KEY_NOT_REMOTE, f"'{key}' is no key that can be set from afar")
            continue
        try:
            _with(config, path, value)
            together = _with(together, path, value)
        except ConfigError as exc:
            refused[key] = _refused(Reason.KEY_INVALID, str(exc))
    return _refusal(config, refused) if refused else Overlaid(config=together)


def needs_restart(before: ModelConfig, after: ModelConfig) -> bool:
    """Whether a model's workers have to be started again for another configuration."""
    return replace(after, limits=replace(after.limits, hang_s=before.limits.hang_s)) != before


def _refusal(config: AgentConfig, refused: Mapping[str, RefusedKey]) -> Overlaid:
    return Overlaid(config=config, refused=refused)


def _refused(reason: Reason, text: str) -> RefusedKey:
    return RefusedKey(reason=reason.value, text=text)


def _leaves(table: Mapping[str, object], path: Path) -> Iterator[tuple[Path, object]]:
    for key, value in table.items():
        here = (*path, key)
        if isinstance(value, Mapping) and len(here) < _DEEPEST and _pattern(here) not in KEYS:
            yield from _leaves(value, here)
        else:
            yield here, value


def _pattern(path: Path) -> str:
    return ".".join(("model", "*", *path[2:]) if path[0] == "model" and len(path) > 1 else path)


def _with(config: AgentConfig, path: Path, value: object) -> AgentConfig:
    """Return the configuration with one value replaced.

    Raises:
        ConfigError: if there is no such model, or the value is wrong.
    """
    if path[0] != "model":
        return _replaced(config, path, value, path)  # type: ignore[no-any-return]  # of its argument's type
    models = {model.name: model for model in config.model}
    if path[1] not in models:
        raise ConfigError(f"there is no model '{path[1][:64]}' on this device")
    models[path[1]] = _replaced(models[path[1]], path[2:], value, path)
    return replace(config, model=tuple(models.values()))


def _replaced(table: Any, rest: Path, value: object, path: Path) -> Any:  # noqa: ANN401  # any of the configuration's tables
    name = rest[0]
    if len(rest) > 1:
        return replace(table, **{name: _replaced(getattr(table, name), rest[1:], value, path)})
    return replace(table, **{name: typed(value, get_type_hints(type(table))[name], ".".join(path))})


class RemoteConfig:
    """The configuration last set from afar, kept over restarts."""

    def __init__(self, base: AgentConfig, file: Keeper) -> None:
        """Read what was set; what does not fit this device any more is told and left out.

        Args:
            base: of `agent.toml`.
            file: its folder has to exist when something is set.
        """
        self._base, self._file = base, file
        kept = file.load()
        if kept.doubt is not None:
            _log.warning("%s", logline({"event": "remote-configuration", "doubt": kept.doubt}))
        self.config = base
        """What is in force."""
        self._wanted: Mapping[str, object] = {}
        self.state: RemoteState | None = None
        """What is told of it; None before anything was set."""
        version, wanted = (kept.value or {}).get("v"), (kept.value or {}).get("conf")
        if type(version) is int and isinstance(wanted, dict):
            self._take(version, wanted)

    def over(self, release: ModelConfig) -> ModelConfig:
        """Return a release's configuration with what is set from afar for its model; the rest is the release's own."""
        models = self._wanted.get("model")
        wanted = models.get(release.name) if isinstance(models, Mapping) else None
        for path, value in _leaves({"model": {release.name: wanted}}, ()) if wanted else ():
            release = _replaced(release, path[2:], value, path)
        return release

    def desired(self, desired: Desired) -> bool:
        """Take what a host wants; return whether `config` is another now: older and refused ones change nothing."""
        version = desired.version
        if self.state is not None and version <= self.state.version:
            return False
        if self.state is None and not desired.configuration:
            return False  # nothing is set, and nothing was
        before = self.config
        self._take(version, desired.configuration)
        if self.config is before:
            return False
        try:
            self._file.save({"v": version, "conf": dict(desired.configuration)})
        except (OSError, ValueError) as exc:
            # in force until the next start; then the host tells it again
            _log.warning("%s", logline({"event": "state-not-kept", "reason": str(exc)}))
        return True

    def _take(self, version: int, wanted: Mapping[str, object]) -> None:
        found = overlay(self._base, wanted)
        for key, one in found.refused.items():
            _log.warning("%s", logline({"event": one.reason, "key": key, "text": one.text}))
        if not found.refused:
            self.config, self._wanted = found.config, wanted
        status = "refused" if found.refused else "applied"
        self.state = RemoteState(version=version, status=status, refused=found.refused)
