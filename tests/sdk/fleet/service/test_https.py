"""The page and the API over HTTPS: the service as a process, clients that look at its certificate."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import DataError, DeviceError
from edgekit.fleet._brokers import free_port
from edgekit.fleet.passwords import hash_password
from edgekit.fleet.remote import FleetServer
from edgekit.fleet.security import Pki, Role
from edgekit.fleet.store import open_store

pytestmark = pytest.mark.slow
PASSWORD = "correct horse battery"  # noqa: S105
NAMES = ("127.0.0.1", "localhost")


def _authorities(folder: Path) -> Pki:
    return Pki.create(folder, lambda _: b"correct horse", names=NAMES)


@dataclass
class Https:
    """A service with the certificate of an authority of our own."""

    pki: Pki
    data: Path
    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        return self.pki.folder / "ca" / "services.pem"

    @property
    def token(self) -> str:
        return (self.data / "token").read_text().strip()

    def connection(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=self.ca)
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=60)

    def serial(self) -> str:
        """Return the serial number of the certificate that is shown now."""
        with contextlib.closing(self.connection()) as connection:
            connection.connect()
            found: Any = connection.sock.getpeercert()
        return str(found["serialNumber"]).lower().lstrip("0")


def serve(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edgekit.cli.main", "fleet", "serve", "--json", "--data", str(folder)]
    command += ["--broker", f"mqtt://127.0.0.1:{free_port()}", "--listen", "127.0.0.1:0", *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


@pytest.fixture
def https(tmp_path: Path) -> Iterator[Https]:
    """The service; no broker is there, which the page does not need."""
    pki, data = _authorities(tmp_path / "pki"), tmp_path / "data"
    data.mkdir(mode=0o700)
    with open_store(f"sqlite:///{data / 'fleet.db'}") as store:
        store.accounts.add_user("alice", hash_password(PASSWORD), "viewer")
    pair = pki.folder / "broker"
    process = serve(data, "--tls-cert", str(pair / "cert.pem"), "--tls-key", str(pair / "key.pem"))
    assert process.stdout is not None
    try:
        url = json.loads(process.stdout.readline())["url"]
        assert url.startswith("https://127.0.0.1:")
        yield Https(pki, data, int(url.rpartition(":")[2]), process)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def fleet(https: Https, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EDGEKIT_FLEET_DATA": str(https.data), "EDGEKIT_FLEET_SERVER": https.url, **variables}
    command = [sys.executable, "-m", "edgekit.cli.main", "fleet", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_a_client_that_looks_at_the_certificate_signs_in_and_the_cookie_stays_on_tls(https: Https) -> None:
    with contextlib.closing(https.connection()) as connection:
        body = json.dumps({"name": "alice", "password": PASSWORD})
        connection.request("POST", "/api/v1/login", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert (answer.status, told["role"]) == (200, "viewer")
        cookie = str(answer.headers["set-cookie"])
        assert cookie.startswith("__Host-edgekit=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
        assert "max-age=" in answer.headers["strict-transport-security"]
        connection.request("GET", "/api/v1/devices", headers={"Cookie": cookie.partition(";")[0]})
        listed = connection.getresponse()
        assert json.loads(listed.read())["devices"] == []


def test_plain_http_gets_no_answer_and_disturbs_nobody(https: Https) -> None:
    for said in (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", os.urandom(4096)):
        with socket.create_connection(("127.0.0.1", https.port), 30) as raw:
            raw.sendall(said)
            heard = b""
            with contextlib.suppress(ConnectionError):
                while part := raw.recv(4096):
                    heard += part
            assert b"HTTP" not in heard
    done = fleet(https, "ls", "--server", f"http://127.0.0.1:{https.port}")
    assert done.returncode == 5
    assert "hint: one with --tls-cert is at https://" in done.stderr
    assert len(done.stderr.splitlines()) <= 5
    with FleetServer(https.url, token=https.token, ca=https.ca) as server:
        assert server.counters()["total"]["received"] == 0


def test_commands_trust_who_they_are_told_to_and_nobody_else(https: Https, tmp_path: Path) -> None:
    ca = str(https.ca)
    assert json.loads(fleet(https, "ls", "--json", "--ca", ca).stdout)["count"] == 0
    for words in (
        ("ls",),
        ("events",),
        ("counters",),
        ("query",),
        ("top",),
        ("rollout", "ls"),
        ("audit", "verify"),
        ("alerts", "rules"),
    ):
        done = fleet(https, *words, EDGEKIT_FLEET_CA=ca)
        assert done.returncode == 0, (words, done.stderr)
    other = _authorities(tmp_path / "other").folder / "ca" / "services.pem"
    refused: list[tuple[str, ...]] = [("ls",)]
    refused += [(*group, "--ca", str(other)) for group in (("ls",), ("rollout", "ls"), ("alerts", "ls"))]
    for line in refused:
        done = fleet(https, *line)
        assert done.returncode == 5, (line, done.stderr)
        first, *hints = done.stderr.splitlines()
        assert first.startswith(f"error: the certificate of {https.url} is not to be trusted: ")
        assert hints == ["hint: say whom to trust: --ca FILE, or the variable EDGEKIT_FLEET_CA"]
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for file in (broken, tmp_path / "none.pem"):
        done = fleet(https, "ls", "--ca", str(file))
        assert (done.returncode, done.stdout) == (3, "")
        assert "cannot be used as a certificate to trust" in done.stderr
        with pytest.raises(DataError):
            FleetServer(https.url, ca=file)


def test_from_python_over_https(https: Https, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_FLEET_DATA", str(https.data))
    monkeypatch.setenv("EDGEKIT_FLEET_CA", str(https.ca))
    with FleetServer(f"https://localhost:{https.port}") as server:
        assert list(server.devices()) == []
    monkeypatch.delenv("EDGEKIT_FLEET_CA")
    with FleetServer(https.url) as server, pytest.raises(DeviceError, match="not to be trusted"):
        server.counters()


def test_a_renewed_certificate_is_shown_after_sighup_and_a_broken_one_is_not(https: Https) -> None:
    def signalled() -> str:
        https.process.send_signal(signal.SIGHUP)
        assert https.process.stderr is not None
        while not (line := https.process.stderr.readline()).startswith("the page"):
            assert line
        return line

    stands = https.connection()
    stands.connect()
    first = https.serial()
    renewed = https.pki.issue(Role.BROKER, "main", renew=True)
    assert https.serial() == first
    assert "read anew" in signalled()
    assert https.serial() == renewed.serial != first
    certificate = https.pki.folder / "broker" / "cert.pem"
    certificate.write_text("torn")
    assert "keeps its certificate" in signalled()
    assert https.serial() == renewed.serial
    certificate.write_bytes((https.pki.folder / "hosts" / "main" / "cert.pem").read_bytes())  # of another key
    assert "keeps its certificate" in signalled()
    assert https.serial() == renewed.serial
    stands.request("GET", "/healthz")  # what stood, stands
    assert stands.getresponse().read()
    stands.close()


def _encrypt(pair: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key((pair / "key.pem").read_bytes(), None)
    how = BestAvailableEncryption(b"secret")
    (pair / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda pair: (pair / "cert.pem").write_text("nothing"), "cannot be used"),
        (lambda pair: (pair / "key.pem").unlink(), "cannot be used: No such file"),
        (_encrypt, "cannot be used"),
    ],
    ids=["broken", "missing", "encrypted"],
)
def test_a_certificate_that_cannot_be_used_is_told_at_once(
    tmp_path: Path, spoil: Callable[[Path], object], told: str
) -> None:
    pair = _authorities(tmp_path / "pki").folder / "broker"
    spoil(pair)
    begun = time.monotonic()
    process = serve(tmp_path / "data", "--tls-cert", str(pair / "cert.pem"), "--tls-key", str(pair / "key.pem"))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (4, ""), (err, time.monotonic() - begun)
    assert told in err
    assert "Traceback" not in err
