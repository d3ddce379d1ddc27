"""Reports that wait for their host, on the disk: bounded, in order, counted where they are lost, safe in power cuts."""

from edgekit_agent.spool.records import Record
from edgekit_agent.spool.spool import Limits, Spool, kernel_boot

__all__ = ["Limits", "Record", "Spool", "kernel_boot"]
