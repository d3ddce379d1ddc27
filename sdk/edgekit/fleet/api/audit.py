"""The audit log: `/api/v1/audit`."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from edgekit.fleet.api.access import Viewer
from edgekit.fleet.api.context import InContext

router = APIRouter(tags=["audit"], prefix="/api/v1/audit")


class AuditEntry(BaseModel):
    """What was done: by whom, to what. `digest` chains it to the entry before."""

    id: int
    at_ms: int
    who: str
    action: str
    subject: str
    detail: Mapping[str, Any]
    digest: str


class AuditEntries(BaseModel):
    """Entries, newest first; `next` is what `before` has to be for older ones, null where there are none."""

    entries: list[AuditEntry]
    next: int | None


class AuditVerified(BaseModel):
    """A chain that holds; note `head` elsewhere, to see later that its end was not cut off."""

    entries: int
    head: str


@router.get("")
def list_audit(
    context: InContext,
    _who: Viewer,
    subject: Annotated[str | None, Query(max_length=200)] = None,
    before: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> AuditEntries:
    """List what was done."""
    found = context.store.audit.entries(subject=subject, before=before, limit=limit)
    entries = [AuditEntry.model_validate(one, from_attributes=True) for one in found]
    return AuditEntries(entries=entries, next=entries[-1].id if len(entries) == limit else None)


@router.get("/verify")
def verify_audit(
    context: InContext, _who: Viewer, noted: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None
) -> AuditVerified:
    """Check the whole chain, and that it holds a digest noted earlier; 409 where it was changed."""
    found = context.store.audit.verify(noted)
    return AuditVerified(entries=found.entries, head=found.head)
