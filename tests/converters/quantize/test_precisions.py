"""Precisions as people write them: one canonical text each, and one sentence for everything that is wrong."""

import contextlib
import re
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_converters.backends import BACKENDS, backend_for
from edgekit_converters.conversion import check_wanted
from edgekit_converters.errors import PrecisionError
from edgekit_converters.precisions import Precisions, choice, flag, label_of, number, parse

TABLE: Precisions = {
    "fp32": {},
    "int4": {
        "group": number(128, -1, 4096, "values that share a scale"),
        "ratio": number(1.0, 0.0, 1.0, "share in four bits"),
        "fit": choice("min-max", "mse", text="how scales are found"),
        "awq": flag("scale channels"),
    },
}
ALL = [
    (target, name, key, option)
    for target in BACKENDS
    for name, options in backend_for(target).precisions.items()
    for key, option in options.items()
]


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("fp32", "fp32"),
        (" fp32 ", "fp32"),
        ("int4:awq", "int4:awq"),
        ("int4:awq=on", "int4:awq"),
        ("int4:awq=off", "int4"),
        ("int4:group=128,fit=min-max,ratio=1", "int4"),
        ("int4:awq, group=64", "int4:group=64,awq"),
        ("int4:ratio=0.50", "int4:ratio=0.5"),
        ("int4:group=-1", "int4:group=-1"),
        ("int4:fit=mse,group=0032", "int4:group=32,fit=mse"),
    ],
)
def test_what_means_the_same_is_written_the_same(written: str, canonical: str) -> None:
    found = parse(written, "t", TABLE)
    assert found.text == canonical
    again = parse(canonical, "t", TABLE)
    assert (again.text, again.values) == (found.text, found.values)
    assert list(found.values) == list(TABLE[found.name])


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "t has no precision '': it has fp32, int4"),
        ("int3", "t has no precision 'int3': it has fp32, int4"),
        ("INT4", "t has no precision 'INT4'"),
        ("fp32:awq", "t fp32 has no option 'awq': it has none"),
        ("int4:", "t int4 has no option '': it has group, ratio, fit, awq"),
        ("int4:awq,", "t int4 has no option ''"),
        ("int4:x=1", "t int4 has no option 'x'"),
        ("int4:awq=yes", "option 'awq' takes on, off, not 'yes'"),
        ("int4:group", "option 'group' takes -1 to 4096, not ''"),
        ("int4:group=", "option 'group' takes -1 to 4096, not ''"),
        ("int4:group=6.5", "option 'group' takes -1 to 4096, not '6.5'"),
        ("int4:group=4097", "option 'group' takes -1 to 4096, not '4097'"),
        ("int4:ratio=nan", "option 'ratio' takes 0.0 to 1.0, not 'nan'"),
        ("int4:ratio=inf", "option 'ratio' takes 0.0 to 1.0, not 'inf'"),
        ("int4:fit=best", "option 'fit' takes min-max, mse, not 'best'"),
        ("int4:group=32,group=64", "t int4: option 'group' is given twice"),
    ],
)
def test_what_is_wrong_is_one_sentence(written: str, says: str) -> None:
    with pytest.raises(PrecisionError, match=re.escape(says)) as caught:
        parse(written, "t", TABLE)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for table in (TABLE, *(backend_for(one).precisions for one in BACKENDS)):
        for written in (text, f"int4:{text}", f"int8:{text}"):
            with contextlib.suppress(PrecisionError):
                assert parse(written, "t", table).name in table


def _other_values(option: Any) -> list[str]:
    if isinstance(option.default, bool):
        return ["on"]
    if isinstance(option.default, str):
        return [one for one in option.takes.split(", ") if one != option.default]
    low, _, high = option.takes.partition(" to ")
    return [low, high]


@pytest.mark.parametrize(("target", "name", "key", "option"), ALL)
def test_every_option_takes_what_it_says(target: str, name: str, key: str, option: Any) -> None:
    table = backend_for(target).precisions
    for value in _other_values(option):
        found = parse(f"{name}:{key}={value}", target, table)
        assert found.text == parse(found.text, target, table).text
        assert option.help
    default = "off" if option.default is False else option.default
    assert parse(f"{name}:{key}={default}", target, table).text == name


def test_file_names_tell_precisions_apart() -> None:
    for target in BACKENDS:
        table = backend_for(target).precisions
        texts = [
            parse(f"{name}:{key}={value}", target, table).text
            for to, name, key, option in ALL
            if to == target
            for value in _other_values(option)
        ]
        labels = {one: label_of(one) for one in (*table, *texts)}
        assert len(set(labels.values())) == len(labels)
        for label in labels.values():
            assert re.fullmatch(r"[\w.-]+", label)
            assert PurePosixPath(f"m.{label}.xml").with_suffix(".bin").name == f"m.{label}.bin"


def test_the_same_precision_twice_is_refused_however_it_is_written() -> None:
    with pytest.raises(PrecisionError, match="openvino int4-weights:group=64 is asked for twice"):
        check_wanted((("openvino", "int4-weights:group=64"), ("openvino", "int4-weights:awq=off,group=64")))
