"""Broken OpenVINO IR files: the text of a small whole one, changed by element, by number and by byte."""

import importlib
import re
from collections.abc import Iterator

import numpy as np

byte_mutants = importlib.import_module("byte_mutants")  # it lies beside this file, which is no package

Random = np.random.Generator
SAMPLE = (4,)
"""The shape of what the first source takes one of."""
BESIDE = (".bin", np.random.default_rng(1).normal(size=20).astype(np.float32).tobytes())
"""What lies beside every mutant: the weights."""

_SOUND = """<?xml version="1.0"?>
<net name="m" version="11">
<layers>
<layer id="0" name="x" type="Parameter" version="opset1"><data shape="1,4" element_type="f32"/>
<output><port id="0" precision="FP32" names="x"><dim>1</dim><dim>4</dim></port></output></layer>
<layer id="1" name="w" type="Const" version="opset1"><data element_type="f32" shape="4,4" offset="0" size="64"/>
<output><port id="0" precision="FP32"><dim>4</dim><dim>4</dim></port></output></layer>
<layer id="2" name="dense" type="MatMul" version="opset1"><data transpose_a="false" transpose_b="true"/>
<input><port id="0" precision="FP32"><dim>1</dim><dim>4</dim></port>
<port id="1" precision="FP32"><dim>4</dim><dim>4</dim></port></input>
<output><port id="2" precision="FP32"><dim>1</dim><dim>4</dim></port></output></layer>
<layer id="3" name="b" type="Const" version="opset1"><data element_type="f32" shape="1,4" offset="64" size="16"/>
<output><port id="0" precision="FP32"><dim>1</dim><dim>4</dim></port></output></layer>
<layer id="4" name="sum" type="Add" version="opset1"><data auto_broadcast="numpy"/>
<input><port id="0" precision="FP32"><dim>1</dim><dim>4</dim></port>
<port id="1" precision="FP32"><dim>1</dim><dim>4</dim></port></input>
<output><port id="2" precision="FP32" names="y"><dim>1</dim><dim>4</dim></port></output></layer>
<layer id="5" name="end" type="Result" version="opset1"><input><port id="0" precision="FP32"><dim>1</dim><dim>4</dim>
</port></input></layer>
</layers>
<edges>
<edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
<edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
<edge from-layer="2" from-port="2" to-layer="4" to-port="0"/>
<edge from-layer="3" from-port="0" to-layer="4" to-port="1"/>
<edge from-layer="4" from-port="2" to-layer="5" to-port="0"/>
</edges>
</net>
"""
_NUMBERS = ("0", "-1", "3", "65", "2147483647", "4294967296", "9223372036854775807", "99999999999999999999", "x", "")
_TYPES = ("Relu", "Convolution", "Const", "Parameter", "Result", "If", "Loop", "TensorIterator", "Reshape", "None")


def sources(more: list[bytes]) -> list[bytes]:
    """Return the sound text, and those given."""
    return [_SOUND.encode(), *more]


def mutants(seed: int, count: int, more: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of broken texts: entities inside entities first, then changes in turn."""
    rng, whole = np.random.default_rng(seed), sources(more)
    yield "0-entities", _with_entities(12)
    yield "1-file", _with_head('<!DOCTYPE net [<!ENTITY e SYSTEM "file:///etc/passwd">]>')
    for number in range(2, count):
        data = whole[int(rng.integers(len(whole)))]
        change = (_number, _element, _kind, _byte)[number % 4]
        yield f"{number}-{change.__name__.strip('_')}", change(rng, data)


def _with_head(head: str) -> bytes:
    return _SOUND.replace("?>\n", f"?>\n{head}\n").replace('name="dense"', 'name="&e;"').encode()


def _with_entities(depth: int) -> bytes:
    """Return a text whose one name is 10 to the power of `depth` times as long as it is written."""
    lines = ['<!ENTITY e0 "again">', *(f'<!ENTITY e{at} "{f"&e{at - 1};" * 10}">' for at in range(1, depth))]
    return _with_head(f"<!DOCTYPE net [{''.join(lines)}<!ENTITY e '&e{depth - 1};'>]>")


def _number(rng: Random, data: bytes) -> bytes:
    """Make a number another one: sizes, offsets, the ends of edges."""
    found = list(re.finditer(rb"(?<=[\">,])\d+(?=[\"<,])", data))
    chosen = found[int(rng.integers(len(found)))]
    number = _NUMBERS[int(rng.integers(len(_NUMBERS)))].encode()
    return data[: chosen.start()] + number + data[chosen.end() :]


def _element(rng: Random, data: bytes) -> bytes:
    """Take an element away, or have it twice."""
    found = list(re.finditer(rb"<(layer|edge|port|dim|data)\b.*?(/>|</\1>)", data, re.DOTALL))
    chosen = found[int(rng.integers(len(found)))]
    return data[: chosen.start()] + chosen.group() * int(rng.choice([0, 2])) + data[chosen.end() :]


def _kind(rng: Random, data: bytes) -> bytes:
    """Make a layer one of another kind, whose attributes these are not."""
    found = list(re.finditer(rb'(?<=type=")\w+', data))
    chosen = found[int(rng.integers(len(found)))]
    return data[: chosen.start()] + _TYPES[int(rng.integers(len(_TYPES)))].encode() + data[chosen.end() :]


def _byte(rng: Random, data: bytes) -> bytes:
    changed: bytes = byte_mutants.CHANGES[int(rng.integers(len(byte_mutants.CHANGES)))](rng, data)
    return changed
