"""Rules applied one after the other, over and over, until nothing changes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgekit_converters.compress.base import Change, Effect, Left, Setting
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.rules.base import AnyRule, Refusal
from edgekit_converters.compress.rules.draft import Draft
from edgekit_converters.graph.reading import name_of

if TYPE_CHECKING:
    import onnx_ir as ir

MOST_ROUNDS = 30
"""A chain of a hundred linear layers halves in every round; rules that undo each other would never end."""


def apply_rules(model: "ir.Model", rules: Sequence[AnyRule], setting: Setting) -> Effect:
    """Change a plain model with inferred shapes in place; what was refused in the last round is what is left."""
    changes: list[Change] = []
    left: dict[tuple[str, str], Left] = {}
    rounds = 0
    for _ in range(MOST_ROUNDS):
        left.clear()
        done = [one for rule in rules for one in _applied(model, rule, setting, left)]
        if not done:
            break
        rounds += 1
        changes += done
        infer_shapes(model)
    return Effect(changes=tuple(changes), left=tuple(left.values()), figures={"rounds": rounds})


def _applied(model: "ir.Model", rule: AnyRule, setting: Setting, left: dict[tuple[str, str], Left]) -> list[Change]:
    """Try a rule at every node once."""
    changes = []
    for node in list(model.graph.all_nodes()):
        if node.graph is None or not setting.may_change(node):  # it went with another one's rewrite
            continue
        done = _at(model, rule, node)
        if isinstance(done, Refusal):
            one = Left(layer=name_of(done.node), why=f"{rule.name}: {done.why}")
            left[one.layer, one.why] = one
        elif done is not None:
            changes.append(done)
    return changes


def _at(model: "ir.Model", rule: AnyRule, node: "ir.Node") -> Change | Refusal | None:
    """Rewrite a node that a pattern ends at, in the first way that is not refused."""
    refused: Refusal | None = None
    for match in rule.find(model, node):
        plan = rule.judge(match)
        if isinstance(plan, Refusal):
            refused = refused or plan
            continue
        layer = name_of(node)
        draft = Draft(model, node)
        what = rule.rewrite(draft, match, plan)
        draft.finish(match.found.nodes)
        return Change(layer=layer, what=f"{rule.name}: {what}")
    return refused
