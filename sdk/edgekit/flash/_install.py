"""The installer: runs on the device with its own Python (3.11 or newer) and nothing else.

`python3 install.py probe|missing|receive|apply|status|stop|remove PREFIX`; what it needs to know comes on
stdin, what it has to say goes to stdout as JSON. Layout under PREFIX: `files/<sha256>/<name>` (wheels
and models, checked and never changed), `venvs/<id>`, `payloads/<id>/{manifest.json,agent.toml}`,
`current.json` (which payload runs), `state`, `secrets`, `run/agent.pid`, `log/agent.log`. Whatever fails before
`current.json` is replaced leaves the old installation running.
"""

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, Optional

MINIMUM = (3, 11)
STOP_S = 15.0
SETTLE_S = 3.0
LOG_LINES = 20
UNIT = "edgekit-agent.service"
LOG_LIMIT = 5 << 20


Json = Dict[str, Any]  # the spelling of older Pythons: they must get as far as saying that they are too old


class InstallError(Exception):
    """Something that stops the installation: one sentence."""


def main() -> None:
    """Carry out one action."""
    action, prefix = sys.argv[1], Path(sys.argv[2]).expanduser().absolute()
    try:
        if sys.version_info < MINIMUM:
            raise InstallError(f"the device's python3 is {platform.python_version()} and 3.11 or newer is needed")
        answer: Json
        if action == "receive":
            answer = receive(prefix, sys.stdin.buffer)
        else:
            text = sys.stdin.read() if action in {"missing", "apply"} else ""
            answer = ACTIONS[action](prefix, json.loads(text) if text else {})
    except InstallError as exc:
        answer = {"error": str(exc), "log": log_tail(prefix)}
    except OSError as exc:
        answer = {"error": f"'{exc.filename or prefix}': {exc.strerror}", "log": []}
    print(json.dumps(answer))


def probe(prefix: Path, _asked: Json) -> Json:
    """What the host has to know before it sends anything."""
    if platform.system() != "Linux":
        raise InstallError(f"the device runs {platform.system()} and only Linux is there")
    kind, version = platform.libc_ver()
    if kind != "glibc":
        raise InstallError("the device's C library is not glibc, and the runtimes' wheels need it")
    if subprocess.run([sys.executable, "-c", "import venv, ensurepip"], capture_output=True, check=False).returncode:
        raise InstallError("the device's python3 cannot make virtual environments: apt-get install python3-venv")
    with contextlib.suppress(OSError, ValueError, KeyError):
        device = json.loads((prefix / "device.json").read_text())["device"]
        return {**_facts(prefix, version), "device": device}
    return _facts(prefix, version)


def _facts(prefix: Path, glibc: str) -> Json:
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "glibc": glibc,
        "hostname": socket.gethostname(),
        "prefix": str(prefix),
        "systemd": systemd(),
        "device": None,
    }


def systemd() -> str:
    """`system`, `user`, or empty where no systemd would start the agent."""
    if not Path("/run/systemd/system").is_dir():
        return ""
    if os.geteuid() == 0:
        return "system"
    alive = subprocess.run(["systemctl", "--user", "show-environment"], capture_output=True, check=False)
    return "user" if alive.returncode == 0 else ""


def missing(prefix: Path, manifest: Json) -> Json:
    """Which of the manifest's files are not here yet."""
    return {"missing": [one["sha256"] for one in manifest["files"] if not stored(prefix, one).is_file()]}


def stored(prefix: Path, file: Json) -> Path:
    """Where a file of the manifest lies; a name that leads elsewhere is refused."""
    for key in ("sha256", "name"):
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,200}", file[key]):
            raise InstallError(f"the payload names a file '{file[key][:80]}'")
    return prefix / "files" / str(file["sha256"]) / str(file["name"])


def receive(prefix: Path, stream: BinaryIO) -> Json:
    """Take files as a tar stream, each named by its digest; one whose content differs is refused."""
    count = 0
    (prefix / "files").mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            digest, _, name = member.name.partition("/")
            target = stored(prefix, {"sha256": digest, "name": name})
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                raise InstallError(f"'{member.name[:80]}' in the payload is no file")
            write(target, content.read(), digest)
            count += 1
    return {"received": count}


def write(target: Path, content: bytes, digest: Optional[str] = None, mode: int = 0o644) -> None:
    """Write durably: beside, flushed, renamed, and the folder flushed."""
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise InstallError(f"'{target.name}' arrived damaged")
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.part")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, target)
    folder = os.open(target.parent, os.O_RDONLY)
    with contextlib.suppress(OSError):
        os.fsync(folder)
    os.close(folder)


