"""The page's files, read once: what is asked for is looked up in a table, so no path can lead elsewhere."""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_TYPES = MappingProxyType(
    {
        "html": "text/html; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
        "txt": "text/plain; charset=utf-8",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file as it is sent: its bytes, the same packed, its type, and what a browser asks by."""

    data: bytes
    packed: bytes
    media_type: str
    etag: str


class Assets:
    """The files under `static/` by their path."""

    def __init__(self) -> None:
        """Read them all."""
        self.files = dict(_read(files("edgekit.fleet.web") / "static"))

    def routes(self) -> list[Route]:
        """Return the routes of the page: `/` and `/assets/...`."""
        return [Route("/", self._index), Route("/assets/{name:path}", self._asset)]

    async def _index(self, request: Request) -> Response:
        return self._answer(request, "index.html")

    async def _asset(self, request: Request) -> Response:
        return self._answer(request, request.path_params["name"])

    def _answer(self, request: Request, name: str) -> Response:
        asset = self.files.get(name)
        if asset is None:
            return JSONResponse({"error": {"code": "not-found", "message": "there is no such file", "hints": []}}, 404)
        headers = {"ETag": asset.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == asset.etag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(asset.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=asset.media_type)
        return Response(asset.data, headers=headers, media_type=asset.media_type)


def _read(folder: Traversable, before: str = "") -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{before}{entry.name}/")
        elif (kind := entry.name.rpartition(".")[2]) in _TYPES:
            data = entry.read_bytes()
            yield (
                f"{before}{entry.name}",
                Asset(
                    data=data,
                    packed=gzip.compress(data, mtime=0),
                    media_type=_TYPES[kind],
                    etag=f'"{hashlib.sha256(data).hexdigest()[:20]}"',
                ),
            )
