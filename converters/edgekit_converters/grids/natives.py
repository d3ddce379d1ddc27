"""What each target stores of a grid as it is, and what takes its place where it cannot."""

from dataclasses import dataclass

from edgekit_converters.precisions import Precision

TARGETS = ("tflite", "openvino", "onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a target stores weights on a grid."""

    native: bool
    """Whether the file holds codes of that size and the tables, and the runtime reads them."""
    dtype: str
    """The target's own names of the types of the codes, or of the values where there are no codes."""
    says: str


def _as_it_is(dtype: str, says: str) -> Form:
    return Form(native=True, dtype=dtype, says=says)


def _otherwise(dtype: str, says: str) -> Form:
    return Form(native=False, dtype=dtype, says=says)


_IN_EIGHT = "The same values in eight bits each, with the same scale."
_IN_FOUR = "The same values in four bits each, with the same scale."
_SHIFTS = "A linear grid whose scales happen to be 2^k: kernels multiply by them as by any other."
_LOG = "2 to 4 bits as int8 without loss (1 to 64 times the smallest value); more bits stay floats."

_CODES = "Codes of up to 16 or 256 values a layer that are looked up in a codebook: precision fp16:codebook."
_FLOATS = _otherwise("FLOAT32", "No kernel looks codes up: values stay floats, small only in a packed file.")
_LOOKED_UP = _otherwise(
    "uint8", "A Gather can look eight-bit codes up; ONNX Runtime makes floats of them at the start."
)

FORMS: tuple[tuple[str, tuple[Form, Form, Form]], ...] = (
    (
        "linear, 8 bits, per channel or tensor",
        (
            _as_it_is("INT8", "Symmetric only: TFLite wants 0 as the zero point of weights."),
            _as_it_is("i8, u8", "Symmetric as i8, asymmetric as u8 with a zero point a channel."),
            _as_it_is("int8, uint8", "Codes before a DequantizeLinear with scales and zero points along one axis."),
        ),
    ),
    (
        "linear, 5 to 7 bits",
        (_otherwise("INT8", _IN_EIGHT), _otherwise("i8", _IN_EIGHT), _otherwise("int8", _IN_EIGHT)),
    ),
    (
        "linear, 4 bits, per channel",
        (
            _as_it_is("INT4", "Symmetric only; tflite-runtime 2.14 does not read weight-only files of it."),
            _as_it_is("i4, u4", "Symmetric as i4, asymmetric as u4 with a zero point."),
            _as_it_is("int4, uint4", "From opset 21 on."),
        ),
    ),
    (
        "linear, 4 bits, in groups",
        (
            _as_it_is("INT4", "Symmetric groups of 32, 64, 128 or 256 in dense layers and embeddings only."),
            _as_it_is("i4, u4", "Groups of any size that divides the summed axis of a matrix product."),
            _as_it_is("int4, uint4", "DequantizeLinear with a block_size, from opset 21 on."),
        ),
    ),
    (
        "linear, 3 bits",
        (
            _otherwise("INT4", _IN_FOUR),
            _as_it_is("u3", "With a zero point in the middle, as NNCF writes it."),
            _otherwise("int4", _IN_FOUR),
        ),
    ),
    (
        "linear, 2 bits",
        (
            _as_it_is("INT2", "LiteRT 2.3 has the type, tflite-runtime 2.14 has not."),
            _as_it_is("u2", "With a zero point in the middle, as NNCF writes it."),
            _as_it_is("int2, uint2", "From opset 25 on."),
        ),
    ),
    (
        "power-of-two",
        (_as_it_is("INT8, INT4", _SHIFTS), _as_it_is("i8, i4", _SHIFTS), _as_it_is("int8, int4", _SHIFTS)),
    ),
    (
        "log, a table a tensor",
        (_otherwise("INT8", _LOG), _as_it_is("u4, u8", _CODES), _otherwise("int8", _LOG)),
    ),
    (
        "log, a table a channel or group",
        (_otherwise("INT8", _LOG), _otherwise("i8", _LOG), _otherwise("int8", _LOG)),
    ),
    (
        "kmeans, a codebook a tensor",
        (_FLOATS, _as_it_is("u4, u8", _CODES), _LOOKED_UP),
    ),
    (
        "kmeans, a codebook a channel or group",
        (_FLOATS, _otherwise("f16", "Layers with more than 256 values in all stay floats."), _LOOKED_UP),
    ),
    (
        "nf4",
        (
            _otherwise("FLOAT32", "There is no such type: values stay floats, or are rounded once more."),
            _as_it_is("nf4", "A type of its own, with a scale a group of a row."),
            _otherwise("uint8", "ONNX has no such type; a Gather can look eight-bit codes up."),
        ),
    ),
)
"""Grids as people are told, and how each of `TARGETS` stores them."""

_LINEAR = {
    (8, False): "linear, 8 bits, per channel or tensor",
    **{(bits, False): "linear, 5 to 7 bits" for bits in (5, 6, 7)},
    (4, False): "linear, 4 bits, per channel",
    (4, True): "linear, 4 bits, in groups",
    (3, False): "linear, 3 bits",
    (2, False): "linear, 2 bits",
}


def forms_for(asked: Precision) -> dict[str, Form]:
    """Return how each target stores a grid; nothing for a linear one in groups of other than four bits."""
    grouped, bits = bool(asked.values["group"]), int(asked.values.get("bits", 0))
    name = asked.name
    if name == "linear":
        name = _LINEAR.get((bits, grouped), "")
    elif name in {"log", "kmeans"}:
        several = grouped or asked.values["per"] == "channel"
        name = next(one for one, _ in FORMS if one.startswith(f"{name},") and ("channel" in one) == several)
    return dict(zip(TARGETS, dict(FORMS)[name], strict=True)) if name else {}


def page() -> str:
    """Return the table as a page of Markdown."""
    lines = [
        "# Numeric grids and what targets store of them",
        "",
        "Made by `docs/generate_grids.py` from `edgekit_converters/grids/natives.py`.",
        "`edgekit evaluate MODEL --data D --weights-grid GRID` shows what any grid does to a model's answers,",
        "computed in float; a smaller file comes only of what its target stores as it is.",
        "",
        "| grid | target | stored as it is | type | |",
        "|---|---|---|---|---|",
        *(
            f"| {grid} | {target} | {'yes' if form.native else 'no'} | {form.dtype} | {form.says} |"
            for grid, forms in FORMS
            for target, form in zip(TARGETS, forms, strict=True)
        ),
        "",
    ]
    return "\n".join(lines)
