"""Layers replaced by chains of thinner ones: low-rank factorization, without gradients."""

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit_converters.compress.base import Change, Effect, Left, Setting, Values
from edgekit_converters.compress.lowrank.calibrating import Task, later_task, tasks
from edgekit_converters.compress.lowrank.choosing import budget, choose, too_small
from edgekit_converters.compress.lowrank.forms import FORMS
from edgekit_converters.compress.lowrank.ranks import BUDGETS, Candidate, goal_of
from edgekit_converters.compress.lowrank.rewriting import rewrite
from edgekit_converters.compress.lowrank.sites import Site, sites_of
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.precisions import Options, choice, flag, number

if TYPE_CHECKING:
    import onnx_ir as ir


class Factorize:
    """Layers become two or three smaller ones one after the other, where that saves parameters and multiplications."""

    name = "factorize"
    help = "replace layers by low-rank factors"
    exact = False
    options: Options = MappingProxyType(
        {
            "method": choice(
                "auto", *FORMS, text="the form of convolutions with a window; all others are split by SVD"
            ),
            "energy": number(0.0, 0.0, 1.0, "share of each layer's output power to keep; 0.99 where nothing is asked"),
            "error": number(0.0, 0.0, 1.0, "relative output error a layer may have on the calibration data"),
            "rank": number(0, 0, 2**16, "the rank of every layer"),
            "ratio": number(0.0, 0.0, 1.0, "share of each layer's parameters that may be left"),
            "parameters": number(0.0, 0.0, 1.0, "share of the model's parameters that may be left, spread by error"),
            "macs": number(0.0, 0.0, 1.0, "share of the model's multiplications that may be left, spread by error"),
            "round": number(4, 1, 256, "ranks are multiples of it"),
            "plain": flag("decompose the weights alone, whatever the calibration data"),
            "refit": flag("fit each layer anew to what the changed layers before it give"),
            "measure": flag("keep only what ONNX Runtime runs faster, layer by layer"),
        }
    )

    def needs(self, values: Values) -> frozenset[str]:
        """Calibration data where errors are of outputs, or layers are fitted to them."""
        return frozenset({"calibration"}) if values["error"] or values["refit"] else frozenset()

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:
        """Refuse options that contradict each other, budgets no rank meets, and a model without such layers."""
        goal = goal_of(values)
        if isinstance(goal, str):
            return goal
        if values["plain"] and self.needs(values):
            return "option plain leaves out the calibration data that error and refit need"
        found = list(sites_of(model, setting))
        sites = [one for one in found if isinstance(one, Site)]
        if not sites:
            return f"no layer can be factorized: {found[0].why}" if found else "it has no layer that can be factorized"  # type: ignore[union-attr]
        if goal.kind in BUDGETS:
            setting = _with_data(setting, values)
            return too_small(goal, sum(one.least(goal.kind) for one in sites), *budget(model, sites, goal, setting))
        return None

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Choose forms and ranks, and put the factors in the layers' places, in the order they are run in."""
        goal = goal_of(values)
        if isinstance(goal, str):
            raise UnsupportedError(goal)
        found = list(sites_of(model, setting))
        sites = [one for one in found if isinstance(one, Site)]
        setting = _with_data(setting, values)
        arrays = setting.calibration
        given = dict(zip(sites, tasks(model, sites, arrays, setting.work / "rows.onnx", setting.seed), strict=True))
        chosen, left = choose(model, given, values, goal, setting)
        original = model.clone() if values["refit"] else None
        changes = []
        for one in chosen:
            if original is None or arrays is None:
                changes.append(_carried_out(model, one, given[one.site]))
                continue
            task = later_task(model, original, one.site, arrays, setting)
            changes.append(_carried_out(model, replace(one, form=type(one.form)(task.kernel, task.grams)), task))
        return Effect(changes=tuple(changes), left=(*(one for one in found if isinstance(one, Left)), *left))


def _with_data(setting: Setting, values: Values) -> Setting:
    return replace(setting, calibration=None) if values["plain"] else setting


def _carried_out(model: "ir.Model", one: Candidate, task: Task) -> Change:
    site, factors = one.site, one.form.factors(one.ranks)
    name = site.name  # a layer without one is called by its output, which a new sum behind it takes over
    rewrite(model, site, factors, task)
    figures = {
        "error": one.error**0.5,
        **{
            f"{of}_{when}": count
            for of in BUDGETS
            for when, count in (("before", site.size(of)), ("after", one.cost(of)))
        },
    }
    ranks = " x ".join(map(str, one.ranks))
    return Change(layer=name, what=f"{len(factors)} factors by {one.form.name}, rank {ranks}", figures=figures)
