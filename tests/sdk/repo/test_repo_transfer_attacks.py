"""What a server, a mirror or a stick can do to a download: each ends with its reason and what is installed stays."""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from edgekit.repo import RepositoryHandler, publish, serving
from edgekit_agent.errors import AgentError
from edgekit_agent.protocol import BlockIndex, IndexRef, Reason
from tests.sdk.repo.forging import announce, next_version
from tests.sdk.repo.shop import Shop

TARGET = "kws/1.0/kws.ekb"


class _Endless(RepositoryHandler):
    """Sends bytes for as long as somebody reads."""

    part = "targets/"

    def answer(self, *, body: bool) -> None:
        if self.part not in self.path:
            super().answer(body=body)
            return
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b" " * 65536)


class _Slow(RepositoryHandler):
    """Sends one byte at a time, or after the first nothing more."""

    pause_s = 0.05
    most = 10_000

    def send_part(self, file: BinaryIO, start: int, end: int) -> None:
        if "targets/" not in self.path:
            super().send_part(file, start, end)
            return
        with contextlib.suppress(OSError):
            for _ in range(self.most):
                self.wfile.write(file.read(1))
                time.sleep(self.pause_s)
            time.sleep(5)


class _Elsewhere(RepositoryHandler):
    """Redirects what is asked of `targets`."""

    to = "http://127.0.0.2:9/"

    def answer(self, *, body: bool) -> None:
        if not self.path.startswith("/targets/"):
            super().answer(body=body)
            return
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", self.to)
        self.send_header("Content-Length", "0")
        self.end_headers()


class _Broken(RepositoryHandler):
    """Ends the connection after so many bytes of a target, each time."""

    after = 70_000

    def send_part(self, file: BinaryIO, start: int, end: int) -> None:
        if "targets/" in self.path and end - start > self.after:
            self.close_connection = True
            end = start + self.after
        super().send_part(file, start, end)


class _NoRanges(RepositoryHandler):
    """Knows no ranges: the whole file, each time."""

    asked: list[str]

    def answer(self, *, body: bool) -> None:
        self.asked.append(self.path)
        del self.headers["Range"]
        super().answer(body=body)


class _OtherRange(RepositoryHandler):
    """Answers another range than was asked for."""

    def answer(self, *, body: bool) -> None:
        if "targets/" in self.path:
            self.headers.replace_header("Range", "bytes=1-5")
        super().answer(body=body)


class _Failing(RepositoryHandler):
    """Fails the first times."""

    left: list[int]

    def answer(self, *, body: bool) -> None:
        if self.left:
            self.send_error(self.left.pop())
            return
        super().answer(body=body)


class _Encoded(RepositoryHandler):
    """Says that what it sends is compressed, which nobody asked for."""

    def end_headers(self) -> None:
        self.send_header("Content-Encoding", "gzip")
        super().end_headers()


Through = Callable[..., "contextlib.AbstractContextManager[Shop]"]


@pytest.fixture
def through(shop: Shop, first: bytes) -> Through:
    """Return a function that serves a published bundle by a handler."""
    shop.release("1.0", first)

    @contextlib.contextmanager
    def serve(handler: type[RepositoryHandler], **values: object) -> Iterator[Shop]:
        with serving(shop.repository, handler=type("Handler", (handler,), values)) as url:
            shop.url = url
            yield shop

    return serve


def test_endless_metadata_is_cut_off(through: Through) -> None:
    with through(_Endless, part="timestamp.json") as shop:
        shop.refused(TARGET, Reason.DOWNLOAD_TOO_LONG)


def test_an_endless_block_index_is_cut_off(through: Through) -> None:
    with through(_Endless, part="blocks/") as shop:
        shop.refused(TARGET, Reason.DOWNLOAD_TOO_LONG)


def test_an_endless_target_ends_at_its_first_wrong_block(through: Through) -> None:
    with through(_Endless, part="targets/") as shop:
        shop.refused(TARGET, Reason.DOWNLOAD_DAMAGED)
        (part,) = (shop.store / "partial").iterdir()
        assert part.stat().st_size == 300_000


def test_slow_retrieval_byte_by_byte_is_ended(through: Through) -> None:
    with through(_Slow) as shop:
        before = time.monotonic()
        error = shop.refused(TARGET, Reason.DOWNLOAD_TOO_SLOW, window_s=1.0)
        assert time.monotonic() - before < 4
        assert "the least allowed is 256" in str(error)


def test_slow_retrieval_a_server_that_stops_sending_is_left(through: Through) -> None:
    with through(_Slow, most=1) as shop:
        shop.refused(TARGET, Reason.DOWNLOAD_TOO_SLOW, window_s=0.5)


def test_a_redirect_to_another_host_is_refused(through: Through) -> None:
    with through(_Elsewhere) as shop:
        error = shop.refused(TARGET, Reason.REDIRECT_REFUSED)
        assert "127.0.0.2:9" in str(error)


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "//127.0.0.2/x", ""])
def test_a_redirect_to_another_kind_of_place_is_refused(through: Through, to: str) -> None:
    with through(_Elsewhere, to=to) as shop:
        shop.refused(TARGET, Reason.REDIRECT_REFUSED, allow_hosts=("127.0.0.1",))


