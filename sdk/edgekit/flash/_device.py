"""What the installer has to know of a device."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.tags import Tag

MINIMUM = (3, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """A device as its own Python describes it; `glibc` is `2.36`, `prefix` the absolute folder to install into."""

    python: str
    machine: str
    glibc: str
    hostname: str
    prefix: str
    systemd: str
    device: str | None = None

    @property
    def abi(self) -> str:
        """CPython's ABI tag."""
        major, minor = self.python.split(".")[:2]
        return f"cp{major}{minor}"

    def platforms(self) -> list[str]:
        """Return the platform tags whose wheels run there, newest first (PEP 600)."""
        minor = int(self.glibc.partition(".")[2])
        old = ["manylinux2014", *(["manylinux2010", "manylinux1"] if self.machine in {"x86_64", "i686"} else [])]
        return [
            *(f"manylinux_2_{one}_{self.machine}" for one in range(minor, 4, -1)),
            *(f"{one}_{self.machine}" for one in old),
        ]

    def tags(self) -> "list[Tag]":
        """Return the tags of the wheels that install there, the preferred ones first (PEP 425)."""
        from packaging.tags import compatible_tags, cpython_tags

        major, minor = self.python.split(".")[:2]
        version, platforms = (int(major), int(minor)), self.platforms()
        return [
            *cpython_tags(version, [self.abi], platforms),
            *compatible_tags(version, self.abi, platforms),
        ]

    def markers(self) -> dict[str, str]:
        """Return the environment that a lock's markers are judged in (PEP 508)."""
        short = ".".join(self.python.split(".")[:2])
        return {
            "python_version": short,
            "python_full_version": self.python,
            "platform_machine": self.machine,
            "platform_system": "Linux",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "os_name": "posix",
            "sys_platform": "linux",
        }
