"""Tables, folders of sounds, functions of the user's, labels that are no class numbers, and boxes."""

import json
import uuid
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit import _data
from edgekit.errors import DataError
from edgekit_agent.preprocess import Preprocess


def table(folder: Path, text: str) -> str:
    (folder / "t.csv").write_bytes(text.encode())
    return str(folder / "t.csv")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_header_names_columns_and_label(tmp_path: Path, separator: str) -> None:
    lines = ["age,height,label", "1,2.5,0", "", "3,-4e1,1"]
    data = _data.load(table(tmp_path, "\ufeff" + "\r\n".join(lines).replace(",", separator)))
    assert data.arrays["x"].dtype == np.float32
    assert data.arrays["x"].tolist() == [[1, 2.5], [3, -40]]
    assert data.labels is not None
    assert data.labels["y"].dtype == np.int64
    assert data.labels["y"].tolist() == [0, 1]


def test_without_a_header_there_is_no_label_until_it_is_chosen(tmp_path: Path) -> None:
    spec = table(tmp_path, "1,2,0.5\n3,4,0.25\n")
    assert _data.load(spec).labels is None
    data = _data.load(spec + "[1:]", Preprocess(label=2, columns=(1,), mean=1))
    assert data.arrays["x"].tolist() == [[3]]
    assert data.labels is not None
    assert data.labels["y"].tolist() == [0.25]


@pytest.mark.parametrize(
    ("text", "how", "says"),
    [
        ("a,b\n1,two\n", {}, "line 2, column 'b' holds 'two'"),
        ("1,2\n3,x\n", {}, r"line 2, column 1 \(counted from 0\) holds 'x'"),
        ("a,b\n1,\n", {}, "holds ''"),
        ("a,b\n1,2\n3\n", {}, "line 3 has 1 cells where the first has 2"),
        ("a,b\n", {}, "no samples"),
        ("", {}, "no samples"),
        ("y\n1\n", {}, "no column but the label"),
        ("y,label,a\n1,2,3\n", {}, "several columns that may be the label: y, label"),
        ("a,b\n1,2\n", {"label": "c"}, "no column 'c'"),
        ("1,2\n", {"columns": (2,)}, "no column 2"),
        ("a,b\n1,2\n", {"std": (1, 2, 3)}, "'std' is not one number or one for each of 2 columns"),
        ('"a,b\n1,2\n', {}, "no table of text"),
    ],
)
def test_a_wrong_table_names_line_and_column(tmp_path: Path, text: str, how: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        _data.load(table(tmp_path, text), Preprocess(**how))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="no table of text"):
        _data.load(str(tmp_path / "t.csv"))


def test_a_table_larger_than_the_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("wb") as file:
        file.truncate(1 << 43)
    with pytest.raises(DataError, match="bytes of memory"):
        _data.load(str(tmp_path / "t.csv"))


def sound(path: Path, values: Any, rate: int = 8000) -> None:
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((np.asarray(values) * 2**15).astype("<i2").tobytes())


def test_a_folder_of_sounds_has_its_sub_folders_as_classes(tmp_path: Path) -> None:
    sound(tmp_path / "yes" / "a.wav", [0.5, -0.5])
    sound(tmp_path / "no" / "b.WAV", [0.25, 0])
    data = _data.load(str(tmp_path))
    assert data.classes == ("no", "yes")
    assert data.arrays["x"].tolist() == [[0.25, 0], [0.5, -0.5]]
    assert data.labels is not None
    assert data.labels["y"].tolist() == [0, 1]
    assert _data.load(str(tmp_path / "yes" / "a.wav")).arrays["x"].tolist() == [[0.5, -0.5]]


