"""`edgekit repo` from the command line, up to a device that fetches."""

import json
import os
import shutil
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from edgekit_agent.fetch.messages import FetchRequest
from edgekit_agent.fetch.run import run
from tests.agent.bundle_maker import packed

PASSPHRASE, ONLINE = "correct horse battery", "the on-line passphrase"


def _edgekit(
    *arguments: str | Path, passphrase: str | None = PASSPHRASE, **variables: str
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "edgekit.cli.main", "repo", *map(str, arguments)]
    given = {} if passphrase is None else {"EDGEKIT_PASSPHRASE": passphrase}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
        env={**os.environ, **given, **variables},
    )  # fmt: skip


def _json(*arguments: str | Path, **variables: Any) -> Any:
    answer = _edgekit(*arguments, "--json", **variables)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repo") / "repository"
    made = _json("init", folder, "--threshold", "2", "--root-keys", "3")
    assert made["versions"] == {"root": 1, "targets": 1, "snapshot": 1, "timestamp": 1}
    assert len(list((folder.parent / "repository-keys" / "root").iterdir())) == 3
    return folder


@pytest.fixture
def folder(_made: Path, tmp_path: Path) -> Path:
    for name in ("repository", "repository-keys"):
        shutil.copytree(_made.with_name(name), tmp_path / name)
    return tmp_path / "repository"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "kws.ekb"
    path.write_bytes(bytes(range(256)) * 100)
    return path


