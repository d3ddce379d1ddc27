"""What this device is: CPU, memory, accelerators, sensors, runtimes.

The supervisor uses the cheap part (`hardware`, `installed_runtimes`). `probe` also asks each runtime in
a short-lived child, because a driver that crashes must mean "none" and not a dead agent.
"""

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from edgekit_agent import __version__

DISTRIBUTIONS = ("ai-edge-litert", "tflite-runtime", "openvino", "onnxruntime")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "neon", "asimddp", "i8mm", "fphp", "sve")
NODES = (
    "dev/dri/renderD*",
    "dev/accel/accel*",
    "dev/apex_*",
    "dev/galcore",
    "dev/mali*",
    "dev/kfd",
    "dev/ethosu*",
    "dev/hailo*",
    "dev/fastrpc-*",
)
CHILD_TIMEOUT_S = 60


def hardware(root: Path = Path("/")) -> dict[str, object]:
    """Return what the kernel tells of the machine; nothing is imported and nothing is run."""
    cpu = _cpu(root)
    return {
        "arch": platform.machine(),
        "board": _text(root / "proc/device-tree/model").strip("\0")
        or _text(root / "sys/class/dmi/id/product_name").strip(),
        "cpu": cpu.get("model name") or cpu.get("Model") or cpu.get("Hardware") or platform.machine(),
        "cores": os.cpu_count() or 1,
        "flags": [flag for flag in FLAGS if flag in (cpu.get("flags") or cpu.get("Features") or "").split()],
        "memory_bytes": _memory(root),
        "os": _os(root),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "python": platform.python_version(),
        "accelerators": sorted(f"/{node.relative_to(root)}" for pattern in NODES for node in root.glob(pattern)),
        "thermal_zones": sorted(
            _text(zone / "type").strip()
            for zone in root.glob("sys/class/thermal/thermal_zone*")
            if _text(zone / "temp")
        ),
    }


def installed_runtimes() -> dict[str, str]:
    """Return the runtimes' distributions with their versions."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def probe() -> dict[str, Any]:
    """Return the hardware and, by asking in child processes, which runtimes work and on which devices."""
    return {"agent": __version__, "hardware": hardware(), "runtimes": {one: _ask(one) for one in installed_runtimes()}}


def _ask(runtime: str) -> dict[str, Any]:
    try:
        answer = subprocess.run(
            [sys.executable, "-P", "-m", "edgekit_agent.probe", runtime],
            capture_output=True,
            timeout=CHILD_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return {"ok": False, "reason": f"{type(exc).__name__}"}
    if answer.returncode < 0:
        return {"ok": False, "reason": f"killed by signal {-answer.returncode}"}
    try:
        found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        lines = answer.stderr.decode(errors="replace").strip().splitlines()
        return {"ok": False, "reason": lines[-1][:300] if lines else f"exit code {answer.returncode}"}
    return found


# what a runtime's library is imported by
_MODULES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "onnxruntime": "onnxruntime",
}


def _child(runtime: str) -> dict[str, Any]:
    from edgekit_agent import runtimes

    state = runtimes.get(runtime).available()
    if not state.ok:
        return {"ok": False, "reason": state.reason, "hint": state.hint}
    devices = ["CPU"]
    if runtime == "openvino":
        from edgekit_agent.runtimes.openvino import library

        devices = library().Core().available_devices
    else:
        __import__(_MODULES[runtime])
    return {"ok": True, "version": state.version, "devices": devices}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[:65536]
    except OSError:
        return ""


def _cpu(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def _memory(root: Path) -> int:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            _, *rest = line.split()
            return 1024 * int(rest[0]) if rest and rest[0].isdecimal() else 0
    return 0


def _os(root: Path) -> str:
    for line in _text(root / "etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


if __name__ == "__main__":
    print(json.dumps(_child(sys.argv[1])))  # noqa: T201  # the parent reads it
