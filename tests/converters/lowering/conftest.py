"""Lower a table of small models in one child process, and hand out the answers case by case."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgekit_converters.errors import JobCrashedError
from edgekit_converters.jobs import JobRunner

Case = Mapping[str, Any]
_DEFAULTS = {
    "inputs": {"x": "float[1, 4, 8, 9]"},
    "outputs": {"y": "float"},
    "weights": {},
    "opset": 13,
    "range": [-3, 3],
}


@pytest.fixture(scope="module")
def lowered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Mapping[str, Case]], Mapping[str, Any]]:
    """Return a function from a table of cases to their answers; it works once a module."""
    made: dict[int, dict[str, Any]] = {}

    def answers(table: Mapping[str, Case]) -> Mapping[str, Any]:
        if id(table) not in made:
            made[id(table)] = _lower(table, tmp_path_factory.mktemp("lowered"))
        return made[id(table)]

    return answers


def _lower(table: Mapping[str, Case], folder: Path) -> dict[str, Any]:
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    jobs = JobRunner(log=folder / "log", environment={"PYTHONPATH": os.pathsep.join(paths)})
    left = {name: {**_DEFAULTS, **case} for name, case in table.items()}
    found: dict[str, Any] = {}
    while left:
        progress, answers = folder / "progress", folder / "answers.json"
        progress.write_text("")
        answers.write_text("{}")
        try:
            jobs.run("lower_cases", {"cases": left, "progress": str(progress), "answers": str(answers)})
            crashed = {}
        except JobCrashedError as exc:
            crashed = {progress.read_text().split("\n")[-2]: {"error": f"the process died: {exc}"}}
        found |= {**json.loads(answers.read_text()), **crashed}
        left = {name: case for name, case in left.items() if name not in found}
    return found


@pytest.fixture(scope="session")
def proven() -> Callable[[Mapping[str, Any]], None]:
    """Assert that a case came out as ONNX Runtime has it.

    The tolerance: sums of up to a few hundred float32 products in another order differ by a few 1e-6 of
    the largest value; 2e-5 leaves room for exp and tanh as XNNPACK approximates them.
    """

    def check(answer: Mapping[str, Any]) -> None:
        assert "error" not in answer, answer["error"]
        assert float(answer["max_abs"]) <= 2e-5 * max(1.0, answer["scale"]), answer
        assert not [op for op in answer["ops"] if op.startswith(("STABLEHLO_", "CUSTOM", "Flex"))], answer["ops"]

    return check
