"""Attention that sees fewer keys: a window, blocks, or the highest scores."""

from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit_converters.compress.attention.bands import Band, Banding
from edgekit_converters.compress.attention.forms import mask
from edgekit_converters.compress.attention.opening import open_attention
from edgekit_converters.compress.attention.pattern import Attention, NotMatchedError, attentions_of
from edgekit_converters.compress.base import Change, Effect, Left, Setting, Values
from edgekit_converters.precisions import Options, choice, flag, number

if TYPE_CHECKING:
    import onnx_ir as ir

_FREE = "its length is free, and a band needs a fixed one: give --shape, or the option masked"


class NarrowAttention:
    """Queries see the keys near them, or those they score highest; near ones alone are then computed."""

    name = "attention"
    help = "let attention see a window, blocks or the highest scores only"
    exact = False
    options: Options = MappingProxyType(
        {
            "form": choice("window", "block", "topk", text="keys near by, in blocks beside, or scored highest"),
            "size": number(64, 1, 1_000_000, "of the window to either side, of a block, or how many keys"),
            "masked": flag("mask the other keys instead of not computing them: no faster, but for free lengths"),
        }
    )

    def needs(self, values: Values) -> frozenset[str]:  # noqa: ARG002  # the port's
        """Nothing but the graph."""
        return frozenset()

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse models without attention that can be narrowed."""
        tried = model.clone()
        open_attention(tried)
        found, left = _found(tried, values, setting)
        if found:
            return None
        return f"{left[0].why} (softmax '{left[0].layer}')" if left else "it has no attention"

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Narrow every attention that can be."""
        form, size = str(values["form"]), int(values["size"])
        open_attention(model)
        found, left = _found(model, values, setting)
        banding = Banding(model)
        changes: list[Change] = []
        for one in found:
            length = _length(one)
            figures = {"seen": _seen(form, size, length)}
            try:
                if form == "topk" or values["masked"]:
                    mask(model, one, form, size)
                else:
                    banding.write(one, Band(form=form, size=size, length=length or 0))
            except NotMatchedError as exc:
                left.append(Left(layer=one.name, why=str(exc)))
                continue
            changes.append(Change(layer=one.name, what=f"sees {_told(form, size)}", figures=figures))
        return Effect(changes=tuple(changes), left=tuple(left))


def _told(form: str, size: int) -> str:
    keys = {"window": "keys to either side", "block": "keys a block, and the blocks beside", "topk": "highest scores"}
    return f"{size} {keys[form]}"


def _seen(form: str, size: int, length: int | None) -> float | None:
    """Return the share of the scores that are seen."""
    if length is None:
        return None
    if form == "topk":
        return size / length
    return float(Band(form=form, size=size, length=length).shown.sum()) / length**2


def _found(model: "ir.Model", values: Values, setting: Setting) -> tuple[list[Attention], list[Left]]:
    found, left = list[Attention](), list[Left]()
    for one in attentions_of(model):
        if not isinstance(one, Attention):
            left.append(Left(layer=one.name, why=one.why))
        elif any(map(setting.may_change, (one.scores, one.softmax, one.product))):
            why = _why_not(one, values)
            if why is None:
                found.append(one)
            else:
                left.append(Left(layer=one.name, why=why))
    return found, left


def _why_not(one: Attention, values: Values) -> str | None:
    size, length = int(values["size"]), _length(one)
    if values["form"] == "topk":
        enough = length is not None and size >= length
        return f"size={size} leaves out none of its {length} keys" if enough else None
    queries, keys = (
        None if one.scores.outputs[0].shape is None else one.scores.outputs[0].shape[at] for at in (-2, -1)
    )
    if isinstance(queries, int) != isinstance(keys, int) or (isinstance(queries, int) and queries != keys):
        return f"its {queries} queries and {keys} keys are not of one sequence"
    if length is None:
        return None if values["masked"] else _FREE
    reach = size if values["form"] == "window" else 2 * size - 1
    return f"size={size} leaves out none of its {length} keys" if reach >= length - 1 else None


def _length(one: Attention) -> int | None:
    """Return how many keys there are; None where that is free."""
    shape = one.scores.outputs[0].shape
    size = None if shape is None else shape[-1]
    return size if isinstance(size, int) else None
