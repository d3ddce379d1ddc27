"""Files that hold a password or a key."""

import stat
from pathlib import Path

from edgekit_agent.errors import ConfigError


def keep_secret(what: str, path: str) -> None:
    """Refuse a file with a secret that everybody may read or change, as ssh does.

    Raises:
        ConfigError: if they may, or it cannot be looked at.
    """
    try:
        mode = stat.S_IMODE(Path(path).stat().st_mode)
    except OSError as exc:
        raise ConfigError(f"{what} '{path}' cannot be read: {exc.strerror}") from exc
    if mode & stat.S_IRWXO:
        error = ConfigError(f"{what}: everybody may read or change '{path}' (mode {mode:o})")
        error.add_note(f"chmod 600 {path}")
        raise error
