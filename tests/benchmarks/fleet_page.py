"""`docs/benchmarks/fleet.md`: each benchmark owns a section of it and writes it anew."""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

Row = tuple[str, str, str]

HEAD = "# The fleet service, measured\n"


def write_page(page: Path, title: str, text: str, rows: Sequence[Row]) -> None:
    """Put a section with its table in the place of the one it had."""
    lines = text.strip().splitlines()
    table = ["| what | measured | aim |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    section = "\n".join([f"## {title}", "", *lines, "", *table, "", f"Measured on {machine()}.", ""])
    before = page.read_text() if page.exists() else HEAD
    sections = [part.strip() for part in re.split(r"(?m)^(?=## )", before)]
    kept = [part for part in sections[1:] if not part.startswith(f"## {title}\n")]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join([sections[0], *sorted([*kept, section.strip()])]) + "\n")


def machine() -> str:
    """Return what the figures were measured on."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = names[0].partition(":")[2].strip() if names else platform.processor()
    return f"{name} ({os.cpu_count()} cores, {platform.machine()}), Python {platform.python_version()}"
