"""`edgekit doctor`: what is here, what is missing, what is broken, and what to do."""

import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata, util
from types import MappingProxyType

from edgekit_agent import __version__

SCHEMA = 1
OK, MISSING, BROKEN = "ok", "missing", "broken"
ROUND_TRIP_S = 5.0

# extra -> (distribution, module)
EXTRAS = MappingProxyType(
    {
        "tensorflow": (("tensorflow", "tensorflow"), ("tf-keras", "tf_keras")),
        "tflite": (
            ("ai-edge-litert", "ai_edge_litert"),
            ("ai-edge-quantizer", "ai_edge_quantizer"),
            ("litert-converter", "litert_converter"),
        ),
        "openvino": (("openvino", "openvino"), ("nncf", "nncf")),
        "onnx": (("onnx", "onnx"), ("onnx-ir", "onnx_ir"), ("onnxruntime", "onnxruntime")),
        "broker": (("iotcore", "iotcore"),),
        "demo": (("scikit-learn", "sklearn"),),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at: `state` is ok, missing (an option you do not have) or broken (something that must be mended)."""

    area: str
    name: str
    state: str
    text: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the finding as JSON values."""
        return asdict(self)


def examine() -> Iterator[Finding]:
    """Look at this machine without importing anything heavy."""
    yield Finding(area="here", name="edgekit", state=OK, text=f"{__version__} on Python {platform.python_version()}")
    yield _owners()
    for extra, members in EXTRAS.items():
        for distribution, module in members:
            yield _package(extra, distribution, module)
    yield from _tools()
    yield from _runtimes("this environment", sys.executable)
    device = os.environ.get("EDGEKIT_DEVICE_PYTHON")
    if device:
        yield from _runtimes("device environment", device)


def _owners() -> Finding:
    owners = sorted(set(metadata.packages_distributions().get("edgekit_agent", [])))
    if len(owners) > 1:
        hint = "uninstall both, then install the one you need: edgekit-sdk on the host, edgekit-agent on a device"
        text = f"edgekit_agent is owned by both {' and '.join(owners)}"
        return Finding(area="here", name="distributions", state=BROKEN, text=text, hint=hint)
    return Finding(area="here", name="distributions", state=OK, text=owners[0] if owners else "editable installation")


def _package(extra: str, distribution: str, module: str) -> Finding:
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        hint = f"pip install 'edgekit-sdk[{extra}]'"
        return Finding(area=extra, name=distribution, state=MISSING, text="not installed", hint=hint)
    if util.find_spec(module) is None:
        text = f"{version} is recorded and cannot be found"
        return Finding(
            area=extra, name=distribution, state=BROKEN, text=text, hint=f"pip install --force-reinstall {distribution}"
        )
    return Finding(area=extra, name=distribution, state=OK, text=version)


def _tools() -> Iterator[Finding]:
    from edgekit.fleet._brokers import find_mosquitto, has_iotcore

    for name, found, hint in (
        ("ssh", shutil.which("ssh"), "apt-get install openssh-client, for edgekit flash ssh://"),
        ("mosquitto", find_mosquitto(), "apt-get install mosquitto, or use the iotcore wheel"),
    ):
        needed = name != "mosquitto" or not has_iotcore()
        text = found or ("not found" if needed else "not found; iotcore stands in")
        yield Finding(area="tools", name=name, state=OK if found else MISSING, text=text, hint="" if found else hint)


def _runtimes(where: str, python: str) -> Iterator[Finding]:
    """Ask the agent's own probe, which tries each runtime in a child of its own."""
    command = [python, "-P", "-m", "edgekit_agent", "probe", "--json"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        found = json.loads(answer.stdout)["runtimes"]
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
        hint = f"{python} must have edgekit-agent installed"
        yield Finding(area=where, name="probe", state=BROKEN, text=f"{python} did not answer", hint=hint)
        return
    if not found:
        hint = "pip install ai-edge-litert or openvino"
        yield Finding(area=where, name="runtimes", state=MISSING, text="none is installed", hint=hint)
    for name, state in found.items():
        if state["ok"]:
            text = f"{state['version']} on {', '.join(state['devices'])}"
            yield Finding(area=where, name=name, state=OK, text=text)
        else:
            yield Finding(area=where, name=name, state=BROKEN, text=state["reason"], hint=state.get("hint", ""))


def round_trip(url: str) -> Finding:
    """Publish a report of a device that does not exist and wait for it to come back.

    A broker answers "success" for what its access rules then drop, so only the way back proves anything.

    Raises:
        UsageError: if the URL is wrong.
        TransportError: if the broker does not answer.
    """
    from edgekit.fleet import FleetClient
    from edgekit.fleet._url import parse
    from edgekit_agent.protocol import Event, Kind, Reason, device_topic

    broker = parse(url)
    device = f"doctor-{secrets.token_hex(4)}"
    event = Event(ts_ms=time.time_ns() // 1_000_000, level="info", code=Reason.AGENT_STARTED.value, text="round trip")
    start = time.monotonic()
    with FleetClient(broker) as client:
        client.publish(device_topic("default", device, Kind.EVENT), event.to_bytes())
        for received in client.messages(ROUND_TRIP_S):
            if received.device == device:
                text = f"round trip in {1000 * (time.monotonic() - start):.0f} ms"
                return Finding(area="broker", name=str(broker), state=OK, text=text)
    hint = "the broker took the message and gave it to nobody: look at its access rules (ACL) for ek/1/#"
    return Finding(area="broker", name=str(broker), state=BROKEN, text="a message did not come back", hint=hint)