def test_sounds_of_several_lengths_or_rates_say_what_to_ask_for(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", [0.5, -0.5, 0])
    sound(tmp_path / "b.wav", [0.25])
    with pytest.raises(DataError, match="has shape") as caught:
        _data.load(str(tmp_path))
    assert "length=" in caught.value.__notes__[0]
    sound(tmp_path / "b.wav", [0.25, 0, 0], rate=16000)
    with pytest.raises(DataError, match=r"16000 samples a second where .* has 8000") as caught:
        _data.load(str(tmp_path))
    assert "rate=" in caught.value.__notes__[0]
    data = _data.load(str(tmp_path), Preprocess(rate=16000, length=4))
    assert data.arrays["x"].shape == (2, 4)


def test_a_truncated_sound_and_a_mixed_folder_are_refused(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", np.zeros(100))
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:100])
    with pytest.raises(DataError, match="ends before"):
        _data.load(str(tmp_path))
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(DataError, match="both sounds"):
        _data.load(str(tmp_path))


@pytest.fixture
def function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a module of the user's into the current folder; return what makes its name."""
    monkeypatch.chdir(tmp_path)

    def write(body: str) -> str:
        module = f"users_{uuid.uuid4().hex}"
        (tmp_path / f"{module}.py").write_text(f"import numpy as np\n{body}\n")
        return module

    return write


def test_a_function_returns_what_an_npz_holds(function: Any, capsys: pytest.CaptureFixture[str]) -> None:
    module = function("def f():\n    print('noise')\n    return {'x': np.ones((4, 2)), 'y': [0, 1, 2, 3]}")
    data = _data.load(f"{module}:f[1:3]")
    assert data.arrays["x"].shape == (2, 2)
    assert data.labels is not None
    assert data.labels["y"].tolist() == [1, 2]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("cut", "labels"), [("[0:3]", [0, 1, 2]), ("[2:4]", [2, 3])], ids=["from the start", "from the middle"]
)
def test_of_an_endless_function_only_the_slice_is_taken(function: Any, cut: str, labels: list[int]) -> None:
    module = function("def f():\n    n = 0\n    while True:\n        yield np.full(3, n), n\n        n += 1")
    data = _data.load(f"{module}:f{cut}")
    assert data.labels is not None
    assert data.labels["y"].tolist() == labels
    assert data.arrays["x"][:, 0].tolist() == labels


def test_samples_may_have_named_inputs_labels_of_any_length_or_none(function: Any) -> None:
    module = function(
        "def named():\n    for n in range(3):\n        yield {'a': np.zeros(2), 'b': n}, "
        "{'boxes': np.ones((n, 4)), 'classes': np.zeros(n, int)}\n"
        "def bare():\n    return [np.zeros(2)] * 3\n"
    )
    data = _data.load(f"{module}:named[-2:]")
    assert {name: array.shape for name, array in data.arrays.items()} == {"a": (2, 2), "b": (2,)}
    assert data.labels is not None
    assert data.labels["y_boxes"].shape == (2, 2, 4)
    assert data.labels["y_count"].tolist() == [1, 2]
    assert _data.load(f"{module}:bare").labels is None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("def f():\n    raise KeyError('gone')", "raises KeyError: 'gone'"),
        ("def f():\n    yield np.zeros(1), 0\n    raise SystemExit(3)", "raises SystemExit"),
        ("def f():\n    return 3", "returns a int, which is no data"),
        ("def f():\n    return []", "returns no samples"),
        ("def f():\n    return [np.zeros(2), np.zeros(3)]", r"shape \(3,\) for sample 1"),
        ("def f():\n    return [{'a': 1}, {'b': 1}]", "other names for sample 1"),
        ("def f():\n    return {'x': ['a', 'b']}", "where numbers are expected"),
        ("def f(needed):\n    return {}", "raises TypeError"),
        ("f = 3", "is a int, not a function that returns data"),
        ("g = 3", "has no 'f'"),
        ("def f(:", "cannot be imported: SyntaxError"),
        ("import nowhere_to_be_found", "needs the module 'nowhere_to_be_found'"),
    ],
)
def test_what_goes_wrong_in_a_function_is_one_sentence(function: Any, body: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        _data.load(f"{function(body)}:f")


def test_the_current_folder_is_importable_no_longer_than_needed(function: Any) -> None:
    import sys

    _data.load(f"{function('def f():  return np.zeros((2, 2))')}:f")
    assert "" not in sys.path
    with pytest.raises(DataError, match="there is no module 'not_there'"):
        _data.load("not_there:f")


def test_labels_may_be_values_and_one_for_two_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((6, 2)), y=np.array([0.5, 1.5, 2.5]), y_more=np.arange(6))
    data = _data.load(f"{tmp_path}/d.npz[2:6]")
    assert data.labels is not None
    assert data.labels["y"].tolist() == [1.5, 2.5]
    assert data.labels["y_more"].tolist() == [2, 3, 4, 5]
    with pytest.raises(DataError, match="must not cut a pair"):
        _data.load(f"{tmp_path}/d.npz[1:4]")


