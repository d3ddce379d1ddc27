"""The locks hold versions and hashes and no addresses."""

import re
from pathlib import Path

import pytest

LOCKS = ("host.txt", "device.txt", "tools.txt", "frameworks.txt", "torch.txt")


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_address(repository: Path, name: str) -> None:
    text = (repository / "requirements" / name).read_text()
    assert "://" not in text
    assert "--index" not in text


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_a_hash(repository: Path, name: str) -> None:
    text = (repository / "requirements" / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.match(r"[\w.-]+==\S+", line), line
        assert "--hash=sha256:" in line, line


def test_the_two_licences_are_the_same_text(repository: Path) -> None:
    assert (repository / "LICENSE").read_bytes() == (repository / "agent" / "LICENSE").read_bytes()
    assert not (repository / "agent" / "LICENSE").is_symlink()
