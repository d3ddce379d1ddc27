"""What the publisher does: keys, names, counters; and at no moment does a reader see half of anything."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.errors import DataError, EdgeKitError, EnvironmentMissingError, GateError, UsageError
from edgekit.repo import (
    ROLES,
    Change,
    KeyFolder,
    NewRelease,
    Validity,
    add,
    init,
    publish,
    renew,
    rotate,
)
from edgekit.repo._metadata import Repository
from edgekit_agent.durable import write_durably
from tests.sdk.repo.forging import newest, sign_over, signers_of
from tests.sdk.repo.shop import PASSPHRASE, Shop


def test_key_files_are_encrypted_and_for_their_owner_only(shop: Shop) -> None:
    files = sorted(shop.keys.folder.rglob("*.pem"))
    assert [path.parent.name for path in files] == ["root"] * 3 + ["snapshot"] + ["targets"] * 2 + ["timestamp"]
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o077 == 0
        assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def test_nothing_that_is_served_holds_a_private_key(shop: Shop) -> None:
    for path in shop.repository.rglob("*"):
        assert not path.is_file() or b"PRIVATE" not in path.read_bytes()


def test_a_wrong_passphrase_is_said_and_not_repeated(shop: Shop) -> None:
    keys = KeyFolder(shop.keys.folder, lambda _role: b"not the right one")
    with pytest.raises(DataError, match="is no key file, or the passphrase does not open it") as caught:
        publish(shop.repository, keys)
    assert "not the right one" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is no key file"), (b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n", "is no key file")],
)
def test_a_file_that_is_no_key_is_said(shop: Shop, content: bytes, message: str) -> None:
    (path,) = (shop.keys.folder / "timestamp").iterdir()
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        publish(shop.repository, shop.keys)


def test_a_key_that_is_not_encrypted_or_under_a_wrong_name_is_refused(shop: Shop) -> None:
    (path,) = (shop.keys.folder / "timestamp").iterdir()
    (other,) = (shop.keys.folder / "snapshot").iterdir()
    mine = path.read_bytes()
    path.write_bytes(other.read_bytes())
    with pytest.raises(DataError, match="holds another key than its name says"):
        publish(shop.repository, shop.keys)
    path.write_bytes(mine)
    (signer,) = signers_of(shop, "timestamp")
    path.write_bytes(signer.private_bytes)
    with pytest.raises(DataError, match="is not encrypted"):
        publish(shop.repository, shop.keys)


def test_missing_keys_are_named(shop: Shop) -> None:
    gone = min((shop.keys.folder / "targets").iterdir())
    gone.unlink()
    with pytest.raises(EnvironmentMissingError, match=r"1 of the 2 targets keys are in .*, 2 must sign") as caught:
        shop.add("1.0", b"content")
    assert caught.value.__notes__ == [f"missing: {gone.name}"]


def test_publishing_needs_the_online_keys_only_and_adding_the_targets_keys_only(shop: Shop) -> None:
    shutil.rmtree(shop.keys.folder / "root")
    offline = shop.keys.folder / "targets"
    offline.rename(shop.folder / "stick")
    publish(shop.repository, shop.keys)
    (shop.folder / "stick").rename(offline)
    for role in ("snapshot", "timestamp"):
        shutil.rmtree(shop.keys.folder / role)
    assert shop.add("1.0", b"content").release.release_counter == 1


@pytest.mark.parametrize(("root", "targets"), [((0, 1), (1, 1)), ((2, 1), (1, 1)), ((1, 1), (3, 2))])
def test_thresholds_that_cannot_be_met_are_refused(
    tmp_path: Path, root: tuple[int, int], targets: tuple[int, int]
) -> None:
    keys = KeyFolder(tmp_path / "keys", lambda _role: PASSPHRASE)
    with pytest.raises(UsageError, match="keys cannot sign"):
        init(tmp_path / "repository", keys, root=root, targets=targets)
    assert not (tmp_path / "keys").exists()


def test_keys_inside_the_repository_a_second_init_and_a_short_passphrase_are_refused(
    shop: Shop, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="would be served"):
        init(tmp_path / "new", KeyFolder(tmp_path / "new" / "keys", lambda _role: PASSPHRASE))
    with pytest.raises(UsageError, match="holds a repository already"):
        init(shop.repository, shop.keys)
    with pytest.raises(UsageError, match="fewer than 8 characters"):
        init(tmp_path / "other", KeyFolder(tmp_path / "k", lambda _role: b"short"))


def test_a_folder_without_a_repository_is_said(tmp_path: Path, shop: Shop) -> None:
    for act in (lambda: publish(tmp_path, shop.keys), lambda: rotate(tmp_path, "root", shop.keys)):
        with pytest.raises(DataError, match="holds no repository"):
            act()


def test_counters_grow_from_version_to_version_and_variants_of_a_version_share_one(shop: Shop) -> None:
    assert shop.add("1.0", b"a").release.release_counter == 1
    assert shop.add("1.1", b"b").release.release_counter == 2
    bundle = shop.folder / "kws-openvino.ekb"
    bundle.write_bytes(b"c")
    variant = add(shop.repository, bundle, shop.keys, NewRelease(name="kws", version="1.1", hardware=("nuc",)))
    assert (variant.target, variant.release.release_counter) == ("kws/1.1/kws-openvino.ekb", 2)
    other = add(shop.repository, bundle, shop.keys, NewRelease(name="vad", version="1.0"))
    assert other.release.release_counter == 1
    with pytest.raises(DataError, match=r"the release counter 2 of 'kws' is not above 2"):
        shop.add("1.2", b"d", counter=2)
    with pytest.raises(DataError, match=r"'kws' 1\.1 has the release counter 2 already, not 9"):
        shop.add("1.1", b"b", counter=9)
    assert shop.add("1.2", b"d", counter=40).release.release_counter == 40


def test_the_same_bundle_again_changes_nothing_and_another_under_its_name_is_refused(shop: Shop) -> None:
    added = shop.add("1.0", b"content")
    before = newest(shop, "targets")
    assert shop.add("1.0", b"content") == added
    assert newest(shop, "targets") == before
    with pytest.raises(DataError, match="is in the repository with other content"):
        shop.add("1.0", b"other")


@pytest.mark.parametrize(
    ("name", "version", "file"),
    [
        ("../x", "1", "a.ekb"),
        ("K", "1", "a.ekb"),
        ("kws", "1/2", "a.ekb"),
        ("kws", "", "a.ekb"),
        ("kws", "1", ".a"),
        ("kws", "1", "a b"),
    ],
)
def test_names_that_could_lead_elsewhere_are_refused(shop: Shop, name: str, version: str, file: str) -> None:
    bundle = shop.folder / file
    bundle.write_bytes(b"content")
    with pytest.raises(DataError):
        add(shop.repository, bundle, shop.keys, NewRelease(name=name, version=version))
    assert not any((shop.repository / "targets").iterdir())


def test_a_bundle_that_is_not_there_is_said(shop: Shop) -> None:
    with pytest.raises(DataError, match=r"cannot read .*: No such file"):
        add(shop.repository, shop.folder / "none.ekb", shop.keys, NewRelease(name="kws", version="1"))


def test_nothing_is_published_that_devices_would_refuse(shop: Shop, first: bytes) -> None:
    shop.release("1.0", first)
    (path,) = (shop.repository / "targets" / "kws" / "1.0").iterdir()
    path.rename(path.with_name("away"))
    with pytest.raises(DataError, match="is missing or has another size"):
        publish(shop.repository, shop.keys)
    path.with_name("away").rename(path)
    renew(shop.repository, "root", shop.keys, Validity(offline=-1))
    with pytest.raises(GateError, match="the root metadata expired on") as caught:
        publish(shop.repository, shop.keys)
    assert caught.value.__notes__ == ["sign it anew: edgekit repo renew root"]
    renew(shop.repository, "root", shop.keys)
    sign_over(shop, "targets", lambda signed: setattr(signed, "comment", 1), signers_of(shop, "targets")[:1])
    with pytest.raises(GateError, match="the targets metadata is not signed by enough"):
        publish(shop.repository, shop.keys)


def test_rotation_refuses_what_cannot_be(shop: Shop) -> None:
    with pytest.raises(UsageError, match="'mirrors' is no role"):
        rotate(shop.repository, "mirrors", shop.keys)
    with pytest.raises(UsageError, match="'abc' is no root key") as caught:
        rotate(shop.repository, "root", shop.keys, Change(revoke=("abc",)))
    assert "they are: " in caught.value.__notes__[0]
    with pytest.raises(UsageError, match="4 of 3 root keys cannot sign"):
        rotate(shop.repository, "root", shop.keys, Change(threshold=4))
    with pytest.raises(UsageError, match="publishing signs the others anew"):
        renew(shop.repository, "timestamp", shop.keys)
    for path in sorted((shop.keys.folder / "root").iterdir())[:2]:
        path.unlink()
    with pytest.raises(EnvironmentMissingError, match="1 of the 3 root keys"):
        rotate(shop.repository, "timestamp", shop.keys)


def test_two_publishers_at_a_time_are_kept_apart(shop: Shop) -> None:
    with Repository(shop.repository).alone(), pytest.raises(EnvironmentMissingError, match="another process"):
        publish(shop.repository, shop.keys)


ACTIONS: dict[str, Callable[[Shop], object]] = {
    "add and publish": lambda shop: shop.release("1.1", b"new content"),
    **{f"rotate {role}": lambda shop, role=role: rotate(shop.repository, role, shop.keys) for role in ROLES},  # type: ignore[misc]
    "renew targets": lambda shop: renew(shop.repository, "targets", shop.keys),
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
def test_a_publisher_that_dies_before_any_of_its_writes_leaves_a_repository_that_devices_take(
    shop: Shop, action: Callable[[Shop], object], monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    target = shop.release("1.0", first).target
    writes = 0
    for _ in range(20):
        left = writes

        def limited(path: Path, content: bytes) -> None:
            nonlocal left
            if left == 0:
                raise OSError(28, "no space")
            left -= 1
            write_durably(path, content)

        monkeypatch.setattr("edgekit.repo._metadata.write_durably", limited)
        copy = shop.again()
        try:
            action(copy)
        except OSError:
            died = True
        else:
            died = False
        monkeypatch.undo()
        assert copy.fetch(target).status == "ok"
        publish(copy.repository, copy.keys)  # and the publisher can go on
        assert copy.fetch(target, op="check").status == "ok"
        if not died:
            break
        writes += 1
    assert 0 < writes < 20


def test_readers_in_the_middle_see_the_old_or_the_new_repository(shop: Shop, first: bytes) -> None:
    target = shop.release("1.0", first).target
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for number, role in enumerate((*ROLES, *ROLES)):
                shop.release(f"1.{number + 1}", first[number:])
                rotate(shop.repository, role, shop.keys)
        except EdgeKitError as exc:
            failed.append(exc)

    publisher = threading.Thread(target=work)
    publisher.start()
    seen = []
    while publisher.is_alive():
        answer = shop.fetch(target, op="check")
        assert answer.metadata is not None
        seen.append(answer.metadata["timestamp"])
    publisher.join()
    assert not failed
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
