"""A repository on a web server: ranges, a lowest rate, and no way to another host."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from edgekit_agent import __version__
from edgekit_agent.errors import ConfigError
from edgekit_agent.fetch.errors import AbsentError, FetchError, UnreachableError
from edgekit_agent.fetch.messages import FetchRequest
from edgekit_agent.fetch.pace import Pace
from edgekit_agent.fetch.source import CHUNK_BYTES
from edgekit_agent.protocol import Reason
from edgekit_agent.secret_files import keep_secret

MAX_REDIRECTS = 5
CONNECT_TIMEOUT_S = 10.0
OK, PARTIAL = 200, 206
_ABSENT = frozenset({403, 404, 410})
_FAILING = frozenset({408, 429, *range(500, 600)})
_MOVED = frozenset({301, 302, 303, 307, 308})


class HttpSource:
    """Files below a URL, by plain GET with Range; one connection is kept for all of them."""

    def __init__(self, request: FetchRequest, pace: Pace) -> None:
        """Take where the repository is and whom to trust on the way.

        Raises:
            ConfigError: if a PEM file cannot be used.
        """
        self.ranges = True
        self._base = request.repository.rstrip("/") + "/"
        self._allow_hosts = frozenset(request.allow_hosts)
        self._pace = pace
        self._pool = urllib3.PoolManager(
            ssl_context=_tls(request),
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=pace.window_s),
            headers={"User-Agent": f"edgekit-agent/{__version__}", "Accept-Encoding": "identity"},
        )

    def read(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Give the bytes of a file; see `Source.read`.

        A server that does not know Range sends the file from its start: what stands before `start` is passed over, and
        `ranges` says so from then on.
        """
        self._pace.begin()
        with _failures(path), self._open(path, start, end) as response:
            skip = 0
            if response.status == OK and (start or end is not None):
                self.ranges, skip = False, start
            at = start - skip
            while chunk := response.read1(CHUNK_BYTES, decode_content=False):
                self._pace.took(len(chunk))
                first, at = at, at + len(chunk)
                wanted = chunk[max(0, start - first) : None if end is None else max(0, end - first)]
                if wanted:
                    yield wanted
                if end is not None and at >= end:
                    return
            if end is not None:
                raise UnreachableError(f"'{path}' ended after {at} bytes, {end} were to be read")

    @contextmanager
    def _open(self, path: str, start: int, end: int | None) -> Iterator[urllib3.BaseHTTPResponse]:
        ranged = {} if not start and end is None else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        url = urljoin(self._base, quote(path))
        for _ in range(MAX_REDIRECTS + 1):
            response = self._pool.request(
                "GET", url, headers={**self._pool.headers, **ranged}, preload_content=False, redirect=False
            )
            try:
                if response.status not in _MOVED:
                    _check(response, path, start, end)
                    yield response
                    return
                url = self._followed(url, response.headers.get("Location", ""))
            finally:
                response.close()  # what was not read must not be taken for the next answer
        raise FetchError(Reason.REDIRECT_REFUSED, f"'{path}': more than {MAX_REDIRECTS} redirects")

    def _followed(self, url: str, location: str) -> str:
        here, there = urlsplit(url), urlsplit(urljoin(url, location))
        same = (here.scheme, here.netloc) == (there.scheme, there.netloc)
        listed = there.hostname in self._allow_hosts and there.scheme in {"https", here.scheme}
        if not (same or listed):
            raise FetchError(
                Reason.REDIRECT_REFUSED,
                f"a redirect from {here.netloc} to {there.scheme}://{there.netloc} is not allowed",
            )
        return there.geturl()


@contextmanager
def _failures(path: str) -> Iterator[None]:
    try:
        yield
    except ReadTimeoutError as exc:
        raise FetchError(Reason.DOWNLOAD_TOO_SLOW, f"'{path}': the server sends nothing more") from exc
    except (HTTPError, OSError) as exc:
        raise UnreachableError(f"cannot get '{path}': {exc}") from exc


def _check(response: urllib3.BaseHTTPResponse, path: str, start: int, end: int | None) -> None:
    if response.status in _ABSENT:
        raise AbsentError(f"the repository has no '{path}' (HTTP {response.status})")
    if response.status == PARTIAL:
        given = response.headers.get("Content-Range", "")
        if not given.startswith(f"bytes {start}-{'' if end is None else f'{end - 1}/'}"):
            raise FetchError(Reason.REPOSITORY_ANSWER_WRONG, f"'{path}': not the range asked for, but '{given[:80]}'")
    elif response.status in _FAILING:
        raise UnreachableError(f"'{path}': the server answers HTTP {response.status}")
    elif response.status != OK:
        raise FetchError(Reason.REPOSITORY_ANSWER_WRONG, f"'{path}': the server answers HTTP {response.status}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchError(
            Reason.REPOSITORY_ANSWER_WRONG, f"'{path}': the server sends it encoded, which was not asked for"
        )


def _tls(request: FetchRequest) -> ssl.SSLContext | None:
    if not request.repository.startswith("https:"):
        return None
    if request.key is not None:
        keep_secret("update.key", request.key)
    try:
        context = ssl.create_default_context(cafile=request.ca)
        if request.cert:
            context.load_cert_chain(request.cert, request.key)
    except OSError as exc:  # also ssl.SSLError
        raise ConfigError(f"the certificates for the repository cannot be used: {exc}") from exc
    return context
