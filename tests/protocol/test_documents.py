"""The published documents are the code's, and say the same as the code."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest

from tests.scripts import script

OLD = Path(__file__).parents[1] / "data" / "protocol"


@pytest.fixture(scope="module")
def generator(repository: Path) -> ModuleType:
    return script(repository / "docs" / "generate_protocol.py")


def test_the_committed_documents_are_the_generated(generator: ModuleType, repository: Path) -> None:
    folder = repository / "docs" / "protocol"
    committed = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.json")}
    assert committed == generator.documents(), "run: make docs"


def test_every_reference_of_the_asyncapi_document_leads_somewhere(generator: ModuleType, repository: Path) -> None:
    document = generator.asyncapi()

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if "$ref" in value else []
            return own + [one for item in value.values() for one in references(item)]
        return [one for item in value for one in references(item)] if isinstance(value, list) else []

    found = references(document)
    assert found
    for one in found:
        if one.startswith("#/"):
            place: Any = document
            for key in one[2:].split("/"):
                place = place[key]
        else:
            assert (repository / "docs" / "protocol" / one).is_file(), one


@pytest.mark.parametrize("file", sorted(OLD.glob("*.json")), ids=lambda file: file.name)
def test_a_schema_takes_real_messages_and_refuses_broken_ones(repository: Path, file: Path) -> None:
    kind = file.name.partition(".")[0]
    schema = json.loads((repository / "docs" / "protocol" / "schemas" / f"{kind}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    body = json.loads(file.read_text())
    validator.validate(body)
    for name in schema["required"]:
        assert not validator.is_valid({key: value for key, value in body.items() if key != name})
        assert not validator.is_valid({**body, name: [None]}), name
