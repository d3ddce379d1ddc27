"""The filter language: what it means, that the database agrees with it, and how it says what is wrong."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from edgekit.fleet.query import FilterError, parse, version_key
from edgekit.fleet.store import DeviceRow, ServedModel, Store
from edgekit.fleet.store.engine import writing
from edgekit.fleet.store.tables import DEVICE_MODELS, DEVICES

ROOMS = ("lab", "hall", "Lab", "", "a b")
VERSIONS = ("1.2", "1.2.0", "1.10.0", "1.3-rc1", "1.3", "nightly", "2")
WORDS = ("pi-*", "*", "pi-?", "[pi]*", "a%b_", "x\\y", "'", '"', "é", "sim")


def row(number: int, **values: Any) -> DeviceRow:
    return DeviceRow(id=number, site="default", device=f"dev-{number}", first_seen_ms=0, last_seen_ms=0, **values)


def served(name: str, version: str) -> ServedModel:
    return ServedModel(name=name, version=version, artifact="sha256:00", runtime="onnxruntime 1.31.0", seen_ms=0)


PI = row(
    1,
    presence="online",
    presence_reason="heard",
    agent="0.2.0",
    labels={"room": "lab", "floor": "2"},
    hardware={"board": "Raspberry Pi 4", "arch": "aarch64", "cores": 4, "big": True, "none": None},
    models=(served("kws", "1.2.0"), served("vad", "1.10.0")),
)


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("", True),
        ("label.room=lab and model=kws and not state=offline and version<1.3", True),
        ("label.room = lab", True),
        ("label.room=Lab", False),
        ("label.room in (hall, lab)", True),
        ("label.floor", True),
        ("not label.cellar", True),
        ("label.cellar!=x", True),
        ("device~dev-*", True),
        ("device~dev-?", True),
        ("device~ev-*", False),
        ('hardware="Raspberry Pi 4"', True),
        ("hardware~Rasp*", True),
        ("hardware.arch=aarch64 and hardware.cores>=4 and hardware.cores=4", True),
        ("hardware.cores<4", False),
        ("hardware.arch>1", False),
        ("hardware.big=true", True),
        ("hardware.none", False),
        ("version=1.2.0", True),
        ("model=kws and version=1.10.0", False),
        ("(model=kws) and version=1.10.0", True),
        ("model=vad and version>1.9", True),
        ("model=kws and version!=1.3", True),
        ("not (model=kws and version=1.2.0)", False),
        ("not model=kws", False),
        ("agent<0.10", True),
        ("site=elsewhere or state=online", True),
        ("NOT site=elsewhere AND NOT state=offline", True),
        ("reason=heard", True),
        ("runtime~onnxruntime*", True),
    ],
)
def test_a_filter_means_what_it_says(text: str, true: bool) -> None:  # the parameter
    assert parse(text).matches(PI) is true


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("lable.room=lab", 0, "did you mean 'label.room'?"),
        ("stat=online", 0, "did you mean 'state'?"),
        ("state=offlin", 6, "did you mean 'offline'?"),
        ("device=pi-*", 7, "device~pi-*"),
        ("site in (lab, b?)", 14, "site~b?"),
        ("label=lab", 0, "label.room=lab"),
        ("state=online and", 16, "a field is expected"),
        ("state=online model=kws", 13, "join comparisons"),
        ("state", 5, "a comparison with 'state'"),
        ("state=", 6, "a value is expected"),
        ("(state=online", 13, "')' is expected"),
        ('site="berlin', 5, "close the quotation mark"),
        ("site<b", 0, "has no order"),
        ("hardware.cores>many", 15, "is no number"),
        ("label.=x", 0, "needs a name"),
        ("not " * 40 + "site=a", 104, "nested more than 25 deep"),
        ("(" * 40 + "site=a" + ")" * 40, 26, "nested more than 25 deep"),
        ("site=" + "a" * 2000, 2000, "the limit is 2000"),
        ("site in ()", 9, "a value is expected"),
        ("and=1", 0, "a field is expected"),
    ],
    ids=lambda one: str(one)[:30],
)
def test_what_is_wrong_is_said_with_its_place(text: str, at: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert caught.value.at == at
    assert f"character {at + 1}:" in str(caught.value)
    assert words in " ".join((str(caught.value), *caught.value.__notes__))


@settings(deadline=None)
@given(text=st.text(st.sampled_from("label.room=model()<>!~and or not in 'x\"\\,1"), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert parse(text).matches(PI) in {True, False}
    except FilterError as exc:
        assert 0 <= exc.at <= len(text)  # noqa: PT017  # either is right


def test_versions_have_their_order() -> None:
    ordered = ["0.9", "1.0-alpha", "1.0-beta1", "1.0-beta2", "1.0", "1.0.1", "1.2", "1.10", "2"]
    keys = [version_key(one) for one in ordered]
    assert all(before < after for before, after in pairwise(keys))
    assert version_key("v1.3") == version_key("1.3.0") == version_key("1.3+build7")
    version_key("9" * 100_000)


# --- the database agrees

names = st.sampled_from(("room", "floor", "a.b"))
plain_values = st.sampled_from((*ROOMS, *VERSIONS, "lab", "kws", "vad", "4", "true", "offline", "online"))


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


equals = st.sampled_from(("=", "!="))
orders = st.sampled_from(("<", "<=", ">", ">="))
SERVED = ("model", "version", "runtime")
PLAIN = (*SERVED, "reason", "agent", "hardware", "site", "device")
PATTERNS = ("model", "version", "device", "hardware", "label.room", "hardware.arch", "hardware.cores")
FIGURES = ("arch", "cores", "ok", "none")


def written(fields: tuple[str, ...], signs: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> Any:
    return st.builds(lambda field, sign, value: f"{field}{sign}{quoted(value)}", st.sampled_from(fields), signs, values)


comparisons = st.one_of(
    written(PLAIN, equals, plain_values),
    written(PATTERNS, st.just("~"), st.sampled_from(WORDS)),
    written(("version", "agent"), orders, st.sampled_from(VERSIONS)),
    written(("label.room", "label.floor", "label.a.b"), equals, plain_values),
    written(tuple(f"hardware.{key}" for key in FIGURES), equals, plain_values),
    written(("hardware.cores",), orders, st.sampled_from(("2", "3.5", "-1"))),
    written(("state",), equals, st.sampled_from(("online", "offline", "stopped"))),
    st.builds(
        lambda key, values: f"label.{key} in ({','.join(map(quoted, values))})",
        names,
        st.lists(plain_values, min_size=1, max_size=3),
    ),
    st.builds("label.{}".format, names),
    st.builds("hardware.{}".format, st.sampled_from(FIGURES)),
)
filters = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("not ({})".format, inner),
        st.builds("{} and {}".format, inner, inner),
        st.builds("({}) or {}".format, inner, inner),
    ),
    max_leaves=6,
)
texts = st.sampled_from((*ROOMS, *WORDS, "pi-1"))
hardwares = st.fixed_dictionaries(
    {},
    optional={
        "board": st.sampled_from(("", "Pi 4", "NUC")),
        "arch": st.sampled_from(("aarch64", "x86_64", "kws", "4")),
        "cores": st.sampled_from((2, 4, 4.0, 3.5, "4", True)),
        "ok": st.sampled_from((True, False, "true", [1], {"a": 1})),
        "none": st.none(),
    },
)
devices = st.fixed_dictionaries(
    {
        "device": texts,
        "presence": st.sampled_from(("online", "offline", "stopped")),
        "presence_reason": st.sampled_from(("silent", "lab")),
        "agent": st.one_of(st.none(), st.sampled_from(VERSIONS)),
        "labels": st.dictionaries(names, texts, max_size=3),
        "hardware": hardwares,
        "models": st.dictionaries(st.sampled_from(("kws", "vad", "lab")), st.sampled_from(VERSIONS), max_size=2),
    }
)


def fill(store: Store, found: list[dict[str, Any]]) -> None:
    with writing(store.engine) as connection:
        for table in (DEVICE_MODELS, DEVICES):
            connection.execute(table.delete())
        for number, one in enumerate(found, 1):
            values = {**one, "id": number, "site": f"site-{number}", "first_seen_ms": 0, "last_seen_ms": 0}
            models = values.pop("models")
            values |= {name: json.dumps(one[name]) for name in ("labels", "hardware")}
            connection.execute(insert(DEVICES).values(**values))
            for name, version in models.items():
                connection.execute(
                    insert(DEVICE_MODELS).values(
                        device_id=number, model=name, version=version, artifact="a", runtime="lab", seen_ms=0
                    )
                )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(devices, min_size=1, max_size=8), wanted=st.lists(filters, min_size=1, max_size=6))
def test_the_database_finds_what_the_filter_is_true_of(
    store: Store, found: list[dict[str, Any]], wanted: list[str]
) -> None:
    fill(store, found)
    rows = store.devices.all()
    for text in wanted:
        one = parse(text)
        assert [row.key for row in one.devices(store)] == [row.key for row in rows if one.matches(row)], text


def test_values_are_bound_never_written_into_the_statement(store: Store) -> None:
    device = {"device": "d", "presence": "online", "presence_reason": "", "agent": None}
    fill(store, [{**device, "labels": {}, "hardware": {}, "models": {}}])
    evil = "x'; DROP TABLE devices; --"
    assert parse(f'site="{evil}" or label.room="{evil}" or device~"{evil}"').devices(store) == []
    assert len(store.devices.all()) == 1
