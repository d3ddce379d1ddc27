"""What a connection to a broker proves itself with."""

import ssl
from pathlib import Path

from edgekit_agent.config import BrokerConfig
from edgekit_agent.errors import ConfigError
from edgekit_agent.secret_files import keep_secret


def secret(path: str | None) -> str | None:
    """Return a password's file's text.

    Raises:
        ConfigError: if it cannot be read, or everybody can read it.
    """
    if path is None:
        return None
    keep_secret("broker.password_file", path)
    try:
        return Path(path).read_text().rstrip("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"broker.password_file '{path}' cannot be read") from exc


def tls(config: BrokerConfig) -> ssl.SSLContext | None:
    """Return what TLS is made with, None where the broker is asked without.

    Raises:
        ConfigError: if a certificate or key cannot be used, or everybody can read the key.
    """
    if not config.address[2]:
        return None
    if config.key is not None:
        keep_secret("broker.key", config.key)
    try:
        context = ssl.create_default_context(cafile=config.ca)
        if config.cert is not None:
            context.load_cert_chain(config.cert, config.key, password="")  # never ask on a terminal
    except OSError as exc:  # ssl's own errors among them
        raise ConfigError(f"a certificate of the broker's configuration cannot be used: {exc.strerror or exc}") from exc
    return context
