"""ONNX's own node tests through the lowering: no wrong result, and the share that passes."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgekit_converters.lowering import node_tests
from tests.scripts import script

pytestmark = pytest.mark.slow
Verdicts = Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    """Return the tests in scope by name."""
    return {name: case for name, case in node_tests.load_cases().items() if node_tests.in_scope(case)}


@pytest.fixture(scope="module")
def verdicts(cases: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """Return a verdict for each."""
    return node_tests.run_all(list(cases), tmp_path_factory.mktemp("nodes"))


@pytest.fixture(scope="module")
def generator(repository: Path) -> ModuleType:
    """Return the script that writes the page."""
    return script(repository / "docs" / "generate_onnx_support.py")


def test_none_is_wrong_and_none_kills_the_process(verdicts: Verdicts) -> None:
    wrong = {name: one["reason"] for name, one in verdicts.items() if one["status"] in {"failed", "crashed"}}
    assert wrong == {}


def test_every_refusal_has_a_reason(verdicts: Verdicts) -> None:
    assert [name for name, one in verdicts.items() if one["status"] == "refused" and not one["reason"]] == []


def test_three_in_four_pass(verdicts: Verdicts) -> None:
    passed = [one["status"] == "passed" for one in verdicts.values()]
    whole = [one["status"] == "passed" for name, one in verdicts.items() if "_expanded" not in name]
    assert sum(passed) / len(passed) >= 0.75
    assert sum(whole) / len(whole) >= 0.75


def test_the_committed_page_is_the_generated(verdicts: Verdicts, generator: ModuleType, repository: Path) -> None:
    committed = (repository / "docs" / "reference" / "onnx-ops.md").read_text()
    assert committed == generator.page(node_tests.load_cases(), verdicts), "run `make docs`"
