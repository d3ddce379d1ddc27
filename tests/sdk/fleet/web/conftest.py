"""A served fleet."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from edgekit.fleet.api import ApiSettings, create_app
from edgekit.fleet.api.server import WebServer
from edgekit.fleet.passwords import hash_password
from edgekit.fleet.store import Store
from tests.sdk.fleet.web import made_fleet

TOKEN = "local-token-of-the-tests-0123456789"  # noqa: S105
PASSWORD = "correct horse battery"  # noqa: S105


@dataclass
class Answer:
    """What the service answered."""

    status: int
    body: Any
    headers: dict[str, str]
    cookies: list[str]


class Served:
    """The application on a port of its own, in a thread."""

    def __init__(self, store: Store, settings: ApiSettings | None = None, token: str | None = TOKEN) -> None:
        """Serve until `close`."""
        self.store, self.settings = store, settings or ApiSettings(port=0)
        self.app = create_app(store, settings=self.settings, token=token)
        self._server = WebServer(self.app, self.settings)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.run()))
        self._thread.start()
        self.url = self._server.url
        self.port = int(self.url.rpartition(":")[2])
        for _ in range(600):
            try:
                if self.ask("GET", "/healthz").status == 200:
                    return
            except OSError:
                time.sleep(0.05)

    def close(self) -> None:
        self._server.stop()
        self._thread.join()

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """Send a request as it is, without what a client library would tidy up."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            payload = raw if raw is not None else None if body is None else json.dumps(body).encode()
            extra = {"Content-Type": "application/json"} if payload is not None else {}
            connection.putrequest(method, path, skip_host="Host" in (headers or {}))
            given = {**extra, **(headers or {})}
            if payload is not None:
                given.setdefault("Content-Length", str(len(payload)))
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders(payload)
            answer = connection.getresponse()
            text = answer.read()
            try:
                told = json.loads(text) if text else None
            except ValueError:
                told = text.decode(errors="replace")
            low = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, low, answer.headers.get_all("set-cookie") or [])
        finally:
            connection.close()

    def sign_in(self, name: str, password: str = PASSWORD) -> dict[str, str]:
        """Return the headers of a user who is signed in."""
        answer = self.ask("POST", "/api/v1/login", {"name": name, "password": password})
        assert answer.status == 200, answer.body
        return {"Cookie": answer.cookies[0].split(";")[0], "X-CSRF-Token": answer.body["csrf"]}


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="session")
def password_hash() -> str:
    return hash_password(PASSWORD)


@pytest.fixture
def store(store: Store) -> Store:
    made_fleet.unhurried(store)
    return store


@pytest.fixture
def served(store: Store, password_hash: str) -> Iterator[Served]:
    for role in ("viewer", "operator", "admin"):
        store.accounts.add_user(role, password_hash, role)
    running = Served(store)
    yield running
    running.close()
