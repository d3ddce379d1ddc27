"""What a search has tried already, kept beside the output so that an interrupted run goes on where it was."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgekit._report import Trial

_MAX_BYTES = 16 << 20


class Ledger:
    """Trials by what was tried, in a file of JSON lines; one that cannot be read or is of another run counts as none.

    `run` is everything the results depend on besides the trial: model, data, options, versions.
    """

    def __init__(self, path: Path, run: Any) -> None:  # noqa: ANN401  # any JSON values
        """Read what is there."""
        self.path = path
        self._run = hashlib.sha256(json.dumps(run, sort_keys=True, default=str).encode()).hexdigest()
        self._known: dict[str, Trial] = {}
        for line in self._lines():
            self._take(line)
        self.resumed = len(self._known)

    def get(self, target: str, precision: str, layers: Sequence[str]) -> Trial | None:
        """Return the trial if it was made before."""
        return self._known.get(self._key(target, precision, layers))

    def add(self, target: str, trial: Trial) -> None:
        """Keep a trial, at once and on the disk."""
        key = self._key(target, trial.precision, trial.float_layers)
        self._known[key] = trial
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **asdict(trial)}) + "\n")

    def close(self) -> None:
        """Remove the file: the run is through."""
        self.path.unlink(missing_ok=True)

    def _key(self, target: str, precision: str, layers: Sequence[str]) -> str:
        text = json.dumps([self._run, target, precision, sorted(layers)])
        return hashlib.sha256(text.encode()).hexdigest()

    def _lines(self) -> list[str]:
        try:
            if self.path.stat().st_size > _MAX_BYTES:
                return []
            return self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return []

    def _take(self, line: str) -> None:
        try:
            values = json.loads(line)
            key = values.pop("key")
            self._known[key] = Trial(**{**values, "float_layers": tuple(values["float_layers"])})
        except (ValueError, TypeError, KeyError, AttributeError):
            return  # a line cut short by a kill
