"""Tiles in a static int8 TFLite: the grids are those without tiles, nothing is rescaled where tiles are joined."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import tflite_file
from edgekit_converters.backends.tflite_tiles import same_layers, tie
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.tile_rewrite import rewrite
from edgekit_converters.compress.tile_segment import segments, steps
from tests.converters.compress.image_nets import Stack


def net() -> Stack:
    stack = Stack(2, 3, (16, 16), batch=1)
    stack.conv(4, (3, 3), pads=[1, 1, 1, 1])
    before = stack.add("Relu")
    side = stack.conv(4, (3, 3), pads=[1, 1, 1, 1])
    stack.add("Add", side, before)
    stack.conv(8, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
    return stack


def tiled(proto: Any, grid: tuple[int, int]) -> Any:
    import onnx_ir as ir

    model = ir.serde.deserialize_model(proto)
    infer_shapes(model)
    found, _ = segments(list(model.graph), model.graph.inputs[0])
    rewrite(model, found[-1], steps(found[-1], grid))
    return ir.serde.serialize_model(model)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tflite_file.TFLiteFile]:
    """The net with and without tiles as int8, and the tiled one as float, converted once."""
    import onnx

    import edgekit

    pytest.importorskip("ai_edge_quantizer")
    work, stack = tmp_path_factory.mktemp("tiles"), net()
    np.savez(work / "calib.npz", x=stack.rng.normal(size=(16, 3, 16, 16)).astype(np.float32))
    found = {}
    for name, proto in (("plain", stack.proto()), ("tiled", tiled(stack.proto(), (2, 2)))):
        onnx.save(proto, work / f"{name}.onnx")
        options = edgekit.ConvertOptions(
            to=("tflite",), precisions=("fp32", "int8"), calib=str(work / "calib.npz"), bench=False
        )
        edgekit.convert(work / f"{name}.onnx", options, work / name)
        for precision in ("fp32", "int8"):
            path = Path(work, name, "models", f"{name}.{precision}.tflite")
            found[f"{name}.{precision}"] = tflite_file.read(path)
    return found


def grids(file: tflite_file.TFLiteFile, op: str) -> set[tuple[float, int]]:
    made = (op_.outputs[0] for op_ in file.ops if op_.name == op)
    known = (one.quantization for one in made if one is not None)
    return {(round(one.scale[0], 9), one.zero_point[0]) for one in known if one is not None}


@pytest.mark.slow
def test_every_layer_is_stored_on_the_grid_it_has_without_tiles(files: dict[str, tflite_file.TFLiteFile]) -> None:
    for op in ("CONV_2D", "ADD"):
        assert grids(files["tiled.int8"], op) == grids(files["plain.int8"], op)


@pytest.mark.slow
def test_nothing_is_rescaled_and_weights_are_stored_once(files: dict[str, tflite_file.TFLiteFile]) -> None:
    before, after = (Counter(op.name for op in files[name].ops) for name in ("plain.int8", "tiled.int8"))
    assert after["QUANTIZE"] == before["QUANTIZE"]
    assert after["CONV_2D"] == 4 * before["CONV_2D"]
    assert files["tiled.int8"].parameters == files["plain.int8"].parameters


@pytest.mark.slow
def test_parts_of_a_layer_are_known_by_what_computes_them(files: dict[str, tflite_file.TFLiteFile]) -> None:
    sizes = [len(names) for names in same_layers(files["tiled.fp32"].main)]
    assert len(sizes) == 4  # three convolutions and a sum
    assert min(sizes) >= 4
    # a layer and its padded copy are one too
    assert all(len(names) <= 2 for names in same_layers(files["plain.fp32"].main))


def tensor(index: int, *, shape: tuple[int, ...] = (1, 4, 4, 2), stored: bool = False) -> tflite_file.Tensor:
    return tflite_file.Tensor(
        index=index,
        name=f"t{index}",
        shape=shape,
        stored_shape=shape,
        dtype="float32",
        quantization=None,
        buffer=index + 1,
        data_bytes=4 if stored else 0,
    )


def graph(*ops: tuple[str, tuple[int, ...], int]) -> tflite_file.Subgraph:
    """Tensors from 100 on are stored."""
    made = tuple(
        tflite_file.Op(
            index=at,
            name=name,
            inputs=tuple(tensor(one, stored=one >= 100) for one in given),
            outputs=(tensor(out),),
            macs=None,
        )
        for at, (name, given, out) in enumerate(ops)
    )
    return tflite_file.Subgraph(name="main", tensors=(), ops=made, inputs=(0,), outputs=(9,))


def test_two_halves_worked_on_alike_without_weights_are_no_parts() -> None:
    halves = graph(
        ("CONV_2D", (0, 100), 1), ("SLICE", (1, 101), 2), ("SLICE", (1, 102), 3), ("TANH", (2,), 4), ("TANH", (3,), 5)
    )
    assert same_layers(halves) == []


def test_the_same_weights_on_other_values_are_another_layer() -> None:
    twins = graph(("RELU", (0,), 1), ("CONV_2D", (0, 100), 2), ("CONV_2D", (1, 100), 3))
    assert same_layers(twins) == []
    parts = graph(
        ("SLICE", (0, 101), 1), ("CONV_2D", (0, 100), 2), ("CONV_2D", (1, 100), 3), ("CONCATENATION", (2, 3), 4)
    )
    assert same_layers(parts) == [["t2", "t3", "t4"]]


def test_parts_get_the_range_of_all_of_them() -> None:
    parts = graph(("SLICE", (0, 101), 1), ("CONV_2D", (0, 100), 2), ("CONV_2D", (1, 100), 3))
    statistics = {
        name: {"min": np.array([[low]], np.float32), "max": np.array([[high]], np.float32)}
        for name, low, high in (("t1", -9, 9), ("t2", -1, 2), ("t3", -3, 1))
    }
    tie(statistics, parts)
    assert {name: (one["min"].item(), one["max"].item()) for name, one in statistics.items()} == {
        "t1": (-9, 9),
        "t2": (-3, 2),
        "t3": (-3, 2),
    }
