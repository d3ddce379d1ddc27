"""Which release of a model is started: the one installed last, the one before it, or what the configuration names."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit_agent.bundled import configured, unpacked
from edgekit_agent.config import ModelConfig
from edgekit_agent.errors import AgentError
from edgekit_agent.fetch import slots
from edgekit_agent.protocol import Reason
from edgekit_agent.update.records import Record, Records


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A model that is not started as it should be, and why."""

    model: str
    reason: Reason
    text: str


def to_start(
    models: Sequence[ModelConfig], records: Records, state: Path
) -> tuple[tuple[ModelConfig, ...], tuple[Trouble, ...]]:
    """Return the models to start, each as its release says, and what is wrong with others.

    Args:
        models: as they are configured.
        records: what is installed.
        state: the agent's state folder.
    """
    found: list[ModelConfig] = []
    troubles: list[Trouble] = []
    for model in models:
        installed = _installed(model, records.of(model.name), state, troubles)
        if installed is None and (model.path or model.bundle):
            try:
                installed = unpacked(model, slots.folder_of(state, model.name) / "configured")
            except (AgentError, OSError) as exc:
                troubles.append(Trouble(model=model.name, reason=Reason.BUNDLE_INVALID, text=str(exc)))
        if installed is not None:
            found.append(installed)
    return tuple(found), tuple(troubles)


def configured_versions(models: Sequence[ModelConfig], state: Path) -> dict[str, str]:
    """Return the version of each model that the configuration names; of those whose bundle is damaged, none."""
    found: dict[str, str] = {}
    for model in models:
        if model.path or model.bundle:
            with contextlib.suppress(AgentError, OSError):
                found[model.name] = unpacked(model, slots.folder_of(state, model.name) / "configured").version
    return found


def _installed(model: ModelConfig, record: Record, state: Path, troubles: list[Trouble]) -> ModelConfig | None:
    for one in (record.current, record.previous):
        if one is None:
            continue
        folder = slots.slots_of(state, model.name) / one.slot
        try:
            if slots.marked(folder) == one.sha256:
                return configured(model, folder)
            text = f"slot {one.slot} does not hold version {one.version}"
        except AgentError as exc:
            text = str(exc)
        troubles.append(Trouble(model=model.name, reason=Reason.SLOT_DAMAGED, text=text))
    return None
