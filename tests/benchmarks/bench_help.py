"""`edgekit --help` against importing what it cannot do without, in turns in one run (bytecode compiled)."""

import compileall
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15
CASES = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import typer, rich'": [sys.executable, "-c", "import typer, rich"],
    "edgekit --help": [str(Path(sys.executable).with_name("edgekit")), "--help"],
}


def main() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for folder in ("sdk", "agent", "converters"):
        compileall.compile_dir(Path(__file__).parents[2] / folder, quiet=2)
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, command in CASES.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            times[name].append(time.perf_counter() - start)
    base = statistics.median(times["python -c 'import typer, rich'"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:32} {1000 * median:7.1f} ms   {median / base:5.2f} x of 'import typer, rich'")


if __name__ == "__main__":
    main()
