"""What a search has tried already, kept beside the output so that an interrupted run goes on where it was."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgekit._report import Trial
from edgekit_converters.model import Arrays

_MAX_BYTES = 16 << 20


class Ledger:
    """Trials by what was tried, in a file of JSON lines; one that cannot be read or is of another run counts as none.

    `run` is everything the results depend on besides the trial: model, data, options, versions. Where the file cannot
    be written, trials are kept for this run only.
    """

    def __init__(self, path: Path, run: Any) -> None:  # noqa: ANN401  # any JSON values
        """Read what is there."""
        self.path = path
        self._run = hashlib.sha256(json.dumps(run, sort_keys=True, default=str).encode()).hexdigest()
        self._known: dict[str, Trial] = {}
        for line in self._lines():
            self._take(line)
        self.resumed = len(self._known)
        """How many trials an earlier run left."""

    def get(self, target: str, precision: str, layers: Sequence[str]) -> Trial | None:
        """Return the trial if it was made before."""
        return self._known.get(_key(target, precision, layers))

    def add(self, target: str, trial: Trial) -> None:
        """Keep a trial, at once and on the disk; the first one of a run takes the place of what another run left."""
        key = _key(target, trial.precision, trial.float_layers)
        mode = "a" if self._known else "w"
        self._known[key] = trial
        line = json.dumps({"run": self._run, "key": key, **asdict(trial)})
        try:
            with self.path.open(mode, encoding="utf-8") as file:
                file.write(f"\n{line}\n")  # a new line first: the last one may have been cut short by a kill
        except OSError:
            return  # a full disk or a read-only folder costs the way back, not the run

    def close(self) -> None:
        """Remove the file: the run is through."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            return

    def _lines(self) -> list[str]:
        try:
            if not self.path.is_file() or self.path.stat().st_size > _MAX_BYTES:
                return []
            return self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []

    def _take(self, line: str) -> None:
        try:
            values = json.loads(line)
            key, run = values.pop("key"), values.pop("run")
            trial = Trial(**{**values, "float_layers": tuple(values["float_layers"])})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return  # a line cut short by a kill
        if run == self._run:
            self._known[key] = trial


def digest(arrays: Arrays) -> str:
    """Return what tells samples and labels from others: their names, shapes, dtypes and bytes, as SHA-256."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {array.shape};".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _key(target: str, precision: str, layers: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([target, precision, sorted(layers)]).encode()).hexdigest()
