"""Errors of the device side, by whose side failed.

Each message is one sentence naming the offending thing; advice goes into notes (`add_note`).
"""


class AgentError(Exception):
    """Base of every expected failure of the agent."""


class ConfigError(AgentError):
    """The configuration is wrong: exit code 3, the service manager must not restart."""


class ProtocolError(AgentError):
    """A message or topic from outside breaks the contract."""


class ModelError(AgentError):
    """The model file is broken or cannot be run by the runtime."""


class BundleError(AgentError):
    """A bundle is truncated, damaged, or is not of the form its schema asks for."""


class BundleUnfitError(BundleError):
    """A bundle is sound and not for this device: other hardware, another runtime or version."""


class InputDataError(AgentError):
    """Data meant for the model cannot be read or does not fit its inputs."""


class StreamError(AgentError):
    """A camera, stream, microphone or broker gives nothing; it is tried again."""


class RuntimeMissingError(AgentError):
    """No inference runtime that could run the model is importable here."""


class LimitsError(AgentError):
    """A worker cannot be held to the limits it is configured with."""


class TransportError(AgentError):
    """The broker cannot be reached or refused the connection."""


class AgentAwayError(AgentError):
    """No agent answers on this device: exit code 5."""


class UnprovedError(AgentError):
    """A model does not do on this device what its bundle promises: exit code 6."""
