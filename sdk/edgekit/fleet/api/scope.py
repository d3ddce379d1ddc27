"""What of the fleet a token reaches: a scope is a filter, and every route says at start how it is held to.

`x-scope` of a route is `device` (the path names one, which has to be inside), `devices` (it takes `Filter` or `Scoped`
and keeps to what is inside), `self` (it is about who asks), or else `fleet`: no token with a scope may.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from edgekit.fleet.api.context import Context, context_of
from edgekit.fleet.api.errors import ApiError, not_found
from edgekit.fleet.api.filters import asked
from edgekit.fleet.api.principal import Principal
from edgekit.fleet.query import parse
from edgekit.fleet.store import DeviceKey, DeviceRow, Store

LONGEST = 500
OWN: frozenset[tuple[str, str]] = frozenset({("POST", "/api/v1/logout")})


class Reach(StrEnum):
    """What of the fleet a route is about."""

    DEVICE = "device"
    DEVICES = "devices"
    SELF = "self"
    FLEET = "fleet"


class Scope:
    """What a request may be about; without a scope that is everything."""

    def __init__(self, text: str | None, store: Store) -> None:
        """Take a scope and where the devices are."""
        self.text, self._store = text, store
        self.match = None if text is None else parse(text).matches

    def refuse_outside(self, rows: Iterable[DeviceRow]) -> None:
        """See that what is to be changed is inside.

        Raises:
            ApiError: 403, something is not.
        """
        if self.match is not None and not all(map(self.match, rows)):
            hint = f"say which inside: FILTER and ({self.text})"
            raise ApiError(403, "scope", f"this would reach devices that are not '{self.text}'", hint)

    def rows(self, rows: list[DeviceRow]) -> list[DeviceRow]:
        """Return the devices inside."""
        return rows if self.match is None else list(filter(self.match, rows))

    def keys(self) -> frozenset[tuple[str, str]] | None:
        """Return the names of all devices inside; None without a scope."""
        if self.match is None:
            return None
        return frozenset((row.site, row.device) for row in self._store.devices.all() if self.match(row))


def scope_of(request: Request, context: Annotated[Context, Depends(context_of)]) -> Scope:
    """Return what a request may be about."""
    who: Principal | None = request.scope.get("principal")
    return Scope(who.scope if who is not None else None, context.store)


Scoped = Annotated[Scope, Depends(scope_of)]
"""A route that takes it keeps to the scope itself: it refuses or leaves out what is outside."""


def reach_of(route: APIRoute) -> Reach:
    """Return what a route is about."""
    if {"{site}", "{device}"} <= set(route.path.split("/")):
        return Reach.DEVICE
    if all((method, route.path) in OWN for method in route.methods or ()):
        return Reach.SELF
    return Reach.DEVICES if _takes_care(route.dependant) else Reach.FLEET


def check(request: Request, who: Principal) -> None:
    """Hold a request to the scope of who asks; called for every route that is not public.

    Raises:
        ApiError: 404, the device is outside and so is not told of; 403, the route is about the whole fleet.
    """
    if who.scope is None:
        return
    reach = request.scope["route"].openapi_extra["x-scope"]
    if reach == Reach.FLEET:
        told = f"this is about the whole fleet, and '{who.name}' is for devices that are '{who.scope}' only"
        raise ApiError(403, "scope", told)
    if reach == Reach.DEVICE:
        site, device = request.path_params["site"], request.path_params["device"]
        row = context_of(request).store.devices.get(DeviceKey(site, device))
        if row is None or not parse(who.scope).matches(row):
            raise not_found(f"device '{site}/{device}'")


def _takes_care(dependant: Dependant) -> bool:
    return any(one.call in {asked, scope_of} or _takes_care(one) for one in dependant.dependencies)
