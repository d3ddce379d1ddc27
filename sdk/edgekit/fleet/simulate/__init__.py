"""Simulated devices that speak to a real broker as real ones do."""

from edgekit.fleet.simulate.faults import Fault
from edgekit.fleet.simulate.plan import Plan
from edgekit.fleet.simulate.run import Summary, simulate

__all__ = ["Fault", "Plan", "Summary", "simulate"]
