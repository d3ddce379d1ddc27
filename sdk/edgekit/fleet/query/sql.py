"""A filter as a condition on `devices`, every value bound; it is true of the rows that `matches` is true of."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any as AnyValue

from sqlalchemy import Boolean, Double, Text, and_, case, cast, exists, false, func, literal, not_, or_, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import ColumnElement

from edgekit.fleet.query.matching import compare
from edgekit.fleet.query.parser import number
from edgekit.fleet.query.tree import All, Any, Has, Node, Not, Op, Serves, Test
from edgekit.fleet.store.tables import DEVICE_MODELS, DEVICES

Condition = ColumnElement[bool]
_PLAIN = MappingProxyType(
    {
        "site": DEVICES.c.site,
        "device": DEVICES.c.device,
        "state": DEVICES.c.presence,
        "reason": DEVICES.c.presence_reason,
        "agent": DEVICES.c.agent,
    }
)
_SERVED = MappingProxyType(
    {
        "model": DEVICE_MODELS.c.model,
        "version": DEVICE_MODELS.c.version,
        "runtime": DEVICE_MODELS.c.runtime,
        "artifact": DEVICE_MODELS.c.artifact,
    }
)
_DOCUMENTS = MappingProxyType({"label": DEVICES.c.labels, "hardware": DEVICES.c.hardware})
_ORDER: Mapping[Op, str] = MappingProxyType({Op.LT: "<", Op.LE: "<=", Op.GT: ">", Op.GE: ">="})


class Writer:
    """Writes conditions for one database.

    Versions have an order that no database knows, so which of the versions there are a test is true of is found out
    here, and the database is asked for those.
    """

    def __init__(self, dialect: str, versions: Mapping[str, Collection[str]]) -> None:
        """Take the dialect's name, and all texts that `version` and `agent` have in the store."""
        self._sqlite, self._versions = dialect == "sqlite", versions

    def condition(self, node: Node) -> Condition:  # noqa: PLR0911  # a case each
        """Return the condition of a tree."""
        match node:
            case All(parts):
                return and_(true(), *(self.condition(part) for part in parts))
            case Any(parts):
                return or_(false(), *(self.condition(part) for part in parts))
            case Not(part):
                return not_(self.condition(part))
            case Serves(tests):
                mine = DEVICE_MODELS.c.device_id == DEVICES.c.id
                return exists().where(mine, *(self._text(test, _SERVED[test.field]) for test in tests))
            case Has(field, key):
                return self._kind(_DOCUMENTS[field], key).not_in(["null"]).is_(true())
            case Test(field="hardware", key=""):
                return self._text(node, self._hardware_name())
            case Test(field="hardware"):
                return self._figure(node)
            case Test(field="label"):
                return self._text(node, self._value(DEVICES.c.labels, node.key))
            case Test():
                return self._text(node, _PLAIN[node.field])

    # --- texts

    def _text(self, test: Test, column: ColumnElement[AnyValue]) -> Condition:
        if test.op in _ORDER:
            good = [one for one in self._versions[test.field] if compare(test, one)]
            return _sure(column.in_(good))
        if test.op is Op.LIKE:
            return _sure(self._like(column, test.values[0]))
        equal = _sure(column.in_(test.values))
        return equal if test.op is Op.EQ else not_(equal)

    def _like(self, column: ColumnElement[AnyValue], text: str) -> Condition:
        if self._sqlite:
            return column.op("GLOB")(text.replace("[", "[[]"))
        parts = {"*": ".*", "?": "."}
        # a backslash before anything but letters and digits is that sign itself
        shown = (parts.get(one) or (one if one.isalnum() or one == "_" else f"\\{one}") for one in text)
        return column.op("~")(f"^(?:{''.join(shown)})$")

    # --- documents

    def _kind(self, column: ColumnElement[AnyValue], key: str) -> ColumnElement[str]:
        """Return what kind a member of a JSON object is, NULL where it has none."""
        if self._sqlite:
            return func.json_type(column, _path(key))
        return func.jsonb_typeof(cast(column, JSONB)[literal(key)])

    def _value(self, column: ColumnElement[AnyValue], key: str) -> ColumnElement[str]:
        """Return a member as text."""
        if self._sqlite:
            return cast(func.json_extract(column, _path(key)), Text)
        member: ColumnElement[str] = cast(column, JSONB)[literal(key)].astext
        return member

    def _hardware_name(self) -> ColumnElement[str]:
        parts = [func.nullif(self._value(DEVICES.c.hardware, key), "") for key in ("board", "model", "arch")]
        return func.coalesce(*parts, "unknown")

    def _figure(self, test: Test) -> Condition:
        column = DEVICES.c.hardware
        kind, value = self._kind(column, test.key), self._value(column, test.key)
        texts, numbers = ("text", ("integer", "real")) if self._sqlite else ("string", ("number",))
        # a CASE, because both sides of an AND may be tried
        figure = case((kind.in_(numbers), cast(value, Double)), else_=None)
        wanted = [one for one in map(number, test.values) if one is not None]
        if test.op in _ORDER:
            return _sure(figure.op(_ORDER[test.op])(wanted[0]))
        # of true and false SQLite's JSON knows the kind only, PostgreSQL's the text
        flag = kind.in_(("true", "false") if self._sqlite else ("boolean",))
        text = case((kind == texts, value), (flag, kind if self._sqlite else value), else_=None)
        if test.op is Op.LIKE:
            return _sure(self._like(text, test.values[0]))
        equal = or_(_sure(text.in_(test.values)), _sure(figure.in_(wanted)))
        return equal if test.op is Op.EQ else not_(equal)


def _sure(condition: AnyValue) -> Condition:  # noqa: ANN401  # an SQL expression
    """Let NULL be false, so that `not` means the opposite."""
    return func.coalesce(condition, false(), type_=Boolean)


def _path(key: str) -> str:
    """Return SQLite's path of a member; a name has neither quotes nor backslashes in it."""
    return f'$."{key}"'
