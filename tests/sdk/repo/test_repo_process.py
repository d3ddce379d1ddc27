"""The fetch process as it runs on a device: killed at any moment, timed, on a full disk, and without its packages."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest

from edgekit.repo import RepositoryHandler, serving
from edgekit_agent.fetch.launch import FetchProcess
from edgekit_agent.fetch.messages import FetchAnswer, FetchRequest
from edgekit_agent.protocol import Reason
from tests.sdk.repo.forging import next_version, strangers
from tests.sdk.repo.shop import Shop

KILLS = 12
LARGE = 4_000_000


def _wait(process: FetchProcess, timeout_s: float = 30) -> FetchAnswer:
    end = time.monotonic() + timeout_s
    while not process.poll():
        assert time.monotonic() < end
        time.sleep(0.005)
    process.close()
    assert process.answer is not None
    return process.answer


def _run(request: FetchRequest) -> FetchAnswer:
    return _wait(FetchProcess(request))


@contextmanager
def _server(repository: Path, folder: Path, rate: int, log: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.sdk.repo.throttled_server", str(folder), str(rate), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


Serve = Callable[..., AbstractContextManager[Path]]


@pytest.fixture
def serve(shop: Shop, repository: Path, tmp_path: Path) -> Serve:
    """Return a function that serves the shop at a rate by a process of its own, and gives that one's log."""

    @contextmanager
    def run(rate: int) -> Iterator[Path]:
        log = tmp_path / "sent.log"
        with _server(repository, shop.repository, rate, log) as url:
            shop.url = url
            yield log

    return run


def _sent(log: Path) -> int:
    """Return how many bytes of targets a server sent."""
    lines = (line.split() for line in log.read_text().splitlines())
    return sum(int(count) for count, path in lines if path.startswith("/targets/"))


@pytest.mark.slow
def test_a_fetch_that_is_killed_again_and_again_goes_on_and_is_never_corrupt(
    shop: Shop, serve: Serve, rng: np.random.Generator
) -> None:
    content = rng.bytes(LARGE)
    target = shop.release("1.0", content).target
    moments = random.Random(7)  # noqa: S311  # the same moments each time
    with serve(rate=4_000_000) as log:
        killed = 0
        for _ in range(KILLS):
            process = FetchProcess(shop.request(target))
            time.sleep(moments.uniform(0.05, 0.9))
            killed += process.process.poll() is None
            process.close()
            for blob in (shop.store / "blobs").glob("sha256/??/*"):
                assert blob.suffix == ".blocks" or blob.read_bytes() == content
        answer = _run(shop.request(target))
        assert shop.content(answer) == content
        assert killed > KILLS // 2
        # again comes what was on its way: a block, and what the sockets of this machine hold
        assert _sent(log) < LARGE + killed * 400_000


@pytest.mark.slow
def test_an_update_that_is_killed_takes_what_it_has_from_the_old_version(
    shop: Shop, serve: Serve, rng: np.random.Generator
) -> None:
    content = rng.bytes(LARGE)
    shop.fetch(shop.release("1.0", content).target)
    changed = content[:1_000_000] + rng.bytes(500_000) + content[1_500_000:]
    target = shop.release("1.1", changed).target
    with serve(rate=150_000) as log:  # what changed takes more than three seconds
        process = FetchProcess(shop.request(target))
        time.sleep(1.5)
        assert not process.poll()
        process.close()
        answer = _run(shop.request(target))
    assert shop.content(answer) == changed
    assert answer.blocks is not None
    assert answer.blocks.resumed + answer.blocks.reused + answer.blocks.fetched == answer.blocks.total
    assert _sent(log) < 600_000 + 400_000


def test_progress_comes_while_it_downloads(shop: Shop, serve: Serve, first: bytes) -> None:
    target = shop.release("1.0", first).target
    with serve(rate=150_000):
        process = FetchProcess(shop.request(target))
        answer = _wait(process)
    assert answer.status == "ok"
    assert process.progress is not None
    assert 0 < process.progress.done < process.progress.total == len(first)


def test_a_deadline_ends_it_whatever_it_waits_for(shop: Shop, first: bytes) -> None:
    class SlowHeaders(RepositoryHandler):
        """Never comes to the end of its headers, and never stops sending them."""

        def answer(self, *, body: bool) -> None:
            self.send_response(HTTPStatus.OK, "x" * body)
            self.flush_headers()
            while True:
                self.wfile.write(b"X")
                time.sleep(0.05)

    target = shop.release("1.0", first).target
    with serving(shop.repository, handler=SlowHeaders) as url:
        shop.url = url
        before = time.monotonic()
        answer = _run(shop.request(target, deadline_s=1.5))
        assert time.monotonic() - before < 5
    assert (answer.status, answer.reason) == ("refused", Reason.DEADLINE_PASSED)


