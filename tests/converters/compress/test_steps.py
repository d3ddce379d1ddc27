"""Steps as people write them, and the pages made of the table of techniques."""

import json
from pathlib import Path

import pytest

from edgekit._recipe import schema
from edgekit_converters.compress import TECHNIQUES, technique_for
from edgekit_converters.compress.page import page
from edgekit_converters.compress.steps import parse_step, table_of, text_of
from edgekit_converters.errors import PrecisionError


def test_options_and_layers_are_read_and_written_shortest() -> None:
    step = parse_step(" snap:layers=conv*,bits=4,grid=linear,layers=op:Gemm ")
    assert (step.technique, step.layers, step.text) == ("snap", ("conv*", "op:Gemm"), step.text)
    assert step.text == "snap:bits=4,layers=conv*,layers=op:Gemm"
    assert parse_step(step.text) == step
    assert parse_step("snap").text == "snap"
    assert parse_step("snap:layers=a,optional").text == "snap:optional,layers=a"
    assert parse_step("snap:optional").optional
    assert parse_step("snap:layers=a").text == "snap:layers=a"


def test_a_step_is_the_same_as_a_table_of_a_recipe() -> None:
    step = parse_step("snap:grid=kmeans,bits=3,layers=conv*")
    table = table_of(step)
    assert table == {"technique": "snap", "grid": "kmeans", "bits": 3, "layers": ["conv*"]}
    assert parse_step(text_of(table)) == step


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("snip", "there is no technique 'snip': the techniques are .*snap"),
        ("snap:bit=3", "technique snap has no option 'bit': it has grid, bits, per, group, weighted, optional"),
        ("snap:bits=9", "option 'bits' takes 0 to 8, not '9'"),
        ("snap:bits=3,bits=4", "given twice"),
        ("snap:layers=", "option 'layers' takes a layer's name"),
        ("", "there is no technique ''"),
    ],
)
def test_what_is_no_step_is_refused(text: str, words: str) -> None:
    with pytest.raises(PrecisionError, match=words):
        parse_step(text)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"bits": 3}, "needs a technique"),
        ({"technique": "snap", "layers": "conv"}, "layers is a list of names"),
        ({"technique": "snap", "bits": [3]}, "option 'bits' is no text"),
    ],
)
def test_what_is_no_step_of_a_recipe_is_refused(table: dict[str, object], words: str) -> None:
    with pytest.raises(PrecisionError, match=words):
        text_of(table)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_every_technique_is_called_as_the_table_calls_it(name: str) -> None:
    one = technique_for(name)
    assert one.name == name
    assert one.help
    assert "layers" not in one.options
    parse_step(name)


def test_the_pages_are_what_the_table_says(repository: Path) -> None:
    reference = repository / "docs" / "reference"
    assert (reference / "techniques.md").read_text() == page()
    assert json.loads((reference / "recipe.schema.json").read_text()) == schema()
