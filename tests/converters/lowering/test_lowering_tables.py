"""Small models in tables, one table a kind of op: what converts is what the source gives, the rest is refused.

A table is a file in `tables/`: `CASES` by name, as `lower_cases.py` reads them, and `REFUSED` with a piece of each
refusal. `pytest -k pooling` runs one.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.scripts import script

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parent / "tables"
MODULES = {path.stem: script(path) for path in sorted(FOLDER.glob("*.py"))}
CASES: dict[str, dict[str, Any]] = {name: module.CASES for name, module in MODULES.items()}
REFUSED: dict[str, dict[str, tuple[Any, str]]] = {
    name: getattr(module, "REFUSED", {}) for name, module in MODULES.items()
}
EVERY = {name: CASES[name] | {case: given for case, (given, _) in REFUSED[name].items()} for name in MODULES}


def pairs(tables: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """Return a parameter for each case of each table."""
    return [pytest.param(name, case, id=f"{name}-{case}") for name, cases in tables.items() for case in cases]


@pytest.mark.parametrize(("name", "case"), pairs(CASES))
def test_it_is_what_the_source_gives(
    name: str, case: str, lowered: Callable[..., Mapping[str, Any]], proven: Callable[..., None]
) -> None:
    proven(lowered(EVERY[name])[case])


@pytest.mark.parametrize(("name", "case"), pairs(REFUSED))
def test_what_cannot_be_had_is_refused(name: str, case: str, lowered: Callable[..., Mapping[str, Any]]) -> None:
    error = lowered(EVERY[name])[case]["error"]
    assert error.startswith(f"model '{case}': ")
    assert REFUSED[name][case][1] in error
