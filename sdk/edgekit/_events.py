"""Progress of long work, as a callback gets it; the library itself prints nothing."""

from edgekit_converters.events import Event, OnEvent

__all__ = ["Event", "OnEvent", "ignore"]


def ignore(_event: Event) -> None:
    """Take an event and do nothing."""
