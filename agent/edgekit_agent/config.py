"""`agent.toml`: what to run, where to report."""

import difflib
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgekit_agent.errors import ConfigError, ProtocolError
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.protocol import check_name

MAX_BYTES = 1 << 20
PORTS = {"mqtt": 1883, "mqtts": 8883}
PROTOCOLS = ("auto", "5", "3.1.1")
SOURCES = ("synthetic", "folder")
WEEK_S = 7 * 86400
_LARGEST = 1e300  # TOML's whole numbers have no end


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """The MQTT broker; the password is read from a file, so that it stands in no configuration or process list."""

    url: str = "mqtt://127.0.0.1:1883"
    username: str | None = None
    password_file: str | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    protocol: str = "auto"
    keepalive_s: int = 30

    def __post_init__(self) -> None:
        """Check the address and the protocol."""
        _ = self.address
        _one_of("broker.protocol", self.protocol, PROTOCOLS)
        _within("broker.keepalive_s", self.keepalive_s, 1, 65535)

    @property
    def address(self) -> tuple[str, int, bool]:
        """Host, port and whether TLS is used.

        Raises:
            ConfigError: if the URL is not `mqtt://host[:port]` or `mqtts://host[:port]`.
        """
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if (
            parts.scheme not in PORTS
            or not parts.hostname
            or port == 0
            or parts.path not in {"", "/"}
            or parts.query
            or parts.fragment
        ):
            raise ConfigError(
                f"broker.url '{_without_password(self.url)}' is not of the form mqtt://host[:port] or mqtts://host[:port]"
            )
        if parts.password is not None:
            raise ConfigError("broker.url holds a password: name a file with it as broker.password_file")
        if parts.username is not None:
            raise ConfigError("broker.url holds a user's name: write it as broker.username")
        return parts.hostname, port or PORTS[parts.scheme], parts.scheme == "mqtts"


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryConfig:
    """Windows of measurement, and how many reports wait for a broker that is away."""

    window_s: float = 10.0
    heartbeat_s: float = 10.0
    queue: int = 1000
    settle_s: float = 3.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        _within("telemetry.window_s", self.window_s, 1, 86400)
        _within("telemetry.heartbeat_s", self.heartbeat_s, 0.1, 86400)
        _within("telemetry.queue", self.queue, 1, 1_000_000)
        _within("telemetry.settle_s", self.settle_s, 0, 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Where a model's input comes from."""

    kind: str = "synthetic"
    path: str | None = None
    loop: bool = True
    limit: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the kind and what it needs."""
        _one_of("model.source.kind", self.kind, SOURCES)
        if (self.kind == "folder") != (self.path is not None):
            raise ConfigError("model.source.path goes with kind 'folder', and only with it")
        _within("model.source.limit", self.limit, 0, 2**53)
        _within("model.source.seed", self.seed, 0, 2**32 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """Limits of a model's process: address space (0 is none), and how long it may be silent before it is ended."""

    memory_mb: int = 0
    hang_s: float = 60.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        _within("model.limits.memory_mb", self.memory_mb, 0, 2**30)
        _within("model.limits.hang_s", self.hang_s, 1, WEEK_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A model to run; `rate_hz` 0 is as fast as it can."""

    name: str
    path: str
    version: str = "0"
    runtime: str = "auto"
    device: str = "CPU"
    threads: int = 1
    rate_hz: float = 0.0
    labels: str | None = None
    source: SourceConfig = field(default_factory=SourceConfig)
    preprocess: Mapping[str, object] = field(default_factory=dict)
    limits: LimitsConfig = field(default_factory=LimitsConfig)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.name or len(self.name) > 64 or any(letter in self.name for letter in "/+#\0"):  # noqa: PLR2004
            raise ConfigError(
                f"model.name '{self.name[:80]}' is empty, longer than 64 characters or holds one of / + #"
            )
        _within("model.threads", self.threads, 1, 1024)
        _within("model.rate_hz", self.rate_hz, 0, 1e6)
        Preprocess.from_mapping(self.preprocess)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Everything the agent is told; paths are absolute."""

    device: str
    site: str = "default"
    state_dir: str = "~/.local/state/edgekit"
    labels: Mapping[str, str] = field(default_factory=dict)
    broker: BrokerConfig = field(default_factory=BrokerConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
    model: tuple[ModelConfig, ...] = ()

    def __post_init__(self) -> None:
        """Check the names."""
        for what in ("device", "site"):
            try:
                check_name(getattr(self, what), what)
            except ProtocolError as exc:
                raise ConfigError(str(exc)) from exc
        names = [model.name for model in self.model]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two models are named '{name}'")


def load(path: Path) -> AgentConfig:
    """Read a configuration; paths in it are relative to its folder.

    Raises:
        ConfigError: naming the key that is unknown, missing or wrong.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"configuration '{path}' is larger than {MAX_BYTES} bytes")
        document = tomllib.loads(path.read_text())
    except OSError as exc:
        raise ConfigError(f"configuration '{path}' cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"configuration '{path}' is not TOML: {exc}") from exc
    return _absolute(_table(AgentConfig, document, ""), path.resolve().parent)


def _absolute(config: AgentConfig, folder: Path) -> AgentConfig:
    from dataclasses import replace

    def resolve(text: str | None) -> str | None:
        if text is None:
            return None
        try:
            return str(folder / Path(text).expanduser())
        except RuntimeError as exc:  # ~somebody who is not here
            raise ConfigError(f"path '{text}' names a home that does not exist") from exc

    broker = replace(
        config.broker,
        password_file=resolve(config.broker.password_file),
        ca=resolve(config.broker.ca),
        cert=resolve(config.broker.cert),
        key=resolve(config.broker.key),
    )
    models = tuple(
        replace(
            model,
            path=resolve(model.path) or "",
            labels=resolve(model.labels),
            source=replace(model.source, path=resolve(model.source.path)),
        )
        for model in config.model
    )
    return replace(config, broker=broker, model=models, state_dir=resolve(config.state_dir) or "")


def _table(kind: type, values: object, where: str) -> Any:  # noqa: ANN401  # an instance of `kind`
    if not isinstance(values, dict):
        raise ConfigError(f"{where or 'the configuration'} is not a table")
    known = {one.name: one for one in fields(kind)}
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in known:
            error = ConfigError(f"unknown key '{_join(where, key)}'")
            near = difflib.get_close_matches(key, known, n=1)
            error.add_note(f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}")
            raise error
    for name, one in known.items():
        if name not in values and one.default is MISSING and one.default_factory is MISSING:
            raise ConfigError(f"'{_join(where, name)}' is missing")
    return kind(**{key: _typed(value, hints[key], _join(where, key)) for key, value in values.items()})


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _typed(value: Any, hint: Any, where: str) -> Any:  # noqa: ANN401, C901, PLR0911  # any TOML value to any of our types
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return _typed(value, arguments[0], where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"'{where}' is not a list of tables: write [[{where}]]")
        return tuple(_typed(item, arguments[0], where) for item in value)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise ConfigError(f"'{where}' is not a table")
        return {key: _typed(item, arguments[1], _join(where, key)) for key, item in value.items()}
    if hint is object:
        return value
    if hasattr(hint, "__dataclass_fields__"):
        return _table(hint, value, where)
    if hint is float and type(value) in {int, float} and abs(value) < math.inf:
        return float(min(max(value, -_LARGEST), _LARGEST))
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"'{where}' holds a zero byte")
    if type(value) is not hint or (hint is float and not math.isfinite(value)):
        words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[hint]
        raise ConfigError(f"'{where}' is not {words}")
    return value


def _one_of(where: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{where} is '{value}' and not one of: {', '.join(allowed)}")


def _within(where: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{where} is {value} and not between {low} and {high}")


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.partition('//')[0]}//***@{tail}" if at else url
