"""Headers that hold secrets: from a file that nobody else may read, or from the environment, never an option."""

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from edgekit.errors import DataError
from edgekit_agent.secret_files import keep_secret

VARIABLE = "OTEL_EXPORTER_OTLP_HEADERS"
_LIMIT_BYTES = 16_384


def from_file(path: Path) -> dict[str, str]:
    """Read lines of `NAME: VALUE`.

    Raises:
        ConfigError: if everybody may read the file, or it cannot be looked at.
        DataError: if a line is of another form.
    """
    keep_secret("--headers-file", str(path))
    with path.open("rb") as file:
        lines = file.read(_LIMIT_BYTES).decode("utf-8", "replace").splitlines()
    return _checked((line.partition(":")[::2] for line in lines if line.strip()), str(path))


def from_environment() -> dict[str, str]:
    """Read OpenTelemetry's own variable: `name=value,name=value`, percent-encoded.

    Raises:
        DataError: if it is of another form.
    """
    parts = [part for part in os.environ.get(VARIABLE, "").split(",") if part.strip()]
    return _checked(((name, unquote(value)) for name, _, value in (part.partition("=") for part in parts)), VARIABLE)


def _checked(pairs: Iterable[tuple[str, str]], where: str) -> dict[str, str]:
    headers = {}
    for name, value in pairs:
        name, value = name.strip(), value.strip()  # noqa: PLW2901  # the same, trimmed
        if (
            not name.isascii()
            or not name.replace("-", "").replace("_", "").isalnum()
            or not value
            or not value.isprintable()
        ):
            raise DataError(f"{where}: a header is not NAME and VALUE (what it has is not shown)")
        headers[name] = value
    return headers
