"""Who is there: births and wills in pairs, a deadline on what arrives, and the reason for every verdict.

Pure: no I/O, and time is an argument. `part.py` feeds it inside `edgekit fleet serve`; `edgekit fleet watch` does too.
"""

from edgekit.fleet.presence.device import Cause, Presence, Verdict
from edgekit.fleet.presence.roll import Change, Roll

__all__ = ["Cause", "Change", "Presence", "Roll", "Verdict"]
