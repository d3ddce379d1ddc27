"""The REST API and the page's server: one FastAPI application over the store, see `create_app`.

Needs the extra `fleet`; imported by `edgekit fleet serve` only.
"""

from edgekit.fleet.api.access import Admin, Operator, Viewer
from edgekit.fleet.api.app import ROUTERS, create_app
from edgekit.fleet.api.context import Context, InContext, context_of
from edgekit.fleet.api.errors import ApiError
from edgekit.fleet.api.principal import Principal, Role
from edgekit.fleet.api.settings import ApiSettings

__all__ = [
    "ROUTERS",
    "Admin",
    "ApiError",
    "ApiSettings",
    "Context",
    "InContext",
    "Operator",
    "Principal",
    "Role",
    "Viewer",
    "context_of",
    "create_app",
]
