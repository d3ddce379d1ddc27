"""The published schema of a bundle's manifest is the code's, and takes what the code takes."""

import json
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest

from tests.agent.bundle_maker import plain
from tests.scripts import script


@pytest.fixture(scope="module")
def generator(repository: Path) -> ModuleType:
    return script(repository / "docs" / "generate_bundle.py")


def test_the_published_schema_is_the_generated_and_says_what_each_field_is(
    repository: Path, generator: ModuleType
) -> None:
    published = json.loads((repository / "docs" / "reference" / "bundle.schema.json").read_text())
    assert published == generator.document(), "run: make docs"
    assert all("description" in one for one in published["properties"].values())


def test_the_schema_takes_a_real_manifest_and_refuses_broken_ones(generator: ModuleType, tmp_path: Path) -> None:
    body = json.loads(plain(tmp_path)[0].to_text())
    schema = generator.document()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(body)
    for name in schema["required"]:
        assert not validator.is_valid({key: value for key, value in body.items() if key != name}), name
    for name, value in {"schema": 2, "version": "1.2", "counter": -1, "hardware": ["Raspberry Pi"]}.items():
        assert not validator.is_valid({**body, name: value}), name