def test_a_redirect_to_a_host_that_is_allowed_is_followed(through: Through, first: bytes) -> None:
    with through(RepositoryHandler) as shop:
        there, name = shop.url, next((shop.repository / "targets" / "kws" / "1.0").iterdir()).name
        with through(_Elsewhere, to=f"{there}/targets/kws/1.0/{name}") as again:
            again.refused(TARGET, Reason.REDIRECT_REFUSED)
            assert again.content(again.fetch(TARGET, allow_hosts=("127.0.0.1",))) == first


def test_a_download_that_breaks_again_and_again_goes_on_where_it_was(through: Through, first: bytes) -> None:
    with through(_Broken) as shop:
        answer = shop.fetch(TARGET)
        assert shop.content(answer) == first
        assert answer.fetched_bytes < len(first) + 4 * 32_768  # each time at most the block that was cut off


def test_a_server_that_fails_for_a_moment_is_asked_again(through: Through, first: bytes) -> None:
    with through(_Failing, left=[503, 500]) as shop:
        assert shop.content(shop.fetch(TARGET)) == first


def test_a_server_that_fails_for_good_is_unreachable(through: Through) -> None:
    with through(_Failing, left=[503] * 50) as shop:
        shop.refused(TARGET, Reason.REPOSITORY_UNREACHABLE)
    shop.refused(TARGET, Reason.REPOSITORY_UNREACHABLE)  # and nobody listens any more


def test_a_server_without_ranges_is_asked_once_for_all_that_is_missing(through: Through, second: bytes) -> None:
    asked: list[str] = []
    with through(_NoRanges, asked=asked) as shop:
        shop.fetch(TARGET)
        new = shop.release("1.1", second).target
        asked.clear()
        answer = shop.fetch(new)
        assert shop.content(answer) == second
        assert answer.blocks is not None
        assert answer.blocks.fetched < answer.blocks.total / 4
        assert sum("targets/kws" in path for path in asked) <= 2


def test_another_range_than_was_asked_for_is_refused(through: Through) -> None:
    with through(_OtherRange) as shop:
        shop.refused(TARGET, Reason.REPOSITORY_ANSWER_WRONG)


def test_an_encoding_nobody_asked_for_is_refused(through: Through) -> None:
    with through(_Encoded) as shop:
        shop.refused(TARGET, Reason.REPOSITORY_ANSWER_WRONG)


def _stored(shop: Shop) -> Path:
    (path,) = (shop.repository / "targets" / "kws" / "1.0").iterdir()
    return path


@pytest.mark.parametrize("at", [0, 150_000, 299_999])
def test_a_tampered_target_is_refused_at_the_block(through: Through, first: bytes, at: int) -> None:
    with through(RepositoryHandler) as shop:
        _stored(shop).write_bytes(first[:at] + bytes([first[at] ^ 1]) + first[at + 1 :])
        shop.refused(TARGET, Reason.DOWNLOAD_DAMAGED)
        _stored(shop).write_bytes(first)
        answer = shop.fetch(TARGET)
        assert shop.content(answer) == first
        assert answer.blocks is not None
        assert answer.fetched_bytes + at <= len(first) + 32_768  # what was good before it is kept


def test_a_target_that_is_too_long_on_the_server_is_read_to_its_signed_length(through: Through, first: bytes) -> None:
    with through(RepositoryHandler) as shop:
        _stored(shop).write_bytes(first + b"more than was signed")
        assert shop.content(shop.fetch(TARGET)) == first


@pytest.mark.parametrize("way", ["http", "folder"])
def test_a_target_that_is_cut_off_is_refused(through: Through, way: str) -> None:
    with through(RepositoryHandler) as shop:
        shop.url = shop.url if way == "http" else ""
        os.truncate(_stored(shop), 100_000)
        shop.refused(TARGET, Reason.REPOSITORY_ANSWER_WRONG)


def test_a_tampered_block_index_is_refused(through: Through) -> None:
    with through(RepositoryHandler) as shop:
        (index,) = (shop.repository / "blocks").iterdir()
        index.write_bytes(index.read_bytes()[:-1] + b"x")
        shop.refused(TARGET, Reason.DOWNLOAD_DAMAGED)


