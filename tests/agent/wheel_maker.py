"""Wheels of the agent that runs the tests, under other versions, sound and broken."""

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import edgekit_agent

HERE = Path(edgekit_agent.__file__).parent


def contents(
    version: str, more: Mapping[str, str] | None = None, requires: str = "paho-mqtt>=2.1,<3"
) -> dict[str, bytes]:
    """Return a wheel's files without RECORD; `more` is put behind files of the package."""
    found = {
        f"edgekit_agent/{path.relative_to(HERE)}": path.read_bytes()
        for path in sorted(HERE.rglob("*.py"))
        if "__pycache__" not in path.parts
    }
    found["edgekit_agent/__init__.py"] += f'\n__version__ = "{version}"\n'.encode()
    for name, text in (more or {}).items():
        found[f"edgekit_agent/{name}"] += text.encode()
    said = f"Metadata-Version: 2.4\nName: edgekit-agent\nVersion: {version}\nRequires-Dist: {requires}\n"
    said += 'Requires-Dist: nonsense>=1; extra == "more"\nRequires-Python: >=3.11\n\n'
    return {**found, f"edgekit_agent-{version}.dist-info/METADATA": said.encode()}


def record(files: Mapping[str, bytes], version: str) -> tuple[str, bytes]:
    """Return the RECORD of these files."""
    name = f"edgekit_agent-{version}.dist-info/RECORD"
    lines = [
        f"{one},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for one, data in files.items()
    ]
    return name, "\n".join([*lines, f"{name},,", ""]).encode()


def write(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a wheel of these files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)
    return path


def made(folder: Path, version: str, more: Mapping[str, str] | None = None) -> Path:
    """Write a wheel of the agent under a version."""
    files = contents(version, more)
    name, text = record(files, version)
    return write(folder / f"edgekit_agent-{version}-py3-none-any.whl", {**files, name: text})
