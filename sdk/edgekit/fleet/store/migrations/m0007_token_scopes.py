"""Which devices a token is for: a filter; none is all."""

from collections.abc import Mapping


def statements(_types: Mapping[str, str]) -> tuple[str, ...]:
    """Return the statements of this step."""
    return ("ALTER TABLE tokens ADD COLUMN scope TEXT",)
