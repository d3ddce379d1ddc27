"""`edgekit.flash`: the agent, its runtime and a model on a running Linux device, and proof that it reports."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit._events import Event, OnEvent, ignore
from edgekit.errors import DeviceError
from edgekit.flash import _payload, _wheels
from edgekit.flash._artifact import Chosen, choose
from edgekit.flash._device import DeviceFacts
from edgekit.flash._payload import Payload, Settings
from edgekit.flash._targets import SshTarget, Target, as_tar
from edgekit.fleet import FleetClient, quantiles_ms
from edgekit.fleet._url import parse as parse_url
from edgekit_agent.protocol import Report

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Flashed:
    """What was done: `changed` is False when the device already ran exactly this."""

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

    def to_json(self) -> dict[str, Any]:
        """Return the document of schema 1."""
        return {"schema": 1, **{name: getattr(self, name) for name in self.__slots__}, "warnings": list(self.warnings)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashRequest:
    """What to put on the device."""

    model: Path
    settings: Settings
    name: str | None = None
    device: str | None = None
    runtime: str = "auto"
    precision: str | None = None
    wheels: Path | None = None
    wait_s: float = 120.0
    start: bool = True


def plan(target: Target, request: FlashRequest, on_event: OnEvent = ignore) -> tuple[Payload, DeviceFacts, Chosen, str]:
    """Ask the device what it is, and put together what it needs; nothing is changed there.

    Raises:
        DataError: if the model is missing or does not fit the runtime.
        DeviceError: if the device cannot be reached or cannot take an agent.
        EnvironmentMissingError: if the wheels cannot be had.
    """
    chosen = choose(request.model, request.precision)
    chosen = replace(chosen, name=request.name or chosen.name)
    runtime = chosen.runtime(request.runtime)
    _check_model(chosen, runtime)
    on_event(Event(stage="device", detail=f"asking {target.label}"))
    facts = DeviceFacts(**target.call("probe"))
    on_event(Event(stage="wheels", detail=f"{runtime} for Python {facts.python} on {facts.machine}"))
    wheels = _wheels.collect(_wheels.pins(runtime, facts), facts, request.wheels)
    device = _payload.device_id(facts, request.device)
    return _payload.build(chosen, wheels, runtime, request.settings, device), facts, chosen, runtime


def _check_model(chosen: Chosen, runtime: str) -> None:
    """Load the model here before anything is sent: a broken file must not reach a device.

    A runtime that is not installed here proves nothing; the device's own check follows.
    """
    import tempfile

    from edgekit._measure import Candidate, measure
    from edgekit_agent import runtimes
    from edgekit_agent.errors import RuntimeMissingError
    from edgekit_converters.jobs import JobRunner

    here = runtimes.get(runtime).available().ok
    if not here and chosen.format != "tflite":
        return
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        candidate = Candidate(key="0", path=chosen.files[0], runtime=runtime if here else "auto")
        got = measure([candidate], JobRunner(log=Path(scratch, "run.log")), Path(scratch), runs=0)["0"]
    if got.error is not None and got.error_kind != RuntimeMissingError.__name__:
        raise got.failure()


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
        with FleetClient(_broker_here(request.settings), request.settings.site) as client:
            answer, sent = _install(target, payload, manifest, on_event)
            on_event(Event(stage="report", detail=f"waiting for {manifest['device']}"))
            report = _wait(client, target, manifest["device"], chosen.name, request.wait_s, int(answer["changed"]))
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
        warnings=tuple(_warnings(target, request.settings)),
    )


def _broker_here(settings: Settings) -> Any:  # noqa: ANN401  # a BrokerUrl
    url = parse_url(settings.broker)
    return replace(url, username=settings.username, password=settings.password) if settings.username else url


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


def _wait(  # noqa: PLR0913, PLR0917  # whom to wait for, and how
    client: FleetClient, target: Target, device: str, model: str, wait_s: float, changed: int
) -> Report:
    """Return the first report the device makes from now on; older ones it sends again do not count."""
    since_ms = (time.time() - (0 if changed else 30)) * 1000
    for received in client.messages(wait_s):
        report = received.message
        if (
            isinstance(report, Report)
            and (received.device, report.model) == (device, model)
            and report.ts_ms >= since_ms
        ):
            return report
    error = DeviceError(f"device '{device}' did not report within {wait_s:g} s")
    for line in target.call("status").get("log", [])[-5:]:
        error.add_note(line)
    error.add_note("can the device reach the broker under the same address?")
    raise error


def _warnings(target: Target, settings: Settings) -> list[str]:
    host = parse_url(settings.broker).host
    if isinstance(target, SshTarget) and host in LOOPBACK and target.host not in LOOPBACK:
        return [f"broker {host} is the device itself as the device sees it, not this machine"]
    return []
