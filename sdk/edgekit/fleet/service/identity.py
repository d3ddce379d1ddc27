"""Who this installation of the service is, at the broker."""

import contextlib
import uuid
from pathlib import Path

from edgekit_agent.durable import write_durably


def host_id(data: Path) -> str:
    """Return the name of this installation of the service: sessions at the broker go by it over restarts."""
    path = data / "host-id"
    with contextlib.suppress(OSError, ValueError):
        return uuid.UUID(path.read_text().strip()).hex[:12]
    made = uuid.uuid4()
    write_durably(path, f"{made}\n".encode())
    return made.hex[:12]
