"""The technique that makes a decoder take one position at a time, proved beside the graph of whole sequences."""

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit_converters.calibration import random_array
from edgekit_converters.compress.attention.kv_step import KEYS, NEW_KEYS, NEW_VALUES, POSITION, VALUES, Step, make_step
from edgekit_converters.compress.attention.pattern import NotMatchedError
from edgekit_converters.compress.base import Change, Effect, Setting, Values
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.oracle import run_session, session
from edgekit_converters.lowering.proof import difference
from edgekit_converters.model import Array
from edgekit_converters.precisions import Options, number

if TYPE_CHECKING:
    import onnx_ir as ir

_PROVED = 12  # positions
_TOLERANCE = 1e-3
"""Of an output's largest value: sums over a cache are those of the full graph in another order."""


class KVCache:
    """The graph that takes a whole sequence becomes one that takes one position of it; shapes are fixed.

    Beside the input of one token it takes `position` [1], and `past_keys` and `past_values` [layers, heads, length,
    width], zeros at first; `present_keys` and `present_values` are what the next step is given. It is proved by
    running a sequence step by step beside the full graph: attention that looks ahead shows there.
    """

    name = "kv-cache"
    help = "make a decoder take one position at a time, with a static cache of keys and values"
    exact = False
    options: Options = MappingProxyType(
        {"length": number(0, 0, 1 << 20, "the longest sequence; 0: the length the input is fixed to")}
    )

    def needs(self, values: Values) -> frozenset[str]:  # noqa: ARG002  # the port's
        """Nothing but the graph."""
        return frozenset()

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse what is no decoder with one input of tokens, by making its step."""
        try:
            make_step(model.clone(), int(values["length"]), setting.seed)
        except (NotMatchedError, UnsupportedError) as exc:
            return str(exc)
        return None

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Make the step, and prove it."""
        full = model.clone()
        try:
            step = make_step(model, int(values["length"]), setting.seed)
            infer_shapes(model)
            _prove(model, full, step, setting)
        except NotMatchedError as exc:
            raise UnsupportedError(f"it has no step with a cache: {exc}") from exc
        what = f"keeps keys and values of {step.length} positions"
        figures = {"positions": step.length, "cache_values": 2 * int(np.prod(step.cache))}
        return Effect(changes=tuple(Change(layer=one, what=what) for one in step.attentions), figures=figures)


def _prove(model: "ir.Model", full: "ir.Model", step: Step, setting: Setting) -> None:
    """Run a sequence by both.

    Raises:
        NotMatchedError: if a position's outputs differ.
    """
    (token,) = graph_model.inputs_of(full)
    (spec,) = graph_model.specs([token])
    shape = (1, step.length, *(size or 1 for size in spec.shape[2:]))
    given = _sequence(setting, spec.name, shape)
    if given is None:
        given = random_array(spec, shape, np.random.default_rng(setting.seed))
    names = [str(one.name) for one in full.graph.outputs]
    wanted = dict(zip(names, run_session(_session(full, setting, "full"), None, {spec.name: given}), strict=True))
    ready = _session(model, setting, "step")
    empty = np.zeros(step.cache, _dtype(model, KEYS))
    state = {KEYS: empty, VALUES: empty}
    for place in range(min(step.length, _PROVED)):
        feeds = {spec.name: given[:, place : place + 1], POSITION: np.array([place]), **state}
        *got, keys, values = run_session(ready, [*names, NEW_KEYS, NEW_VALUES], feeds)
        state = {KEYS: keys, VALUES: values}
        for name, one in zip(names, got, strict=True):
            before = _at(wanted[name], one.shape, place)
            if difference(one, before) > _TOLERANCE * float(np.abs(before).max(initial=1e-6)):
                raise NotMatchedError(f"output '{name}' of position {place} differs: its attention looks ahead")


def _dtype(model: "ir.Model", name: str) -> "np.dtype[Any]":
    (spec,) = graph_model.specs([one for one in model.graph.inputs if one.name == name])
    return np.dtype(spec.dtype)


def _at(array: Array, like: tuple[int, ...], place: int) -> Array:
    """Return what belongs to a position, along the axes where there is one."""
    for axis, size in enumerate(like):
        if size != array.shape[axis]:
            array = array.take([place], axis)
    return array


def _sequence(setting: Setting, token: str, shape: tuple[int, ...]) -> Array | None:
    """Return a sample of the calibration data, if one is as long."""
    array = None if setting.calibration is None else setting.calibration.get(token)
    return array[:1] if array is not None and array[:1].shape == shape else None


def _session(model: "ir.Model", setting: Setting, name: str) -> Any:  # noqa: ANN401  # an InferenceSession
    path = setting.work / f"{name}.onnx"
    graph_model.save(model, path)
    return session(path)
