"""Early layers computed tile by tile, so that their large activations are never there as a whole."""

from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit_converters.compress.base import Change, Effect, Left, Setting, Values
from edgekit_converters.compress.tile_memory import MemoryModel
from edgekit_converters.compress.tile_rewrite import rewrite
from edgekit_converters.compress.tile_search import Tiling, Wanted, around, best, macs_of, stops
from edgekit_converters.graph.reading import name_of
from edgekit_converters.precisions import Options, choice, number

if TYPE_CHECKING:
    import onnx_ir as ir

_OPERATOR_BYTES = 240
"""What tflite-micro keeps of every operator, about; tests/benchmarks/bench_compress_tile.py measures it."""
_ROUNDS = 4
"""Segments that are cut at most: behind the first peak another one may be the largest."""


class Tile:
    """The segment around the peak is computed in tiles that overlap, each on what it needs of the image."""

    name = "tile"
    help = "compute early layers tile by tile, to cut the peak of activation memory"
    exact = True
    options: Options = MappingProxyType(
        {
            "budget": number(0, 0, 2**40, "bytes the activations may take; 0: as few as can be"),
            "rows": number(0, 0, 1024, "tiles along the height; 0: chosen"),
            "columns": number(0, 0, 1024, "tiles along the width; 0: chosen"),
            "extra": number(0.5, 0.0, 100.0, "share of the model's MACs that may be computed more than once"),
            "bits": choice("8", "16", "32", text="bits of an activation on the device"),
            "runtime": choice("tflite-micro", "litert", text="whose memory; litert keeps the inputs for the whole run"),
        }
    )

    def needs(self, values: Values) -> frozenset[str]:  # noqa: ARG002  # the port's
        """Nothing but the graph."""
        return frozenset()

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse a graph that needs no tiles, and one whose peak lies where none can be."""
        wanted = _wanted(values, setting)
        arena = wanted.memory.plan(model.graph)
        if arena.peak is None:
            return "it computes nothing"
        if wanted.budget and arena.bytes <= wanted.budget:
            return f"its activations take {arena.bytes} bytes, which is within the budget as it is"
        if around(model.graph, arena.peak, wanted):
            return None
        said = "; ".join(map(str, stops(model.graph, arena.peak)[:2]))
        peak = f"most memory, {arena.bytes} bytes, is taken at '{name_of(arena.peak)}' ({arena.peak.op_type})"
        return f"{peak}, and no part of the graph around it can be computed tile by tile{said and f': {said}'}"

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Cut the segment around the peak, and those around what is the peak then, while memory falls."""
        wanted = _wanted(values, setting)
        before = arena = wanted.memory.plan(model.graph)
        macs = sum(map(macs_of, model.graph))
        changes: list[Change] = []
        rounds = 1 if values["rows"] or values["columns"] else _ROUNDS
        while len(changes) < rounds and (found := best(model.graph, wanted)) is not None:
            rewrite(model, found.segment, found.steps)
            after = wanted.memory.plan(model.graph)
            changes.append(_change(found, arena.bytes, after.bytes, macs))
            arena = after
        left: tuple[Left, ...] = ()
        if wanted.budget and arena.bytes > wanted.budget and arena.peak is not None:
            why = f"with it the activations take {arena.bytes} bytes, more than the budget of {wanted.budget}"
            left = (Left(layer=name_of(arena.peak), why=why),)
        if not changes:
            said = "; ".join(map(str, stops(model.graph, before.peak)[:2])) if before.peak else ""
            left = (Left(layer="", why=f"no tiles of it take less memory{said and f': {said}'}"),)
        figures = {"arena_bytes_before": before.bytes, "arena_bytes": arena.bytes, "bits": int(values["bits"])}
        return Effect(changes=tuple(changes), left=left, figures=figures)


def _wanted(values: Values, setting: Setting) -> Wanted:
    asked = values["budget"] or values["rows"] or values["columns"]  # then it is not for us to say what pays
    return Wanted(
        memory=MemoryModel(
            bits=int(values["bits"]),
            keeps_inputs=values["runtime"] == "litert",
            operator_bytes=0 if asked else _OPERATOR_BYTES,
        ),
        budget=int(values["budget"]),
        rows=int(values["rows"]),
        columns=int(values["columns"]),
        extra=float(values["extra"]),
        may_change=setting.may_change,
    )


def _change(found: Tiling, before: int, after: int, macs: int) -> Change:
    first, last = found.segment.nodes[0], found.segment.nodes[-1]
    grid = " x ".join(map(str, found.grid))
    return Change(
        layer=name_of(first),
        what=f"{len(found.segment.nodes)} operators up to '{name_of(last)}' in {grid} tiles",
        figures={
            "arena_bytes_before": before,
            "arena_bytes": after,
            "extra_macs": found.extra_macs,
            "extra_macs_share": found.extra_macs / macs if macs else 0.0,
        },
    )
