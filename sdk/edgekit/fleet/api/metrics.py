"""`/metrics` for Prometheus: see `edgekit.fleet.export.prometheus`."""

from collections.abc import Iterator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from edgekit.fleet.api.access import Viewer
from edgekit.fleet.api.context import InContext
from edgekit.fleet.export.metrics import Snapshot
from edgekit.fleet.export.prometheus import PROTOBUF, TEXT, to_protobuf, to_text, wants_protobuf

router = APIRouter(tags=["service"])


@router.get(
    "/metrics",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/plain": {}, "application/vnd.google.protobuf": {}}}},
)
def metrics(request: Request, context: InContext, who: Viewer) -> StreamingResponse:  # noqa: ARG001  # the role
    """Return all metrics for Prometheus, with native histograms for a scraper that asks for protobuf."""
    snapshot = Snapshot.of(context.store)
    binary = wants_protobuf(",".join(request.headers.getlist("accept")))
    body: Iterator[bytes] = to_protobuf(snapshot) if binary else to_text(snapshot)
    return StreamingResponse(body, media_type=PROTOBUF if binary else TEXT, headers={"Vary": "Accept"})
