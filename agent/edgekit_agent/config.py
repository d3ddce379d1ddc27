"""`agent.toml`: what to run, where to report."""

import difflib
import ipaddress
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgekit_agent.checks import one_of as _one_of
from edgekit_agent.checks import within as _within
from edgekit_agent.errors import ConfigError, ProtocolError
from edgekit_agent.fetch.slots import AGENT
from edgekit_agent.postprocess import Postprocess
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.protocol import check_name
from edgekit_agent.rundir import default_folder
from edgekit_agent.sinks.settings import SinkConfig
from edgekit_agent.sources.settings import REQUESTS, SourceConfig, without_password

MAX_BYTES = 1 << 20
PORTS = {"mqtt": 1883, "mqtts": 8883}
PROTOCOLS = ("auto", "5", "3.1.1")
LOG_LEVELS = ("debug", "info", "warning", "error")
WEEK_S = 7 * 86400
AUTO_THREADS = "auto"
MOST_WORKERS = 64
LEAST_SPOOL_MB = 0.02  # below, a handful of reports would fill it
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
                f"broker.url '{without_password(self.url)}' is not of the form mqtt://host[:port] or mqtts://host[:port]"
            )
        if parts.password is not None:
            raise ConfigError("broker.url holds a password: name a file with it as broker.password_file")
        if parts.username is not None:
            raise ConfigError("broker.url holds a user's name: write it as broker.username")
        return parts.hostname, port or PORTS[parts.scheme], parts.scheme == "mqtts"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftLimits:
    """From where on it is drift, and for how many scores in a row before it is told; 0 is never."""

    classes: float = 0.25
    inputs: float = 0.5
    times: int = 3

    def __post_init__(self) -> None:
        """Check the ranges."""
        _within("telemetry.drift.classes", self.classes, 0, 1e6)
        _within("telemetry.drift.inputs", self.inputs, 0, 1e6)
        _within("telemetry.drift.times", self.times, 1, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryConfig:
    """Windows of measurement, and what may wait for a broker or host that is away: on the disk, and in memory."""

    window_s: float = 10.0
    heartbeat_s: float = 10.0
    spool_mb: float = 32.0
    spool_days: float = 7.0
    queue: int = 1000
    settle_s: float = 3.0
    drift: DriftLimits = field(default_factory=DriftLimits)

    def __post_init__(self) -> None:
        """Check the ranges."""
        _within("telemetry.window_s", self.window_s, 1, 86400)
        _within("telemetry.heartbeat_s", self.heartbeat_s, 0.1, 86400)
        if self.spool_mb:
            _within("telemetry.spool_mb", self.spool_mb, LEAST_SPOOL_MB, 1e6)
        _within("telemetry.spool_days", self.spool_days, 0.001, 3660)
        _within("telemetry.queue", self.queue, 1, 1_000_000)
        _within("telemetry.settle_s", self.settle_s, 0, 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """Limits of a model's process, 0 is none; and how long it may be silent before it is ended.

    `memory_mb` is its address space, `cpu_s` all the processor's time it may ever use. `resident_mb`, `cpu_percent` (of
    one core) and `processes` (with threads) are kept by a control group, where the agent has one.
    """

    memory_mb: int = 0
    cpu_s: int = 0
    open_files: int = 1024
    nice: int = 0
    user: str | None = None
    resident_mb: int = 0
    cpu_percent: int = 0
    processes: int = 0
    hang_s: float = 60.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low, high in (
            ("memory_mb", 0, 2**30),
            ("cpu_s", 0, 2**31),
            ("open_files", 32, 2**20),
            ("nice", -20, 19),
            ("resident_mb", 0, 2**30),
            ("cpu_percent", 0, 102400),
            ("processes", 0, 2**22),
            ("hang_s", 1, WEEK_S),
        ):
            _within(f"model.limits.{name}", getattr(self, name), low, high)

    @property
    def of_a_group(self) -> tuple[str, ...]:
        """Names of the limits given that only a control group keeps."""
        return tuple(name for name in ("resident_mb", "cpu_percent", "processes") if getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """Requests of applications: how many are run at a time, how many may wait, and what one may bring."""

    max_batch: int = 1
    max_wait_us: int = 0
    queue: int = 64
    clients: int = 64
    memory_mb: int = 64

    def __post_init__(self) -> None:
        """Check the ranges."""
        _within("model.serve.max_batch", self.max_batch, 1, 1024)
        _within("model.serve.max_wait_us", self.max_wait_us, 0, 10_000_000)
        _within("model.serve.queue", self.queue, 1, 10_000)
        _within("model.serve.clients", self.clients, 1, 10_000)
        _within("model.serve.memory_mb", self.memory_mb, 1, 65_536)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateConfig:
    """Where updates come from, how long each step may take, and how long a new model is tried beside the old.

    `repository` is a URL (http, https, file), `allow` what other repositories' URLs an announcement may begin with.
    `agent` allows updates of the agent itself. `poll_s` 0 asks the repository only when something is announced.
    """

    repository: str | None = None
    allow: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    agent: bool = True
    poll_s: float = 0.0
    check_s: float = 900.0
    download_s: float = 21600.0
    install_s: float = 900.0
    trial_s: float = 60.0
    trial_inferences: int = 10
    trial_limit_s: float = 900.0
    max_mb: int = 1024
    reserve_mb: int = 16
    min_bytes_per_s: int = 256
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        for url in (self.repository, *self.allow):
            if url is not None and not url.startswith(("https://", "http://", "file:///")):
                raise ConfigError(
                    f"update: '{without_password(url)}' does not begin with https://, http:// or file:///"
                )
        if self.poll_s:
            _within("update.poll_s", self.poll_s, 1, WEEK_S)
        for name in ("check_s", "download_s", "install_s", "trial_limit_s"):
            _within(f"update.{name}", getattr(self, name), 1, WEEK_S)
        _within("update.trial_s", self.trial_s, 0, self.trial_limit_s)
        _within("update.trial_inferences", self.trial_inferences, 0, 10**9)
        _within("update.max_mb", self.max_mb, 1, 10**6)
        _within("update.reserve_mb", self.reserve_mb, 0, 10**6)
        _within("update.min_bytes_per_s", self.min_bytes_per_s, 0, 10**9)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A model to run, from a file (`path`) or a bundle; with neither it is there once an update has installed it.

    `bundle` is a `.ekb` file or the folder it is unpacked in. `rate_hz` 0 is as fast as it can. `threads` is a number,
    or `auto` (measured at the first start for at most `tune_s`); else the bundle's, or 1. `cache_dir` is the agent's.
    """

    name: str
    path: str = ""
    bundle: str | None = None
    version: str = "0"
    runtime: str = "auto"
    device: str = "CPU"
    threads: int | str | None = None
    tune_s: float = 2.0
    delegate: str | None = None
    delegate_options: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    cache_dir: str | None = None
    workers: int = 1
    rate_hz: float = 0.0
    labels: str | None = None
    source: SourceConfig = field(default_factory=SourceConfig)
    preprocess: Mapping[str, object] = field(default_factory=dict)
    serve: ServeConfig = field(default_factory=ServeConfig)
    postprocess: Mapping[str, object] = field(default_factory=dict)
    sink: tuple[SinkConfig, ...] = ()
    limits: LimitsConfig = field(default_factory=LimitsConfig)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.name or len(self.name) > 64 or any(letter in self.name for letter in "/+#\0"):  # noqa: PLR2004
            raise ConfigError(
                f"model.name '{self.name[:80]}' is empty, longer than 64 characters or holds one of / + #"
            )
        if isinstance(self.threads, int):
            _within("model.threads", self.threads, 1, 1024)
        elif self.threads not in {None, AUTO_THREADS}:
            raise ConfigError(f"model.threads is '{str(self.threads)[:80]}' and neither a number nor '{AUTO_THREADS}'")
        _within("model.tune_s", self.tune_s, 0.1, 600)
        if self.delegate_options and self.delegate is None:
            raise ConfigError("model.delegate_options go with model.delegate")
        _within("model.workers", self.workers, 1, MOST_WORKERS)
        _within("model.rate_hz", self.rate_hz, 0, 1e6)
        Preprocess.from_mapping(self.preprocess)
        if self.serve != ServeConfig() and self.source.kind != REQUESTS:
            raise ConfigError(f"model.serve goes with a source of kind '{REQUESTS}', and only with it")
        if self.rate_hz and self.source.kind == REQUESTS:
            raise ConfigError(
                f"model.rate_hz does not go with a source of kind '{REQUESTS}': applications set the pace"
            )
        Postprocess.from_mapping(self.postprocess)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """`[serve]`: the Open Inference Protocol over HTTP, for this device's programs: it asks nobody who they are."""

    http: str | None = None
    max_body_mb: int = 64

    def __post_init__(self) -> None:
        """Check the address and the ranges."""
        _within("serve.max_body_mb", self.max_body_mb, 1, 4096)
        if self.http is not None:
            _ = self.address

    @property
    def address(self) -> tuple[str, int]:
        """Host and port.

        Raises:
            ConfigError: if they are not `host:port` of the device's loopback.
        """
        try:
            parts = urlsplit(f"//{self.http}")
            host, port = parts.hostname or "", parts.port
            here = host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            here, host, port = False, "", None
        if not here or not port or f"//{self.http}" != f"//{parts.netloc}":
            error = ConfigError(f"serve.http '{self.http}' is not of the form 127.0.0.1:port")
            error.add_note("it is for programs on this device; for others put a server that checks who asks before it")
            raise error
        return host, port


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Everything the agent is told; paths are absolute."""

    device: str
    site: str = "default"
    state_dir: str = "~/.local/state/edgekit"
    run_dir: str | None = None
    log_level: str = "info"
    labels: Mapping[str, str] = field(default_factory=dict)
    broker: BrokerConfig = field(default_factory=BrokerConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
    update: UpdateConfig = field(default_factory=UpdateConfig)
    serve: GatewayConfig = field(default_factory=GatewayConfig)
    model: tuple[ModelConfig, ...] = ()

    def __post_init__(self) -> None:
        """Check the names."""
        _one_of("log_level", self.log_level, LOG_LEVELS)
        for what in ("device", "site"):
            try:
                check_name(getattr(self, what), what)
            except ProtocolError as exc:
                raise ConfigError(str(exc)) from exc
        if any(model.name == AGENT for model in self.model):
            raise ConfigError(f"a model cannot be named '{AGENT}': the agent is")
        names = [model.name for model in self.model]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two models are named '{name}'")

    @property
    def run_folder(self) -> Path:
        """Where the sockets for other processes of the device are."""
        return Path(self.run_dir) if self.run_dir else default_folder()


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
    config = _table(AgentConfig, document, "")
    for model in config.model:
        _check_origin(model, config.update)
    return _absolute(config, path.resolve().parent)


def _check_origin(model: ModelConfig, update: UpdateConfig) -> None:
    if model.path and model.bundle:
        raise ConfigError(f"model '{model.name}' has a path and a bundle: one of them is enough")
    if not (model.path or model.bundle or update.repository or update.allow):
        raise ConfigError(f"model '{model.name}' has neither path nor bundle, and no repository to come from")


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
            path=resolve(model.path or None) or "",
            bundle=resolve(model.bundle),
            labels=resolve(model.labels),
            # a bare name is looked for by the system's loader, as libraries are
            delegate=resolve(model.delegate) if "/" in (model.delegate or "") else model.delegate,
            cache_dir=resolve(model.cache_dir or str(Path(config.state_dir, "cache"))),
            source=replace(model.source, path=resolve(model.source.path)),
            sink=tuple(replace(sink, path=resolve(sink.path)) for sink in model.sink),
        )
        for model in config.model
    )
    update = replace(
        config.update, ca=resolve(config.update.ca), cert=resolve(config.update.cert), key=resolve(config.update.key)
    )
    state_dir, run_dir = resolve(config.state_dir) or "", resolve(config.run_dir)
    return replace(config, broker=broker, update=update, model=models, state_dir=state_dir, run_dir=run_dir)


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
    return kind(**{key: typed(value, hints[key], _join(where, key)) for key, value in values.items()})


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def typed(value: Any, hint: Any, where: str) -> Any:  # noqa: ANN401, C901, PLR0911  # any TOML value to any of our types
    """Return a value of TOML or JSON as a field of the configuration holds it.

    Args:
        value: what was read.
        hint: the field's type.
        where: the key, for the error.

    Raises:
        ConfigError: if it is of another type.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return typed(value, next((one for one in arguments if one is type(value)), arguments[0]), where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"'{where}' is not a list of tables: write [[{where}]]")
        return tuple(typed(item, arguments[0], where) for item in value)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise ConfigError(f"'{where}' is not a table")
        return {key: typed(item, arguments[1], _join(where, key)) for key, item in value.items()}
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
