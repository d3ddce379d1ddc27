"""Checks of configured values; each refusal names the key."""

from collections.abc import Sequence

from edgekit_agent.errors import ConfigError


def one_of(where: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse what is none of the words allowed.

    Raises:
        ConfigError: naming the key and the words.
    """
    if value not in allowed:
        raise ConfigError(f"{where} is '{value}' and not one of: {', '.join(allowed)}")


def within(where: str, value: float, low: float, high: float) -> None:
    """Refuse what is not between two numbers.

    Raises:
        ConfigError: naming the key and the numbers.
    """
    if not low <= value <= high:
        raise ConfigError(f"{where} is {value} and not between {low} and {high}")
