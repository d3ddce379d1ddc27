"""The job of the TFLite backend: quantize a float TFLite with ai-edge-quantizer."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters import tflite_file
from edgekit_converters._exchange import read_arrays
from edgekit_converters.backends import tflite_recipes
from edgekit_converters.backends.base import each
from edgekit_converters.backends.placing import place
from edgekit_converters.backends.tflite_tiles import tie
from edgekit_converters.data import runs
from edgekit_converters.errors import ConversionError, UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.jobs import Json
from edgekit_converters.layers import choice
from edgekit_converters.layers import tflite as layers
from edgekit_converters.layers.view import View
from edgekit_converters.model import Array, TensorSpec
from edgekit_converters.ranges import Ranges, observe, unmasked
from edgekit_converters.tflite_file import Op
from edgekit_converters.tflite_rewrite import completed, showing_unused, signed
from edgekit_converters.tflite_sparse import store_sparse

Statistics = Any  # the quantizer's ranges by tensor name


def run(request: Json) -> Json:
    """Make `request["precisions"]` of `request["model"]` at `request["paths"]`.

    Raises:
        ConverterMissingError: if ai-edge-quantizer is not installed.
        UnsupportedError: if a layer to be left in float is not there.
    """
    source = _Source(Path(request["model"]), request)

    def make(precision: str) -> Json:
        asked = source.settled(request["options"][precision])
        made, warnings = source.data, ["the source is quantized already: this is a copy"] if source.quantized else []
        if asked["name"] != "fp32":
            if source.quantized:
                raise UnsupportedError(f"the TFLite file is quantized already: {precision} is made from a float one")
            made, warnings = source.quantize(precision, asked), _coarse(source.unfit(asked), asked)
        steps = [] if asked["name"] == "fp32" else [_step(tflite_recipes.NAMES[asked["name"]], source.data, made)]
        if asked.get("sparse"):
            dense, made = made, store_sparse(made)
            steps.append(_step(tflite_recipes.SPARSE, dense, made))
            warnings += ["no weights are smaller as sparse tensors"] if made is dense else []
        place(made, Path(request["paths"][precision]))
        after = source.described if made is source.data else tflite_file.parse(made, precision)
        return {
            "steps": steps,
            "warnings": [*warnings, *_left(asked, after, source.float_values)],
            "weights_bytes": weights_bytes(after),
            "float_weights_bytes": weights_bytes(source.described),
            "float_layers": list(dict.fromkeys(source.float_names)) if asked["name"] != "fp32" else [],
        }

    return each(request["precisions"], make)


def _step(name: str, before: bytes, after: bytes) -> Json:
    one, other = ({"bytes": len(data), "ops": len(tflite_file.parse(data, name).ops)} for data in (before, after))
    return {"name": name, "before": one, "after": other}


def weights_bytes(file: tflite_file.TFLiteFile) -> int:
    """Return the bytes of the learnt constants, each buffer once."""
    buffers = {one.buffer: one.data_bytes for graph in file.subgraphs for one in graph.tensors if one.is_weight}
    return sum(buffers.values())


class _Source:
    """The float file and what of it stays float; ranges are taken once and kept beside for the next job."""

    def __init__(self, path: Path, request: Json) -> None:
        self.data = path.read_bytes()
        self.described = tflite_file.parse(self.data, str(path))
        self.quantized = self.described.quantized
        self._path, self._request = path, request
        self._samples = read_arrays(request["calibration"]) if request["calibration"] else {}
        view = layers.view(self.described)
        places = choice.chosen(view, request["float_layers"])
        self.float_names = [view.nodes[at].name for at in places]
        self._float_ops = [self.described.main.ops[at] for at in places]
        self.float_values = [one.name for op in self._float_ops for one in op.outputs if one is not None]

    def settled(self, asked: Json) -> Json:
        """Return the options with what `auto` means for this model."""
        if asked.get("model") != "auto":
            return asked
        return {**asked, "model": "transformer" if _has_attention(layers.view(self.described)) else "plain"}

    def quantize(self, precision: str, asked: Json) -> bytes:
        """Return the file in a precision."""
        try:
            from ai_edge_quantizer import quantizer
        except ImportError as exc:
            raise missing("ai-edge-quantizer", "tflite") from exc
        static = asked["name"] in tflite_recipes.STATIC
        recipe = tflite_recipes.recipe(
            asked,
            [_scope(op) for op in self._float_ops],
            [_scope(op) for op in self.unfit(asked)],
            quantized_io=self._request["quantized_io"],
        )
        try:
            work = quantizer.Quantizer(self.data)
            work.load_quantization_recipe(recipe.get_quantization_recipe())
            statistics = self._statistics(asked) if static else None
            made = work.quantize(statistics, enable_progress_bar=False, enable_progress_report=False).quantized_model
        except ConversionError:
            raise
        except Exception as exc:
            raise UnsupportedError(f"ai-edge-quantizer cannot make {precision}: {first_line(exc)}") from exc
        finished = completed(bytes(made))
        after = tflite_file.parse(finished, precision)
        inputs, outputs = (
            [(name, one.index) for name, one in side] for side in (after.public_inputs, after.public_outputs)
        )
        return signed(finished, inputs, outputs)  # a new QUANTIZE or DEQUANTIZE at the rim took a name of its own

    def unfit(self, asked: Json) -> list[Op]:
        """Return the operators whose rows no block of the size asked for fits."""
        size = asked.get("group", "channel")
        return [
            op
            for op in self.described.ops
            if size != "channel"
            and op.name in tflite_recipes.BLOCKWISE
            and op.inputs[1] is not None
            and op.inputs[1].stored_shape[-1] % int(size)
        ]

    def _statistics(self, asked: Json) -> Statistics:
        """Return the ranges of every tensor: read where an earlier job with the same data wrote them."""
        from ai_edge_quantizer import calibrator, recipe_manager
        from ai_edge_quantizer.utils import calibration_utils, qsv_utils

        which = ".".join(str(asked[one]) for one in ("name", "ranges", "percentile", "model") if one in asked)
        kept = Path(self._request["work"], f"ranges.{which}.json")
        if kept.exists():
            return calibration_utils.load_calibration_results(str(kept))[0]
        # True minima and maxima: the quantizer's own moving average depends on the samples' order and
        # costs half a point on a keyword spotter, where these give what TensorFlow's converter gives.
        seen = calibrator.Calibrator(showing_unused(self.data), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
        everything = recipe_manager.RecipeManager()
        everything.load_quantization_recipe(tflite_recipes.recipe(asked, quantized_io=True).get_quantization_recipe())
        seen.calibrate(self._dataset(), everything)
        statistics = seen.get_model_qsvs()
        self._cut(statistics, asked)
        tie(statistics, self.described.main)
        # limits of logic values are none, and no JSON either
        statistics = {name: one for name, one in statistics.items() if np.asarray(one["min"]).dtype != np.bool_}
        seen.load_model_qsvs(statistics)
        beside = kept.with_suffix(".part")
        seen.save_calibration_result(str(beside))
        beside.replace(kept)
        return statistics

    def _cut(self, statistics: Statistics, asked: Json) -> None:
        """Put other ranges in the place of the limits, for tensors of the model's own graph.

        With min-max those are only the scores before a Softmax: a mask's -10000 is no value to spread a grid over.
        """
        model = layers.TFLiteModel(self._path)
        inputs = [model.inputs[name] for name, _ in self.described.public_inputs]
        scores = _only_softmax(model.view)
        limits = asked["ranges"] == "min-max"
        computed = [
            at
            for node in model.view.nodes
            for at in node.outputs
            if model.view.values[at].dtype == "float32"
            and model.view.values[at].name in statistics
            and (at in scores or not limits)
        ]
        if not computed:
            return
        run = model.runner(computed)

        def every() -> Iterable[Mapping[Any, Array]]:
            for batch in runs(self._samples, self._specs()):
                given = dict(zip(inputs, batch.values(), strict=True))
                floats = {} if limits else {at: array for at, array in given.items() if array.dtype.kind == "f"}
                found = dict(zip(computed, run(given), strict=True))
                yield {**floats, **found, **{at: unmasked(found[at]) for at in scores.intersection(found)}}

        found = observe(Ranges(asked["ranges"], asked["percentile"]), every).found(_LEVELS[asked["name"]])
        for at, ends in found.items():
            one = statistics.get(model.view.values[at].name)  # type: ignore[call-overload]  # keys are places
            for side, limit in zip(("min", "max"), ends, strict=True) if one else ():
                one[side] = np.full_like(one[side], limit)

    def _dataset(self) -> dict[str, list[dict[str, Array]]]:
        key = self.described.signature.key if self.described.signature else tflite_file.SIGNATURE
        return {key: list(runs(self._samples, self._specs()))}

    def _specs(self) -> list[TensorSpec]:
        return [TensorSpec(name=name, shape=one.shape, dtype=one.dtype) for name, one in self.described.public_inputs]


def _has_attention(view: View) -> bool:
    """Whether a model multiplies with what a Softmax gives."""
    scores = {at for node in view.nodes if node.op == "SOFTMAX" for at in node.outputs}
    return any(node.op == "BATCH_MATMUL" and scores.intersection(node.inputs) for node in view.nodes)


def _only_softmax(view: View) -> frozenset[int]:
    """Return the values that Softmax and nothing else takes."""
    takers: dict[int, list[str]] = {}
    for node in view.nodes:
        for at in node.inputs:
            takers.setdefault(at, []).append(node.op)
    return frozenset(at for at, ops in takers.items() if ops == ["SOFTMAX"] and at not in view.outputs)


def _scope(op: Op) -> str:
    """Return what the quantizer knows an operator by: the names of what it computes, each with a ';' behind it."""
    return "".join(f"{one.name};" for one in op.outputs if one is not None and one.name)


def _coarse(unfit: Sequence[Op], asked: Json) -> list[str]:
    """Say which rows have one scale although a scale a block was asked for."""
    if not unfit:
        return []
    lengths = sorted({op.inputs[1].stored_shape[-1] for op in unfit if op.inputs[1] is not None})
    said = ", ".join(map(str, lengths))
    return [f"{len(unfit)} layers have a scale a row: rows of {said} are not made of blocks of {asked['group']}"]


_LEVELS = {"int8": 256, "int16x8": 65535}
_FLOAT_IS_RIGHT = frozenset({"QUANTIZE", "DEQUANTIZE"})


def _left(asked: Json, made: tflite_file.TFLiteFile, asked_for: Sequence[str]) -> list[str]:
    """Say which operators a static file still computes in float although nobody asked for it."""
    if asked["name"] not in tflite_recipes.STATIC:
        return []
    if asked.get("model") == "transformer":
        return ["a transformer: products are computed in int8, everything else in float"]
    kept = set(asked_for)
    names = sorted(
        {
            op.name
            for op in made.ops
            if op.name not in _FLOAT_IS_RIGHT
            and any(one and one.dtype == "float32" and one.name not in kept for one in op.outputs)
        }
    )
    return [f"computed in float: {', '.join(names)}"] if names else []
