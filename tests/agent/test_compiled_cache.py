"""What runtimes have compiled, kept on the disk: used when whole, never in a model's way when not."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_agent import compiled_cache, feeds, runtimes
from edgekit_agent.compiled_cache import folder_for, trim, used
from edgekit_agent.errors import InputDataError, ModelError
from edgekit_agent.runtimes.base import LoadOptions, Session

BLOB = b"compiled" * 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what one load has left."""
    made = folder_for(tmp_path, "sha256:1", "openvino 1", "CPU")
    with used(made) as cache:
        (cache / "a.blob").write_bytes(BLOB)
    return made


def kept(folder: Path) -> bool:
    with used(folder) as cache:
        return (cache / "a.blob").is_file()


def test_the_next_load_gets_what_the_last_one_left(folder: Path) -> None:
    assert kept(folder)
    assert kept(folder)


def test_other_models_runtimes_and_devices_have_folders_of_their_own(tmp_path: Path) -> None:
    keys = [("a", "b", "c"), ("a", "b", "d"), ("a", "bc"), ("ab", "c")]
    assert len({folder_for(tmp_path, *key) for key in keys}) == len(keys)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "a.blob").write_bytes(b""),
        lambda folder: (folder / "a.blob").write_bytes(BLOB[:-1]),
        lambda folder: (folder / "a.blob").write_bytes(b"x" + BLOB[1:]),
        lambda folder: (folder / "b.blob").write_bytes(b"of somebody else"),
        lambda folder: (folder / "digests.json").unlink(),
        lambda folder: (folder / "digests.json").write_bytes(b'{"a.blob": '),
        lambda folder: (folder / "digests.json").write_bytes(b"[" * 100_000),
        lambda folder: (folder / "loading").touch(),
    ],
    ids=["emptied", "cut", "a bit", "a stranger", "no digests", "half of them", "deep digests", "a load that crashed"],
)
def test_what_is_not_whole_is_thrown_away(folder: Path, damage: "object") -> None:
    damage(folder)  # type: ignore[operator]  # the functions above
    assert not kept(folder)
    assert sorted(one.name for one in folder.iterdir()) == ["digests.json", "lock"]


def test_a_load_that_raises_leaves_it_empty(folder: Path) -> None:
    with pytest.raises(RuntimeError), used(folder):
        raise RuntimeError
    assert not kept(folder)


def test_a_process_that_dies_in_the_load_leaves_it_to_the_next_which_begins_anew(folder: Path) -> None:
    code = "import os, sys; from pathlib import Path; from edgekit_agent.compiled_cache import used\n"
    code += "with used(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, folder], check=False).returncode == -9
    assert not kept(folder)


def test_two_at_a_time_wait_for_each_other_and_then_go_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_cache, "WAIT_S", 0.1)
    with used(folder), pytest.raises(BlockingIOError), used(folder):
        pass
    assert kept(folder)


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    for number in range(4):
        one = tmp_path / str(number)
        one.mkdir()
        (one / "x").write_bytes(bytes(100))
        os.utime(one, (number, number))
    os.utime(tmp_path / "0", (9, 9))
    assert trim(tmp_path, 250) == ["1", "2"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["0", "3"]


@pytest.mark.slow
class TestOpenVino:
    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        pytest.importorskip("openvino", reason="needs openvino")

    def outputs(self, models: Path, cache: Path) -> tuple[list[list[float]], bool]:
        session = runtimes.get("openvino").load(models / "conv.tflite", LoadOptions(cache=cache))
        answer: list[list[float]] = session.invoke([np.ones((1, 8, 8, 3), np.float32)])[0].tolist()
        return answer, session._compiled.get_property("LOADED_FROM_CACHE")  # type: ignore[attr-defined]

    def test_a_model_comes_from_the_cache_the_second_time(self, models: Path, tmp_path: Path) -> None:
        first, second = self.outputs(models, tmp_path / "c" / "k"), self.outputs(models, tmp_path / "c" / "k")
        assert (first[1], second[1]) == (False, True)
        assert first[0] == second[0]

    @pytest.mark.parametrize("content", [b"", b"garbage" * 1000], ids=["empty", "garbage"])
    def test_a_broken_one_does_not_stop_it(self, models: Path, tmp_path: Path, content: bytes) -> None:
        cache = tmp_path / "c" / "k"
        wanted = self.outputs(models, cache)[0]
        for blob in cache.glob("*.blob"):
            blob.write_bytes(content)
        assert self.outputs(models, cache) == (wanted, False)
        assert self.outputs(models, cache) == (wanted, True)

    def test_a_folder_that_cannot_be_made_does_not_stop_it(self, models: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        assert self.outputs(models, tmp_path / "file" / "k")[1] is False


class TestXnnpackWeights:
    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")

    def load(self, model: Path, cache: Path | None, **more: Any) -> Session:
        options = LoadOptions(cache=cache, properties={"weight_cache": True}, **more)
        return runtimes.get("ai-edge-litert").load(model, options)

    @pytest.mark.parametrize("name", ["conv", "conv_int8", "dense", "two"])
    def test_it_answers_as_without_and_keeps_the_weights_for_the_next_load(
        self, models: Path, tmp_path: Path, name: str
    ) -> None:
        model, weights = models / f"{name}.tflite", tmp_path / "c" / "k" / "weights"
        plain = runtimes.get("ai-edge-litert").load(model)
        (arrays,) = feeds.synthetic(plain.inputs, 0, 1)
        wanted = [output.tolist() for output in plain.invoke(arrays)]
        marks = []
        for _ in range(3):
            session = self.load(model, tmp_path / "c" / "k")
            assert (session.inputs, session.outputs) == (plain.inputs, plain.outputs)
            assert [output.tolist() for output in session.invoke(arrays)] == wanted
            session.close()
            marks.append((weights.stat().st_ino, weights.stat().st_mtime_ns))
        assert len(set(marks)) == 1

    def test_a_broken_one_is_made_again(self, models: Path, tmp_path: Path) -> None:
        model, weights = models / "conv.tflite", tmp_path / "c" / "k" / "weights"
        self.load(model, tmp_path / "c" / "k").close()
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-8] + bytes(8))
        self.load(model, tmp_path / "c" / "k").close()
        assert weights.read_bytes() == whole

    def test_without_a_folder_it_runs_too(self, models: Path) -> None:
        (answer,) = self.load(models / "dense.tflite", None).invoke([np.ones((1, 4), np.float32)])
        assert answer.shape == (1, 3)

    @pytest.mark.parametrize(
        ("name", "more"), [("length", {}), ("dense", {"batch": 2}), ("dense", {"delegate": Path("x.so")})]
    )
    def test_what_it_cannot_is_refused(self, models: Path, name: str, more: dict[str, Any]) -> None:
        with pytest.raises(ModelError, match="weight_cache goes with"):
            self.load(models / f"{name}.tflite", None, **more)

    def test_a_wrong_input_is_refused(self, models: Path) -> None:
        with pytest.raises(InputDataError):
            self.load(models / "dense.tflite", None).invoke([np.ones((1, 5), np.float32)])