def test_a_bundle_goes_from_the_command_line_to_a_device(folder: Path, bundle: Path, tmp_path: Path) -> None:
    added = _json("add", folder, bundle, "--name", "kws", "--version", "1.2.0", "--hardware", "rpi4", "--counter", "7")
    assert added["release"]["release_counter"] == 7
    assert added["release"]["hw_ids"] == ["rpi4"]
    assert _json("publish", folder)["targets"] == ["kws/1.2.0/kws.ekb"]
    rotated = _json("keys", "rotate", folder, "timestamp")
    assert (len(rotated["new"]), len(rotated["revoked"]), rotated["root_version"]) == (1, 1, 2)
    assert _json("renew", folder, "root", "--days", "30")["role"] == "root"
    store = tmp_path / "device"
    (store / "trust").mkdir(parents=True)
    shutil.copy(folder / "metadata" / "1.root.json", store / "trust" / "root.json")
    command = [sys.executable, "-m", "edgekit.cli.main", "repo", "serve", str(folder), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        answer = run(
            FetchRequest(op="fetch", store=str(store), repository=url, target=added["target"], hardware=("rpi4",))
        )
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
    assert Path(str(answer.path)).read_bytes() == bundle.read_bytes()


def test_a_bundle_says_itself_what_it_is_and_a_damaged_one_is_not_signed(folder: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "kws-rpi.ekb"
    bundle.write_bytes(packed(tmp_path / "parts"))
    added = _json("add", folder, bundle, "--hardware", "raspberry-pi-5")
    assert added["target"] == "kws/1.2.0/kws-rpi.ekb"
    release = added["release"]
    assert (release["release_counter"], release["hw_ids"]) == (7, ["raspberry-pi-5"])
    bundle.write_bytes(bundle.read_bytes()[:-1])
    damaged = _edgekit("add", folder, bundle, "--name", "kws", "--version", "1.3.0")
    assert damaged.returncode == 3
    assert "truncated" in damaged.stderr
    other = tmp_path / "other"
    other.write_bytes(b"content")
    assert _edgekit("add", folder, other, "--name", "kws").returncode == 3


def test_the_plain_output_says_what_comes_next(folder: Path, bundle: Path) -> None:
    added = _edgekit("add", folder, bundle, "--name", "kws", "--version", "1.2.0")
    assert "release counter 1, for any hardware" in added.stdout
    assert f"devices see it after: edgekit repo publish {folder}" in added.stdout
    assert "1 targets published" in _edgekit("publish", folder).stdout
    assert "2 of 3 keys must sign" in _edgekit("keys", "rotate", folder, "root").stdout
    assert "holds until" in _edgekit("renew", folder, "targets").stdout


def test_passphrases_come_from_files_and_variables_and_are_never_shown(tmp_path: Path, bundle: Path) -> None:
    offline, online, folder = tmp_path / "offline", tmp_path / "online", tmp_path / "r"
    offline.write_text(f"{PASSPHRASE}\n")
    online.write_text(f"{ONLINE}\n")
    files = ("--passphrase-file", offline, "--online-passphrase-file", online)
    _json("init", folder, "--keys", tmp_path / "k", *files, passphrase=None)
    add = ("add", folder, bundle, "--name", "kws", "--version", "1", "--keys", tmp_path / "k")
    assert _json(*add, passphrase=PASSPHRASE)["target"] == "kws/1/kws.ekb"
    publish = ("publish", folder, "--keys", tmp_path / "k")
    wrong = _edgekit(*publish, passphrase=PASSPHRASE)
    assert wrong.returncode == 3
    assert "the passphrase does not open it" in wrong.stderr
    assert PASSPHRASE not in wrong.stdout + wrong.stderr
    _json(*publish, passphrase=None, EDGEKIT_ONLINE_PASSPHRASE=ONLINE)
    _json(*publish, "--online-passphrase-file", online, passphrase=None)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("publish", "{folder}", "--passphrase-file", "{folder}/none"), 3, "cannot read the passphrase file"),
        (("init", "{folder}"), 2, "holds a repository already"),
        (("init", "{folder}/x", "--keys", "{folder}/x/keys"), 2, "would be served"),
        (("init", "{folder}2", "--threshold", "3", "--root-keys", "2"), 2, "3 of 2 root keys cannot sign"),
        (("add", "{folder}", "none.ekb", "--name", "kws", "--version", "1"), 3, "cannot read 'none.ekb'"),
        (("publish", "{folder}/nothing"), 3, "holds no repository"),
        (("publish", "{folder}", "--keys", "{folder}/nothing"), 4, "0 of the 1 snapshot keys are in"),
        (("keys", "rotate", "{folder}", "mirrors"), 2, "'mirrors' is no role"),
        (("renew", "{folder}", "timestamp"), 2, "publishing signs the others anew"),
        (("serve", "{folder}/nothing"), 3, "holds no repository"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_what_goes_wrong_is_one_sentence_and_an_exit_code(
    folder: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    answer = _edgekit(*(argument.format(folder=folder) for argument in arguments))
    assert answer.returncode == code, answer.stderr
    assert message in answer.stderr
    assert answer.stdout == ""


def test_without_a_passphrase_and_a_terminal_it_says_how_to_give_one(folder: Path) -> None:
    answer = _edgekit("publish", folder, passphrase=None)
    assert answer.returncode == 2
    assert "hint: give --passphrase-file FILE or set EDGEKIT_PASSPHRASE" in answer.stderr


def test_the_server_gives_ranges_and_only_what_is_public(folder: Path, bundle: Path) -> None:
    from edgekit.repo import serving

    _edgekit("add", folder, bundle, "--name", "kws", "--version", "1")
    (target,) = (folder / "targets" / "kws" / "1").iterdir()
    path = f"/targets/kws/1/{target.name}"
    (folder / "metadata" / "link").symlink_to("/etc/passwd")
    with serving(folder) as url:
        connection = HTTPConnection(urlsplit(url).netloc, timeout=10)

        def get(path: str, wanted: str | None = None, method: str = "GET") -> tuple[int, bytes, str | None]:
            connection.request(method, path, headers={"Range": wanted} if wanted else {})
            response = connection.getresponse()
            return response.status, response.read(), response.headers["Content-Range"]

        assert get(path) == (200, bundle.read_bytes(), None)
        assert get(path, method="HEAD") == (200, b"", None)
        assert get(path, "bytes=10-19") == (206, bundle.read_bytes()[10:20], "bytes 10-19/25600")
        assert get(path, "bytes=25590-") == (206, bundle.read_bytes()[-10:], "bytes 25590-25599/25600")
        assert get(path, "bytes=0-99999")[0] == 206
        assert get(path, "bytes=25600-")[0] == 416
        assert get(path, "nonsense")[0] == 200
        for hidden in (
            "/", "/.lock", "/metadata", "/metadata/", "/../repository-keys", "/targets/../../repository-keys",
            "/metadata/%2e%2e/.lock", "/metadata/link", "/targets/kws/1/none", "/metadata/%00", "//etc/passwd",
        ):  # fmt: skip
            assert get(hidden)[0] == 404, hidden
        connection.close()
