"""The filter language in queries: `filter=label.room=lab and not state=offline`."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Query

from edgekit.fleet.store import DeviceKey, DeviceRow, Store

LONGEST = 2000
Filter = Annotated[str, Query(max_length=LONGEST, description="Which devices, in the filter language; empty is all.")]
Match = Callable[[DeviceRow], bool]


def compiled(text: str) -> Match | None:
    """Return a filter's test, None for the empty one, which lets everything through.

    Raises:
        EdgeKitError: It is not of the language.
    """
    if not text.strip():
        return None
    from edgekit.fleet.query import parse

    return parse(text).matches


def chosen(store: Store, text: str) -> list[DeviceRow]:
    """Return the devices that a filter lets through, by site and name."""
    match = compiled(text)
    return [device for device in store.devices.all() if match is None or match(device)]


def keys(store: Store, text: str) -> list[DeviceKey] | None:
    """Return the names of the devices that a filter lets through; None for all."""
    return [device.key for device in chosen(store, text)] if text.strip() else None
