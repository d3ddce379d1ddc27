"""Which role a route needs: it takes `who: Viewer` (`Operator`, `Admin`) among its parameters, or is refused at start.

There who asks is held to the scope of their token, too; see `scope`.

Who asks has been found out before (`guards.Guard`), so a body of somebody unknown is never read.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from edgekit.fleet.api.errors import ApiError
from edgekit.fleet.api.principal import Principal, Role
from edgekit.fleet.api.scope import check, reach_of


class Requires:
    """A dependency that lets in who has the role, and holds them to their scope."""

    def __init__(self, role: Role) -> None:
        """Let in who may do what `role` may."""
        self.role = role

    def __call__(self, request: Request) -> Principal:
        """Return who asks.

        Raises:
            ApiError: They may not.
        """
        who: Principal | None = request.scope.get("principal")
        if who is None:
            raise sign_in()
        if not who.role.covers(self.role):
            raise ApiError(403, "forbidden", f"this needs the role {self.role}; '{who.name}' is {who.role}")
        check(request, who)
        return who


Viewer = Annotated[Principal, Depends(Requires(Role.VIEWER))]
Operator = Annotated[Principal, Depends(Requires(Role.OPERATOR))]
Admin = Annotated[Principal, Depends(Requires(Role.ADMIN))]


def sign_in() -> ApiError:
    """Return the refusal of somebody unknown."""
    return ApiError(
        401,
        "sign-in",
        "this needs a session or a token",
        "send 'Authorization: Bearer TOKEN'; `edgekit fleet token create` makes one",
        headers={"WWW-Authenticate": 'Bearer realm="edgekit"'},
    )


# What anybody may call: no more than what is needed to sign in, and to see whether the service is there.
PUBLIC: frozenset[tuple[str, str]] = frozenset(
    {("POST", "/api/v1/login"), ("GET", "/api/v1/session"), ("GET", "/healthz"), ("GET", "/openapi.json")}
)


def role_of(dependant: Dependant) -> Role | None:
    """Return the highest role that a route's parameters ask for, None for none."""
    found = [one.call.role for one in dependant.dependencies if isinstance(one.call, Requires)]
    found += [role for role in map(role_of, dependant.dependencies) if role is not None]
    return max(found, key=list(Role).index, default=None)


def declare(router: APIRouter) -> None:
    """Write each route's role, and how a scope holds there, into its OpenAPI entry.

    Raises:
        TypeError: A route asks for no role and is not public: it would be open to anybody.
    """
    for route in router.routes:
        if not isinstance(route, APIRoute):
            raise TypeError(f"route {route}: only APIRoute can say which role it needs")
        role = role_of(route.dependant)
        if role is None and any((method, route.path) not in PUBLIC for method in route.methods or ()):
            raise TypeError(f"route {route.path} asks for no role: take `who: Viewer`, `Operator` or `Admin`")
        route.openapi_extra = {
            **(route.openapi_extra or {}),
            "security": [{"token": []}, {"session": []}] if role else [],
        }
        if role is not None:
            route.openapi_extra["x-role"] = role.value
            route.openapi_extra["x-scope"] = reach_of(route).value