def test_a_second_fetch_beside_one_that_runs_is_refused(shop: Shop, serve: Serve, first: bytes) -> None:
    target = shop.release("1.0", first).target
    with serve(rate=100_000):
        process = FetchProcess(shop.request(target))
        while not list((shop.store / "partial").glob("*.part")):
            time.sleep(0.01)
        time.sleep(0.5)
        answer = _run(shop.request(target))
        process.close()
    assert answer.reason == Reason.UPDATE_BUSY


@contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[None]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_full_refuses_and_gives_the_room_back(shop: Shop, first: bytes, second: bytes) -> None:
    target = shop.release("1.0", first).target
    small = shop.folder / "small"
    small.mkdir()
    with _small_disk(small, 800_000):
        (small / "trust").mkdir()
        (small / "trust" / "root.json").write_bytes((shop.store / "trust" / "root.json").read_bytes())
        installed = _run(shop.request(target, store=str(small)))
        assert installed.status == "ok"
        new = shop.release("1.1", second * 2).target
        for reserve in (0, 100_000):
            answer = _run(shop.request(new, store=str(small), reserve_bytes=reserve))
            assert answer.reason == Reason.DISK_FULL
            assert not list((small / "partial").glob("*.part"))
        (small / "filler").write_bytes(b"x" * (os.statvfs(small).f_bavail * 4096))
        assert _run(shop.request(new, store=str(small))).reason == Reason.DISK_FULL
        assert shop.content(installed) == first


def test_the_disk_fills_up_while_it_downloads(shop: Shop, serve: Serve, first: bytes) -> None:
    """The room was reserved before: what others write then does not matter."""
    target = shop.release("1.0", first).target
    small = shop.folder / "small"
    small.mkdir()
    with _small_disk(small, 800_000), serve(rate=300_000):
        (small / "trust").mkdir()
        (small / "trust" / "root.json").write_bytes((shop.store / "trust" / "root.json").read_bytes())
        process = FetchProcess(shop.request(target, store=str(small)))
        while not list((small / "partial").glob("*.part")):
            process.poll()
            time.sleep(0.01)
        time.sleep(0.2)
        (small / "filler").write_bytes(b"x" * (os.statvfs(small).f_bavail * 4096 - 40_000))
        assert shop.content(_wait(process)) == first


@pytest.fixture
def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function after which processes find a package missing."""

    def hide(package: str) -> None:
        (tmp_path / "hidden" / package).mkdir(parents=True)
        (tmp_path / "hidden" / package / "__init__.py").write_text(f"raise ImportError('no {package}')\n")
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'hidden'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    return hide


def test_the_process_says_what_packages_it_lacks(shop: Shop, without: Callable[[str], None]) -> None:
    without("tuf")
    answer = _run(shop.request("kws/1.0/kws.ekb"))
    assert answer.reason == Reason.UPDATER_MISSING
    assert "no tuf; it comes with edgekit-agent[update]" in str(answer.detail)


def test_a_device_verifies_without_a_compiled_package(shop: Shop, without: Callable[[str], None], first: bytes) -> None:
    target = shop.release("1.0", first).target
    without("cryptography")
    assert shop.content(_run(shop.request(target))) == first
    next_version(shop, "timestamp", signers=strangers())
    assert _run(shop.request(target)).reason == Reason.METADATA_UNSIGNED


@pytest.mark.parametrize("asked", [b"", b"{", b"[]", b"{}", b'{"op":"x"}', b"x" * 300_000])
def test_a_request_that_cannot_be_read_is_answered(asked: bytes) -> None:
    command = [sys.executable, "-m", "edgekit_agent.fetch"]
    run = subprocess.run(command, input=asked, capture_output=True, check=False, timeout=30)
    assert run.returncode == 3
    answer = json.loads(run.stdout)["answer"]
    assert (answer["status"], answer["reason"]) == ("refused", "command-refused")


def test_a_process_that_dies_is_an_answer_with_its_last_words(shop: Shop, first: bytes) -> None:
    target = shop.release("1.0", first).target
    (shop.store / "blobs").write_bytes(b"no folder")  # what no fetch expects
    answer = _run(shop.request(target))
    assert (answer.status, answer.reason) == ("refused", Reason.FETCH_CRASHED)
    assert "NotADirectoryError" in str(answer.detail)
    shop.url = "http://127.0.0.1:9"
    process = FetchProcess(shop.request(target))
    process.kill()
    assert "ended with -9" in str(_wait(process).detail)


def test_the_supervisor_imports_nothing_of_what_fetches() -> None:
    code = (
        "import sys; import edgekit_agent.fetch.launch; "
        "print([name for name in ('tuf', 'urllib3', 'securesystemslib', 'numpy', 'ssl') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert run.stdout.strip() == "[]"
