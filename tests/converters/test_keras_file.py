"""What a Keras file may say, without any framework."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.frontends.keras_file import read_archive


def archive(path: Path, *layers: dict[str, Any], version: str = "3.15.1") -> Path:
    config = {"class_name": "Sequential", "module": "keras", "config": {"name": "net", "layers": list(layers)}}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(config))
        file.writestr("metadata.json", json.dumps({"keras_version": version}))
    return path


def layer(class_name: str, **more: object) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": "one"}, **more}


def test_generation_is_the_files_own_word(tmp_path: Path) -> None:
    assert read_archive(archive(tmp_path / "a.keras", layer("Dense", module="keras.layers"))).generation == 3
    assert read_archive(archive(tmp_path / "b.keras", layer("Dense"), version="2.15.0")).generation == 2
    assert read_archive(archive(tmp_path / "c.keras", layer("Dense"), version="")).generation is None


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (layer("Lambda"), "layer 'one' is a Lambda layer.*Python code"),
        (layer("TimeDistributed", inner=layer("Lambda")), "Lambda"),
        (layer("Dense", config={"name": "d", "activation": {"class_name": "__lambda__"}}), "__lambda__"),
        (layer("TorchModuleWrapper", module="keras.layers"), "pickle"),
        (layer("TFSMLayer", module="keras.layers"), "another model"),
        (layer("Popen", module="subprocess"), "custom object 'subprocess.Popen'"),
        (layer("get_file", module="keras.utils"), r"keras\.utils\.get_file"),
        (layer("ConvNeXtTiny", module="keras.src.applications.convnext"), r"convnext\.ConvNeXtTiny"),
        (layer("function", module="builtins", config="exec"), r"builtins\.function"),
        (layer("Mine", module="keras.layers", registered_name="Package>Mine"), "Package>Mine"),
        (layer("TFOpLambda", config={"name": "op", "function": "io.write_file"}), r"tf\.io\.write_file"),
        (layer("TFOpLambda", config={"name": "op", "function": "load_library"}), r"tf\.load_library"),
        (layer("TFOpLambda", config={"name": "op", "function": "raw_ops.WriteFile"}), "WriteFile"),
    ],
)
def test_code_is_refused_wherever_it_stands(tmp_path: Path, bad: dict[str, Any], says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        read_archive(archive(tmp_path / "m.keras", layer("Dense", module="keras.layers"), bad))


@pytest.mark.parametrize(
    "good",
    [
        layer("Functional", module="keras.src.models.functional"),
        layer("Functional", module="keras.src.engine.functional", registered_name="Functional"),
        layer("function", module="builtins", config="relu"),
        layer("LayerScale", module="keras.src.applications.convnext", registered_name="LayerScale"),
        layer("TFOpLambda", config={"name": "op", "function": "math.add"}),
        layer("TFOpLambda", config={"name": "op", "function": "compat.v1.transpose"}),
    ],
)
def test_what_keras_itself_writes_is_read(tmp_path: Path, good: dict[str, Any]) -> None:
    assert read_archive(archive(tmp_path / "m.keras", good)).config["class_name"] == "Sequential"


def test_damaged_archives_are_one_sentence(tmp_path: Path) -> None:
    whole = archive(tmp_path / "m.keras", layer("Dense")).read_bytes()
    (tmp_path / "cut.keras").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        read_archive(tmp_path / "cut.keras")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as file:
        file.writestr("readme", "hello")
    with pytest.raises(ModelFileError, match=r"no config\.json"):
        read_archive(tmp_path / "other.keras")
    with zipfile.ZipFile(tmp_path / "deep.keras", "w") as file:
        file.writestr("config.json", "[" * 100_000)
        file.writestr("metadata.json", "{}")
    with pytest.raises(ModelFileError, match="damaged"):
        read_archive(tmp_path / "deep.keras")
    with zipfile.ZipFile(tmp_path / "words.keras", "w") as file:
        file.writestr("config.json", "not json")
        file.writestr("metadata.json", "nor this")
    with pytest.raises(ModelFileError, match="damaged"):
        read_archive(tmp_path / "words.keras")
