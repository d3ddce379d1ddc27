"""Put the agent, its runtime and a model on a running Linux device."""

from edgekit.flash._flash import Flashed, FlashRequest, flash, plan
from edgekit.flash._payload import Settings
from edgekit.flash._targets import LocalTarget, SshTarget, Target, parse

__all__ = ["FlashRequest", "Flashed", "LocalTarget", "Settings", "SshTarget", "Target", "flash", "parse", "plan"]
