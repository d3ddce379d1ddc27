"""Techniques that are tables of rewrite rules: fusion, replacement, reordering."""

from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit_converters.compress.base import Effect, Setting, Values
from edgekit_converters.precisions import Option, Options

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgekit_converters.compress.rules.base import AnyRule

ALL = "all"


class Rewriting:
    """Rules of a table applied until nothing changes; a subclass says which table."""

    name: str
    help: str
    exact = True
    table: "tuple[AnyRule, ...]"

    @property
    def options(self) -> Options:
        """Which of the rules."""
        return MappingProxyType({"rules": self._rules()})

    def needs(self, values: Values) -> frozenset[str]:  # noqa: ARG002  # the port's
        """Nothing."""
        return frozenset()

    def check(self, model: "ir.Model", values: Values, setting: Setting) -> str | None:  # noqa: ARG002  # the port's
        """Any model may have what a rule looks for: what it finds decides."""
        return None

    def apply(self, model: "ir.Model", values: Values, setting: Setting) -> Effect:
        """Apply the rules that were asked for."""
        from edgekit_converters.compress.rules.runner import apply_rules

        return apply_rules(model, self.asked(values), setting)

    def asked(self, values: Values) -> "tuple[AnyRule, ...]":
        """Return the rules that were named, in the table's order; those on by default where none were."""
        text = str(values["rules"])
        names = set(text.split("+"))
        return tuple(rule for rule in self.table if rule.name in names or (text == ALL and rule.default))

    def _rules(self) -> Option:
        known = [rule.name for rule in self.table]
        extra = [rule.name for rule in self.table if not rule.default]
        more = f"; {ALL} has all but {', '.join(extra)}" if extra else ""

        def read(text: str) -> str:
            names = text.split("+")
            if text != ALL and (set(names) - set(known) or len(set(names)) != len(names)):
                raise ValueError(text)
            return text

        return Option(
            read=read, default=ALL, help=f"which rules, joined by +{more}", takes=f"{ALL}, or {'+'.join(known)}"
        )
