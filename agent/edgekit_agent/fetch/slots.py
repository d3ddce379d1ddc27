"""Where installed models lie: `models/<name>/slots/{a,b}/`, an unpacked bundle each, complete only with its marker."""

import contextlib
import json
import shutil
from pathlib import Path
from urllib.parse import quote

from edgekit_agent.durable import DISK, Files, write_durably

COMPLETE = "COMPLETE"
AGENT = "edgekit-agent"
"""The name under which the agent itself is released: no model can have it."""
_MOST_BYTES = 4096


def slots_of(state: Path, model: str) -> Path:
    """Return the folder of the slots of a model, or of the agent."""
    return (state / "agent" if model == AGENT else folder_of(state, model)) / "slots"


def folder_of(state: Path, model: str) -> Path:
    """Return a model's folder below the agent's state folder; its name may hold what a folder's may not."""
    return state / "models" / quote(model, safe="").replace(".", "%2E")


def marked(slot: Path, files: Files = DISK) -> str | None:
    """Return the SHA-256 of the bundle that a slot holds, None if it holds none or not all of one."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(files.read(slot / COMPLETE, _MOST_BYTES))["sha256"]
        return found if isinstance(found, str) else None
    return None


def clear(slot: Path, files: Files = DISK) -> None:
    """Empty a slot: its marker goes first, so that what a crash leaves is no model.

    Raises:
        OSError: if that fails.
    """
    with contextlib.suppress(FileNotFoundError):
        files.remove(slot / COMPLETE)
        files.sync_folder(slot)
    if slot.exists():
        shutil.rmtree(slot)


def mark(slot: Path, sha256: str, files: Files = DISK) -> None:
    """Say that a slot is complete.

    Raises:
        OSError: if it cannot be written; the slot is none then.
    """
    write_durably(slot / COMPLETE, json.dumps({"sha256": sha256}).encode(), files=files)
