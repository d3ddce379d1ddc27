"""What routes work with: one object for the application, handed to a route by `InContext`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

from fastapi import Depends, Request

from edgekit.fleet.api.settings import ApiSettings

if TYPE_CHECKING:
    from edgekit.fleet.api.gatekeeper import Gatekeeper
    from edgekit.fleet.store import Store


class Link(Protocol):
    """The service's connection to the broker, as routes need it."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send a message to a device, QoS 1.

        Raises:
            TransportError: There is no connection.
        """


@dataclass(slots=True, kw_only=True)
class Context:
    """The store, the settings and the other parts of the service that routes use; `link` is None without a broker."""

    store: "Store"
    settings: ApiSettings
    gatekeeper: "Gatekeeper"
    link: Link | None = None


def context_of(request: Request) -> Context:
    """Return the application's context."""
    context: Context = request.app.state.context
    return context


InContext = Annotated[Context, Depends(context_of)]
