"""`package.module:function`: find and call a function of the user's; its failures are errors in words."""

import contextlib
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from edgekit_converters.foreign import first_line

Failure = type[Exception]
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_function_name(text: str) -> bool:
    """Whether a text has the form `package.module:function`."""
    return _NAME.fullmatch(text) is not None


def find(name: str, failure: Failure, wanted: str) -> Callable[..., Any]:
    """Import `package.module:function`; the current folder is looked in first, as `python -m` does.

    Args:
        name: of the function.
        failure: the kind of error to raise.
        wanted: what the function is for, as in "not a function that returns a model".

    Raises:
        Exception: of the kind `failure`, if the module or the function is not there or cannot be imported.
    """
    module_name, _, path = name.partition(":")
    try:
        with current_folder_importable():
            found = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise failure(f"'{module_name}' needs the module '{exc.name}', which is not installed") from exc
        error = failure(f"there is no module '{module_name}'")
        error.add_note("it is looked for in the current folder and among what is installed")
        raise error from exc
    except (Exception, SystemExit) as exc:
        raise failure(f"'{module_name}' cannot be imported: {type(exc).__name__}: {first_line(exc)}") from exc
    for part in path.split("."):
        if not hasattr(found, part):
            raise failure(f"the module '{module_name}' has no '{path}'")
        found = getattr(found, part)
    if not callable(found):
        raise failure(f"'{name}' is a {type(found).__name__}, not {wanted}")
    return found


@contextlib.contextmanager
def guarded(name: str, failure: Failure) -> Iterator[None]:
    """Turn what a user's function raises into `failure`; what it prints goes to stderr.

    Raises:
        Exception: of the kind `failure`, naming the function and its error.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr), current_folder_importable():
            yield
    except failure:
        raise
    except (Exception, SystemExit) as exc:
        raise failure(f"'{name}' raises {type(exc).__name__}: {first_line(exc)}") from exc


@contextlib.contextmanager
def current_folder_importable() -> Iterator[None]:
    """Look for modules in the current folder first, and no longer than the block lasts."""
    sys.path.insert(0, "")
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove("")
