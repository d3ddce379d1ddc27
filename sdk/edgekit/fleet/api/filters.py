"""The filter language in queries: `filter=label.room=lab and not state=offline`, within the scope of who asks."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Query, Request

from edgekit.fleet.api.principal import Principal
from edgekit.fleet.query import Filter as Wanted
from edgekit.fleet.query import parse
from edgekit.fleet.store import DeviceKey, DeviceRow, Store

LONGEST = 2000
Match = Callable[[DeviceRow], bool]
_Text = Annotated[str, Query(max_length=LONGEST, description="Which devices, in the filter language; empty is all.")]


def asked(request: Request, filter: _Text = "") -> Wanted | None:  # noqa: A002 - the query's name
    """Return which of the devices of who asks are asked for; None for all there are.

    Raises:
        FilterError: The filter is not of the language.
    """
    who: Principal | None = request.scope.get("principal")
    given = parse(filter) if filter.strip() else None
    scope = parse(who.scope) if who is not None and who.scope is not None else None
    return given & scope if given and scope else given or scope


Filter = Annotated[Wanted | None, Depends(asked)]
"""A route that takes it shows nobody what is outside of their scope."""


def compiled(wanted: Wanted | None) -> Match | None:
    """Return a filter's test, None where everything is let through."""
    return None if wanted is None else wanted.matches


def chosen(store: Store, text: str) -> list[DeviceRow]:
    """Return the devices that a filter lets through, by site and name.

    Raises:
        FilterError: It is not of the language.
    """
    match = parse(text).matches if text.strip() else None
    return [device for device in store.devices.all() if match is None or match(device)]


def keys(store: Store, wanted: Wanted | None) -> list[DeviceKey] | None:
    """Return the names of the devices that a filter lets through; None for all."""
    return None if wanted is None else [device.key for device in store.devices.all() if wanted.matches(device)]
