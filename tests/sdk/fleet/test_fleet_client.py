"""The subscriber, on real brokers."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgekit.errors import UsageError
from edgekit.fleet import FleetClient, _brokers, _client
from edgekit.fleet._brokers import HOST, Broker, free_port, running
from edgekit.fleet._url import parse
from edgekit_agent.errors import TransportError
from edgekit_agent.protocol import Report

pytestmark = pytest.mark.slow
MakeReport = Callable[..., Report]
TELE = "ek/1/default/dev-one/tele"


def test_rubbish_from_outside_is_counted_and_ends_nothing(broker: Broker, make_report: MakeReport) -> None:
    with FleetClient(broker.url) as client:
        for payload in (b"", b"{", b"[]", b"\xff" * 1000, b'{"n":NaN}', b"[" * 100_000, b"9" * 300_000):
            client.publish(TELE, payload)
        client.publish("ek/1/x/y/tele", b"{}")
        client.publish(TELE, make_report().to_bytes())
        received, report = next(client.reports(10.0))
        assert (received.device, report.seq) == ("dev-one", 1)
        assert client.fleet.counters.rejected == 7  # the empty one is no message at all


def test_only_the_site_asked_for_is_heard(broker: Broker, make_report: MakeReport) -> None:
    with FleetClient(broker.url, "plant-a") as client:
        client.publish("ek/1/plant-b/dev-one/tele", make_report().to_bytes())
        client.publish("ek/1/plant-a/dev-one/tele", make_report().to_bytes())
        received, _ = next(client.reports(5.0))
        assert received.site == "plant-a"
        assert client.fleet.counters.received == 1


def test_a_site_that_is_no_name_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="site name '#'"):
        FleetClient("mqtt://127.0.0.1", "#")


def test_it_finds_a_restarted_broker_within_two_seconds(engine: str, make_report: MakeReport) -> None:
    port = free_port()
    with running(port, engine) as broker:
        client = FleetClient(broker.url)
        client.__enter__()
    try:
        time.sleep(1.0)
        with running(port, engine):
            start = time.monotonic()
            for seq in range(100):
                client.publish(TELE, make_report(seq=seq).to_bytes())
                if next(client.reports(0.1), None):
                    break
            assert time.monotonic() - start < 2.0
            assert client.fleet.counters.decoded >= 1
    finally:
        client.close()


def test_a_broker_that_only_knows_the_older_version_is_heard(make_report: MakeReport, tmp_path: Path) -> None:
    """The 3.1.1 port of iotcore closes the connection of an MQTT 5 client."""
    if not _brokers.has_iotcore():
        pytest.skip("iotcore is not installed: pip install 'edgekit-sdk[broker]'")
    with running(engine="iotcore", data=tmp_path):
        listening = [line for line in (tmp_path / "rumqttd.toml").read_text().splitlines() if line.startswith("listen")]
        older = listening[1].partition("=")[2].strip(' "')
        with FleetClient(f"mqtt://{older}") as client:
            client.publish(TELE, make_report().to_bytes())
            assert next(client.reports(5.0))


def test_nobody_listening_is_one_sentence_at_once() -> None:
    start = time.monotonic()
    with pytest.raises(TransportError) as caught, FleetClient("mqtt://127.0.0.1:1"):
        pass
    assert str(caught.value) == "broker mqtt://127.0.0.1:1 did not answer: Connection refused"
    assert time.monotonic() - start < 2.0


def test_a_listener_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "CONNECT_TIMEOUT_S", 0.5)
    with socket.socket() as silent:
        silent.bind((HOST, 0))
        silent.listen()
        url = f"mqtt://{HOST}:{silent.getsockname()[1]}"
        with pytest.raises(TransportError, match=r"did not answer in time$"), FleetClient(url):
            pass


@contextmanager
def _mosquitto(tmp_path: Path, settings: str) -> Iterator[int]:
    program = _brokers.find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    port = free_port()
    (tmp_path / "m.conf").write_text(f"listener {port} {HOST}\nuser root\n{settings}\n")
    with (tmp_path / "m.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(tmp_path / "m.conf")], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_a_refusal_is_said_with_its_reason(tmp_path: Path) -> None:
    with (
        _mosquitto(tmp_path, "allow_anonymous false") as port,
        pytest.raises(TransportError, match="refused: Not authorized"),
        FleetClient(f"mqtt://anna:secret@{HOST}:{port}"),
    ):
        pass


def _certificates(folder: Path) -> None:
    """An authority, a server's and a client's certificate, made by openssl."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed: apt-get install openssl")

    def run(*arguments: str) -> None:
        subprocess.run([program, *arguments], check=True, capture_output=True, cwd=folder, timeout=60)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("req", "-x509", *new, "-days", "2", "-subj", "/CN=test-ca", "-keyout", "ca.key", "-out", "ca.crt")
    (folder / "names").write_text(f"subjectAltName=IP:{HOST}\n")
    for name in ("server", "client"):
        run("req", *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        sign = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        run("x509", "-req", "-in", f"{name}.csr", *sign, "-out", f"{name}.crt")


# paho leaves the socket of a failed handshake to the garbage collector
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_certificates_of_both_sides(tmp_path: Path, make_report: MakeReport) -> None:
    _certificates(tmp_path)
    settings = [f"cafile {tmp_path}/ca.crt", f"certfile {tmp_path}/server.crt", f"keyfile {tmp_path}/server.key"]
    with _mosquitto(tmp_path, "\n".join([*settings, "require_certificate true", "allow_anonymous true"])) as port:
        url = f"mqtts://{HOST}:{port}"
        known = {"ca": tmp_path / "ca.crt", "cert": tmp_path / "client.crt", "key": tmp_path / "client.key"}
        with FleetClient(parse(url, **known)) as client:
            client.publish(TELE, make_report().to_bytes())
            assert next(client.reports(5.0))
        with pytest.raises(TransportError, match="certificate verify failed"), FleetClient(url):
            pass
        with pytest.raises(TransportError, match=f"broker {url} "), FleetClient(parse(url, ca=tmp_path / "ca.crt")):
            pass
