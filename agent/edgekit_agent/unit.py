"""The systemd unit of the agent, in the one place where it is written.

`edgekit-agent unit` prints it, and that is what `edgekit flash` installs.

What each line means stands in systemd.exec(5), systemd.service(5) and systemd.resource-control(5).
"""

from collections.abc import Sequence
from pathlib import Path

STATE_ROOT = Path("/var/lib")
NAME = "edgekit-agent"
WATCHDOG_S = 30
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108  # asked, not used

# What models, cameras and microphones are reached by; a kind that a machine does not have allows nothing.
DEVICES = (
    "char-drm",  # GPUs
    "char-accel",  # NPUs
    "char-video4linux",
    "char-media",
    "char-alsa",
    "char-dma_heap",
    "char-usb_device",  # accelerators and cameras on USB
    "char-apex",
    "char-hailo*",
    "char-kfd",
    "char-nvidia*",
    "char-nvhost*",
    "char-rknpu",
    "/dev/galcore",
    "/dev/mali0",
    "/dev/ethosu0",
    "/dev/nvmap",
)

# In every service, a user's too: what a process may give up by itself.
_EVERYWHERE = """
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@clock @cpu-emulation @debug @module @mount @obsolete @raw-io @reboot @swap
SystemCallErrorNumber=EPERM
UMask=0027
"""

# Only the system's manager can: the tree is read-only but for the agent's own folders, devices are those it needs.
# Not here: MemoryDenyWriteExecute (XNNPACK and OpenVINO write the machine code they run), ProtectControlGroups (a group
# for each worker is made below the agent's own), PrivateDevices (cameras, GPUs, NPUs), ProtectProc (what a worker of
# another user takes would be hidden from the supervisor).
_SYSTEM = """
OOMScoreAdjust=-250
ProtectSystem=strict
ProtectHome=read-only
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateMounts=yes
KeyringMode=private
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_KILL CAP_SYS_NICE CAP_SYS_RESOURCE CAP_CHOWN CAP_DAC_OVERRIDE
DevicePolicy=closed
"""


def unit(
    command: Sequence[str], *, state_dir: Path, writable: Sequence[Path] = (), name: str = NAME, user: bool = False
) -> str:
    """Return the text of the unit.

    Args:
        command: the program, by its absolute path, and its arguments.
        state_dir: the agent's; below /var/lib systemd makes it.
        writable: folders besides that the agent may write to.
        name: the unit's, without its ending; two installations have folders in /run by it.
        user: for the service manager of a user, who can allow less and so forbids less.
    """
    lines = [
        "[Unit]",
        "Description=EdgeKit agent",
        "Documentation=man:systemd.service(5)",
        "After=network-online.target time-sync.target",
        "Wants=network-online.target",
        "# it is never given up: a device in the field has nobody to start it again",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={_command(command)}",
        "Restart=always",
        "# wrong usage and a wrong configuration do not go away by themselves",
        "RestartPreventExitStatus=2 3",
        "RestartSec=5",
        f"WatchdogSec={WATCHDOG_S}",
        "TimeoutStopSec=30",
        "KillMode=mixed",
        f"RuntimeDirectory={_short(name)}",
        "RuntimeDirectoryMode=0750",
        *_resources(),
        *_EVERYWHERE.split("\n")[1:-1],
    ]
    if not user:
        lines += _system(command, state_dir, writable)
    wanted_by = "default.target" if user else "multi-user.target"
    return "\n".join([*lines, "", "[Install]", f"WantedBy={wanted_by}", ""])


def _resources() -> list[str]:
    return [
        "# a group of its own for each worker: memory.max, cpu.max, pids.max",
        "Delegate=yes",
        "# a worker that the kernel ends for want of memory is the agent's to report and to start again",
        "OOMPolicy=continue",
        "# of all processes together; a worker's own limits are in the agent's configuration",
        "MemoryHigh=80%",
        "MemoryMax=90%",
        "TasksMax=2048",
        "LimitNOFILE=65536",
        "LimitCORE=0",
    ]


def _system(command: Sequence[str], state_dir: Path, writable: Sequence[Path]) -> list[str]:
    paths = [*writable]
    lines = _SYSTEM.split("\n")[1:-1] + [f"DeviceAllow={one} rw" for one in DEVICES]
    if state_dir.is_relative_to(STATE_ROOT) and state_dir != STATE_ROOT:
        lines += [f"StateDirectory={_quoted(str(state_dir.relative_to(STATE_ROOT)))}", "StateDirectoryMode=0700"]
    elif not any(state_dir.is_relative_to(one) for one in paths):
        paths.append(state_dir)
    lines += [f"ReadWritePaths={_quoted(str(one))}" for one in paths]
    used = [*paths, *(Path(word) for word in command if word.startswith("/"))]
    # with a /tmp of its own it would not see an installation that somebody tries there
    if not any(path.is_relative_to(place) for path in used for place in _TEMPORARY):
        lines.append("PrivateTmp=yes")
    return lines


def _short(name: str) -> str:
    return name.replace(NAME, "edgekit", 1)


def _command(words: Sequence[str]) -> str:
    program, *arguments = map(_quoted, words)
    return " ".join([program, *(one.replace("$", "$$") for one in arguments)])


def _quoted(text: str) -> str:
    """Return a word as systemd reads it back."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'
