"""What every layer of a model becomes: forms weighed against each other, within a budget, and by the stopwatch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgekit_converters.compress.base import Left, Setting, Values
from edgekit_converters.compress.figures import static_figures
from edgekit_converters.compress.lowrank.calibrating import MOST_COLUMNS, Task
from edgekit_converters.compress.lowrank.damage import damaged
from edgekit_converters.compress.lowrank.forms import FORMS, Form, Svd
from edgekit_converters.compress.lowrank.ranks import (
    BUDGETS,
    Candidate,
    Goal,
    candidates,
    pick,
    smallest,
    spread,
)
from edgekit_converters.compress.lowrank.sites import Site
from edgekit_converters.compress.lowrank.timing import FASTER, speed
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.graph.weights import only_user

if TYPE_CHECKING:
    import onnx_ir as ir

_AUTO = ("svd", "spatial", "tucker")
"""Forms that are weighed against each other."""


def choose(
    model: "ir.Model", given: Mapping[Site, Task], values: Values, goal: Goal, setting: Setting
) -> tuple[list[Candidate], list[Left]]:
    """Return what becomes of the layers that change, in their order, and why the others stay.

    Raises:
        UnsupportedError: if a budget cannot be met.
    """
    found, left = dict[Site, list[Candidate]](), dict[Site, str]()
    for site, task in given.items():
        forms = _forms(site, task, str(values["method"]))
        if isinstance(forms, str):
            left[site], forms = forms, []
        found[site] = candidates(site, forms, goal, int(values["round"]))
    if goal.kind in BUDGETS:
        found = damaged(model, given, found, setting)
    while True:
        taken = _taken(model, found, goal, setting)
        slow = _slow(model, taken) if values["measure"] else {}
        if not slow:
            break
        left |= slow
        found |= {site: [] for site in slow}
    why = {site: left.get(site, one) for site, one in taken.items() if isinstance(one, str)}
    return (
        [one for one in taken.values() if isinstance(one, Candidate)],
        [Left(layer=site.name, why=text) for site, text in why.items()],
    )


def _forms(site: Site, task: Task, method: str) -> list[Form] | str:
    if not site.windowed:
        return [Svd(task.kernel, task.grams)]
    if method != "auto":
        why = FORMS[method].why_not(site.kernel)
        return why or [FORMS[method](task.kernel, task.grams)]
    if site.depthwise:
        return "it is depthwise: its window is all there is to split, which method=spatial does"
    names = _AUTO if site.kernel[0, 0].size <= MOST_COLUMNS else ("svd",)
    return [FORMS[name](task.kernel, task.grams) for name in names if not FORMS[name].why_not(site.kernel)]


def _taken(
    model: "ir.Model", found: Mapping[Site, Sequence[Candidate]], goal: Goal, setting: Setting
) -> dict[Site, Candidate | str]:
    if goal.kind not in BUDGETS:
        return {site: pick(site, ones, goal) for site, ones in found.items()}
    sites, ones = list(found), list(found.values())
    most, rest = budget(model, sites, goal, setting)
    why = too_small(goal, smallest(ones, sites, goal.kind), most, rest)
    if why:
        raise UnsupportedError(why)
    taken = spread(ones, sites, most, goal.kind)
    return {
        site: one or "the budget is better spent on it than on others" for site, one in zip(sites, taken, strict=True)
    }


def budget(model: "ir.Model", sites: Sequence[Site], goal: Goal, setting: Setting) -> tuple[float, int]:
    """Return how much of the model's size the layers may have together, and how much there is besides them."""
    whole = static_figures(model, setting.source)[goal.kind]
    rest = whole - sum(one.size(goal.kind) for one in sites)
    if goal.kind == "parameters" and setting.calibration is not None:
        rest += sum(_new_bias(one) for one in sites)
    return goal.value * whole - rest, rest


def too_small(goal: Goal, least: float, most: float, rest: int) -> str | None:
    """Return why a budget cannot be met by layers that take at least so much, or None."""
    if least <= most:
        return None
    whole = (most + rest) / goal.value
    return (
        f"{goal.kind}={goal.value:g} cannot be met: at the lowest ranks {(least + rest) / whole:.3f} of them are left"
    )


def _new_bias(site: Site) -> int:
    """Return how many values a bias adds where there is none."""
    node = site.weights.node
    if node.op_type == "MatMul":
        user = only_user(node.outputs[0])
        there = user is not None and user.op_type == "Add"
    else:
        there = len(node.inputs) > 2 and node.inputs[2] is not None  # noqa: PLR2004  # its place
    return 0 if there else site.kernel.shape[0] * site.kernel.shape[1]


def _slow(model: "ir.Model", taken: Mapping[Site, Candidate | str]) -> dict[Site, str]:
    """Return the layers whose factors are not faster, and why."""
    found = {}
    for site, one in taken.items():
        if isinstance(one, str):
            continue
        times = speed(model, site, one.form.factors(one.ranks))
        if times is None:
            found[site] = "its input's shape is not known, so it cannot be timed"
        elif times[1] > FASTER * times[0]:
            found[site] = f"its factors are no faster: {times[1]:.3f} ms, and it takes {times[0]:.3f} ms itself"
    return found
