"""Where passphrases come from: a file, an environment variable, the terminal; never an argument, which others see."""

import os
import sys
from pathlib import Path

import typer

from edgekit.errors import DataError, UsageError

ONLINE = ("snapshot", "timestamp")
OFFLINE_VARIABLE = "EDGEKIT_PASSPHRASE"
ONLINE_VARIABLE = "EDGEKIT_ONLINE_PASSPHRASE"
_MAX_BYTES = 4096


class Passphrases:
    """The passphrase of a role's key files; the on-line roles take that of the off-line ones where they have none."""

    def __init__(self, file: Path | None, online_file: Path | None, *, new: bool = False) -> None:
        """Take the files given; `new` asks twice on the terminal, because keys are made."""
        self._file, self._online_file, self._new = file, online_file, new
        self._asked: dict[str, bytes] = {}

    def __call__(self, role: str) -> bytes:
        """Return it.

        Raises:
            DataError: if a file cannot be read or is empty.
            UsageError: if there is none and no terminal to ask on.
        """
        given = [(self._file, OFFLINE_VARIABLE)]
        if role in ONLINE:
            given.insert(0, (self._online_file, ONLINE_VARIABLE))
        for file, variable in given:
            if file is not None:
                return _read(file)
            if os.environ.get(variable):
                return os.environ[variable].encode()
        which = "on-line" if role in ONLINE else "off-line"
        if which not in self._asked:
            self._asked[which] = self._ask(which)
        return self._asked[which]

    def _ask(self, which: str) -> bytes:
        if not sys.stdin.isatty():
            error = UsageError(f"no passphrase for the {which} keys, and no terminal to ask on")
            error.add_note(f"give --passphrase-file FILE or set {OFFLINE_VARIABLE}")
            raise error
        text = f"Passphrase for the {which} keys"
        return str(typer.prompt(text, hide_input=True, confirmation_prompt=self._new, err=True)).encode()


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            passphrase = opened.read(_MAX_BYTES).rstrip(b"\r\n")
    except OSError as exc:
        raise DataError(f"cannot read the passphrase file '{file}': {exc.strerror}") from exc
    if not passphrase:
        raise DataError(f"the passphrase file '{file}' is empty")
    return passphrase