def test_an_input_called_like_a_label_stays_an_input_without_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 2)), y_state=np.zeros((2, 3)))
    data = _data.load(f"{tmp_path}/d.npz")
    assert set(data.arrays) == {"x", "y_state"}
    assert data.labels is None


def test_labels_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 2)), y=np.array(["cat", "dog"]))
    with pytest.raises(DataError, match="no numbers"):
        _data.load(f"{tmp_path}/d.npz")


def coco(folder: Path, **changes: Any) -> Path:
    """Write two pictures of 40 x 20 (width x height), one that is not annotated, and their boxes."""
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (40, 20)).save(folder / name)
    document = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"image_id": 7, "category_id": 18, "bbox": [10, 5, 20, 10]},
            {"image_id": 7, "category_id": 3, "bbox": [0, 0, 5, 20], "iscrowd": 1},
        ],
        **changes,
    }
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def test_boxes_of_annotations_are_shares_of_the_preprocessed_picture(tmp_path: Path) -> None:
    data = _data.load(str(coco(tmp_path)), Preprocess(resize=(10, 40)))
    assert data.arrays["x"].shape == (2, 10, 40, 3)
    assert data.classes == ("car", "dog")
    labels = data.labels
    assert labels is not None
    assert labels["y_boxes"].tolist() == [[[0.25, 0.25, 0.75, 0.75], [0, 0, 0.125, 1]], [[0] * 4] * 2]
    assert labels["y_classes"][0].tolist() == [1, 0]
    assert labels["y_crowd"][0].tolist() == [0, 1]
    assert labels["y_count"].tolist() == [2, 0]
    assert labels["y_size"].tolist() == [[10, 40]] * 2


def test_a_crop_cuts_boxes_and_drops_what_is_outside(tmp_path: Path) -> None:
    data = _data.load(str(coco(tmp_path)), Preprocess(resize=40, crop=40))
    labels = data.labels
    assert labels is not None
    # resized to 80 x 40, cut from 20 to 60: the box of 20..60 fills it, the crowd of 0..10 is gone
    assert labels["y_count"].tolist() == [1, 0]
    assert labels["y_boxes"][0].tolist() == [[0, 0.25, 1, 0.75]]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"categories": []}, "not of the COCO form"),
        ({"annotations": [{"image_id": 99, "category_id": 3, "bbox": [0, 0, 1, 1]}]}, "not of the COCO form"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 1]}]}, "not of the COCO form"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 1, float("nan")]}]}, "not finite"),
        ({"images": [], "annotations": []}, "names no image"),
        ({"images": 3}, "not of the COCO form"),
    ],
)
def test_wrong_annotations_are_one_sentence(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        _data.load(str(coco(tmp_path, **changes)))


def test_annotations_that_are_no_json_are_refused(tmp_path: Path) -> None:
    (coco(tmp_path) / "annotations.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        _data.load(str(tmp_path))
