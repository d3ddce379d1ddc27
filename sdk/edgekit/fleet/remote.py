"""The fleet's service from Python: its REST API, as `edgekit fleet ls`, `show`, `logs` and the others use it.

```python
from edgekit.fleet import FleetServer

with FleetServer() as fleet:
    for device in fleet.devices("model=kws and not state=online"):
        print(device["device"], device["presence"], device["reason"])
```
"""

import json
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

from edgekit.errors import DataError, DeviceError, EdgeKitError, GateError, UsageError

DEFAULT_SERVER = "http://127.0.0.1:8650"
SERVER_VARIABLE, TOKEN_VARIABLE = "EDGEKIT_FLEET_SERVER", "EDGEKIT_FLEET_TOKEN"  # names
CA_VARIABLE = "EDGEKIT_FLEET_CA"
DATA = Path("~/.local/share/edgekit/fleet")
TIMEOUT_S = 30.0
ANSWER_S = 0.3
AT_ONCE = 64
MOST_BYTES = 64 * 1024 * 1024
PAGE = 1000
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ENDED = frozenset({"done", "failed", "refused", "expired"})
_CONFLICT, _REFUSED_FROM = 409, 400
_NOT_LET_IN = frozenset({401, 403, 429})


class FleetServer:
    """A connection to `edgekit fleet serve`; answers are JSON as the API describes it."""

    def __init__(self, server: str | None = None, *, token: str | None = None, ca: Path | None = None) -> None:
        """Name the service; nothing is asked yet.

        Args:
            server: its URL; without one the variable EDGEKIT_FLEET_SERVER, or http://127.0.0.1:8650.
            token: who asks; without one the variable EDGEKIT_FLEET_TOKEN, or, of a service on this machine, the file
                `token` in its data folder.
            ca: https: whom to trust instead of the system's authorities, PEM; without one the variable
                EDGEKIT_FLEET_CA.

        Raises:
            UsageError: if the URL is none, or would send the token over a network in the clear.
            DataError: if the file of whom to trust cannot be read.
        """
        import urllib3

        self.url = (server or os.environ.get(SERVER_VARIABLE) or DEFAULT_SERVER).rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
            raise UsageError(f"server '{self.url[:200]}' is not of the form http://host[:port] or https://host[:port]")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            error = UsageError(f"{self.url} would have the token sent in the clear")
            error.add_note("take https://, or a tunnel: ssh -L 8650:127.0.0.1:8650 HOST")
            raise error
        self._token = token or os.environ.get(TOKEN_VARIABLE) or (_kept() if parts.hostname in _LOOPBACK else None)
        options: dict[str, Any] = {"ssl_context": _trusting(ca)} if parts.scheme == "https" else {}
        # redirects could carry the token elsewhere
        self._pool = urllib3.PoolManager(
            maxsize=AT_ONCE, timeout=TIMEOUT_S, retries=urllib3.Retry(connect=1, redirect=0, read=0, other=0), **options
        )

    def __enter__(self) -> Self:
        """Use it in a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self._pool.clear()

    # --- devices

    def devices(self, wanted: str = "") -> Iterator[dict[str, Any]]:
        """Yield the devices that a filter is true of, by site and name."""
        cursor = ""
        while True:
            page = self.ask("GET", "/api/v1/devices", {"filter": wanted, "limit": PAGE, "cursor": cursor})
            yield from page["devices"]
            if not (cursor := page["next"] or ""):
                return

    def device(self, name: str) -> dict[str, Any]:
        """Return all about a device; `name` is `site/device`, or the device alone where that is one."""
        found: dict[str, Any] = self.ask("GET", self.place(name))
        return found

    def forget(self, name: str, *, dry_run: bool = False) -> dict[str, Any]:
        """Forget a device that is not online: rows of the store and retained topics of the broker."""
        found: dict[str, Any] = self.ask("DELETE", self.place(name), {"dry_run": dry_run})
        return found

    def place(self, name: str) -> str:
        """Return the path of a device.

        Raises:
            UsageError: if there is no such device, or several.
        """
        site, slash, device = name.rpartition("/")
        if not slash:
            found = list(self.devices(f'device="{_escaped(device)}"'))
            if len(found) != 1:
                raise _not_one(name, found)
            site = found[0]["site"]
        return f"/api/v1/devices/{quote(site, safe='')}/{quote(device, safe='')}"

    # --- what happened, and how fast

    def events(self, wanted: str = "", *, since_ms: int = 0, level: str = "", limit: int = 200) -> list[dict[str, Any]]:
        """Return events, newest first; `level` is the least."""
        asked = {"filter": wanted, "since_ms": since_ms, "level": level, "limit": limit}
        found: list[dict[str, Any]] = self.ask("GET", "/api/v1/events", asked)["events"]
        return found

    def series(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401  # the API's parameters
        """Return latency and counts over time; parameters as of `GET /api/v1/series`."""
        found: dict[str, Any] = self.ask(
            "GET", "/api/v1/series", {key: value for key, value in asked.items() if value is not None}
        )
        return found

    def counters(self) -> dict[str, Any]:
        """Return what became of every message."""
        found: dict[str, Any] = self.ask("GET", "/api/v1/counters")
        return found

    # --- commands and configuration

    def command(
        self,
        name: str,
        operation: str,
        arguments: Mapping[str, object],
        timeout_s: float = 60.0,
        on_progress: Callable[[float], None] = lambda _share: None,
    ) -> dict[str, Any]:
        """Ask something of a device and wait for its answer; return what it says.

        Raises:
            DeviceError: if it refuses, fails, or says nothing in its time.
        """
        place = f"{self.place(name)}/commands"
        sent = self.ask("POST", place, body={"op": operation, "args": dict(arguments), "timeout_s": timeout_s})
        while True:
            answer = self.ask("GET", f"{place}/{sent['id']}")
            if answer["status"] in _ENDED:
                break
            if answer["progress"] is not None:
                on_progress(answer["progress"])
            time.sleep(ANSWER_S)
        if answer["status"] != "done":
            raise _unanswered(name, operation, answer)
        result: dict[str, Any] = answer["result"]
        return result

    def configure(
        self, wanted: str, conf: Mapping[str, object], *, replace: bool = False, dry_run: bool = False
    ) -> dict[str, Any]:
        """Set configuration of all devices that a filter is true of."""
        body = {"filter": wanted, "conf": dict(conf), "replace": replace, "dry_run": dry_run}
        found: dict[str, Any] = self.ask("PUT", "/api/v1/config", body=body)
        return found

    # --- the wire

    def ask(self, method: str, path: str, query: Mapping[str, object] | None = None, body: object = None) -> Any:  # noqa: ANN401  # JSON
        """Ask the service.

        Raises:
            DeviceError: if it does not answer, or its broker does not, or it does not let who asks.
            UsageError: if it refuses what was asked.
            GateError: if that does not go as things stand.
            DataError: if it answers something else than JSON.
        """
        import urllib3

        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        payload = None
        if body is not None:
            payload, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        url = self.url + path + (f"?{urlencode({key: _text(value) for key, value in query.items()})}" if query else "")
        try:
            answer = self._pool.request(method, url, body=payload, headers=headers, preload_content=False)
            try:
                content = answer.read(MOST_BYTES + 1, decode_content=True)
            finally:
                answer.release_conn()
        except urllib3.exceptions.HTTPError as exc:
            raise _away(self.url, exc) from exc
        if len(content) > MOST_BYTES:
            raise DataError(f"{self.url} answered with more than {MOST_BYTES} bytes")
        try:
            found = json.loads(content) if content else None
        except ValueError as exc:
            raise _no_json(self.url) from exc
        if answer.status >= _REFUSED_FROM:
            raise _refused(self.url, answer.status, found, knocked=self._token is not None)
        return found


def _kept() -> str | None:
    """Return the token that a service of this user keeps in its folder."""
    folder = Path(os.environ.get("EDGEKIT_FLEET_DATA") or DATA.expanduser())
    try:
        return (folder / "token").read_text(encoding="ascii").strip()[:200] or None
    except (OSError, UnicodeDecodeError):
        return None


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _not_one(name: str, found: list[dict[str, Any]]) -> UsageError:
    if not found:
        error = UsageError(f"there is no device '{name}'")
        error.add_note("`edgekit fleet ls` tells which there are")
    else:
        error = UsageError(f"there are {len(found)} devices '{name}'")
        error.add_note(f"take one of {', '.join('{site}/{device}'.format(**one) for one in found[:5])}")
    return error


def _unanswered(name: str, operation: str, answer: Mapping[str, Any]) -> DeviceError:
    told = answer["text"] or answer["reason"] or "it did not say why"
    verb = {"refused": "refused", "failed": "failed at", "expired": "did not answer in time to"}[answer["status"]]
    error = DeviceError(f"device '{name}' {verb} '{operation}': {told}")
    if answer["status"] == "expired":
        error.add_note("`edgekit fleet show` tells whether it is there; --timeout gives it longer")
    return error


def _trusting(ca: Path | None) -> ssl.SSLContext:
    """Return the context to connect with; `ca` or the variable is whom to trust instead of the system's authorities."""
    file = ca or os.environ.get(CA_VARIABLE) or None
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as exc:  # ssl's own errors among them
        raise DataError(f"'{file}' cannot be used as a certificate to trust: {exc.strerror or exc}") from exc


