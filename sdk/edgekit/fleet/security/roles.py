"""Who a certificate is for, and the common name that says so.

A device's common name is its id (`[a-z0-9-]`); all others hold a dot, so that no device can be enrolled under the name
of a service.
"""

import re
from enum import StrEnum

from edgekit.errors import UsageError
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import check_name

_SERVICE_NAME = re.compile(r"[a-z0-9-]{1,48}")


class Role(StrEnum):
    """What a certificate lets its holder do."""

    DEVICE = "device"
    HOST = "host"
    OPERATOR = "operator"
    BROKER = "broker"

    @property
    def authority(self) -> str:
        """The authority that signs it: devices have one of their own, which the services' listener does not trust."""
        return "devices" if self is Role.DEVICE else "services"

    @property
    def days(self) -> int:
        """How long a certificate is valid when nothing else is said."""
        return _DAYS[self]

    @property
    def folder(self) -> str:
        """The folder of the certificates of this role."""
        return "broker" if self is Role.BROKER else f"{self}s"


_DAYS = {Role.DEVICE: 730, Role.HOST: 365, Role.OPERATOR: 90, Role.BROKER: 365}


def common_name(role: Role, name: str) -> str:
    """Return the common name of somebody's certificate, which is the user name the broker knows them by.

    Raises:
        UsageError: if the name is not allowed.
    """
    if role is Role.DEVICE:
        try:
            return check_name(name, "device")
        except ProtocolError as exc:
            raise UsageError(str(exc)) from exc
    if not _SERVICE_NAME.fullmatch(name):
        raise UsageError(f"the name '{name[:80]}' is not 1 to 48 characters of a-z, 0-9 and '-'")
    return f"{role}.{name}"


def role_of(common: str) -> tuple[Role, str]:
    """Return role and name of a common name.

    Raises:
        UsageError: if it is none that an authority of ours gives out.
    """
    kind, dot, name = common.partition(".")
    if not dot:
        common_name(Role.DEVICE, common)
        return Role.DEVICE, common
    if kind not in {Role.HOST, Role.OPERATOR, Role.BROKER}:
        raise UsageError(f"'{common[:80]}' is no device, and neither host.NAME, operator.NAME nor broker.NAME")
    common_name(Role(kind), name)
    return Role(kind), name
