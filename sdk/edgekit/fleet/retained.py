"""What a broker keeps: topics of devices that nobody knows any more, and taking them away."""

import time
from collections.abc import Collection, Sequence

from edgekit.fleet._client import FleetClient
from edgekit.fleet._url import BrokerUrl
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import HOST, Kind, Topic

KEPT = (Kind.STATE, Kind.INFO, Kind.DESIRED, Kind.REPORTED)
QUIET_S, MOST_S = 1.0, 60.0
"""A broker sends what it keeps at once; when nothing has come for a second, that was all."""


def strangers(url: BrokerUrl, known: Collection[tuple[str, str]]) -> list[str]:
    """Return the retained topics of devices that are not among the known ones.

    Raises:
        TransportError: if the broker does not answer or refuses.
    """
    found: set[str] = set()
    with FleetClient(url, kinds=KEPT) as client:
        begun_s = last_s = time.monotonic()
        while time.monotonic() - last_s < QUIET_S and time.monotonic() - begun_s < MOST_S:
            raw = client.next_raw(0.1)
            if raw is None:
                continue
            last_s = time.monotonic()
            topic, payload = raw
            try:
                place = Topic.parse(topic)
            except ProtocolError:
                continue
            if payload and place.device != HOST and (place.site, place.device) not in known:
                found.add(topic)
    return sorted(found)


def clear(url: BrokerUrl, topics: Sequence[str]) -> None:
    """Take retained messages away.

    Raises:
        TransportError: if the broker does not answer, refuses, or does not take them in time.
    """
    with FleetClient(url, kinds=(Kind.STATE,)) as client:
        client.clear(topics)
