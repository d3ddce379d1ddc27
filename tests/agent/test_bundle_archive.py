"""Bundle files: the same bytes for the same inputs, and nothing taken that is not what the manifest says."""

import gzip
import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_agent import bundle
from edgekit_agent.bundle import archive
from edgekit_agent.errors import BundleError
from tests.agent.bundle_maker import (
    END,
    Body,
    contents,
    entries,
    foreign,
    joined,
    packed,
    padded,
    plain,
    with_manifest,
    with_text,
)

Attack = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound bundle of five files."""
    return packed(tmp_path_factory.mktemp("sound"))


def _refused(data: bytes, why: str) -> None:
    with pytest.raises(BundleError, match=why):
        archive.read_all(io.BytesIO(data), "x.ekb")


def test_a_bundle_comes_back_byte_for_byte_with_what_it_says(tmp_path: Path) -> None:
    manifest, paths = plain(tmp_path / "made")
    file = tmp_path / "kws.ekb"
    file.write_bytes(b"".join(archive.write(manifest, paths)))
    found = bundle.unpack(file, tmp_path / "there" / "slot")
    assert found.manifest == manifest
    assert found == bundle.verify(file) == bundle.read(file)
    there = contents(tmp_path / "there" / "slot")
    assert {name: there.pop(name) for name in paths} == contents(tmp_path / "made")
    assert sorted(there) == ["manifest.json", "manifest.sha256"]
    assert bundle.verify_folder(tmp_path / "there" / "slot") == manifest


def test_python_s_own_reader_finds_plain_files_in_the_manifest_s_order(tmp_path: Path, sound: bytes) -> None:
    manifest, _ = plain(tmp_path)
    with tarfile.open(fileobj=io.BytesIO(sound)) as tar:
        members = tar.getmembers()
    assert [one.name for one in members] == ["manifest.json", "manifest.sha256", *(one.name for one in manifest.files)]
    assert {(one.type, one.mode, one.mtime, one.uid, one.gid, one.uname) for one in members} == {
        (tarfile.REGTYPE, 0o644, 0, 0, 0, "")
    }


def test_the_same_inputs_give_the_same_bytes_from_other_folders_times_and_masks(tmp_path: Path, sound: bytes) -> None:
    mask = os.umask(0o077)
    try:
        manifest, paths = plain(tmp_path / "other" / "place")
        for at, path in enumerate(paths.values()):
            os.utime(path, (at, 10**9 + at))
            path.chmod(0o600 + at)
        backwards = dict(reversed(paths.items()))
        assert b"".join(archive.write(manifest, backwards)) == sound
    finally:
        os.umask(mask)


def test_where_files_lie_is_told_and_the_first_begins_with_a_page(tmp_path: Path, sound: bytes) -> None:
    file = tmp_path / "kws.ekb"
    file.write_bytes(sound)
    found = bundle.read(file)
    _, paths = plain(tmp_path / "made")
    for one in found.placed:
        assert sound[one.offset : one.offset + one.file.size] == paths[one.file.name].read_bytes()
    assert found.placed[0].offset % 4096 == 0
    assert found.size_bytes == len(sound)


def test_it_is_read_as_it_comes_in_pieces_of_any_size_and_not_beyond_its_end(tmp_path: Path, sound: bytes) -> None:
    class Trickle:
        """At most seven bytes at a time, as a network may give them."""

        def __init__(self, data: bytes) -> None:
            self._data = io.BytesIO(data)

        def read(self, size: int, /) -> bytes:
            return self._data.read(min(size, 7))

    manifest, _ = bundle.unpack_from(Trickle(sound), "x.ekb", tmp_path / "slot")
    assert bundle.verify_folder(tmp_path / "slot") == manifest


def test_endless_data_is_refused_without_reading_on(sound: bytes) -> None:
    class Endless:
        taken = 0

        def read(self, size: int, /) -> bytes:
            chunk = sound[self.taken : self.taken + size] or bytes(size)
            self.taken += len(chunk)
            return chunk

    source = Endless()
    with pytest.raises(BundleError, match="something behind its end"):
        archive.read_all(source, "x.ekb")
    assert source.taken == len(sound) + 1


@pytest.mark.parametrize("percent", range(100))
def test_truncated_anywhere_it_is_refused_and_leaves_nothing(tmp_path: Path, sound: bytes, percent: int) -> None:
    file = tmp_path / "kws.ekb"
    file.write_bytes(sound[: len(sound) * percent // 100])
    for take in (bundle.verify, bundle.read, lambda path: bundle.unpack(path, tmp_path / "slot")):
        with pytest.raises(BundleError, match="truncated"):
            take(file)
    assert list(tmp_path.iterdir()) == [file]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_single_flipped_bit_is_always_found(sound: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, 8 * len(sound) - 1))
    flipped = bytearray(sound)
    flipped[place // 8] ^= 1 << place % 8
    _refused(bytes(flipped), "bundle 'x.ekb'")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=4000), st.integers(0, 4000))
def test_any_bytes_are_refused_in_a_sentence(sound: bytes, noise: bytes, start: int) -> None:
    _refused(noise, "bundle 'x.ekb'")
    _refused(sound[:start] + noise, "bundle 'x.ekb'")


def _replaced(at: int, head: bytes, body: bytes = b"") -> Attack:
    def attack(data: bytes) -> bytes:
        parts = entries(data)
        return joined([*parts[:at], (head, body), *parts[at + 1 :]])

    return attack


def _added(*more: tuple[bytes, bytes]) -> Attack:
    return lambda data: joined([*entries(data), *more])


def _model(**fields: object) -> Attack:
    def attack(data: bytes) -> bytes:
        head = foreign("model.tflite", 5000, **fields)
        return _replaced(2, head, entries(data)[2][1])(data)

    return attack


def _swapped(data: bytes) -> bytes:
    parts = entries(data)
    parts[2], parts[3] = parts[3], parts[2]
    return joined(parts)


def _dirty(data: bytes) -> bytes:
    parts = entries(data)
    return joined([*parts[:2], (parts[2][0], parts[2][1][:-1] + b"!"), *parts[3:]])


def _named(name: str) -> Attack:
    return lambda data: with_manifest(data, lambda body: body["files"][0].update(name=name))


def _twice(body: Body) -> None:
    body["files"].append({**body["files"][0], "name": body["files"][0]["name"].upper()})


def _sized(size: int) -> Attack:
    return lambda data: with_manifest(data, lambda body: body["files"][0].update(size=size))


ATTACKS: dict[str, tuple[Attack, str]] = {
    "a path upwards": (_replaced(2, archive.entry("../evil", 0)), "'model.tflite' is missing where '../evil' is"),
    "an absolute path": (_replaced(2, archive.entry("/etc/passwd", 0)), "missing where '/etc/passwd' is"),
    "a symbolic link": (_model(type=tarfile.SYMTYPE, linkname="/etc/passwd"), "'model.tflite' is a symbolic link"),
    "a hard link": (_model(type=tarfile.LNKTYPE, linkname="labels.txt"), "'model.tflite' is a link"),
    "a device": (_model(type=tarfile.CHRTYPE), "'model.tflite' is a device"),
    "a pipe": (_model(type=tarfile.FIFOTYPE), "'model.tflite' is a pipe"),
    "a folder": (_model(type=tarfile.DIRTYPE), "missing where 'model.tflite/' is"),
    "a sparse file": (_model(type=tarfile.GNUTYPE_SPARSE), "the entry of file 'model.tflite' is not the one"),
    "another mode": (_model(mode=0o4755), "the entry of file 'model.tflite' is not the one"),
    "an owner": (_model(uid=1000), "the entry of file 'model.tflite' is not the one"),
    "a time": (_model(mtime=1), "the entry of file 'model.tflite' is not the one"),
    "another size": (_replaced(2, archive.entry("model.tflite", 2**30)), "is not the one"),
    "a file twice": (lambda data: _added(entries(data)[2])(data), "another entry behind its last file"),
    "a file more": (_added((archive.entry("more.py", 1), padded(b"!"))), "another entry behind its last file"),
    "a file less": (lambda data: joined(entries(data)[:-1]), "file 'labels.txt' is missing"),
    "another order": (_swapped, "file 'model.tflite' is missing where 'model.more' is"),
    "bytes behind": (lambda data: data + b"#!/bin/sh", "something behind its end"),
    "zeros behind": (lambda data: data + END, "something behind its end"),
    "bytes in the gaps": (_dirty, "something behind file 'model.tflite'"),
    "a bundle behind": (lambda data: data + data, "something behind its end"),
    "no manifest": (lambda data: joined(entries(data)[1:]), "does not begin with manifest.json"),
    "a long manifest": (
        _replaced(0, archive.entry("manifest.json", 2**30)),
        "its manifest has 1073741824 bytes, more than 262144",
    ),
    "no digest": (lambda data: joined([entries(data)[0], *entries(data)[2:]]), "'manifest.sha256' is missing where"),
    "another manifest": (
        lambda data: data.replace(b'"kws"', b'"kwt"', 1),
        "its manifest is damaged: manifest.sha256 does not fit it",
    ),
    "an extended header": (lambda data: foreign("x", type=tarfile.XHDTYPE) + data, "does not begin with"),
    "compressed": (gzip.compress, "does not begin with manifest.json"),
    "a zip": (lambda data: b"PK\3\4" + data, "does not begin with manifest.json"),
    "nothing": (lambda _: b"", "truncated"),
    "a named path upwards": (_named("../evil"), "BundleFile.name is not of the form"),
    "a named absolute path": (_named("/etc/passwd"), "BundleFile.name is not of the form"),
    "a hidden name": (_named(".bashrc"), "BundleFile.name is not of the form"),
    "a name with a zero": (_named("a\0b"), "BundleFile.name is not of the form"),
    "a name with a line": (_named("model.tflite\n"), "BundleFile.name is not of the form"),
    "the manifest's name": (_named("manifest.json"), "names file 'manifest.json' twice"),
    "a name twice": (lambda data: with_manifest(data, _twice), "names file 'model.tflite' twice"),
    "a bomb": (_sized(2**40), "1099511628[0-9]* bytes together, more than 2147483648"),
    "a larger size": (_sized(6000), "the entry of file 'model.tflite' is not the one"),
    "a smaller size": (_sized(1), "the entry of file 'model.tflite' is not the one"),
    "another content": (
        lambda data: with_manifest(data, lambda body: body["files"][0].update(sha256=64 * "0")),
        "file 'model.tflite' is damaged",
    ),
    "deep JSON": (lambda data: with_text(data, b"[" * 100_000), "the manifest is no JSON"),
    "no JSON": (lambda data: with_text(data, b"\xff\xfe"), "the manifest is no JSON"),
}


@pytest.mark.parametrize(("attack", "why"), ATTACKS.values(), ids=ATTACKS)
def test_attacks_are_refused_with_their_reason_and_leave_nothing(
    tmp_path: Path, sound: bytes, attack: Attack, why: str
) -> None:
    file = tmp_path / "x.ekb"
    file.write_bytes(attack(sound))
    for take in (bundle.verify, lambda path: bundle.unpack(path, tmp_path / "slot")):
        with pytest.raises(BundleError, match=why):
            take(file)
    assert list(tmp_path.iterdir()) == [file]


def test_a_bomb_takes_no_memory(sound: bytes) -> None:
    bomb = _sized(2**31 - 10_000)(sound)
    tracemalloc.start()
    _refused(bomb, "the entry of file")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("what", ["missing", "folder", "pipe"])
def test_what_is_no_file_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.ekb"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    with pytest.raises(BundleError, match="does not exist" if what == "missing" else "is no file"):
        bundle.verify(path)


def test_reading_finds_a_length_that_is_not_the_manifest_s(tmp_path: Path, sound: bytes) -> None:
    file = tmp_path / "x.ekb"
    file.write_bytes(sound + b"!")
    with pytest.raises(BundleError, match="it is too long"):
        bundle.read(file)


def test_writing_refuses_files_that_are_not_what_the_manifest_says(tmp_path: Path) -> None:
    manifest, paths = plain(tmp_path)
    model = paths["model.tflite"].read_bytes()
    for content, why in ((model[:-1], "truncated"), (model + b"!", "longer than"), (model[::-1], "damaged")):
        paths["model.tflite"].write_bytes(content)
        with pytest.raises(BundleError, match=why):
            b"".join(archive.write(manifest, paths))
