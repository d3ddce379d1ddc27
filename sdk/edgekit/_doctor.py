"""`edgekit doctor`: what is here, what is missing, what is broken, and what to do."""

import json
import os
import platform
import secrets
import shutil
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from types import MappingProxyType

from edgekit_agent import __version__

SCHEMA = 1
OK, MISSING, BROKEN = "ok", "missing", "broken"
ROUND_TRIP_S = 5.0

# extra -> (distribution, module)
EXTRAS = MappingProxyType(
    {
        "tensorflow": (("tensorflow", "tensorflow"), ("tf-keras", "tf_keras"), ("tf2onnx", "tf2onnx")),
        "tflite": (
            ("ai-edge-litert", "ai_edge_litert"),
            ("ai-edge-quantizer", "ai_edge_quantizer"),
            ("litert-converter", "litert_converter"),
        ),
        "openvino": (("openvino", "openvino"), ("nncf", "nncf")),
        "onnx": (("onnx", "onnx"), ("onnx-ir", "onnx_ir"), ("onnxruntime", "onnxruntime")),
        "torch": (("torch", "torch"), ("onnxscript", "onnxscript")),
        "jax": (("jax", "jax"),),
        "broker": (("iotcore", "iotcore"),),
        "fleet": (
            ("msgspec", "msgspec"),
            ("sqlalchemy", "sqlalchemy"),
            ("pg8000", "pg8000"),
            ("mqtt5", "mqtt5"),
            ("fastapi", "fastapi"),
            ("uvicorn", "uvicorn"),
        ),
        "parquet": (("pyarrow", "pyarrow"),),
        "demo": (("scikit-learn", "sklearn"),),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at: `state` is ok, missing (an option you do not have) or broken (it must be mended)."""

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
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield Finding(area="here", name="edgekit", state=OK, text=f"{__version__} on {system}")
    yield _owners()
    for extra, members in EXTRAS.items():
        for distribution, module in members:
            yield _package(extra, distribution, module)
    yield from _tools()
    with tempfile.TemporaryDirectory(prefix="edgekit-doctor-") as home:
        # A home of its own shows what a runtime leaves there; the user's own packages are still found.
        _bring_consent(Path(home))
        settings = {**os.environ, "HOME": home, "PYTHONUSERBASE": site.getuserbase()}
        yield from _runtimes("this environment", sys.executable, settings)
        yield _telemetry(Path(home))
    device = os.environ.get("EDGEKIT_DEVICE_PYTHON")
    if device:
        yield from _runtimes("device environment", device, dict(os.environ))
    else:
        hint = "set it to a Python with edgekit-agent, for runtimes that need an environment of their own"
        text = "EDGEKIT_DEVICE_PYTHON is not set"
        yield Finding(area="device environment", name="python", state=MISSING, text=text, hint=hint)


def _owners() -> Finding:
    # an editable installation does not say which packages it holds, so both names are asked for
    named = {name for name in ("edgekit-sdk", "edgekit-agent") if _version(name)}
    owners = sorted(named | set(metadata.packages_distributions().get("edgekit_agent", [])))
    if len(owners) > 1:
        hint = "uninstall both, then install the one you need: edgekit-sdk on the host, edgekit-agent on a device"
        text = f"edgekit_agent is owned by both {' and '.join(owners)}"
        return Finding(area="here", name="distributions", state=BROKEN, text=text, hint=hint)
    return Finding(
        area="here", name="distributions", state=OK, text=owners[0] if owners else "not installed: run from its source"
    )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _package(extra: str, distribution: str, module: str) -> Finding:
    version = _version(distribution)
    if version is None:
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
        stands_in = name == "mosquitto" and has_iotcore()
        text = found or ("not found; iotcore stands in" if stands_in else "not found")
        yield Finding(area="tools", name=name, state=OK if found else MISSING, text=text, hint="" if found else hint)


def _bring_consent(home: Path) -> None:
    """Take the user's own answer to OpenVINO's telemetry along."""
    answer = Path.home() / "intel" / "openvino_telemetry"
    if answer.is_file():
        (home / "intel").mkdir()
        shutil.copy(answer, home / "intel")


def _telemetry(home: Path) -> Finding:
    """Say whether trying the runtimes has started OpenVINO's telemetry, which notes a client id at home."""
    if (home / "intel" / "openvino_ga_cid").exists():
        hint = "opt_in_out --opt_out"
        text = "importing openvino starts its telemetry"
        return Finding(area="this environment", name="telemetry", state=BROKEN, text=text, hint=hint)
    return Finding(area="this environment", name="telemetry", state=OK, text="off: nothing is sent")


def _runtimes(where: str, python: str, settings: dict[str, str]) -> Iterator[Finding]:
    """Ask the agent's own probe, which tries each runtime in a child of its own."""
    command = [python, "-P", "-m", "edgekit_agent", "probe", "--json"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=settings)
        found = json.loads(answer.stdout)["runtimes"]
    except (OSError, subprocess.TimeoutExpired) as exc:
        text = f"{python} did not answer: {getattr(exc, 'strerror', None) or type(exc).__name__}"
        yield Finding(area=where, name="probe", state=BROKEN, text=text, hint="it must be a Python interpreter")
        return
    except (ValueError, KeyError):
        last = (answer.stderr.strip().splitlines() or ["nothing was said"])[-1]
        hint = f"{python} must have edgekit-agent installed"
        yield Finding(area=where, name="probe", state=BROKEN, text=f"{python} cannot probe: {last[:200]}", hint=hint)
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
    """Publish a message nobody watches and wait for it to come back.

    A broker answers "success" for what its access rules then drop, so only the way back proves anything.

    Raises:
        UsageError: if the URL is wrong.
    """
    from edgekit.fleet import FleetClient
    from edgekit.fleet._url import parse
    from edgekit_agent.errors import TransportError
    from edgekit_agent.protocol import Kind, Result, device_topic

    broker = parse(url)
    name = f"doctor-{secrets.token_hex(4)}"
    topic, payload = device_topic("doctor", name, Kind.RESULT, "probe"), Result(status="done").to_bytes()
    start = time.monotonic()
    try:
        with FleetClient(broker, "doctor", kinds=(Kind.RESULT,)) as client:
            connected = time.monotonic()
            client.publish(topic, payload)
            while (left := connected + ROUND_TRIP_S - time.monotonic()) > 0:
                if client.next_raw(left) == (topic, payload):
                    times = [f"{1000 * span:.0f} ms" for span in (connected - start, time.monotonic() - connected)]
                    text = f"connected in {times[0]}, a message came back in {times[1]}"
                    return Finding(area="broker", name=str(broker), state=OK, text=text)
    except TransportError as exc:
        hint = "is it running, and is the port right? `edgekit fleet broker` starts one here"
        text = str(exc).removeprefix(f"broker {broker} ")
        return Finding(area="broker", name=str(broker), state=BROKEN, text=text, hint=hint)
    hint = "the broker took the message and gave it to nobody: look at its access rules (ACL) for ek/1/#"
    text = f"a message did not come back within {ROUND_TRIP_S:g} s"
    return Finding(area="broker", name=str(broker), state=BROKEN, text=text, hint=hint)
