"""What devices say of themselves, into their rows: the many states of a batch by one prepared statement."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Update, bindparam, delete, func, update

from edgekit.fleet.store.base import Heard
from edgekit.fleet.store.bulk import replace
from edgekit.fleet.store.known import make_devices, numbers_of
from edgekit.fleet.store.tables import DEVICE_MODELS, DEVICES
from edgekit.fleet.store.writer import NAMES_LIMIT
from edgekit.fleet.wire import Info, InstalledModel, Reported, State, document

Values = dict[str, Any]
_STATE = ("state", "birth", "boot", "state_ts_ms", "state_at_ms", "why", "last_seen_ms")
_TOLD_AT_BIRTH = ("agent", "heartbeat_s")
_INFO = ("info", "labels", "hardware", "last_seen_ms")
_REPORTED = ("reported_version", "reported", "reported_at_ms", "last_seen_ms")


def keep(connection: Connection, said: Sequence[Heard], limit: int) -> int:
    """Keep what devices say, inside the caller's transaction; return for how many messages there was no room.

    Args:
        connection: where to.
        said: what came, in order.
        limit: a device that is not known is made while there are fewer.
    """
    names = list(dict.fromkeys(one.key for one in said))
    make_devices(connection, names, min((one.now_ms for one in said), default=0), limit)
    numbers = numbers_of(connection, names)
    known = [one for one in said if one.key in numbers]
    states: list[Values] = []
    infos: list[Values] = []
    reported: list[Values] = []
    served: dict[int, tuple[Sequence[InstalledModel], int]] = {}
    # in the order of numbers, as the writer of reports goes through them: no two wait for each other
    for key, message, raw, now_ms in sorted(known, key=lambda one: numbers[one.key]):
        number = numbers[key]
        row = {"number": number, "last_seen_ms": now_ms}
        match message:
            case State():
                states.append(row | _of_state(message, now_ms))
            case Info():
                infos.append(row | _of_info(message, raw))
                if message.models is not None:  # it lists all that is served
                    served[number] = message.models, now_ms
            case Reported():
                told = {"reported_version": message.version, "reported": raw.decode(), "reported_at_ms": now_ms}
                reported.append(row | told)
    for statement, rows in ((_STATES, states), (_INFOS, infos), (_REPORTS, reported)):
        if rows:
            connection.execute(statement, rows)
    for number, (models, now_ms) in served.items():
        _serve(connection, number, models, now_ms)
    return len(said) - len(known)


def _serve(connection: Connection, number: int, models: Sequence[InstalledModel], now_ms: int) -> None:
    connection.execute(delete(DEVICE_MODELS).where(DEVICE_MODELS.c.device_id == number))
    rows = {
        one.name: (number, one.name, one.version, one.artifact, one.runtime or "", now_ms)
        for one in models
        if len(one.name) <= NAMES_LIMIT
    }
    replace(connection, DEVICE_MODELS, [column.name for column in DEVICE_MODELS.columns], [*rows.values()])


def _of_state(state: State, now_ms: int) -> Values:
    return {
        "state": state.state,
        "birth": state.birth,
        "boot": state.boot,
        "state_ts_ms": state.ts_ms,
        "state_at_ms": now_ms,
        "why": state.why,
        "agent": state.agent,
        "heartbeat_s": state.heartbeat_s,
    }


def _of_info(info: Info, raw: bytes) -> Values:
    return {"info": raw.decode(), "labels": document(info.labels), "hardware": document(info.hardware)}


def _update(names: Sequence[str], **others: Any) -> Update:  # noqa: ANN401  # SQL expressions
    values = {name: bindparam(name, type_=DEVICES.c[name].type) for name in names}
    return update(DEVICES).where(DEVICES.c.id == bindparam("number")).values(**values, **others)


# a will knows less than the birth: what it leaves out stays
_STATES = _update(
    _STATE,
    **{name: func.coalesce(bindparam(name, type_=DEVICES.c[name].type), DEVICES.c[name]) for name in _TOLD_AT_BIRTH},
)
_INFOS = _update(_INFO)
_REPORTS = _update(_REPORTED)