def apply(prefix: Path, manifest: Json) -> Json:
    """Make the payload the one that runs; nothing changes when it already does."""
    previous = current(prefix)
    if previous == manifest["id"] and alive(prefix):
        return {"changed": False, **status(prefix, {})}
    for one in manifest["files"]:
        if not stored(prefix, one).is_file():
            raise InstallError(f"'{one['name']}' did not arrive")
    venv(prefix, manifest)
    payload = prefix / "payloads" / manifest["id"]
    for one in manifest["files"]:
        if one["role"] == "model":
            link(stored(prefix, one), payload / "model" / one["name"])
    write(payload / "agent.toml", manifest["configuration"].replace("@PREFIX@", str(prefix)).encode())
    if manifest.get("password") is not None:
        (prefix / "secrets").mkdir(mode=0o700, exist_ok=True)
        write(prefix / "secrets" / "broker.password", manifest["password"].encode(), mode=0o600)
    kept = {key: value for key, value in manifest.items() if key != "password"}
    write(payload / "manifest.json", json.dumps(kept).encode(), mode=0o600)
    write(prefix / "device.json", json.dumps({"device": manifest["device"]}).encode())
    python = prefix / "venvs" / manifest["environment"] / "bin" / "python"
    command = [str(python), "-P", "-m", "edgekit_agent", "check-config", "--config", str(payload / "agent.toml")]
    check = subprocess.run(command, capture_output=True, text=True, check=False)
    if check.returncode:
        lines = check.stderr.strip().splitlines() or ["no reason given"]
        raise InstallError(f"the agent refuses the configuration: {lines[0].removeprefix('error: ')}")
    stop_agent(prefix)
    write(prefix / "current.json", json.dumps({"id": manifest["id"], "environment": manifest["environment"]}).encode())
    try:
        if manifest.get("start", True):
            start(prefix)
    except InstallError:
        if previous and previous != manifest["id"]:
            roll_back(prefix, previous)
        raise
    return {"changed": True, **status(prefix, {})}


def roll_back(prefix: Path, previous: str) -> None:
    """Run the installation from before again."""
    with contextlib.suppress(OSError, ValueError, InstallError):
        old = json.loads((prefix / "payloads" / previous / "manifest.json").read_text())
        write(prefix / "current.json", json.dumps({"id": previous, "environment": old["environment"]}).encode())
        start(prefix)


def link(source: Path, target: Path) -> None:
    """Give a stored file its place in a payload."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.link(source, target)


def venv(prefix: Path, manifest: Json) -> None:
    """Make the environment of the payload's wheels, off line; one that is whole is kept."""
    place = prefix / "venvs" / manifest["environment"]
    if (place / "COMPLETE").is_file():
        return
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    run([sys.executable, "-m", "venv", str(place)], "the virtual environment could not be made")
    wheels = [str(stored(prefix, one)) for one in manifest["files"] if one["role"] == "wheel"]
    command = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    run([*command, "--disable-pip-version-check", *wheels], "the wheels could not be installed")
    write(place / "COMPLETE", b"")


