"""Serves the application over HTTP or HTTPS, on an address that is safe to serve on."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

import uvicorn

from edgekit.errors import DeviceError, EnvironmentMissingError, UsageError
from edgekit.fleet.api.settings import ApiSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from edgekit.fleet.store.users import Accounts

BACKLOG = 256
CONNECTIONS = 1000
IDLE_S = 15
STOP_S = 3
HEAD_BYTES = 32_768


def check_safe(settings: ApiSettings, accounts: "Accounts") -> None:
    """Refuse to be open to a network that can read along, or in which nobody has a name.

    On this machine alone the local token is enough.

    Raises:
        UsageError: There are no users, or neither TLS nor a trusted proxy in front.
    """
    if settings.loopback:
        return
    where = f"{settings.host}:{settings.port}"
    if not settings.tls and not settings.proxy.addresses:
        error = UsageError(f"{where} is open to the network, and without TLS everybody there can read passwords")
        error.add_note("give --tls-cert and --tls-key, or --trusted-proxy ADDRESS when a proxy in front speaks TLS")
        error.add_note("or listen on 127.0.0.1 and reach it through ssh: ssh -L 8650:127.0.0.1:8650 HOST")
        raise error
    if not accounts.has_users() and not settings.proxy.roles and settings.proxy.default_role is None:
        error = UsageError(f"{where} is open to the network, and there are no users")
        error.add_note("make one on this machine first: edgekit fleet user add NAME --role admin")
        raise error


class WebServer:
    """A part of the service."""

    def __init__(self, app: "FastAPI", settings: ApiSettings) -> None:
        """Bind the address, so that it is known whether it is free before anything else starts.

        Raises:
            DeviceError: It is in use, or not an address of this machine.
            EnvironmentMissingError: The certificate or key cannot be read.
        """
        self.settings = settings
        self._socket = _bind(settings)
        try:
            self._server = _Server(_config(app, settings))
        except BaseException:
            self._socket.close()
            raise

    @property
    def url(self) -> str:
        """Where the page is."""
        port = self._socket.getsockname()[1]
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"{'https' if self.settings.tls else 'http'}://{host}:{port}"

    def renew(self) -> None:
        """Take the certificate and key of the files anew, for connections from now on; those that stand go on.

        Raises:
            EnvironmentMissingError: They cannot be read, or do not belong together; the old ones go on being shown.
        """
        context = self._server.config.ssl
        if context is not None:
            _check_pair(self.settings)
            context.load_cert_chain(str(self.settings.certificate), self.settings.key)

    async def run(self) -> None:
        """Serve until `stop`, or until cancelled: then what is being answered is finished first."""
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.wait({serving}, timeout=2 * STOP_S)
            serving.cancel()
            raise
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Finish what is being answered and end; live streams are cut after a few seconds."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the service."""
        yield


def _bind(settings: ApiSettings) -> socket.socket:
    host = settings.host.strip("[]")
    try:
        family = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, settings.port))
            found.listen(BACKLOG)  # from now on who connects waits, and is not refused
        except BaseException:
            found.close()
            raise
    except OSError as exc:
        error = DeviceError(f"cannot listen on {settings.host}:{settings.port}: {exc.strerror}")
        error.add_note("another service may be there: give another --listen ADDRESS:PORT")
        raise error from exc
    return found


def _config(app: "FastAPI", settings: ApiSettings) -> uvicorn.Config:
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, date_header=True, proxy_headers=False,
        http="h11", ws="none", loop="asyncio", lifespan="on", backlog=BACKLOG, limit_concurrency=CONNECTIONS,
        timeout_keep_alive=IDLE_S, timeout_graceful_shutdown=STOP_S, h11_max_incomplete_event_size=HEAD_BYTES,
        ssl_certfile=settings.certificate, ssl_keyfile=settings.key,
    )  # fmt: skip
    if settings.tls:
        _check_pair(settings)
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return config


def _check_pair(settings: ApiSettings) -> None:
    """See that certificate and key can be read and belong together; a key that is encrypted asks nobody for its words.

    Raises:
        EnvironmentMissingError: They cannot, or do not.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(str(settings.certificate), settings.key, password="")
    except OSError as exc:  # ssl's own errors among them
        pair = f"the certificate '{settings.certificate}' and the key '{settings.key}'"
        why = getattr(exc, "reason", None) or exc.strerror or exc
        error = EnvironmentMissingError(f"{pair} cannot be used: {why}")
        error.add_note("both are PEM, the key not encrypted, and made for each other")
        raise error from exc
