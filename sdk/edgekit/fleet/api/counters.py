"""What became of every message: `/api/v1/counters`."""

from fastapi import APIRouter
from pydantic import BaseModel

from edgekit.fleet.api.access import Viewer
from edgekit.fleet.api.context import InContext

router = APIRouter(tags=["counters"], prefix="/api/v1/counters")


class Counters(BaseModel):
    """Received = stored + duplicate + rejected + throttled, once all is done; `dropped` never came so far."""

    total: dict[str, int]
    sources: dict[str, dict[str, int]]


@router.get("")
def counters(context: InContext, _who: Viewer) -> Counters:
    """Tell the counters of the store, over all and by source."""
    return Counters(total=context.store.counters.total(), sources=context.store.counters.by_source())
