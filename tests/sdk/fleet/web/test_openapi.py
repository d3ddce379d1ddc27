"""The API's document is the one in the docs, and says of every route what it needs."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from fastapi import APIRouter

from edgekit.fleet.api import Role
from edgekit.fleet.api.access import PUBLIC, declare


@pytest.fixture
def generator(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_openapi", repository / "docs" / "generate_openapi.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_document_in_the_docs_is_up_to_date(repository: Path, generator: ModuleType) -> None:
    """After a change of routes: `make docs`."""
    assert (repository / "docs" / "reference" / "openapi.json").read_text() == generator.document()


def test_every_route_says_its_role_or_is_public(repository: Path) -> None:
    document = json.loads((repository / "docs" / "reference" / "openapi.json").read_text())
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            if "x-role" in told:
                assert told["x-role"] in set(Role)
                assert told["security"] == [{"token": []}, {"session": []}]
            else:
                assert (method.upper(), path) in PUBLIC


def test_a_route_without_a_role_is_refused_at_start() -> None:
    router = APIRouter()

    @router.get("/api/v1/open")
    def opened() -> None:
        """Open to anybody, by mistake."""

    with pytest.raises(TypeError, match="asks for no role"):
        declare(router)