def _away(url: str, exc: Exception) -> DeviceError:
    """Return the error of no answer: of why in one sentence, what the libraries below have wrapped of it left out."""
    cause = _cause(exc)
    if isinstance(cause, ssl.SSLCertVerificationError):
        error = DeviceError(f"the certificate of {url} is not to be trusted: {cause.verify_message}")
        error.add_note(f"say whom to trust: --ca FILE, or the variable {CA_VARIABLE}")
        return error
    if isinstance(cause, ssl.SSLError):
        error = DeviceError(f"{url} does not speak TLS as this machine does: {cause.reason or cause}")
        error.add_note("a service without --tls-cert is at http://")
        return error
    told = getattr(cause, "strerror", None) or str(cause).rpartition("): ")[2]
    error = DeviceError(f"the fleet's service {url} does not answer: {told}")
    error.add_note("start it: edgekit fleet serve")
    error.add_note(f"or say where it is: --server URL, or the variable {SERVER_VARIABLE}")
    if isinstance(cause, ConnectionResetError) and url.startswith("http:"):
        error.add_note("one with --tls-cert is at https://")
    return error


def _cause(exc: BaseException) -> BaseException:
    """Return what is at the bottom of a library's error."""
    wrapped = [getattr(exc, "reason", None), *exc.args, exc.__cause__]
    inner = next((one for one in wrapped if isinstance(one, BaseException)), None)
    return exc if inner is None else _cause(inner)


def _no_json(url: str) -> DataError:
    error = DataError(f"{url} did not answer with JSON: it is not the fleet's service")
    error.add_note("`edgekit fleet serve` tells its address when it starts")
    return error


def _refused(url: str, status: int, found: object, *, knocked: bool) -> EdgeKitError:
    """Return the error of an answer, in the service's own words."""
    told = found.get("error") if isinstance(found, dict) else None
    told = told if isinstance(told, dict) else {}
    message = str(told.get("message") or f"{url} answered {status}")
    kind: type[EdgeKitError] = UsageError
    if status == _CONFLICT:
        kind = GateError
    elif status in _NOT_LET_IN or status >= 500:  # noqa: PLR2004  # the service's own trouble
        kind = DeviceError
    unknown = told.get("code") == "sign-in"
    if unknown and knocked:
        message = f"{url} does not know this token: it is another service's, was revoked or has ended"
    error = kind(message)
    for hint in told.get("hints") or ():
        error.add_note(str(hint))
    if unknown:
        error.add_note(
            f"or the variable {TOKEN_VARIABLE}, or run as the user whose folder the service keeps its token in"
        )
    return error
