"""What PyTorch's archives hold, read before PyTorch sees them.

Loading a `.pt2` unpickles where its weights ask for it, evaluates its size expressions as Python, looks
operators up by any dotted name and loads shared libraries; TorchScript can write and map files. What is not
plain computation is refused here.
"""

import ast
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit_converters.errors import ModelFileError, UnsupportedError

Json = Any  # JSON of the file

_MAX_TEXT_BYTES = 256 << 20
_TARGET = re.compile(
    r"torch\.ops\.(aten|prim|prims|higher_order|quantized_decomposed)\.\w+(\.\w+)?|_operator\.[a-z]\w*|torch\.sym_\w+"
    r"|math\.[a-z]\w*"
)
_OUTSIDE_ATEN = re.compile(r"\.(save|from_file|load|set_source_|_print)(\.|$)")
_NAME = re.compile(r"[\w.]*")
_TREES = frozenset(
    {
        None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict",
        "torch.fx.immutable_collections.immutable_list", "torch.fx.immutable_collections.immutable_dict",
    }
)  # fmt: skip
_EXPRESSION = (
    ast.Expression, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Compare,
    ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip
_CLASS = re.compile(r"[A-Z]\w*")
_SCRIPT_OPS = re.compile(r"\bops\.(\w+)\.(\w+)|\btorch\.(\w+)\(")
_SCRIPT_NAMESPACES = frozenset({"aten", "prim", "prims", "quantized"})
_SCRIPT_OUTSIDE = frozenset({"save", "from_file", "load"})


def check_exported(path: Path) -> None:
    """Check that a `.pt2` archive describes computation and nothing else.

    Raises:
        ModelFileError: if it is truncated, or no exported program.
        UnsupportedError: if loading it would run code, or an operator is none of PyTorch's own.
    """
    found = False
    for name, data in _members(path, (".json",)):
        found |= "models/" in name or name.endswith("serialized_exported_program.json")
        try:
            described = json.loads(data)
        except (ValueError, RecursionError) as exc:
            raise ModelFileError(f"the description '{name}' in '{path}' is damaged") from exc
        for key, value in _walk(described):
            _check(key, value, path)
    if not found:
        raise ModelFileError(f"'{path}' holds no exported program")


def check_script(path: Path) -> None:
    """Check that the code of a TorchScript archive calls PyTorch's own operators, and none that reaches files.

    Raises:
        ModelFileError: if it is truncated.
        UnsupportedError: naming the operator otherwise.
    """
    for _, data in _members(path, (".py",)):
        for namespace, op, plain in _SCRIPT_OPS.findall(data.decode(errors="replace")):
            if (op or plain) in _SCRIPT_OUTSIDE:
                raise UnsupportedError(f"op '{op or plain}' in '{path}' reaches outside the model and is not run")
            if namespace and namespace not in _SCRIPT_NAMESPACES:
                raise UnsupportedError(f"op '{namespace}::{op}' in '{path}' is none of PyTorch's own")


def _members(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if "data/aotinductor/" in info.filename:
                    raise UnsupportedError(f"'{path}' holds compiled machine code, which is not loaded")
                if not info.filename.endswith(suffixes):
                    continue
                if info.file_size > _MAX_TEXT_BYTES:
                    raise ModelFileError(f"'{info.filename}' in '{path}' is larger than {_MAX_TEXT_BYTES >> 20} MiB")
                yield info.filename, archive.read(info)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as exc:
        raise ModelFileError(f"the archive '{path}' is truncated or damaged") from exc


def _walk(described: Json) -> Iterator[tuple[str, Json]]:
    waiting = [described]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _check(key: str, value: Json, path: Path) -> None:
    if key == "as_custom_obj" or (key == "custom_obj" and value):
        raise UnsupportedError(f"'{path}' holds a custom object, whose code is not in the file")
    if not isinstance(value, str):
        return
    if key == "target" and (not _TARGET.fullmatch(value) or _OUTSIDE_ATEN.search(value)):
        raise UnsupportedError(f"op '{value[:100]}' in '{path}' is none of PyTorch's own computations")
    if key == "expr_str":
        _check_expression(value, path)
    if key in {"in_spec", "out_spec"} and value:
        _check_tree(value, path)
    if key in {"name", "fqn"} and not _NAME.fullmatch(value):
        raise UnsupportedError(f"'{value[:100]}' in '{path}' is no name of a value")


def _check_expression(text: str, path: Path) -> None:
    """PyTorch evaluates size expressions: they may only be sums and products of named sizes."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise ModelFileError(f"the size expression '{text[:100]}' in '{path}' is damaged") from exc
    if not all(_is_arithmetic(node) for node in nodes):
        raise UnsupportedError(f"the size expression '{text[:100]}' in '{path}' is more than arithmetic")


def _is_arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and _CLASS.fullmatch(node.func.id) is not None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _NAME.fullmatch(node.value) is not None
    return isinstance(node, _EXPRESSION)


def _check_tree(text: str, path: Path) -> None:
    """The nesting of inputs and outputs may be of Python's own containers: others are looked up by name."""
    try:
        nesting = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ModelFileError(f"the nesting of inputs in '{path}' is damaged") from exc
    for key, value in _walk(nesting):
        if (key == "type" and value not in _TREES) or "__enum__" in f"{key}{value}":
            raise UnsupportedError(f"an input or output of '{path}' is a '{value}', not a tensor, tuple, list or dict")
