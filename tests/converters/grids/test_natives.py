"""The table of what targets store, against the targets' own libraries."""

import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit_converters.grids import GRIDS, grid_of, parse_grid
from edgekit_converters.grids.base import Sharing
from edgekit_converters.grids.fitting import fit
from edgekit_converters.grids.natives import FORMS, TARGETS, page


def types_of(target: str) -> set[str]:
    """The types that a target's own library names for stored numbers."""
    if target == "tflite":
        from ai_edge_litert import schema_py_generated as schema

        return set(vars(schema.TensorType))
    if target == "openvino":
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # blocks its import
        import openvino

        return set(dir(openvino.Type))
    import onnx

    constraints = onnx.defs.get_schema("DequantizeLinear").type_constraints
    return {one.removeprefix("tensor(").removesuffix(")") for kind in constraints for one in kind.allowed_type_strs}


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_the_types_the_table_says(target: str) -> None:
    at = TARGETS.index(target)
    named = {name for _, forms in FORMS for name in forms[at].dtype.split(", ")}
    assert named <= types_of(target)


def test_every_grid_is_in_the_table_in_one_sentence_a_target() -> None:
    assert {grid.partition(",")[0] for grid, _ in FORMS} == set(GRIDS)
    said = [form.says for _, forms in FORMS for form in forms]
    assert all(one.endswith(".") and ". " not in one for one in said)


def test_the_page_is_the_table(repository: Path) -> None:
    assert (repository / "docs" / "reference" / "grids.md").read_text() == page()


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_logarithmic_grid_of_few_bits_is_stored_in_int8_without_loss(bits: int, rng: np.random.Generator) -> None:
    array = rng.normal(size=500)
    made = fit(grid_of(parse_grid(f"log:bits={bits}")), array, None, Sharing())
    (top,) = made.tables["top"].ravel()
    smallest = 2.0 ** (top - (2 ** (bits - 1) - 2))
    codes = made.snap(array) / smallest
    np.testing.assert_array_equal(codes, np.clip(np.rint(codes), -127, 127))
