"""Ask a running service about alerts, over its REST API."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from edgekit.errors import DeviceError, EdgeKitError, UsageError
from edgekit.fleet.security.secret_files import read_secret

SERVER = "http://127.0.0.1:8650"
TIMEOUT_S = 30.0
MAX_BYTES = 64 << 20
_USAGE = frozenset({400, 404, 409, 422})


class AlertsServer:
    """The alerts of a service; a token comes from a file or EDGEKIT_FLEET_TOKEN, never from an argument."""

    def __init__(self, server: str | None, token_file: Path | None) -> None:
        """Take the service's address: given, or of EDGEKIT_FLEET_SERVER, or this machine's.

        Raises:
            UsageError: if it is no address.
            DataError: if the token's file cannot be read, or others can read it.
        """
        self._base = (server or os.environ.get("EDGEKIT_FLEET_SERVER") or SERVER).rstrip("/")
        parts = urlsplit(self._base)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
            raise UsageError(f"'{parts.hostname or self._base[:80]}' is not of the form http://host[:port]")
        self._token = read_secret(token_file) if token_file else os.environ.get("EDGEKIT_FLEET_TOKEN")

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer under `/api/v1/alerts`, empty where there is none.

        Raises:
            UsageError: if the service refuses what is asked.
            DeviceError: if it does not answer, or refuses who asks.
        """
        import urllib3

        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        payload = None
        if body is not None:
            payload, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        try:
            with urllib3.PoolManager(retries=False, timeout=TIMEOUT_S) as pool:
                answer = pool.request(
                    method, f"{self._base}/api/v1/alerts{path}", body=payload, headers=headers, redirect=False,
                    preload_content=False,
                )  # fmt: skip
                content = answer.read(MAX_BYTES)
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            error = DeviceError(f"the fleet service {self._base} does not answer")
            error.add_note("start it with edgekit fleet serve, or name another with --server")
            raise error from exc
        if answer.status >= 400:  # noqa: PLR2004  # refusals
            raise _refused(answer.status, content)
        found = json.loads(content) if content else {}
        return found if isinstance(found, dict) else {}


def part(name: str) -> str:
    """Return a name as a part of a path."""
    return quote(name, safe="")


def _refused(status: int, content: bytes) -> EdgeKitError:
    try:
        told = json.loads(content)["error"]
        message, hints = str(told["message"]), [str(one) for one in told["hints"]]
    except (ValueError, KeyError, TypeError):
        message, hints = f"the fleet service answered {status}", []
    error: EdgeKitError = UsageError(message) if status in _USAGE else DeviceError(message)
    for hint in hints:
        error.add_note(hint)
    return error
