"""The page and the API as a part of `edgekit fleet serve`."""

from typing import TYPE_CHECKING

from edgekit.errors import UsageError
from edgekit.fleet.api.app import create_app
from edgekit.fleet.api.secrets import local_token
from edgekit.fleet.api.server import WebServer, check_safe
from edgekit.fleet.api.settings import ApiSettings, ProxySettings, parse_group_roles, parse_networks

if TYPE_CHECKING:
    from edgekit.fleet.service.service import Service
    from edgekit.fleet.service.settings import ServeSettings


class WebPart:
    """Serves until cancelled; the address is taken when it is made, so that a service that cannot listen says so."""

    def __init__(self, service: "Service") -> None:
        """Make the application and take the address.

        Raises:
            UsageError: The address is open to a network, without TLS or users; or an option is wrong.
            DeviceError: The address is in use.
            EnvironmentMissingError: The certificate cannot be read.
        """
        self._settings = web_settings(service.settings)
        check_safe(self._settings, service.store.accounts)
        self._app = create_app(
            service.store,
            settings=self._settings,
            token=local_token(service.settings.data),
            link=service.link,
            health=service.health.to_json,
        )
        self._server: WebServer | None = WebServer(self._app, self._settings)
        self._serving = self._server
        service.page_url, service.renew = self._server.url, self._renew

    async def run(self) -> None:
        """Serve until cancelled."""
        server, self._server = self._server or WebServer(self._app, self._settings), None
        self._serving = server
        await server.run()

    def _renew(self) -> None:
        self._serving.renew()


def web_settings(settings: "ServeSettings") -> ApiSettings:
    """Return the API's settings of those of the service.

    Raises:
        UsageError: An address, a group or the pair of certificate and key is wrong.
    """
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise UsageError("TLS needs both --tls-cert and --tls-key")
    if settings.group_roles and not settings.trusted_proxies:
        raise UsageError("--group-role is about groups that a proxy names: give its address with --trusted-proxy")
    proxy = ProxySettings(
        addresses=parse_networks(settings.trusted_proxies), roles=parse_group_roles(settings.group_roles)
    )
    return ApiSettings(
        host=settings.listen_host,
        port=settings.listen_port,
        certificate=settings.tls_cert,
        key=settings.tls_key,
        proxy=proxy,
    )
