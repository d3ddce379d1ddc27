"""`edgekit.flash`: the agent, its runtime and a model on a running Linux device, and proof that it reports."""

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgekit._events import Event, OnEvent, ignore
from edgekit.errors import DeviceError, GateError, UsageError
from edgekit.flash import _payload, _wheels
from edgekit.flash._artifact import Chosen, choose
from edgekit.flash._device import DeviceFacts
from edgekit.flash._payload import Payload, Settings
from edgekit.flash._targets import SshTarget, Target, as_tar
from edgekit.fleet import FleetClient, quantiles_ms
from edgekit.fleet._url import BrokerUrl
from edgekit.fleet._url import parse as parse_url
from edgekit_agent.config import load
from edgekit_agent.errors import RuntimeMissingError
from edgekit_agent.protocol import Report, State

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Flashed:
    """What was done: `changed` is False when the device already ran exactly this.

    `command` is how the agent is started there by hand.
    """

    device: str
    model: str
    runtime: str
    prefix: str
    changed: bool
    payload: str
    pid: int | None
    systemd: str
    sent_bytes: int = 0
    p50_ms: float | None = None
    warnings: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document of schema 1."""
        return {"schema": 1, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashRequest:
    """What to put on the device; `watch` is how this machine listens, where that is not how the device connects."""

    model: Path
    settings: Settings
    name: str | None = None
    device: str | None = None
    runtime: str = "auto"
    precision: str | None = None
    wheels: Path | None = None
    wait_s: float = 120.0
    start: bool = True
    watch: BrokerUrl | None = None


def plan(target: Target, request: FlashRequest, on_event: OnEvent = ignore) -> tuple[Payload, DeviceFacts, Chosen, str]:
    """Ask the device what it is, and put together what it needs; nothing is changed there.

    Raises:
        UsageError: if there is no such runtime, or the broker's address is none.
        ConfigError: if the agent would not take the settings.
        DataError: if the model is missing or does not fit the runtime.
        ModelError: if the model is broken.
        GateError: if a bundle does not give its golden outputs here.
        DeviceError: if the device cannot be reached or cannot take an agent.
        EnvironmentMissingError: if the wheels cannot be had.
    """
    if request.runtime not in {"auto", *_wheels.RUNTIME_PACKAGES}:
        raise UsageError(f"runtime '{request.runtime}' is none of: auto, {', '.join(_wheels.RUNTIME_PACKAGES)}")
    settings = _settings(request.settings)
    chosen = choose(request.model, request.precision, request.runtime)
    chosen = replace(chosen, name=request.name or chosen.name)
    runtime = chosen.runtime(request.runtime)
    trial = _payload.build(chosen, [], runtime, settings, request.device or "device")
    _check_configuration(trial.manifest["configuration"])
    _check_model(chosen, runtime)
    on_event(Event(stage="device", detail=f"asking {target.label}"))
    facts = DeviceFacts(**target.call("probe"))
    on_event(Event(stage="wheels", detail=f"{runtime} for Python {facts.python} on {facts.machine}"))
    wheels = _wheels.collect(_wheels.pins(runtime, facts), facts, request.wheels)
    device = _payload.device_id(facts, request.device)
    return _payload.build(chosen, wheels, runtime, settings, device), facts, chosen, runtime


def _settings(settings: Settings) -> Settings:
    """Return the settings as the agent takes them: the broker's user apart, and no password in the address."""
    url = parse_url(settings.broker, ca=settings.ca, cert=settings.cert, key=settings.key)
    if (settings.cert is None) != (settings.key is None):
        raise UsageError("a certificate and its key go together: --cert and --key")
    if url.password is not None:
        raise UsageError("the broker's address holds a password: give it with --username and --password-file")
    username = settings.username or url.username
    if settings.password is not None and username is None:
        raise UsageError("a password needs its user: --username")
    if (settings.repository is None) != (settings.root is None):
        raise UsageError("--repository and --root go together: where updates come from, and what is trusted of it")
    return replace(settings, broker=str(replace(url, username=None)), username=username)


