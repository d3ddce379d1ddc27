"""Whether the service is there, and the API's own description."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from edgekit_agent import __version__

router = APIRouter(tags=["service"])


class Health(BaseModel):
    """Whether the service answers; `edgekit` is its version."""

    status: str
    edgekit: str


@router.get("/healthz")
def healthz() -> Health:
    """Say that the service answers."""
    return Health(status="ok", edgekit=__version__)


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """Return this API's OpenAPI document."""
    document: dict[str, Any] = request.app.openapi()
    return document