def test_a_signed_block_index_of_another_length_than_the_target_is_refused(through: Through, first: bytes) -> None:
    with through(RepositoryHandler) as shop:
        content = BlockIndex([(100, hashlib.sha256(first[:100]).digest())]).to_bytes()
        ref = IndexRef(sha256=hashlib.sha256(content).hexdigest(), length=len(content))
        (shop.repository / "blocks" / ref.sha256).write_bytes(content)

        def lie(signed: Any) -> None:
            signed.targets[TARGET].unrecognized_fields["custom"]["blocks"] = ref.to_json()

        next_version(shop, "targets", lie)
        announce(shop)
        error = shop.refused(TARGET, Reason.TARGET_INVALID)
        assert "100 bytes, the target 300000" in str(error)


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "/etc/passwd",
        "kws/../../x",
        "kws//x",
        "kws/.hidden",
        "a/b/c/d/e",
        "",
        "kws/1 0/x",
        "kws\\x",
    ],
)
def test_path_traversal_a_target_of_such_a_name_is_refused_although_it_is_signed(shop: Shop, name: str) -> None:
    shop.release("1.0", b"content")

    def named(signed: Any) -> None:
        target = signed.targets.pop(TARGET)
        target.path = name
        signed.targets[name] = target

    next_version(shop, "targets", named)
    announce(shop)
    shop.refused(name, Reason.TARGET_NAME_WRONG)


def test_path_traversal_a_hash_that_is_a_path_is_refused(shop: Shop) -> None:
    shop.release("1.0", b"content")

    def hashed(signed: Any) -> None:
        signed.targets[TARGET].hashes = {"sha256": "../../../../tmp/x"}

    next_version(shop, "targets", hashed)
    announce(shop)
    shop.refused(TARGET, Reason.TARGET_INVALID)


_RELEASE = {
    "schema": 1, "model": "kws", "version": "1", "release_counter": 1, "blocks": {"sha256": "0" * 64, "length": 8},
}  # fmt: skip


@pytest.mark.parametrize(
    "custom",
    [
        None,
        {},
        [],
        {"schema": 1},
        {**_RELEASE, "model": "../x"},
        {**_RELEASE, "release_counter": "x"},
        {**_RELEASE, "blocks": {"sha256": "../x", "length": 8}},
        {**_RELEASE, "blocks": {"sha256": "0" * 64, "length": 1 << 40}},
    ],
)
def test_a_target_whose_release_cannot_be_read_is_refused(shop: Shop, custom: object) -> None:
    shop.release("1.0", b"content")
    next_version(shop, "targets", lambda signed: signed.targets[TARGET].unrecognized_fields.update(custom=custom))
    announce(shop)
    shop.refused(TARGET, Reason.TARGET_INVALID)


def test_a_pipe_or_a_folder_on_the_stick_does_not_hang_a_device(shop: Shop, first: bytes) -> None:
    shop.release("1.0", first)
    path = _stored(shop)
    path.unlink()
    os.mkfifo(path)
    shop.refused(TARGET, Reason.REPOSITORY_ANSWER_WRONG)
    path.unlink()
    path.mkdir()
    shop.refused(TARGET, Reason.REPOSITORY_ANSWER_WRONG)


# --- a target that is genuine, and not what this device should take


def test_other_hardware_is_refused_and_one_of_several_is_enough(shop: Shop, first: bytes) -> None:
    shop.add("1.0", first, hardware=("rpi4", "rpi5"))
    publish(shop.repository, shop.keys)
    shop.refused(TARGET, Reason.HARDWARE_MISMATCH, hardware=("nuc", "x86-64"))
    shop.refused(TARGET, Reason.HARDWARE_MISMATCH)
    assert shop.fetch(TARGET, hardware=("aarch64", "rpi5")).status == "ok"


def test_a_lower_release_counter_than_the_installed_one_is_refused(shop: Shop, first: bytes) -> None:
    shop.add("1.0", first, counter=5)
    publish(shop.repository, shop.keys)
    shop.refused(TARGET, Reason.RELEASE_ROLLED_BACK, counter=6)
    assert shop.fetch(TARGET, counter=5).status == "ok"


@pytest.mark.parametrize(("what", "value"), [("model", "vad"), ("version", "1.1"), ("sha256", "0" * 64)])
def test_another_target_than_was_announced_is_refused(shop: Shop, first: bytes, what: str, value: str) -> None:
    added = shop.release("1.0", first)
    shop.refused(TARGET, Reason.TARGET_CHANGED, None, **{what: value})
    assert shop.fetch(TARGET, model="kws", version="1.0", sha256=added.sha256).status == "ok"


def test_a_target_larger_than_the_device_takes_is_refused_before_it_is_downloaded(shop: Shop, first: bytes) -> None:
    shop.release("1.0", first)
    shop.refused(TARGET, Reason.TARGET_TOO_LARGE, max_bytes=299_999)
    assert not list((shop.store / "partial").iterdir())


def test_a_disk_without_the_room_that_must_stay_free_refuses_before_downloading(shop: Shop, first: bytes) -> None:
    shop.release("1.0", first)
    error = shop.refused(TARGET, Reason.DISK_FULL, reserve_bytes=1 << 60)
    assert "300000 bytes and a reserve of" in str(error)
    assert not list((shop.store / "partial").iterdir())


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/x", "http://", "kws", "", "https://user:secret@127.0.0.1/", "http://127.0.0.1/?x=1"]
)
def test_a_url_of_another_kind_is_refused_without_repeating_a_password(shop: Shop, url: str) -> None:
    with pytest.raises(AgentError, match="the repository's URL") as caught:
        shop.fetch(TARGET, repository=url)
    assert "secret" not in str(caught.value)
