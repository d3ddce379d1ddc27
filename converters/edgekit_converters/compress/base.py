"""What every technique is: a named change of the canonical float graph, that says what it did and what it left."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgekit_converters.events import OnEvent
from edgekit_converters.graph.reading import name_of
from edgekit_converters.model import Arrays
from edgekit_converters.precisions import Options, Value

if TYPE_CHECKING:
    import onnx_ir as ir

Values = Mapping[str, Value]
"""A technique's options by name, the defaults filled in."""
Figures = Mapping[str, int | float | str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was done to a layer, in a few words, with its figures."""

    layer: str
    what: str
    figures: Figures = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A layer that a technique would have been for, and why it was left as it is."""

    layer: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a technique did; `figures` are of the whole model and of its own (an error it made, a rank it took)."""

    changes: tuple[Change, ...] = ()
    left: tuple[Left, ...] = ()
    figures: Figures = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a technique works with beside the model."""

    work: Path
    """A scratch folder of its own."""
    source: Path
    """The ONNX file as it was before the first step: what a teacher is, and what errors are measured against."""
    calibration: Arrays | None = None
    """Samples [N, ...] by input name, as `data.bind` gives them."""
    labels: Arrays | None = None
    """Labels [N, ...] of those samples by name."""
    only: frozenset[str] | None = None
    """The names of the nodes it may change; None where nothing was said."""
    targets: tuple[str, ...] = ()
    """The formats the model is for."""
    kept: Path | None = None
    """A folder that outlives the run: what a long step that was killed goes on from. None: nothing is kept."""
    on_event: OnEvent = lambda _: None
    """Progress of a long step."""
    seed: int = 0

    def may_change(self, node: "ir.Node") -> bool:
        """Whether a node is one of those to be changed."""
        return self.only is None or name_of(node) in self.only


class Technique(Protocol):
    """A technique. Making one imports nothing heavy."""

    name: str
    help: str
    """What it does, in a sentence."""
    options: Options
    exact: bool
    """Whether outputs stay what they are, but for rounding: that is then proved on samples."""

    def needs(self, values: Values) -> frozenset[str]:
        """Return what it cannot do without, of `calibration`, `labels`, `measuring` and `torch`."""
        ...

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Return why it cannot be done to this model at all, or None; before any work."""
        ...

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Change a plain model (`graph.plain`) with inferred shapes in place.

        Raises:
            UnsupportedError: if nothing could be done; says why.
            CalibrationError: if the model stops on the samples.
        """
        ...
