"""What can be said of a configuration without starting anything: files, permissions, folders, runtimes, sources."""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from edgekit_agent import bundle, limits, runtimes
from edgekit_agent.config import AgentConfig, ModelConfig
from edgekit_agent.errors import AgentError, ConfigError
from edgekit_agent.secret_files import keep_secret


class Level(StrEnum):
    """How bad it is: an agent with something `wrong` does not do its work."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    level: Level
    text: str
    hints: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return it for a document."""
        return asdict(self)


def check(config: AgentConfig) -> Iterator[Finding]:
    """Look at everything a configuration names, one finding each; nothing is written, started or connected to."""
    host, port, tls = config.broker.address
    how = "with TLS" if tls else "without TLS"
    yield Finding("broker", Level.OK, f"{host}:{port} {how}, as {config.device} of site {config.site}")
    broker, update = config.broker, config.update
    for name, path in (
        ("broker.ca", broker.ca),
        ("broker.cert", broker.cert),
        ("update.ca", update.ca),
        ("update.cert", update.cert),
    ):
        if path is not None:
            yield _file(name, path)
    for name, path in (
        ("broker.password_file", broker.password_file),
        ("broker.key", broker.key),
        ("update.key", update.key),
    ):
        if path is not None:
            yield _secret(name, path)
    yield _folder("state_dir", Path(config.state_dir))
    yield _folder("run_dir", config.run_folder)
    if config.serve.http is not None:
        yield _port("serve.http", *config.serve.address)
    for model in config.model:
        yield from _model(model)


def _model(model: ModelConfig) -> Iterator[Finding]:
    what = f"model {model.name}"
    if model.bundle is not None:
        yield _said(what, partial(_bundle, Path(model.bundle)))
    elif not model.path:
        yield Finding(what, Level.OK, "is there once an update has installed it")
    else:
        artifact = _file(what, model.path)
        yield artifact if artifact.level is Level.WRONG else _said(what, partial(_artifact, model))
    if model.labels is not None:
        yield _file(f"{what} labels", model.labels)
    if "/" in (model.delegate or ""):  # a bare name is the system's loader's to find
        yield _file(f"{what} delegate", model.delegate or "")
    if model.limits.user is not None:
        yield _said(f"{what} user", partial(_user, model.limits.user))
    if model.source.path is not None:
        present = os.access(model.source.path, os.R_OK)
        text = f"'{model.source.path}' {'is there' if present else _missing(model.source.path)}"
        yield Finding(f"{what} source", Level.OK if present else Level.WRONG, text)


def _bundle(path: Path) -> str:
    """Look at the manifest of a bundle, packed or unpacked; its files are checked when it is installed."""
    manifest = bundle.read_folder(path) if path.is_dir() else bundle.read(path).manifest
    chosen = bundle.choose_runtime(manifest.runtimes, str(manifest))
    return f"version {manifest.version}, '{path}' on {chosen.name} ({chosen.device})"


def _artifact(model: ModelConfig) -> str:
    return f"version {model.version}, '{model.path}' on {runtimes.choose(Path(model.path), model.runtime).name}"


def _user(name: str) -> str:
    return f"workers run as '{name}' ({limits.check_user(name).pw_uid})"


def _said(what: str, look: Callable[[], str]) -> Finding:
    """Return the text that a look gives, or its error's."""
    try:
        return Finding(what, Level.OK, look())
    except (AgentError, OSError) as exc:
        return Finding(what, Level.WRONG, str(exc), tuple(getattr(exc, "__notes__", ())))


def _file(what: str, path: str) -> Finding:
    if Path(path).is_file() and os.access(path, os.R_OK):
        return Finding(what, Level.OK, f"'{path}' is there")
    return Finding(what, Level.WRONG, f"'{path}' {_missing(path)}")


def _missing(path: str) -> str:
    if not os.path.lexists(path):
        return "does not exist"
    return "is no file that this user may read"


def _secret(what: str, path: str) -> Finding:
    """Look at a file with a secret: nobody but its owner should be able to read or change it."""
    found = _file(what, path)
    if found.level is Level.WRONG:
        return found
    try:
        keep_secret(what, path)
    except ConfigError as exc:
        return Finding(what, Level.WRONG, str(exc).removeprefix(f"{what}: "), tuple(exc.__notes__))
    mode = stat.S_IMODE(Path(path).stat().st_mode)
    if mode & stat.S_IRWXG:
        text = f"its group may read or change '{path}' (mode {mode:o})"
        return Finding(what, Level.WARNING, text, (f"chmod 600 {path}",))
    return found


def _port(what: str, host: str, port: int) -> Finding:
    """Look whether a port is free: no more than a warning, for it may be that of an agent that runs already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as exc:
            return Finding(what, Level.WARNING, f"{host}:{port} cannot be listened on: {exc.strerror}")
    return Finding(what, Level.OK, f"{host}:{port} is free")


def _folder(what: str, path: Path) -> Finding:
    """Look whether a folder can be written, or made."""
    there = next(one for one in (path, *path.parents) if one.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return Finding(what, Level.OK, f"'{path}' {'is there' if there == path else 'can be made'}")
    return Finding(what, Level.WRONG, f"'{path}' cannot be written by this user")
