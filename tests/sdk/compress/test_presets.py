"""The recipes that come along: each reads, says what it is for, and is found by its name."""

from pathlib import Path

import pytest

from edgekit._options import read_toml
from edgekit._recipe import from_recipe, presets, schema


@pytest.mark.parametrize("name", presets())
def test_a_recipe_that_comes_along_is_found_by_its_name_and_reads(name: str) -> None:
    options = from_recipe(Path(name))
    assert options.compress
    assert read_toml(presets()[name])["summary"]


def test_a_file_of_the_same_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fused").write_text('schema = 1\n[[compress]]\ntechnique = "snap"\nbits = 3\n')
    assert from_recipe(Path("fused")).compress == ("snap:bits=3",)


def test_every_technique_has_its_form_in_the_schema() -> None:
    forms = schema()["properties"]["compress"]["items"]["oneOf"]
    assert all(one["properties"]["optional"]["type"] == "boolean" for one in forms)
