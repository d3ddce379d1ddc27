"""The gateway's connections: a thread each, so many at most, from this device's programs only."""

import ipaddress
import logging
import re
import socket
import threading
from pathlib import Path

from edgekit_agent.gateway.errors import HttpError
from edgekit_agent.gateway.http import Gone, HttpConnection, HttpRequest
from edgekit_agent.gateway.models import Models
from edgekit_agent.gateway.routes import Routes

_log = logging.getLogger(__name__)
MAX_CONNECTIONS = 64
BACKLOG = 128
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(:\d+)?")


class Server:
    """Accepts connections and answers their requests."""

    def __init__(self, listener: socket.socket, folder: Path, max_body: int) -> None:
        """Take a listening socket, the folder of the models' sockets, and the largest body in bytes."""
        self._listener, self._max_body = listener, max_body
        self._models = Models(folder)
        self._routes = Routes(self._models)
        self._free = threading.Semaphore(MAX_CONNECTIONS)

    def run(self) -> None:
        """Accept until the listener is closed."""
        while True:
            try:
                end, _ = self._listener.accept()
            except OSError:
                break
            room = self._free.acquire(blocking=False)
            threading.Thread(target=self._serve, args=(end, room), daemon=True).start()
        self._models.close()

    def _serve(self, end: socket.socket, room: bool) -> None:
        connection = HttpConnection(end, self._max_body)
        try:
            if not room:
                connection.error(HttpError(503, "there are too many connections", [("Retry-After", "1")]))
                return
            while self._one(connection) and connection.next():
                pass
        except Gone:
            pass
        finally:
            connection.close()
            if room:
                self._free.release()

    def _one(self, connection: HttpConnection) -> bool:
        """Answer one request; say whether its connection can be used again."""
        try:
            request = connection.read()
            check_origin(request)
            self._routes.answer(request, connection)
        except HttpError as exc:
            connection.error(exc)
        except Gone:
            raise
        except Exception:  # noqa: BLE001  # one request must not end the gateway
            _log.exception("event=gateway-bug")
            connection.error(HttpError(500, "a bug of the gateway: its log says more"))
            return False
        return True


def check_origin(request: HttpRequest) -> None:
    """Refuse what a page of some web site asks of a browser on this device.

    A name that a site gives this device's address (DNS rebinding) stands in Host, another site's page in Origin.

    Raises:
        HttpError: 403.
    """
    host = request.headers.get("host", "localhost")
    origin = request.headers.get("origin")
    if not is_here(host):
        raise HttpError(403, f"host '{host[:80]}' is no name of this device's loopback")
    if origin is not None and not is_here(origin.partition("//")[2]):
        raise HttpError(403, f"pages of '{origin[:80]}' may not ask")


def is_here(authority: str) -> bool:
    """Say whether `host[:port]` is a name or address of loopback."""
    found = _HOST.fullmatch(authority)
    if found is None:
        return False
    name = found[1].strip("[]").lower().rstrip(".")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
