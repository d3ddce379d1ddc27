"""The application: the ordered table of routers, the guards before them, the page's files behind them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI

from edgekit.fleet.api import access, errors
from edgekit.fleet.api.context import Context, Link
from edgekit.fleet.api.feeder import Feeder
from edgekit.fleet.api.gatekeeper import COOKIE, Gatekeeper
from edgekit.fleet.api.guards import Guard
from edgekit.fleet.api.settings import ApiSettings
from edgekit.fleet.web import Assets
from edgekit_agent import __version__

if TYPE_CHECKING:
    from edgekit.fleet.store import Store

# "module:attribute" of an APIRouter whose paths are complete (/api/v1/...). The first whose path fits answers.
ROUTERS: tuple[str, ...] = (
    "edgekit.fleet.api.health:router",
    "edgekit.fleet.api.metrics:router",
    "edgekit.fleet.api.sessions:router",
    "edgekit.fleet.api.accounts:router",
    "edgekit.fleet.api.live:router",
    "edgekit.fleet.api.devices:router",
    "edgekit.fleet.api.forget:router",
    "edgekit.fleet.api.commands:router",
    "edgekit.fleet.api.config:router",
    "edgekit.fleet.api.counters:router",
    "edgekit.fleet.api.events:router",
    "edgekit.fleet.api.series:router",
    "edgekit.fleet.api.rollouts:router",
    "edgekit.fleet.api.audit:router",
    "edgekit.fleet.api.alerts:router",
)

_DESCRIPTION = """\
Everything the page and `edgekit fleet` do. Sign in with `Authorization: Bearer TOKEN`, or with a session's cookie and,
for writes, its `X-CSRF-Token`. Roles: viewer < operator < admin; `x-role` of a path says which it needs.
A token can have a scope, a filter of devices; `x-scope` of a path says how it holds: `device` and `devices` know only
those inside, `fleet` is not for such tokens.
Errors are `{"error": {"code", "message", "hints"}}`. Times ending in `_ms` are milliseconds since 1970, UTC.
"""


def create_app(
    store: "Store",
    *,
    settings: ApiSettings | None = None,
    token: str | None = None,
    link: Link | None = None,
    health: Callable[[], Mapping[str, object]] | None = None,
) -> FastAPI:
    """Return the ASGI application.

    Args:
        store: Where everything is read from and written to.
        settings: Addresses, trust and limits. Default: this machine only.
        token: The local token (`secrets.local_token`), which lets in as admin.
        link: The connection to the broker; what needs one answers 503 without.
        health: Tells of each part of the service whether it has trouble.

    Raises:
        TypeError: A route does not say which role it needs.
    """
    settings = settings or ApiSettings()
    gatekeeper = Gatekeeper(settings, store.accounts, token)
    feeder = Feeder(store)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        feeding = asyncio.ensure_future(feeder.run())
        try:
            yield
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    app = FastAPI(
        title="EdgeKit fleet", version=__version__, description=_DESCRIPTION,
        openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan,
        responses={"default": {"model": errors.ErrorBody, "description": "Refused or failed."}},
    )  # fmt: skip
    app.state.context = Context(
        store=store, settings=settings, gatekeeper=gatekeeper, feeder=feeder, link=link, health=health
    )
    errors.install(app)
    for place in ROUTERS:
        app.include_router(_load(place))
    app.router.routes.extend(Assets().routes())
    app.openapi_schema = _document(app)
    app.add_middleware(Guard, settings=settings, gatekeeper=gatekeeper)
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with how one signs in."""
    document: dict[str, Any] = app.openapi()
    document["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    }
    return document


def _load(place: str) -> APIRouter:
    module, _, name = place.partition(":")
    router: APIRouter = getattr(import_module(module), name)
    access.declare(router)
    return router
