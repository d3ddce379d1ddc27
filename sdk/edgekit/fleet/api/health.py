"""Whether the service is there, and the API's own description."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from edgekit.fleet.api.context import InContext
from edgekit_agent import __version__

router = APIRouter(tags=["service"])


class Health(BaseModel):
    """Whether the service is well, or a part has trouble; which part is told to those who are signed in."""

    status: Literal["ok", "degraded"]
    edgekit: str
    parts: dict[str, Any] | None = None


@router.get("/healthz")
def healthz(request: Request, context: InContext) -> Health:
    """Say how the service is."""
    parts = dict(context.health()) if context.health else {}
    troubled = any(isinstance(part, dict) and part.get("trouble") for part in parts.values())
    known = request.scope.get("principal") is not None
    return Health(status="degraded" if troubled else "ok", edgekit=__version__, parts=parts if known else None)


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """Return this API's OpenAPI document."""
    document: dict[str, Any] = request.app.openapi()
    return document
