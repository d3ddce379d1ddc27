"""Print what an agent takes on a device, by the method Greengrass Lite is measured by: docs/benchmarks/agent.md.

`python -m tests.benchmarks.bench_agent_footprint [--minutes M] [--every S] [--starts N] [--rounds N] [--write]`.

Memory is the proportional set size (PSS) of all processes of the agent, the median of samples taken every `--every`
seconds over `--minutes` minutes, after as long a warm-up as one fifth of that. An idle agent has no model; the busy one
runs the keyword spotter (int8) ten times a second. Both report to a broker. The interpreter is the device's
(EDGEKIT_DEVICE_PYTHON) or this one, its bytecode compiled as an installer leaves it.

The installed size is that of the built wheel and what it needs, put into a folder by pip, without runtimes. Start to
READY is told over systemd's socket, beside the start of a bare interpreter. The overhead of an inference comes from
`bench_agent_overhead`.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.fleet import _brokers as brokers
from tests.benchmarks import bench_agent_overhead as overhead

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks" / "agent.md"
PYTHON = os.environ.get("EDGEKIT_DEVICE_PYTHON", sys.executable)
BUDGETS = {"supervisor": 25.0, "installed": 5.0, "cpu": 1.0, "overhead": 3.0}
MIB, MB = 1 << 20, 1_000_000


@dataclass
class Sampled:
    """What the processes of one agent took, sample by sample."""

    pss_bytes: dict[str, list[int]] = field(default_factory=dict)
    cpu_percent: dict[str, float] = field(default_factory=dict)

    def mib(self, name: str) -> float:
        """Return the median PSS of a part, in MiB."""
        return statistics.median(self.pss_bytes[name]) / MIB

    @property
    def all_mib(self) -> float:
        """The median of the sum over all processes."""
        return statistics.median(map(sum, zip(*self.pss_bytes.values(), strict=True))) / MIB


def environment() -> dict[str, str]:
    """Return an environment with this tree's agent, and bytecode that is kept."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "agent")}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return variables


def configuration(folder: Path, url: str, model: Path | None) -> Path:
    """Write a configuration and return it."""
    text = f'device = "bench"\nstate_dir = "{folder}/state"\nrun_dir = "{folder}/run"\n'
    text += f'[broker]\nurl = "{url}"\n'
    if model is not None:
        text += f'[[model]]\nname = "kws"\npath = "{model}"\nrate_hz = 10\nruntime = "ai-edge-litert"\n'
    path = folder / "agent.toml"
    path.write_text(text)
    return path


@contextlib.contextmanager
def agent(config: Path) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """Run an agent until READY; give its process and how many seconds that took."""
    address = str(config.parent / "notify")
    with contextlib.suppress(FileNotFoundError):
        Path(address).unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(60)
        command = [PYTHON, "-P", "-m", "edgekit_agent", "run", "--config", str(config)]
        begun = time.monotonic()
        process = subprocess.Popen(
            command, env={**environment(), "NOTIFY_SOCKET": address}, stderr=subprocess.DEVNULL, cwd="/"
        )
        try:
            while manager.recv(1000) != b"READY=1":
                pass
            yield process, time.monotonic() - begun
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def sample(config: Path, minutes: float, every_s: float) -> Sampled:
    """Run an agent and sample its processes."""
    found = Sampled()
    with agent(config) as (process, _):
        time.sleep(12 * minutes)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        pids = {"supervisor": process.pid, **{f"worker {n}": int(pid) for n, pid in enumerate(children)}}
        before, begun = {name: cpu_s(pid) for name, pid in pids.items()}, time.monotonic()
        for _ in range(max(1, int(60 * minutes / every_s))):
            time.sleep(every_s)
            for name, pid in pids.items():
                found.pss_bytes.setdefault(name, []).append(pss(pid))
        lasted = time.monotonic() - begun
        found.cpu_percent = {name: 100 * (cpu_s(pid) - before[name]) / lasted for name, pid in pids.items()}
    return found


def pss(pid: int) -> int:
    """Return a process's proportional set size, in bytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * int(re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[0])


def cpu_s(pid: int) -> float:
    """Return the processor's time a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def starts(config: Path, count: int) -> tuple[float, float]:
    """Return the median seconds from start to READY, and of a bare interpreter that does nothing, in turns."""
    ready, bare = [], []
    for _ in range(count):
        with agent(config) as (_, seconds):
            ready.append(seconds)
        begun = time.monotonic()
        subprocess.run([PYTHON, "-I", "-c", "pass"], check=True)
        bare.append(time.monotonic() - begun)
    return statistics.median(ready), statistics.median(bare)


