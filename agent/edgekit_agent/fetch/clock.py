"""What time it is at least: a device without a clock of its own must neither trust what is old nor refuse all.

The floor is the newest of: when this agent was released, and when the metadata it trusts was signed; it never goes back
with the device's clock. A signing time counts only while its key is trusted: a time far ahead, signed with a stolen
key, goes with that key.
"""

from datetime import UTC, datetime

from tuf.api.metadata import Metadata, Root, Signed, Timestamp

from edgekit_agent.fetch.trust import Trust
from edgekit_agent.protocol import SIGNED_AT

RELEASED = datetime(2026, 11, 1, tzinfo=UTC)


def time_floor(trust: Trust) -> datetime:
    """Return a time that has passed for sure, whatever the device's clock says."""
    root = Metadata[Root].from_bytes(trust.root)
    known = [RELEASED, signed_at(root.signed)]
    if trust.timestamp is not None:
        stamp = Metadata[Timestamp].from_bytes(trust.timestamp)
        verified = root.signed.get_verification_result(Timestamp.type, stamp.signed_bytes, stamp.signatures)
        known += [signed_at(stamp.signed)] if verified else []
    return max(known)


def signed_at(signed: Signed) -> datetime:
    """Return when metadata says it was signed; the earliest time there is where it does not say."""
    try:
        found = datetime.fromisoformat(str(signed.unrecognized_fields[SIGNED_AT]))
    except (KeyError, ValueError):
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