def _check_configuration(text: str) -> None:
    """Let the agent's own reader judge before the device is asked anything.

    Raises:
        ConfigError: naming the key that is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        file = Path(scratch, "agent.toml")
        file.write_text(text.replace("@PREFIX@", "/prefix"))
        load(file)


def _check_model(chosen: Chosen, runtime: str) -> None:
    """Load the model here before anything is sent: a broken file must not reach a device.

    A runtime that is not installed here proves nothing; the device's own check follows.
    """
    if chosen.format == "bundle":
        _check_bundle(chosen.files[0])
        return
    from edgekit._measure import Candidate, measure
    from edgekit_agent import runtimes
    from edgekit_converters.jobs import JobRunner

    here = runtimes.get(runtime).available().ok
    if not here and chosen.format != "tflite":
        return
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        candidate = Candidate(key="0", path=chosen.files[0], runtime=runtime if here else "auto")
        got = measure([candidate], JobRunner(log=Path(scratch, "run.log")), Path(scratch), runs=0)["0"]
    if got.error is not None and got.error_kind != RuntimeMissingError.__name__:
        raise got.failure()


def _check_bundle(path: Path) -> None:
    """Run a bundle's golden vectors here, where one of its runtimes is here."""
    from edgekit._bundle import verify_bundle

    try:
        found = verify_bundle(path, run=True)
    except RuntimeMissingError:
        return
    if found.proof is not None and not found.proof.passed:
        raise GateError(f"bundle '{path}': {found.proof.reason}")


def flash(target: Target, request: FlashRequest, on_event: OnEvent = ignore) -> Flashed:
    """Install, start, and wait until the device reports over MQTT.

    Raises:
        DataError: if the model is missing or broken.
        DeviceError: if the device cannot be reached, refuses, or does not report in time.
        EnvironmentMissingError: if the wheels cannot be had.
        TransportError: if the broker does not answer here.
    """
    payload, facts, chosen, runtime = plan(target, request, on_event)
    manifest = {**payload.manifest, "start": request.start}
    if request.start and request.wait_s:
        with FleetClient(request.watch or _broker_here(request.settings), request.settings.site) as client:
            answer, sent = _install(target, payload, manifest, on_event)
            on_event(Event(stage="report", detail=f"waiting for {manifest['device']}"))
            who = (manifest["device"], chosen.name)
            report = _wait(client, target, who, request.wait_s, answer.get("birth"))
        p50 = quantiles_ms(report.latency.infer)["p50_ms"]
        runtime = report.runtime
    else:
        answer, sent = _install(target, payload, manifest, on_event)
        p50 = None
    return Flashed(
        device=manifest["device"],
        model=chosen.name,
        runtime=runtime,
        prefix=facts.prefix,
        changed=answer["changed"],
        payload=manifest["id"],
        pid=answer["pid"],
        systemd=answer["systemd"],
        sent_bytes=sent,
        p50_ms=p50,
        command=tuple(answer["command"]),
        warnings=tuple(_warnings(target, request.settings)),
    )


def _broker_here(settings: Settings) -> BrokerUrl:
    known = _settings(settings)
    url = parse_url(known.broker, ca=known.ca)
    return replace(url, username=known.username, password=known.password)


def _install(
    target: Target, payload: Payload, manifest: dict[str, Any], on_event: OnEvent
) -> tuple[dict[str, Any], int]:
    body = json.dumps(manifest).encode()
    missing = target.call("missing", body)["missing"]
    files = [(f"{digest}/{payload.contents[digest][0]}", payload.contents[digest][1]) for digest in missing]
    sent = sum(len(content) for _, content in files)
    if files:
        on_event(Event(stage="send", detail=f"{len(files)} files, {sent / 1e6:.1f} MB"))
        target.call("receive", as_tar(files))
    on_event(Event(stage="install", detail=manifest["device"]))
    return target.call("apply", body), sent


def _wait(client: FleetClient, target: Target, who: tuple[str, str], wait_s: float, birth: int | None) -> Report:
    """Return the first live report of a device's model.

    After a change it counts only from an agent that came on line with a later birth number: a device's clock may be
    wrong, and the old agent's last reports may still be on their way.
    """
    boots = set()
    for received in client.messages(wait_s):
        message = received.message
        if received.device != who[0]:
            continue
        if isinstance(message, State) and message.state == "online" and (message.birth or 0) > (birth or 0):
            boots.add(message.boot)
        fresh = isinstance(message, Report) and not message.history and message.model == who[1]
        if isinstance(message, Report) and fresh and message.inferences and (birth is None or message.boot in boots):
            return message
    error = DeviceError(f"device '{who[0]}' did not report within {wait_s:g} s")
    for line in target.call("status").get("log", [])[-5:]:
        error.add_note(line)
    error.add_note("can the device reach the broker under the same address?")
    raise error


def _warnings(target: Target, settings: Settings) -> list[str]:
    host = parse_url(settings.broker).host
    if isinstance(target, SshTarget) and host in LOOPBACK and target.host not in LOOPBACK:
        return [f"broker {host} is the device itself as the device sees it, not this machine"]
    return []
