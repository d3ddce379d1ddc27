"""The installer: runs on the device with its own Python (3.11 or newer) and nothing else.

`python3 install.py probe|missing|receive|apply|status|stop|remove PREFIX`; what it needs to know comes on
stdin, what it has to say goes to stdout as JSON. Layout under PREFIX: `files/<sha256>/<name>` (wheels
and models, checked and never changed), `venvs/<id>`, `payloads/<id>/{manifest.json,agent.toml}`,
`current.json` (which payload runs), `state`, `secrets`, `run/agent.pid`, `run/lock`, `log/agent.log`. Whatever fails
before `current.json` is replaced leaves the old installation running. One installer at a time holds `run/lock`.
"""

import contextlib
import fcntl
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
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, Set

MINIMUM = (3, 11)
STOP_S = 15.0
SETTLE_S = 3.0
LOG_LINES = 20
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
        there = action in {"receive", "apply"} or (prefix / "device.json").is_file()
        with locked(prefix) if there and action in CHANGING else contextlib.nullcontext():
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


@contextlib.contextmanager
def locked(prefix: Path) -> Iterator[None]:
    """Hold the prefix: the kernel lets go of it when this process and what `run` started have ended."""
    (prefix / "run").mkdir(parents=True, exist_ok=True)
    handle = os.open(prefix / "run" / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InstallError(f"another installation into '{prefix}' is under way") from None
    os.set_inheritable(handle, True)  # noqa: FBT003  # positional only
    try:
        yield
    finally:
        os.close(handle)


def clean_environment() -> Dict[str, str]:
    """The environment without what would turn Python or pip to other places."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV"))}


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
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except OSError:  # a full disk must not stay full
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    with contextlib.suppress(OSError):
        os.fsync(folder)
    os.close(folder)


def apply(prefix: Path, manifest: Json) -> Json:
    """Make the payload the one that runs; nothing changes when it already does."""
    previous = current(prefix)
    if previous == manifest["id"] and alive(prefix) and manifest.get("start", True):
        return {"changed": False, "command": agent_command(prefix), **status(prefix, {})}
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
    if manifest.get("key") is not None:
        (prefix / "secrets").mkdir(mode=0o700, exist_ok=True)
        write(prefix / "secrets" / "broker.key", manifest["key"].encode(), mode=0o600)
    kept = {key: value for key, value in manifest.items() if key not in {"password", "key"}}
    write(payload / "manifest.json", json.dumps(kept).encode(), mode=0o600)
    write(prefix / "device.json", json.dumps({"device": manifest["device"]}).encode())
    python = prefix / "venvs" / manifest["environment"] / "bin" / "python"
    command = [str(python), "-P", "-m", "edgekit_agent", "check-config", "--config", str(payload / "agent.toml")]
    check = subprocess.run(command, capture_output=True, text=True, check=False, env=clean_environment())
    if check.returncode:
        lines = check.stderr.strip().splitlines() or ["no reason given"]
        raise InstallError(f"the agent refuses the configuration: {lines[0].removeprefix('error: ')}")
    stop_agent(prefix)
    trust(prefix, manifest)
    born = birth(prefix)
    write(prefix / "current.json", json.dumps({"id": manifest["id"], "environment": manifest["environment"]}).encode())
    try:
        if manifest.get("start", True):
            start(prefix)
    except InstallError:
        if previous and previous != manifest["id"]:
            roll_back(prefix, previous)
        raise
    sweep(prefix, {manifest["id"], previous})
    return {"changed": True, "birth": born, "command": agent_command(prefix), **status(prefix, {})}


def trust(prefix: Path, manifest: Json) -> None:
    """Pin the repository's root; what the agent has seen since it was set up with the same root it keeps."""
    for one in manifest["files"]:
        if one["role"] == "trust":
            folder = prefix / "state" / "trust"
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write(folder / one["name"], stored(prefix, one).read_bytes())


def birth(prefix: Path) -> int:
    """The agent's last birth number: only what is born later was started by this installation."""
    try:
        found = json.loads((prefix / "state" / "birth.json").read_text())
        return int(found.get("state", found)["birth"])  # agents up to 0.1 wrote it without a checksum around it
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0


def sweep(prefix: Path, kept: Set[Optional[str]]) -> None:
    """Keep these payloads (what runs, and what ran before) and what they need; take the rest away."""
    files, environments = set(), set()
    for payload in (prefix / "payloads").iterdir():
        if payload.name not in kept:
            shutil.rmtree(payload, ignore_errors=True)
            continue
        with contextlib.suppress(OSError, ValueError, KeyError):
            manifest = json.loads((payload / "manifest.json").read_text())
            files |= {one["sha256"] for one in manifest["files"]}
            environments.add(manifest["environment"])
    for folder, needed in (("files", files), ("venvs", environments)):
        for one in (prefix / folder).iterdir():
            if one.name not in needed:
                shutil.rmtree(one, ignore_errors=True)


def roll_back(prefix: Path, previous: str) -> None:
    """Run the installation from before again."""
    with contextlib.suppress(OSError, ValueError, InstallError):
        old = json.loads((prefix / "payloads" / previous / "manifest.json").read_text())
        write(prefix / "current.json", json.dumps({"id": previous, "environment": old["environment"]}).encode())
        start(prefix)


def link(source: Path, target: Path) -> None:
    """Give a stored file its place in a payload; a file system without links gets a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:
        write(target, source.read_bytes())


def venv(prefix: Path, manifest: Json) -> None:
    """Make the environment of the payload's wheels, off line; one that is whole is kept."""
    place = prefix / "venvs" / manifest["environment"]
    if (place / "COMPLETE").is_file():
        return
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    wheels = [str(stored(prefix, one)) for one in manifest["files"] if one["role"] == "wheel"]
    command = [str(place / "bin" / "python"), "-I", "-m", "pip", "--isolated", "install", "--quiet", "--no-index"]
    try:
        run([sys.executable, "-I", "-m", "venv", str(place)], "the virtual environment could not be made")
        run([*command, "--no-deps", "--disable-pip-version-check", *wheels], "the wheels could not be installed")
    except InstallError:
        shutil.rmtree(place, ignore_errors=True)
        raise
    os.sync()  # before the mark: pip does not flush what it writes
    write(place / "COMPLETE", b"")


def run(command: List[str], sentence: str) -> None:
    """Run a command or raise with its last line; it holds the lock as long as it runs."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=clean_environment(), close_fds=False
    )
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
            env=clean_environment(),
            cwd="/",
        )
    write(prefix / "run" / "agent.pid", json.dumps({"pid": process.pid, "started": started(process.pid)}).encode())
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise InstallError(f"the agent ended at once with code {process.returncode}")
        time.sleep(0.1)


def unit_text(prefix: Path, how: str) -> str:
    """The unit, as the installed agent itself writes it."""
    *python, _, _, configuration = agent_command(prefix)
    name = ["--name", unit(prefix)[: -len(".service")]]
    command = [
        *python,
        "unit",
        "--config",
        configuration,
        "--writable",
        str(prefix),
        *name,
        *(["--user"] if how == "user" else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean_environment())
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise InstallError(f"the agent does not write its unit: {lines[0]}")
    return done.stdout


def systemctl(how: str, *arguments: str) -> List[str]:
    """A systemctl command."""
    return ["systemctl", *(["--user"] if how == "user" else []), *arguments]


def unit(prefix: Path) -> str:
    """The unit's name: a second installation on a device has one of its own."""
    usual = prefix == Path("~/.edgekit" if os.geteuid() else "/opt/edgekit").expanduser()
    return f"edgekit-agent{'' if usual else '-' + hashlib.sha256(str(prefix).encode()).hexdigest()[:8]}.service"


def unit_path(prefix: Path, how: str) -> Path:
    """Where the unit lies."""
    return Path("/etc/systemd/system" if how == "system" else "~/.config/systemd/user").expanduser() / unit(prefix)


def start_unit(prefix: Path, how: str) -> None:
    """Write the unit and (re)start it."""
    write(unit_path(prefix, how), unit_text(prefix, how).encode())
    run(systemctl(how, "daemon-reload"), "systemd did not reload")
    run(systemctl(how, "enable", unit(prefix)), "systemd did not enable the agent")
    run(systemctl(how, "restart", unit(prefix)), "systemd did not start the agent")
    if how == "user":
        subprocess.run(["loginctl", "enable-linger"], capture_output=True, check=False)


def started(pid: int) -> Optional[str]:
    """When a living process started, in the kernel's ticks: a number taken again by another process has another."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in {"Z", "X"} else fields[19]
    except (OSError, IndexError):
        return None


def pid_of(prefix: Path) -> Optional[int]:
    """The background agent's process, if it is still that one."""
    try:
        known = json.loads((prefix / "run" / "agent.pid").read_text())
        pid, since = int(known["pid"]), str(known["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if started(pid) == since else None


def alive(prefix: Path) -> bool:
    """Whether the agent runs."""
    how = systemd()
    if how:
        return (
            unit_path(prefix, how).is_file()
            and not subprocess.run(systemctl(how, "is-active", "--quiet", unit(prefix)), check=False).returncode
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
    """The last lines of the agent's log: systemd's journal, or the background agent's own file."""
    how = systemd()
    if how:
        user = ["--user"] if how == "user" else []
        command = [
            "journalctl",
            *user,
            "--unit",
            unit(prefix),
            "--lines",
            str(LOG_LINES),
            "--output",
            "cat",
            "--no-pager",
        ]
        with contextlib.suppress(OSError):
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    with contextlib.suppress(OSError):
        return (prefix / "log" / "agent.log").read_text(errors="replace").splitlines()[-LOG_LINES:]
    return []


def stop_agent(prefix: Path) -> None:
    """End the agent and wait for it."""
    how = systemd()
    if how and unit_path(prefix, how).is_file():
        run(systemctl(how, "stop", unit(prefix)), "systemd did not stop the agent")
        return
    pid = pid_of(prefix)
    if pid is None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        end = time.monotonic() + STOP_S
        while pid_of(prefix) is not None and time.monotonic() < end:
            time.sleep(0.1)
    if pid_of(prefix) is not None:
        raise InstallError(f"the agent's process {pid} does not end")
    (prefix / "run" / "agent.pid").unlink(missing_ok=True)


def stop(prefix: Path, _asked: Json) -> Json:
    """Stop the agent."""
    was = alive(prefix)
    stop_agent(prefix)
    return {"stopped": was}


def remove(prefix: Path, _asked: Json) -> Json:
    """Stop the agent and take away what was installed, the device's id and state among it."""
    if not (prefix / "device.json").is_file():
        raise InstallError(f"there is no installation in '{prefix}'")
    stop_agent(prefix)
    how = systemd()
    if how and unit_path(prefix, how).is_file():
        run(systemctl(how, "disable", unit(prefix)), "systemd did not disable the agent")
        unit_path(prefix, how).unlink()
        run(systemctl(how, "daemon-reload"), "systemd did not reload")
    for name in ("files", "venvs", "payloads", "state", "secrets", "run", "log"):
        shutil.rmtree(prefix / name, ignore_errors=True)
    for name in ("current.json", "device.json", "install.py"):
        (prefix / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        prefix.rmdir()
    return {"removed": str(prefix)}


CHANGING = {"receive", "apply", "stop", "remove"}
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
