"""Other people's libraries: the one sentence for a missing one, and what is worth keeping of their errors."""

from edgekit_converters.errors import ConverterMissingError


def missing(library: str, extra: str) -> ConverterMissingError:
    """Return the error for a library that cannot be imported, naming the extra that brings it."""
    error = ConverterMissingError(f"{library} is not installed")
    error.add_note(f"pip install 'edgekit-sdk[{extra}]'")
    return error


def first_line(exc: BaseException) -> str:
    """Return the first line of an error that says something, shortened."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return (lines[0] if lines else type(exc).__name__)[:300].rstrip(".")


def last_line(exc: BaseException) -> str:
    """Return the last line: OpenVINO's and NNCF's messages begin with where they come from."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[-1][:300] if lines else first_line(exc)
