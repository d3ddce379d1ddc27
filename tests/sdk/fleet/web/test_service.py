"""The page as a part of `edgekit fleet serve`, as a process."""

import http.client
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
NOBODY = "mqtt://127.0.0.1:1"  # no broker is there: the service tries again, and the page is there all the same


def command(folder: Path, *options: str) -> list[str]:
    start = [sys.executable, "-m", "edgekit.cli.main", "fleet", "serve", "--json", "--broker", NOBODY]
    return [*start, "--data", str(folder), *options]


def ask(url: str, path: str, token: str | None = None) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


def test_the_service_shows_the_page_and_lets_in_by_its_token_file(tmp_path: Path) -> None:
    start = command(tmp_path, "--listen", "127.0.0.1:0")
    with subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            token = (tmp_path / "token").read_text().strip()
            assert ask(url, "/api/v1/devices")[0] == 401
            assert ask(url, "/api/v1/devices", token)[0] == 200
            status, health = ask(url, "/healthz", token)
            assert status == 200
            assert isinstance(health["parts"], dict)
            assert "web" in health["parts"]
            assert ask(url, "/healthz")[1]["parts"] is None
        finally:
            process.terminate()
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--listen", "0.0.0.0:0"], "without TLS"),
        (["--listen", "0.0.0.0:0", "--trusted-proxy", "127.0.0.1"], "there are no users"),
        (["--listen", "127.0.0.1:0", "--tls-cert", "cert.pem"], "both --tls-cert and --tls-key"),
        (["--listen", "127.0.0.1:0", "--trusted-proxy", "example.org"], "is no IP address"),
        (["--listen", "127.0.0.1:0", "--trusted-proxy", "127.0.0.1", "--group-role", "a=king"], "GROUP=ROLE"),
    ],
)
def test_it_refuses_to_be_open_and_says_what_to_do(tmp_path: Path, options: list[str], sentence: str) -> None:
    done = subprocess.run(command(tmp_path, *options), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
