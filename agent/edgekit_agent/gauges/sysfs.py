"""Small files of the kernel: a text or a number, or nothing where a file is missing, forbidden or broken."""

from pathlib import Path

MICRO, MILLI = 1e-6, 1e-3
_MOST_BYTES = 64


def text(file: Path) -> str:
    """Return the beginning of a file without blanks around it; empty where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""


def number(file: Path) -> int | None:
    """Return the whole number in a file."""
    try:
        return int(text(file))
    except ValueError:
        return None


def readable(root: Path, pattern: str) -> list[Path]:
    """Return the files that fit a pattern and hold something now."""
    return [file for file in sorted(root.glob(pattern)) if text(file)]