def run(command: List[str], sentence: str) -> None:
    """Run a command or raise with its last line."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise InstallError(f"{sentence}: {lines[-1][:300]}")


def current(prefix: Path) -> Optional[str]:
    """The id of the payload that runs."""
    try:
        return str(json.loads((prefix / "current.json").read_text())["id"])
    except (OSError, ValueError, KeyError):
        return None


def agent_command(prefix: Path) -> List[str]:
    """How the agent is started."""
    chosen = json.loads((prefix / "current.json").read_text())
    python = prefix / "venvs" / chosen["environment"] / "bin" / "python"
    configuration = prefix / "payloads" / chosen["id"] / "agent.toml"
    return [str(python), "-P", "-m", "edgekit_agent", "run", "--config", str(configuration)]


def start(prefix: Path) -> None:
    """By systemd where there is one, else as a process of its own session."""
    how = systemd()
    if how:
        start_unit(prefix, how)
        return
    log = prefix / "log" / "agent.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.is_file() and log.stat().st_size > LOG_LIMIT:
        os.replace(log, log.with_suffix(".log.1"))
    with log.open("ab") as output:
        process = subprocess.Popen(
            agent_command(prefix),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )
    write(prefix / "run" / "agent.pid", json.dumps({"pid": process.pid, "started": started(process.pid)}).encode())
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise InstallError(f"the agent ended at once with code {process.returncode}")
        time.sleep(0.1)


def unit_text(prefix: Path, how: str) -> str:
    """The unit: restarted on a crash, not on a wrong configuration."""
    command = " ".join('"' + part.replace("%", "%%").replace('"', '\\"') + '"' for part in agent_command(prefix))
    hardened = "ProtectSystem=full\nPrivateTmp=yes\nProtectHome=read-only\n" if how == "system" else ""
    writable = f"ReadWritePaths={prefix}\n" if how == "system" else ""
    return (
        "[Unit]\nDescription=EdgeKit agent\nAfter=network-online.target\nWants=network-online.target\n\n"
        f"[Service]\nType=notify\nNotifyAccess=main\nExecStart={command}\n"
        "Restart=on-failure\nRestartPreventExitStatus=2 3\n"
        f"RestartSec=5\nWatchdogSec=60\nNoNewPrivileges=yes\n{hardened}{writable}\n"
        f"[Install]\nWantedBy={'multi-user' if how == 'system' else 'default'}.target\n"
    )


def systemctl(how: str, *arguments: str) -> List[str]:
    """A systemctl command."""
    return ["systemctl", *(["--user"] if how == "user" else []), *arguments]


def unit_path(how: str) -> Path:
    """Where the unit lies."""
    return Path("/etc/systemd/system" if how == "system" else "~/.config/systemd/user").expanduser() / UNIT


def start_unit(prefix: Path, how: str) -> None:
    """Write the unit and (re)start it."""
    write(unit_path(how), unit_text(prefix, how).encode())
    run(systemctl(how, "daemon-reload"), "systemd did not reload")
    run(systemctl(how, "enable", UNIT), "systemd did not enable the agent")
    run(systemctl(how, "restart", UNIT), "systemd did not start the agent")
    if how == "user":
        subprocess.run(["loginctl", "enable-linger"], capture_output=True, check=False)


def started(pid: int) -> Optional[str]:
    """When a process started, in the kernel's ticks: a number taken again by another process has another."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def pid_of(prefix: Path) -> Optional[int]:
    """The background agent's process, if it is still that one."""
    try:
        known = json.loads((prefix / "run" / "agent.pid").read_text())
    except (OSError, ValueError):
        return None
    same = known.get("started") is not None and started(known["pid"]) == known["started"]
    dead = same and Path(f"/proc/{known['pid']}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return known["pid"] if same and not dead else None


def alive(prefix: Path) -> bool:
    """Whether the agent runs."""
    how = systemd()
    if how:
        return (
            unit_path(how).is_file()
            and not subprocess.run(systemctl(how, "is-active", "--quiet", UNIT), check=False).returncode
        )
    return pid_of(prefix) is not None


def status(prefix: Path, _asked: Json) -> Json:
    """What runs."""
    return {
        "id": current(prefix),
        "alive": alive(prefix),
        "pid": pid_of(prefix),
        "systemd": systemd(),
        "log": log_tail(prefix),
    }


def log_tail(prefix: Path) -> List[str]:
    """The last lines of the background agent's log."""
    with contextlib.suppress(OSError):
        return (prefix / "log" / "agent.log").read_text(errors="replace").splitlines()[-LOG_LINES:]
    return []


def stop_agent(prefix: Path) -> None:
    """End the agent and wait for it."""
    how = systemd()
    if how and unit_path(how).is_file():
        run(systemctl(how, "stop", UNIT), "systemd did not stop the agent")
        return
    pid = pid_of(prefix)
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOP_S
    while pid_of(prefix) is not None:
        if time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            end += STOP_S
        time.sleep(0.1)
    (prefix / "run" / "agent.pid").unlink(missing_ok=True)


def stop(prefix: Path, _asked: Json) -> Json:
    """Stop the agent."""
    was = alive(prefix)
    stop_agent(prefix)
    return {"stopped": was}


def remove(prefix: Path, _asked: Json) -> Json:
    """Stop the agent and take away what was installed; the device's id and state stay nowhere."""
    if not (prefix / "device.json").is_file():
        raise InstallError(f"there is no installation in '{prefix}'")
    stop_agent(prefix)
    how = systemd()
    if how and unit_path(how).is_file():
        run(systemctl(how, "disable", UNIT), "systemd did not disable the agent")
        unit_path(how).unlink()
    for name in ("files", "venvs", "payloads", "state", "secrets", "run", "log"):
        shutil.rmtree(prefix / name, ignore_errors=True)
    for name in ("current.json", "device.json", "install.py"):
        (prefix / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        prefix.rmdir()
    return {"removed": str(prefix)}


ACTIONS: Dict[str, Callable[[Path, Json], Json]] = {
    "probe": probe,
    "missing": missing,
    "apply": apply,
    "status": status,
    "stop": stop,
    "remove": remove,
}

if __name__ == "__main__":
    main()