def installed(folder: Path) -> tuple[int, int]:
    """Return the bytes that pip puts on the disk for the agent, and how many of them are the agent's own."""
    wheels, place = folder / "wheels", folder / "place"
    build = [
        sys.executable,
        "-m",
        "build",
        "-q",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(wheels),
        str(ROOT / "agent"),
    ]
    subprocess.run(build, check=True)
    (wheel,) = wheels.glob("*.whl")
    pip = [PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(place), str(wheel)]
    subprocess.run(pip, check=True, env=environment())
    return size(place), size(place / "edgekit_agent")


def size(folder: Path) -> int:
    """Return what the files of a folder take, without bytecode."""
    files = (one for one in folder.rglob("*") if one.is_file() and "__pycache__" not in one.parts)
    return sum(one.stat().st_size for one in files)


def rows(options: argparse.Namespace, folder: Path) -> list[tuple[str, str, str]]:
    """Measure, and return what was measured, its figure, and the budget."""
    model = overhead.KWS if overhead.KWS.is_file() else overhead.SMALL
    whole, own = installed(folder)
    with brokers.running() as broker:
        idle = sample(configuration(folder, broker.url, None), options.minutes, options.every)
        busy = sample(configuration(folder, broker.url, model), options.minutes, options.every)
        ready, bare = starts(configuration(folder, broker.url, None), options.starts)
    costs = overhead.measure(options.rounds)
    return [
        ("idle agent, all processes, median PSS", f"{idle.all_mib:.1f} MiB", f"at most {BUDGETS['supervisor']:g} MiB"),
        ("idle agent, processor", f"{sum(idle.cpu_percent.values()):.2f} % of a core", f"under {BUDGETS['cpu']:g} %"),
        (
            "with a model: supervisor, median PSS",
            f"{busy.mib('supervisor'):.1f} MiB",
            f"at most {BUDGETS['supervisor']:g} MiB",
        ),
        (f"with a model: worker ({model.name}, ai-edge-litert), median PSS", f"{busy.mib('worker 0'):.1f} MiB", ""),
        ("with a model: all processes, median PSS", f"{busy.all_mib:.1f} MiB", ""),
        ("with a model: supervisor, processor", f"{busy.cpu_percent['supervisor']:.2f} % of a core", ""),
        (
            "with a model: worker at 10 inferences a second, processor",
            f"{busy.cpu_percent['worker 0']:.2f} % of a core",
            "",
        ),
        ("installed without runtimes", f"{whole / MB:.2f} MB", f"at most {BUDGETS['installed']:g} MB"),
        ("of that the agent's own", f"{own / MB:.2f} MB", ""),
        ("start to READY", f"{1000 * ready:.0f} ms, {ready / bare:.1f} times a bare interpreter", ""),
        (
            "an inference in the agent's loop beside a bare one, p50",
            f"{100 * (costs.infer - 1):+.1f} %",
            f"at most +{BUDGETS['overhead']:g} %",
        ),
    ]


def main() -> None:
    """Measure, print, and write the page if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of samples, each agent (default: 10)")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between samples (default: 10)")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=overhead.ROUNDS, help="of the overhead of an inference")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    compiled = (
        "import edgekit_agent.__main__, edgekit_agent.service, edgekit_agent.transport.mqtt, edgekit_agent.worker"
    )
    subprocess.run([PYTHON, "-P", "-c", compiled], check=True, env=environment())
    with tempfile.TemporaryDirectory() as folder:
        table = rows(options, Path(folder))
    lines = ["| what | measured | budget |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in table)]
    print("\n".join(lines))
    if options.write:
        PAGE.write_text(page(options, lines))


def page(options: argparse.Namespace, lines: list[str]) -> str:
    """Return the page."""
    probe = [PYTHON, "-m", "edgekit_agent", "probe", "--json"]
    told = subprocess.run(probe, check=True, capture_output=True, env=environment())
    hardware = json.loads(told.stdout)["hardware"]
    machine = f"{hardware['cpu']} ({hardware['cores']} cores, {hardware['arch']}), {hardware['os']}"
    how = f"python -m tests.benchmarks.bench_agent_footprint --minutes {options.minutes:g} --every {options.every:g}"
    return f"""# What the agent takes

Written by `{how} --write`, whose text says what is measured and how.

{chr(10).join(lines)}

Measured on {machine}, Python {hardware["python"]}. Other processors take other times; memory is much the same.
"""


if __name__ == "__main__":
    main()
