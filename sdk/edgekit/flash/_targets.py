"""Ways to a device: this machine, or OpenSSH. Both carry the installer there and talk to it."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from edgekit.errors import DataError, DeviceError, EnvironmentMissingError, UsageError

INSTALLER = Path(__file__).with_name("_install.py")
TIMEOUT_S = 900
GOODBYE_S = 20
SSH_FAILED = 255
# Writes the installer to a temporary place and runs it. It comes first on stdin, behind its length, and is read without
# a buffer, because what follows is for the installer itself.
_BOOTSTRAP = """
import os, subprocess, sys, tempfile
def take(count):
    parts = []
    while count:
        part = os.read(0, count)
        if not part:
            sys.exit("the installer did not arrive")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
size = b""
while not size.endswith(b"\\n"):
    size += take(1)
with tempfile.NamedTemporaryFile(suffix=".py", delete=False) as file:
    file.write(take(int(size)))
try:
    sys.exit(subprocess.run([sys.executable, "-I", file.name] + sys.argv[1:]).returncode)
finally:
    os.unlink(file.name)
"""


class Target(Protocol):
    """A device one can talk to."""

    @property
    def label(self) -> str:
        """How messages name it."""
        ...

    def call(self, action: str, body: bytes = b"") -> dict[str, Any]:
        """Run an action of the installer there and return its answer.

        Raises:
            DeviceError: if the device cannot be reached or the installer refuses.
        """
        ...

    def foreground(self, command: Sequence[str]) -> int:
        """Run a command there attached to this terminal and return its exit code."""
        ...


@dataclass(frozen=True, slots=True)
class LocalTarget:
    """A folder on this machine."""

    prefix: Path

    @property
    def label(self) -> str:
        """How messages name it."""
        return str(self.prefix)

    def call(self, action: str, body: bytes = b"") -> dict[str, Any]:
        """See `Target.call`."""
        command = [_base_python(), "-I", str(INSTALLER), action, str(self.prefix)]
        try:
            answer = subprocess.run(command, input=body, capture_output=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as exc:
            raise DeviceError(f"the installer into {self.label} did not end within {TIMEOUT_S} s") from exc
        return _answer(self.label, answer)

    def foreground(self, command: Sequence[str]) -> int:
        """See `Target.foreground`."""
        return _attached(list(command))


def _base_python() -> str:
    """Return the system's Python: an environment made from ours would vanish with ours."""
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    return str(base) if base.is_file() else sys.executable


@dataclass(frozen=True, slots=True)
class SshTarget:
    """A Linux device reached by the system's OpenSSH, which honours the user's own ssh configuration."""

    user: str
    host: str
    port: int | None
    prefix: str
    identity: Path | None

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{self.user}@{self.host}"

    def call(self, action: str, body: bytes = b"") -> dict[str, Any]:
        """See `Target.call`."""
        installer = INSTALLER.read_bytes()
        remote = ["python3", "-c", _BOOTSTRAP, action, self.prefix]
        sent = f"{len(installer)}\n".encode() + installer + body
        command = [*self._ssh(), shlex.join(remote)]
        try:
            answer = subprocess.run(command, input=sent, capture_output=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as exc:
            raise DeviceError(f"{self.label} did not answer within {TIMEOUT_S} s") from exc
        if answer.returncode == SSH_FAILED:
            raise _ssh_error(self.label, answer.stderr.decode(errors="replace"))
        if answer.returncode == 127:  # noqa: PLR2004  # the shell's "command not found"
            raise DeviceError(f"{self.label} has no python3")
        return _answer(self.label, answer)

    def foreground(self, command: Sequence[str]) -> int:
        """See `Target.foreground`."""
        return _attached([*self._ssh("-tt"), shlex.join(command)])

    def _ssh(self, *more: str) -> list[str]:
        ssh = shutil.which("ssh")
        if ssh is None:
            error = EnvironmentMissingError("ssh is not installed here")
            error.add_note("apt-get install openssh-client")
            raise error
        known = _known_hosts()
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "15",
            "ServerAliveInterval": "15",
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": f'"{known}"'.replace("%", "%%"),  # ssh would take a blank for the next file
        }
        command = [ssh, *more, *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]
        if self.port is not None:
            command += ["-p", str(self.port)]
        if self.identity is not None:
            command += ["-i", str(self.identity), "-o", "IdentitiesOnly=yes"]
        return [*command, "-l", self.user, "--", self.host]


def _attached(command: list[str]) -> int:
    """Run a command on this terminal; after Ctrl-C it is given the time to say goodbye."""
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
        try:
            code = process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        # asked twice, by the terminal and by us, it may end of the second while it leaves for the first
        return 0 if code == -signal.SIGTERM else code


def _known_hosts() -> Path:
    """Return EdgeKit's own list of host keys, readable by its owner alone."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "edgekit"
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / "known_hosts"
    known.touch(mode=0o600)
    return known


def _answer(label: str, done: "subprocess.CompletedProcess[bytes]") -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(done.stdout.decode().strip().splitlines()[-1])
    except (ValueError, IndexError) as exc:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise DeviceError(f"the installer failed on {label}: {lines[-1][:300]}") from exc
    if "error" in answer:
        error = DeviceError(f"{label}: {answer['error']}")
        for line in answer.get("log", [])[-3:]:
            error.add_note(line)
        raise error
    return answer


def _ssh_error(label: str, text: str) -> DeviceError:
    lines = [
        line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("Warning", "@", "debug"))
    ]
    last = lines[-1] if lines else "ssh ended without a word"
    error = DeviceError(f"{label} cannot be reached: {last[:300]}")
    for words, hint in _SSH_HINTS.items():
        if words in text:
            error.add_note(hint)
    return error


_SSH_HINTS: Mapping[str, str] = {
    "Permission denied": "put your public key on the device (ssh-copy-id), or name the private one with --identity",
    "Host key verification failed": (
        "the device's host key has changed; if you know why, remove its line from EdgeKit's known_hosts"
    ),
    "Connection refused": "is sshd running on the device, on this port?",
    "Could not resolve": "is the host name right?",
}


def parse(target: str, folder: Path | None, prefix: str | None, identity: Path | None) -> Target:
    """Return the target of `ssh://user@host[:port]`, or of `local` and a folder.

    Raises:
        UsageError: if it is neither, or a name could be taken for an option.
        DataError: if the identity is missing.
    """
    if target == "local":
        if folder is None:
            raise UsageError("local needs a folder: edgekit flash local DIR")
        return LocalTarget(folder.absolute())
    if folder is not None:
        raise UsageError(f"'{folder}' goes with local only; name the device's folder with --prefix")
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError:
        raise UsageError(f"'{target}' is not of the form ssh://user@host[:port]") from None
    user, host = parts.username or "", parts.hostname or ""
    plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", user) and re.fullmatch(r"[A-Za-z0-9_:][A-Za-z0-9_.%:-]*", host)
    if parts.scheme != "ssh" or not plain or parts.password or parts.path not in {"", "/"}:
        raise UsageError(f"'{target}' is not of the form ssh://user@host[:port]")
    if identity is not None and not identity.is_file():
        raise DataError(f"identity '{identity}' does not exist")
    return SshTarget(user, host, port, prefix or ("/opt/edgekit" if user == "root" else "~/.edgekit"), identity)


def as_tar(files: Sequence[tuple[str, bytes]]) -> bytes:
    """Return files as a tar stream, in order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
