"""Target profiles: small TOML files of data that name a device's runtimes with their versions."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from edgekit.errors import EdgeKitError, UsageError
from edgekit_converters.compat import runtimes

SCHEMA = 1
_SIZE_LIMIT = 64 * 1024
_FIELDS: Mapping[str, type] = {"schema": int, "name": str, "evidence": str, "runtimes": list, "note": str}
_OPTIONAL = frozenset({"note"})
EVIDENCE = ("measured", "vendor-doc", "general")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A device: `runtimes` as `edgekit check --runtime` takes them; `evidence` says who vouches for its facts."""

    id: str
    name: str
    evidence: str
    runtimes: tuple[str, ...]
    note: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the target as JSON values."""
        return {**asdict(self), "runtimes": list(self.runtimes)}


def targets() -> dict[str, Target]:
    """Return every target of the package by its id."""
    folder = resources.files("edgekit.targets")
    files = sorted((one for one in folder.iterdir() if one.name.endswith(".toml")), key=lambda one: one.name)
    found = [_parsed(one.name.removesuffix(".toml"), one.read_bytes()) for one in files]
    return {one.id: one for one in found}


def target(name: str) -> Target:
    """Return a target by its id, or of a `.toml` file.

    Raises:
        UsageError: if there is none of that name.
        EdgeKitError: if the file cannot be read or is not a target.
    """
    if name.endswith(".toml"):
        path = Path(name)
        try:
            return _parsed(path.stem, path.read_bytes())
        except OSError as exc:
            raise EdgeKitError(f"cannot read '{name}': {exc.strerror}") from exc
    known = targets()
    if name not in known:
        error = UsageError(f"there is no target '{name}'; there are: {', '.join(known)}")
        error.add_note("a file of your own works too: --target my-board.toml")
        raise error
    return known[name]


def _parsed(name: str, content: bytes) -> Target:
    if len(content) > _SIZE_LIMIT:
        raise EdgeKitError(f"target '{name}' is larger than {_SIZE_LIMIT} bytes")
    try:
        stored: dict[str, Any] = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise EdgeKitError(f"target '{name}' is not TOML: {exc}") from exc
    for field in sorted({*stored, *_FIELDS} - _OPTIONAL | set(stored)):
        if field not in _FIELDS or field not in stored or not isinstance(stored[field], _FIELDS[field]):
            what = "unknown" if field not in _FIELDS else "missing" if field not in stored else "of the wrong type"
            raise EdgeKitError(f"target '{name}': field '{field}' is {what}")
    if stored["schema"] != SCHEMA or stored["evidence"] not in EVIDENCE or not stored["runtimes"]:
        raise EdgeKitError(f"target '{name}' needs schema {SCHEMA}, evidence of {', '.join(EVIDENCE)}, and runtimes")
    try:
        wanted = tuple(str(runtimes.parse(str(one))) for one in stored["runtimes"])
    except runtimes.UnknownRuntimeError as exc:
        raise EdgeKitError(f"target '{name}': {exc}") from exc
    return Target(
        id=name, name=stored["name"], evidence=stored["evidence"], runtimes=wanted, note=stored.get("note", "")
    )
