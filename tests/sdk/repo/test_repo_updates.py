"""A device follows a repository: over HTTP and from a folder, with what it has, and through new keys."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgekit.repo import ROLES, Change, init, publish, renew, rotate
from edgekit_agent.fetch.blobs import BlobStore
from edgekit_agent.protocol import BlockIndex, Reason
from tests.sdk.repo.shop import Shop


def _blocks(repository: Path, sha256: str) -> list[bytes]:
    return [block.sha256 for block in BlockIndex.from_bytes((repository / "blocks" / sha256).read_bytes())]


def test_what_is_added_is_seen_after_it_is_published_and_not_before(shop: Shop, first: bytes) -> None:
    target = shop.add("1.0", first).target
    shop.refused(target, Reason.TARGET_UNKNOWN)
    publish(shop.repository, shop.keys)
    answer = shop.fetch(target)
    assert shop.content(answer) == first
    assert answer.metadata == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2}
    assert answer.release is not None
    assert (answer.release.model, answer.release.version, answer.release.release_counter) == ("kws", "1.0", 1)


def test_a_check_downloads_nothing_and_a_second_fetch_neither(served: Shop, first: bytes) -> None:
    target = served.release("1.0", first).target
    checked = served.fetch(target, op="check")
    assert (checked.path, checked.length, checked.fetched_bytes) == (None, len(first), 0)
    assert served.fetch(target).fetched_bytes == len(first)
    again = served.fetch(target)
    assert (again.fetched_bytes, served.content(again)) == (0, first)


@pytest.mark.parametrize("way", ["http", "folder"])
def test_an_update_downloads_the_blocks_that_changed_and_no_others(
    request: pytest.FixtureRequest, way: str, first: bytes, second: bytes
) -> None:
    shop: Shop = request.getfixturevalue("served" if way == "http" else "shop")
    old, new = shop.add("1.0", first), shop.add("1.1", second)
    publish(shop.repository, shop.keys)
    shop.fetch(old.target)
    answer = shop.fetch(new.target)
    before = _blocks(shop.repository, old.release.blocks.sha256)
    after = _blocks(shop.repository, new.release.blocks.sha256)
    changed = [block for block in after if block not in before]
    assert answer.blocks is not None
    assert answer.blocks.fetched == len(changed)
    assert answer.blocks.reused == len(after) - len(changed)
    assert len(changed) <= 8  # two places: what they touch, and at most a few blocks until the cuts agree again
    assert answer.fetched_bytes < 60_000
    assert shop.content(answer) == second


@pytest.mark.shared_data
def test_an_update_of_a_real_int8_model_downloads_little_more_than_its_last_layer(
    served: Shop, shared_data: Path, rng: np.random.Generator
) -> None:
    old = (shared_data / "vww-mobilenet" / "vww_96_int8.tflite").read_bytes()
    new = b"labels that are new" + old[:200_000] + rng.bytes(4_000) + old[204_000:]
    served.fetch(served.release("1.0", old).target)
    answer = served.fetch(served.release("1.1", new).target)
    assert served.content(answer) == new
    assert answer.blocks is not None
    assert answer.blocks.fetched <= 16  # of about 60, and 4,000 bytes lie in at most 4 of the smallest
    assert answer.fetched_bytes < len(new) / 4


def test_a_damaged_block_of_the_installed_version_is_downloaded_instead(shop: Shop, first: bytes) -> None:
    old, new = shop.add("1.0", first), shop.add("1.1", first + b"more")
    publish(shop.repository, shop.keys)
    path = Path(str(shop.fetch(old.target).path))
    path.chmod(0o644)
    path.write_bytes(first[:1000] + b"\0" + first[1001:])
    answer = shop.fetch(new.target)
    assert shop.content(answer) == first + b"more"
    assert answer.blocks is not None
    assert answer.blocks.fetched == 2  # the damaged one and the last


def test_an_installed_target_that_was_damaged_is_put_right(shop: Shop, first: bytes) -> None:
    target = shop.release("1.0", first).target
    path = Path(str(shop.fetch(target).path))
    path.chmod(0o644)
    path.write_bytes(b"x" + first[1:])
    answer = shop.fetch(target)
    assert shop.content(answer) == first


def test_installed_targets_are_read_only_and_others_are_removed_on_demand(shop: Shop, first: bytes) -> None:
    old, new = shop.add("1.0", first), shop.add("1.1", first[::-1])
    publish(shop.repository, shop.keys)
    answers = [shop.fetch(one.target) for one in (old, new)]
    assert all(Path(str(one.path)).stat().st_mode & 0o777 == 0o444 for one in answers)
    assert BlobStore(shop.store).keep_only({new.sha256}) == [old.sha256]
    assert not Path(str(answers[0].path)).exists()
    assert shop.content(answers[1]) == first[::-1]


def test_an_empty_bundle_is_a_target_too(served: Shop) -> None:
    assert served.content(served.fetch(served.release("1.0", b"").target)) == b""


@pytest.mark.parametrize("role", ROLES)
def test_a_device_follows_new_keys_of_every_role(shop: Shop, role: str, first: bytes, second: bytes) -> None:
    shop.fetch(shop.release("1.0", first).target)
    rotated = rotate(shop.repository, role, shop.keys)
    assert len(rotated.new) == len(rotated.revoked) > 0
    answer = shop.fetch(shop.release("1.1", second).target)
    assert shop.content(answer) == second
    assert answer.metadata is not None
    assert answer.metadata["root"] == 2


def test_a_device_that_slept_follows_a_chain_of_roots_from_its_pinned_one(shop: Shop, first: bytes) -> None:
    for role in (*ROLES, *ROLES):
        rotate(shop.repository, role, shop.keys)
    renew(shop.repository, "root", shop.keys)
    renew(shop.repository, "targets", shop.keys)
    answer = shop.fetch(shop.release("1.0", first).target)
    assert answer.metadata is not None
    assert answer.metadata["root"] == 1 + 2 * len(ROLES) + 1


def test_one_key_of_several_is_replaced_and_the_threshold_changed(shop: Shop, first: bytes) -> None:
    target = shop.release("1.0", first).target
    keyid = rotate(shop.repository, "root", shop.keys, Change(threshold=3)).new[0]
    rotated = rotate(shop.repository, "root", shop.keys, Change(revoke=(keyid,), count=2))
    assert (rotated.revoked, len(rotated.new), len(rotated.kept), rotated.threshold) == ((keyid,), 2, 2, 3)
    assert shop.content(shop.fetch(target)) == first


def test_keys_that_are_lost_can_be_replaced(shop: Shop, first: bytes) -> None:
    target = shop.release("1.0", first).target
    for role in ("timestamp", "snapshot", "targets"):
        shutil.rmtree(shop.keys.folder / role)
        rotate(shop.repository, role, shop.keys)
    assert shop.content(shop.fetch(target)) == first


def test_a_device_set_up_with_another_repositorys_root_begins_anew(shop: Shop, first: bytes) -> None:
    shop.fetch(shop.release("1.0", first).target)
    other = shop.again()
    shutil.rmtree(other.repository)
    shutil.rmtree(other.keys.folder)
    init(other.repository, other.keys)
    target = other.release("9.0", first).target
    other.refused(target, Reason.METADATA_UNSIGNED)
    shutil.copy(other.repository / "metadata" / "1.root.json", other.store / "trust" / "root.json")
    assert other.content(other.fetch(target)) == first


def test_a_damaged_record_of_what_was_seen_does_not_end_updates(shop: Shop, first: bytes, second: bytes) -> None:
    shop.fetch(shop.release("1.0", first).target)
    for damage in (b"", b"{", b"[]", b'{"schema":1}', b"\xff\xfe"):
        (shop.store / "trust" / "seen.json").write_bytes(damage)
        assert shop.content(shop.fetch(shop.release("1.1", second).target)) == second
