"""Which keys a query sees: a window around it, its block with the blocks beside it, or the keys it scores highest.

Windows and blocks as in Beltagy et al., "Longformer" (2020) and Zaheer et al., "Big Bird" (2020), without global
tokens; the highest scores as in Gupta et al., "Memory-efficient transformers via top-k attention" (2021).
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.compress.attention.pattern import Attention
from edgekit_converters.compress.attention.writing import Writer

if TYPE_CHECKING:
    import onnx_ir as ir

FAR = -1e4
"""What a score is at least where the model's own mask leaves a key out; half of what it is where the form does.

So a query whose keys are all left out by the model's mask has no row without any number, and what the form leaves out
is out beside those. Both are numbers float16 has, and quantizers can bear.
"""


def seen(form: str, size: int, queries: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether queries at these places see keys at those."""
    if form == "window":
        return np.asarray(np.abs(queries - keys) <= size)
    return np.asarray(np.abs(queries // size - keys // size) <= 1)


def mask(model: "ir.Model", one: Attention, form: str, size: int) -> None:
    """Put a mask on the scores of an attention, in place: what the form leaves out has no weight.

    Args:
        model: with inferred shapes.
        one: an attention of it; for windows and blocks of a sequence on itself.
        form: `window`, `block` or `topk`.
        size: of the window to either side, of a block, or how many keys are seen.
    """
    writer = Writer(model, one.softmax, one.name)
    scores = one.softmax.inputs[0]
    if scores is None or scores.dtype is None:
        raise AssertionError("an attention's softmax takes scores of a known type")
    dtype = scores.dtype.numpy()
    near = writer.op("Max", scores, writer.stored(np.array(FAR, dtype)))
    shown = _highest(writer, near, size) if form == "topk" else _placed(writer, scores, form, size)
    one.softmax.replace_input_with(0, writer.op("Where", shown, near, writer.stored(np.array(2 * FAR, dtype))))


def _highest(writer: Writer, scores: "ir.Value", size: int) -> "ir.Value":
    count = writer.op("Min", writer.ints(size), _last_size(writer, scores))
    best = writer.op("TopK", scores, count, outputs=2)
    least = writer.reduced("ReduceMin", best, -1, keep=True)
    return writer.op("Not", writer.op("Less", scores, least))


def _last_size(writer: Writer, scores: "ir.Value") -> "ir.Value":
    return writer.op("Slice", writer.op("Shape", scores), writer.ints(-1), writer.ints(2**31), writer.ints(0))


def _placed(writer: Writer, scores: "ir.Value", form: str, size: int) -> "ir.Value":
    length = None if scores.shape is None else scores.shape[-1]
    if isinstance(length, int):
        places = np.arange(length)
        return writer.stored(seen(form, size, places[:, None], places[None]))
    count = writer.op("Reshape", _last_size(writer, scores), writer.stored(np.zeros(0, np.int64)))
    keys = writer.op("Range", writer.stored(np.array(0)), count, writer.stored(np.array(1)))
    if form == "block":
        keys = writer.op("Div", keys, writer.stored(np.array(size)))
    apart = writer.op("Abs", writer.op("Sub", writer.op("Reshape", keys, writer.ints(-1, 1)), keys))
    limit = size if form == "window" else 1
    return writer.op("Not", writer.op("Greater", apart, writer.stored(np.array(limit))))
