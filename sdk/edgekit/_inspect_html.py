"""`edgekit inspect --html`: one self-contained page with the graph drawn, the layers and the memory over the run."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from edgekit._graph_layout import layout
from edgekit._html import render
from edgekit._inspect_words import Document, alive_at_peak, grid_of, remarks, shape_of
from edgekit_converters.layers.points import CARRIERS

Path = tuple[tuple[float, int], ...]

_BOX, _GAP = (210, 58), (28, 46)  # width and height, in pixels
_CARRIERS = CARRIERS | {"Convert", "CAST", "Cast"}
_NAME_LENGTH, _OP_LENGTH = 32, 26


def to_html(document: Document) -> str:
    """Return the document of `edgekit.inspect` as a page with no reference to anything outside it."""
    return render(
        "inspect.html.j2",
        model=document,
        drawing=_drawing(document),
        chart=_chart(document),
        details=_details(document),
        alive=list(alive_at_peak(document)),
        remarks=list(remarks(document)),
        shape_of=shape_of,
        grid_of=grid_of,
    )


def _drawing(document: Document) -> dict[str, Any]:
    """Return boxes and edges in pixels: inputs, layers that depend on them, outputs as the layers they leave."""
    tensors, layers = document["tensors"], document["layers"]
    boxes: list[dict[str, Any]] = [
        {"id": f"t{at}", "op": "input", "name": tensor["name"], "kind": "input", "makes": [at], "takes": []}
        for at, tensor in enumerate(tensors)
        if tensor["kind"] == "input"
    ]
    for at, layer in enumerate(layers):
        if any(tensors[out]["kind"] != "constant" for out in layer["outputs"]):
            kind = "work" if layer["macs"] else "carrier" if layer["op"] in _CARRIERS else "plain"
            takes, makes = layer["inputs"], layer["outputs"]
            known = {"id": f"l{at}", "op": layer["op"], "name": layer["name"], "kind": kind}
            boxes.append({**known, "makes": makes, "takes": takes})
    maker = {tensor: at for at, box in enumerate(boxes) for tensor in box["makes"]}
    edges = [
        (maker[tensor], at, tensor)
        for at, box in enumerate(boxes)
        for tensor in dict.fromkeys(box["takes"])
        if tensor in maker and maker[tensor] < at
    ]
    placed = layout(len(boxes), [edge[:2] for edge in edges])
    width, height = _BOX[0] + _GAP[0], _BOX[1] + _GAP[1]
    for at, box in enumerate(boxes):
        shown = [tensors[one] for one in box["makes"]]
        box |= {
            "x": round(placed.x[at] * width),
            "y": placed.row[at] * height,
            "shape": ", ".join(f"{shape_of(one)} {one['dtype']}" for one in shown),
            "short": _short(box["name"], _NAME_LENGTH),
            "op": _short(box["op"], _OP_LENGTH),
            "output": any(one["kind"] == "output" for one in shown),
        }
    return {
        "boxes": boxes,
        "edges": _curves(placed.edges, edges, boxes, tensors),
        "width": round(placed.width * width),
        "height": max(placed.rows, 1) * height,
        "box": _BOX,
    }


def _curves(
    paths: Sequence[Path], edges: Sequence[tuple[int, int, int]], boxes: Sequence[Document], tensors: Sequence[Document]
) -> list[dict[str, Any]]:
    """Return every edge with the boxes it joins; a tensor's shape is written once, at its first edge."""
    written: set[int] = set()
    made = []
    for path, (start, end, tensor) in zip(paths, edges, strict=True):
        curve = _edge(path, tensors[tensor])
        label = "" if tensor in written else curve["label"]
        written.add(tensor)
        made.append({**curve, "label": label, "from": boxes[start]["id"], "to": boxes[end]["id"]})
    return made


def _edge(path: Path, tensor: Document) -> dict[str, Any]:
    """Return a curve from box to box through its bends, and where its label stands."""
    width, height = _BOX[0] + _GAP[0], _BOX[1] + _GAP[1]
    points = [(round(x * width + _BOX[0] / 2), row * height + _BOX[1] // 2) for x, row in path]
    points[0] = (points[0][0], points[0][1] + _BOX[1] // 2)
    points[-1] = (points[-1][0], points[-1][1] - _BOX[1] // 2)
    curve = f"M{points[0][0]} {points[0][1]}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) // 2
        curve += f"L{x1} {y1}" if x0 == x1 else f"C{x0} {middle} {x1} {middle} {x1} {y1}"
    return {
        "d": curve,
        "x": points[0][0] + 5,
        "y": points[0][1] + 16,
        "label": shape_of(tensor),
        "title": tensor["name"],
    }


def _chart(document: Document) -> dict[str, Any]:
    """Return the bars of the memory chart in percent of its height."""
    memory, layers = document["memory"], document["layers"]
    top = max(memory["arena_bytes"], memory["peak_bytes"], 1)
    peak = memory["peak"]["layer"] if memory["peak"] else None
    bars = [
        {
            "id": f"l{at}",
            "height": 100 * layer["alive_bytes"] / top,
            "bytes": layer["alive_bytes"],
            "name": layer["name"],
            "peak": at == peak,
        }
        for at, layer in enumerate(layers)
    ]
    lines = {"block": memory["arena_bytes"], "bound": memory["lower_bound_bytes"]}
    return {"bars": bars, "lines": {name: 100 * size / top for name, size in lines.items()}}


def _details(document: Document) -> dict[str, Any]:
    """Return what a click on a box shows, by its id."""
    tensors = document["tensors"]
    made = {
        f"l{at}": {
            "name": layer["name"],
            "op": layer["op"],
            "parameters": layer["parameters"],
            "macs": layer["macs"],
            "alive": layer["alive_bytes"],
            "inputs": [_tensor(tensors[one]) for one in layer["inputs"]],
            "outputs": [_tensor(tensors[one]) for one in layer["outputs"]],
        }
        for at, layer in enumerate(document["layers"])
    }
    for at, tensor in enumerate(tensors):
        if tensor["kind"] == "input":
            made[f"t{at}"] = {"name": tensor["name"], "op": "input", "inputs": [], "outputs": [_tensor(tensor)]}
    return made


def _tensor(tensor: Document) -> dict[str, Any]:
    return {
        "name": tensor["name"],
        "kind": tensor["kind"],
        "what": f"{shape_of(tensor)} {tensor['dtype']}",
        "grid": grid_of(tensor),
    }


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"…{text[1 - length :]}"
