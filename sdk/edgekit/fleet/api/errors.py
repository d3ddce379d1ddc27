"""Every error of the API is `{"error": {"code", "message", "hints"}}` with the status that fits."""

import logging
import secrets
from collections.abc import Mapping
from types import MappingProxyType

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from edgekit import errors
from edgekit.fleet.store.engine import first_line, is_away
from edgekit_agent.errors import AgentError

_LOG = logging.getLogger(__name__)

# The first that fits decides, as for exit codes of the command line.
_STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.UsageError, 400, "bad-request"),
    (errors.EnvironmentMissingError, 503, "missing-here"),
    (errors.DeviceError, 502, "device"),
    (errors.GateError, 409, "gate"),
    (errors.EdgeKitError, 400, "bad-input"),
    (AgentError, 400, "bad-input"),
)
_CODES: Mapping[int, str] = MappingProxyType(
    {401: "sign-in", 403: "forbidden", 404: "not-found", 405: "bad-method", 413: "too-large", 429: "slow-down"}
)


class ErrorDetail(BaseModel):
    """What went wrong: a stable code for programs, a sentence and hints for people."""

    code: str
    message: str
    hints: list[str] = []


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class ApiError(Exception):
    """A request that is refused.

    Args:
        status: The HTTP status.
        code: A stable word for programs, `kebab-case`.
        message: One sentence.
        hints: What the caller can do.
        headers: More headers of the answer.
    """

    def __init__(
        self, status: int, code: str, message: str, *hints: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Keep the parts of the answer."""
        super().__init__(message)
        self.status, self.code, self.message, self.hints = status, code, message, hints
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """Return the answer."""
        detail = ErrorDetail(code=self.code, message=self.message, hints=list(self.hints))
        return JSONResponse(ErrorBody(error=detail).model_dump(), self.status, headers=self.headers)


def not_found(what: str) -> ApiError:
    """Return the refusal of something that is not there: `not_found("device 'site/pi-7'")`."""
    return ApiError(404, "not-found", f"there is no {what}")


def install(app: FastAPI) -> None:
    """Make the application answer every error in the one form."""
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(errors.EdgeKitError, _known)
    app.add_exception_handler(AgentError, _known)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_exception_handler(Exception, _bug)


async def _refused(_request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, ApiError)  # noqa: S101 - registered for this type
    return exc.response()


async def _http(_request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)  # noqa: S101
    code = _CODES.get(exc.status_code, "error")
    return ApiError(exc.status_code, code, str(exc.detail), headers=exc.headers).response()


async def _invalid(_request: Request, exc: Exception) -> JSONResponse:
    """Name the first field that is wrong; never repeat its value, which may be a password."""
    assert isinstance(exc, RequestValidationError)  # noqa: S101
    first = exc.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return ApiError(422, "invalid", f"{where}: {first['msg']}").response()


async def _known(_request: Request, exc: Exception) -> JSONResponse:
    status, code = next((status, code) for kind, status, code in _STATUS if isinstance(exc, kind))
    return ApiError(status, code, str(exc), *getattr(exc, "__notes__", [])).response()


async def _database(request: Request, exc: Exception) -> JSONResponse:
    return store_away(exc).response() if is_away(exc) else await _bug(request, exc)


def store_away(exc: Exception) -> ApiError:
    """Return the answer while the store is away: it comes back by itself."""
    _LOG.warning("the store does not answer: %s", first_line(exc))
    return ApiError(503, "store-away", "the store does not answer at the moment", headers={"Retry-After": "5"})


async def _bug(request: Request, exc: Exception) -> JSONResponse:
    """Tell a number only; what happened is in the log under it."""
    number = secrets.token_hex(4)
    _LOG.error("request=%s method=%s path=%s failed", number, request.method, request.url.path, exc_info=exc)
    return ApiError(500, "bug", f"something went wrong here; the service's log has it as {number}").response()
