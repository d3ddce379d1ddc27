"""What the operator decides about the API: where it listens, whom it trusts, how long a session lasts."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.errors import UsageError
from edgekit.fleet.api.principal import Role

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """A proxy in front that signs people in (OIDC, SAML, ...) and says who they are in headers.

    The headers count only when the connection comes from one of `addresses`; the proxy must remove the same headers
    from what it receives. `roles` maps a group to a role; who has none of them gets `default_role`, or is refused.
    """

    addresses: tuple[Network, ...] = ()
    user_header: str = "x-forwarded-user"
    groups_header: str = "x-forwarded-groups"
    roles: Mapping[str, Role] = field(default_factory=dict)
    default_role: Role | None = None

    def trusts(self, address: str) -> bool:
        """Whether a connection's other end is a configured proxy."""
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(peer in network for network in self.addresses)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Everything about the API that is not in the store; the defaults are for this machine only."""

    host: str = "127.0.0.1"
    port: int = 8650
    certificate: Path | None = None
    key: Path | None = None
    proxy: ProxySettings = field(default_factory=ProxySettings)
    hosts: tuple[str, ...] = ()
    session_idle_s: float = 3600.0
    session_longest_s: float = 12 * 3600.0
    body_limit_bytes: int = 262_144
    live_interval_s: float = 0.5

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def tls(self) -> bool:
        """Whether the service speaks TLS itself."""
        return self.certificate is not None


def parse_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Return addresses and networks, `10.0.0.5` or `10.0.0.0/24`.

    Raises:
        UsageError: One is neither.
    """
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError as exc:
            raise UsageError(f"'{text}' is no IP address and no network") from exc
    return tuple(found)


def parse_group_roles(texts: tuple[str, ...]) -> dict[str, Role]:
    """Return roles by group from `GROUP=ROLE` texts.

    Raises:
        UsageError: One is not of that form.
    """
    roles = {}
    for text in texts:
        group, _, role = text.rpartition("=")
        if not group or role not in set(Role):
            raise UsageError(f"'{text}' is not GROUP=ROLE with a role of {', '.join(Role)}")
        roles[group] = Role(role)
    return roles
