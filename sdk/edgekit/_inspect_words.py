"""How the document of `edgekit.inspect` is put in words, the same on a terminal and on a page."""

from collections.abc import Iterator, Mapping
from typing import Any

from edgekit_converters.model import said

Document = Mapping[str, Any]  # of `edgekit.inspect`, or a part of it


def shape_of(tensor: Document) -> str:
    """Return a tensor's shape: `?x3x224x224`."""
    return "of unknown shape" if tensor["shape"] is None else said(tensor["shape"])


def grid_of(tensor: Document) -> str:
    """Return how a tensor's stored numbers stand for real ones; nothing where they are themselves."""
    known = tensor["quantization"]
    if not known or not known["scale"]:
        return ""
    scales = known["scale"]
    if len(scales) == 1:
        return f"scale {scales[0]:.6g}, zero point {(known['zero_point'] or [0])[0]}"
    return f"{len(scales)} scales along axis {known['axis']}, {min(scales):.4g} to {max(scales):.4g}"


def alive_at_peak(document: Document) -> Iterator[tuple[str, Document]]:
    """Yield the tensors alive at the peak of memory, the largest first, under their layers' names."""
    tensors, peak = document["tensors"], document["memory"]["peak"]
    makers = {place: layer["name"] for layer in document["layers"] for place in layer["outputs"]}
    for place in sorted(peak["alive"] if peak else (), key=lambda one: -(tensors[one]["bytes"] or 0)):
        yield makers.get(place, tensors[place]["name"]), tensors[place]


def remarks(document: Document) -> Iterator[str]:
    """Yield what to know about the figures: free dimensions, sizes nobody knows, quantized tensors."""
    free = sum(one["shape"] is not None for one in document["dynamic"])
    if free:
        yield f"free dimensions: in {free} tensors; sizes and MACs count each of them as 1"
    if document["memory"]["unknown_sizes"]:
        yield f"not counted in memory: {document['memory']['unknown_sizes']} tensors of unknown size"
    grids = [one["quantization"]["scale"] for one in document["tensors"] if grid_of(one)]
    if grids:
        channels = sum(len(scales) > 1 for scales in grids)
        yield f"quantized: {len(grids)} of {len(document['tensors'])} tensors, {channels} with a scale a channel"
