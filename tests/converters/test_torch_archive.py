"""What PyTorch's archives may hold, without PyTorch."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.frontends.torch_archive import check_exported, check_script

TREE = json.dumps([1, {"type": "builtins.tuple", "context": "null", "children_spec": [{"type": None}]}])


def exported(path: Path, **more: Any) -> Path:
    """Write an archive of one node, with parts replaced."""
    node = {"target": "torch.ops.aten.relu.default", "name": "relu", "inputs": [], "outputs": []}
    size = {"as_expr": {"expr_str": "Mul(Integer(2), Symbol('s0', positive=True, integer=True))"}}
    tree = {"in_spec": more.pop("in_spec", TREE), "out_spec": ""}
    described = {"nodes": [{**node, **more.pop("node", {})}], "sizes": [size], "tree": tree, **more}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/models/model.json", json.dumps(described))
    return path


def test_plain_computation_passes(tmp_path: Path) -> None:
    check_exported(exported(tmp_path / "m.pt2"))
    check_exported(exported(tmp_path / "m.pt2", node={"target": "_operator.mul"}))
    check_exported(exported(tmp_path / "m.pt2", expr_str="4*s0 + Max(2, s1) - 1"))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"node": {"target": "torch.serialization.os.system"}}, "op 'torch.serialization.os.system'"),
        ({"node": {"target": "torch.ops.aten.from_file.default"}}, "op 'torch.ops.aten.from_file.default'"),
        ({"node": {"target": "torch.ops.mine.op.default"}}, "none of PyTorch's own"),
        ({"node": {"target": "torch.load"}}, "op 'torch.load'"),
        ({"node": {"name": "x\nimport os"}}, "no name of a value"),
        ({"expr_str": "__import__('os').system('true')"}, "more than arithmetic"),
        ({"expr_str": "exec('x')"}, "more than arithmetic"),
        ({"expr_str": "[x for x in ()]"}, "more than arithmetic"),
        ({"expr_str": "Symbol('import os')"}, "more than arithmetic"),
        ({"expr_str": "S.__class__"}, "more than arithmetic"),
        (
            {"in_spec": json.dumps([1, {"type": "collections.defaultdict", "context": "{}"}])},
            "'collections.defaultdict'",
        ),
        ({"in_spec": json.dumps([1, {"type": None, "context": '{"__enum__": true}'}])}, "not a tensor"),
        ({"as_custom_obj": {"name": "x"}}, "custom object"),
    ],
)
def test_whatever_would_run_code_is_refused(tmp_path: Path, more: dict[str, Any], says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        check_exported(exported(tmp_path / "m.pt2", **more))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("net/models/model.json", b"{", "is damaged"),
        ("net/models/model.json", b"[" * 100_000, "is damaged"),
        ("net/models/model.json", b'{"expr_str": "1 +"}', "size expression"),
        ("net/models/model.json", b'{"in_spec": "["}', "nesting"),
        ("net/other.json", b"{}", "holds no exported program"),
    ],
)
def test_damaged_descriptions_are_one_sentence(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt2", "w") as archive:
        archive.writestr(name, content)
    with pytest.raises(ModelFileError, match=says):
        check_exported(tmp_path / "m.pt2")


def test_machine_code_and_truncated_archives_are_refused(tmp_path: Path) -> None:
    whole = exported(tmp_path / "m.pt2").read_bytes()
    (tmp_path / "cut.pt2").write_bytes(whole[:-10])
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        check_exported(tmp_path / "cut.pt2")
    with zipfile.ZipFile(tmp_path / "so.pt2", "w") as archive:
        archive.writestr("net/data/aotinductor/model/a.so", b"")
    with pytest.raises(UnsupportedError, match="machine code"):
        check_exported(tmp_path / "so.pt2")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("torch.save(x, 'file')", "op 'save'.*reaches outside"),
        ("_0 = torch.from_file('file', True, 10)", "op 'from_file'"),
        ("_0 = ops.aten.save(x, 'file')", "op 'save'"),
        ("_0 = ops.torchvision.nms(x, y, 0.5)", "op 'torchvision::nms'.*none of PyTorch's own"),
    ],
)
def test_script_that_reaches_outside_is_refused(tmp_path: Path, line: str, says: str) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("net/code/__torch__.py", f"def forward(self, x):\n  {line}\n  return x\n")
    with pytest.raises(UnsupportedError, match=says):
        check_script(tmp_path / "m.pt")


def test_script_of_pytorchs_own_operators_passes(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("net/code/__torch__.py", "ops.prim.RaiseException('x')\n_0 = torch.relu(x)\n")
    check_script(tmp_path / "m.pt")
