"""Errors of the host side, by what the caller can do about them."""


class EdgeKitError(Exception):
    """Base of every expected failure on the host."""


class UsageError(EdgeKitError):
    """An option's value is wrong (exit code 2)."""


class DataError(EdgeKitError):
    """Data cannot be read or does not fit the model (exit code 3)."""


class EnvironmentMissingError(EdgeKitError):
    """Something is missing here: an extra, a tool, a permission (exit code 4)."""


class DeviceError(EdgeKitError):
    """A device did not answer, refused, or failed (exit code 5)."""


class GateError(EdgeKitError):
    """A gate was not met: accuracy, latency, size, verification (exit code 6)."""
