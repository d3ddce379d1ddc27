"""`edgekit pack` and `edgekit unpack`: sizes printed beside other packers', and refusals with exit code 3."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.cli import main


def _run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["edgekit", *words])
    with pytest.raises(SystemExit) as end:
        main.main()
    return int(end.value.code or 0)


def _ir(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    (folder / "net.xml").write_text("<net/>" * 100)
    (folder / "net.bin").write_bytes(rng.choice(np.array([-1.5, 0, 0.25, 3], np.float32), 20_000).tobytes())
    return folder / "net.xml"


def test_an_ir_goes_with_its_weights_and_comes_back_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    xml = _ir(tmp_path)
    assert _run(monkeypatch, "pack", str(xml), "-o", str(tmp_path / "net.ekpk"), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["files"] == ["net.xml", "net.bin"]
    assert said["at_rest_bytes"] == 80_600
    assert said["packed_bytes"] == (tmp_path / "net.ekpk").stat().st_size < said["xz_bytes"] < said["gzip_bytes"]
    assert _run(monkeypatch, "unpack", str(tmp_path / "net.ekpk"), "-o", str(tmp_path / "out")) == 0
    for name in said["files"]:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_sizes_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(monkeypatch, "pack", str(_ir(tmp_path))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1].strip() for line in lines[1:]] == ["at rest", "packed", "gzip -9", "xz -9"]
    assert (tmp_path / "net.xml.ekpk").exists()


def test_broken_missing_and_foreign_files_end_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = edgekit.pack(_ir(tmp_path)).path
    cut = tmp_path / "cut.ekpk"
    cut.write_bytes(packed.read_bytes()[:-3])
    assert _run(monkeypatch, "unpack", str(cut)) == 3
    assert _run(monkeypatch, "unpack", str(tmp_path / "none.ekpk")) == 3
    assert _run(monkeypatch, "unpack", str(tmp_path / "net.xml")) == 3
    assert _run(monkeypatch, "pack", str(tmp_path / "none.tflite")) == 3
    assert _run(monkeypatch, "pack", str(packed), "-o", str(packed)) == 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("error: ") for line in lines)
