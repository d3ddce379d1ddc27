"""What routes work with: one object for the application, handed to a route by `InContext`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Protocol

from fastapi import Depends, Request

from edgekit.fleet.api.settings import ApiSettings
from edgekit.fleet.api.throttle import Throttle

if TYPE_CHECKING:
    from edgekit.fleet.api.feeder import Feeder
    from edgekit.fleet.api.gatekeeper import Gatekeeper
    from edgekit.fleet.store import Store
    from edgekit.fleet.store.users import Accounts


class Link(Protocol):
    """The service's connection to the broker, as routes need it."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send a message to a device, QoS 1.

        Raises:
            TransportError: There is no connection.
        """


@dataclass(slots=True, kw_only=True)
class Context:
    """The store, the settings and the other parts of the service that routes use.

    `link` is None without a broker. `health` tells of each part its `trouble`, None when it is well.
    """

    store: "Store"
    settings: ApiSettings
    gatekeeper: "Gatekeeper"
    feeder: "Feeder"
    link: Link | None = None
    health: Callable[[], Mapping[str, object]] | None = None
    # failed sign-ins: of an address, of a name from an address, of a name from everywhere
    by_address: Throttle = field(default_factory=lambda: Throttle(20, 300.0))
    by_pair: Throttle = field(default_factory=lambda: Throttle(5, 300.0))
    by_name: Throttle = field(default_factory=lambda: Throttle(50, 3600.0))

    @property
    def accounts(self) -> "Accounts":
        """Users, sessions and tokens."""
        return self.store.accounts


def context_of(request: Request) -> Context:
    """Return the application's context."""
    context: Context = request.app.state.context
    return context


InContext = Annotated[Context, Depends(context_of)]
