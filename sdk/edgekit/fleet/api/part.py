"""The page and the API as a part of `edgekit fleet serve`."""

from collections.abc import Callable, Mapping
from pathlib import Path

from edgekit.fleet.api.app import create_app
from edgekit.fleet.api.context import Link
from edgekit.fleet.api.secrets import local_token
from edgekit.fleet.api.server import WebServer, check_safe
from edgekit.fleet.api.settings import ApiSettings
from edgekit.fleet.store import Store


class WebPart:
    """Serves until cancelled; the address is taken when it is made, so that a service that cannot listen says so."""

    def __init__(
        self,
        store: Store,
        settings: ApiSettings,
        data: Path,
        *,
        link: Link | None = None,
        health: Callable[[], Mapping[str, object]] | None = None,
    ) -> None:
        """Make the application and take the address.

        Args:
            store: The fleet's store.
            settings: Where to listen and whom to trust.
            data: The service's folder, which gets the local token.
            link: The connection to the broker.
            health: Tells of each part of the service whether it has trouble.

        Raises:
            UsageError: The address is open to a network, without TLS or users.
            DeviceError: The address is in use.
            EnvironmentMissingError: The certificate cannot be read.
        """
        check_safe(settings, store.accounts)
        self._settings = settings
        self._app = create_app(store, settings=settings, token=local_token(data), link=link, health=health)
        self._server: WebServer | None = WebServer(self._app, settings)
        self.url = self._server.url

    async def run(self) -> None:
        """Serve until cancelled."""
        server, self._server = self._server or WebServer(self._app, self._settings), None
        await server.run()
