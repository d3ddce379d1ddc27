"""Which wheels a device needs, and where they come from: a folder given, or the cache, filled by pip from the lock."""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from edgekit.errors import EnvironmentMissingError
from edgekit.flash._device import DeviceFacts

# What each runtime imports, all of it pinned in requirements/device.txt; a test holds it against their metadata.
RUNTIME_PACKAGES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ai-edge-litert": (
            "ai-edge-litert", "backports-strenum", "flatbuffers", "ml-dtypes", "numpy", "protobuf", "tqdm",
            "typing-extensions",
        ),
        "tflite-runtime": ("tflite-runtime", "numpy"),
        "openvino": ("openvino", "numpy"),  # openvino-telemetry stays away: openvino works without it
        "null": ("numpy",),
    }
)  # fmt: skip
AGENT_PACKAGES = ("paho-mqtt", "tuf", "securesystemslib", "urllib3")  # the last three fetch updates


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One line of the lock that holds for the device."""

    name: str
    version: str
    hashes: frozenset[str]


def lock_text() -> str:
    """Return the device's lock as it was shipped, or the checkout's own."""
    shipped = Path(str(resources.files("edgekit.flash"))) / "device.txt"
    return (shipped if shipped.is_file() else Path(__file__).parents[3] / "requirements" / "device.txt").read_text()


def pins(runtime: str, device: DeviceFacts, lock: str | None = None) -> list[Pin]:
    """Return what a device needs for a runtime besides the agent.

    Raises:
        EnvironmentMissingError: if the lock has no version for the device's Python or machine.
    """
    from packaging.requirements import Requirement

    environment = device.markers()
    found = {}
    for line in (lock or lock_text()).replace("\\\n", " ").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        head, *rest = line.split("--hash=")
        requirement = Requirement(head.strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            (version,) = (one.version for one in requirement.specifier)
            hashes = frozenset(part.strip().removeprefix("sha256:") for part in rest)
            found[requirement.name] = Pin(name=requirement.name, version=version, hashes=hashes)
    wanted = (*AGENT_PACKAGES, *RUNTIME_PACKAGES[runtime])
    missing = [name for name in wanted if name not in found]
    if missing:
        raise EnvironmentMissingError(f"{missing[0]} has no version for Python {device.python} on {device.machine}")
    return [found[name] for name in wanted]


def collect(needed: Sequence[Pin], device: DeviceFacts, folder: Path | None) -> list[Path]:
    """Return a wheel for each pin, each with a hash of the lock.

    Args:
        needed: what to find.
        device: decides which builds fit.
        folder: where to look, and nothing is fetched; None is the cache, and pip fetches what is not there.

    Raises:
        EnvironmentMissingError: if a wheel cannot be had.
    """
    place = folder or _cache() / f"{device.abi}-{device.machine}-glibc{device.glibc}"
    found = _find(needed, device, place)
    if len(found) < len(needed) and folder is None:
        _download([pin for pin in needed if pin not in found], device, place)
        found = _find(needed, device, place)
    for pin in needed:
        if pin not in found:
            raise EnvironmentMissingError(
                f"'{place}' holds no wheel of {pin.name} {pin.version} for Python {device.python} on {device.machine}"
                " with a hash of the lock"
            )
    return [found[pin] for pin in needed]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekit" / "wheels"


def _find(needed: Sequence[Pin], device: DeviceFacts, place: Path) -> dict[Pin, Path]:
    """Return of each pin's wheels the one whose tags the device prefers."""
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
    from packaging.version import Version

    if not place.is_dir():
        return {}
    rank = {tag: at for at, tag in enumerate(device.tags())}
    fitting: dict[tuple[str, Version], list[tuple[int, Path]]] = {}
    for file in sorted(place.glob("*.whl")):
        try:
            name, version, _, tags = parse_wheel_filename(file.name)
        except InvalidWheelFilename:
            continue  # a file of another kind
        if tags & rank.keys():
            best = min(rank[tag] for tag in tags & rank.keys())
            fitting.setdefault((name, version), []).append((best, file))
    found = {}
    for pin in needed:
        for _, file in sorted(fitting.get((canonicalize_name(pin.name), Version(pin.version)), [])):
            if hashlib.sha256(file.read_bytes()).hexdigest() in pin.hashes:
                found[pin] = file
                break
    return found


def _download(missing: Sequence[Pin], device: DeviceFacts, place: Path) -> None:
    """Let pip fetch wheels for the device's platform from the index it is set up for, checking every hash."""
    place.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{pin.name}=={pin.version} " + " ".join(f"--hash=sha256:{one}" for one in sorted(pin.hashes))
        for pin in missing
    ]
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        wanted = Path(scratch, "wanted.txt")
        wanted.write_text("\n".join(lines) + "\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--require-hashes", "--dest", str(place), "-r", str(wanted)]
        command += ["--implementation", "cp", "--python-version", device.python, "--abi", device.abi, "--abi", "abi3"]
        command += ["--abi", "none", *(part for one in device.platforms() for part in ("--platform", one))]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise EnvironmentMissingError(f"pip could not fetch the device's wheels: {exc}") from exc
    if answer.returncode != 0:
        errors = [line for line in answer.stderr.splitlines() if line.startswith("ERROR:")]
        last = (errors or answer.stderr.strip().splitlines() or ["no reason given"])[-1].removeprefix("ERROR: ")
        error = EnvironmentMissingError(f"pip could not fetch the device's wheels: {last[:300]}")
        error.add_note("without a package index give a folder of wheels: --wheels DIR")
        raise error
