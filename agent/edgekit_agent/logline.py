"""One log line: key=value, with quotes where a value would not stay one word."""

import json

_SPLITTING = frozenset(" \"'=\n\r\t")


def logline(fields: dict[str, object]) -> str:
    """Return the fields on one line; a text with a blank, and whatever is no text or number, stands as JSON."""
    return " ".join(f"{key}={_word(value)}" for key, value in fields.items())


def _word(value: object) -> str:
    if isinstance(value, str) and value.isprintable() and value and not _SPLITTING & set(value):
        return value
    return json.dumps(value)
