"""Manifests: what they may say, and how every other one is refused."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_agent import bundle
from edgekit_agent.bundle import Manifest
from edgekit_agent.errors import BundleError
from tests.agent.bundle_maker import Body, plain


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Body:
    """A sound manifest as JSON."""
    found: Body = json.loads(plain(tmp_path_factory.mktemp("plain"))[0].to_text())
    return found


def _changed(body: Body, change: Callable[[Body], object]) -> bytes:
    copy: Body = json.loads(json.dumps(body))
    change(copy)
    return json.dumps(copy).encode()


def test_the_schema_number_stands_first_and_the_text_reads_back(body: Body) -> None:
    manifest = bundle.parse(json.dumps(body).encode())
    assert next(iter(body)) == "schema"
    assert bundle.parse(manifest.to_text()) == manifest
    assert (str(manifest), manifest.size_bytes) == ("kws 1.2.0", 5000 + 700 + 48 + 24 + 8)
    assert (manifest.file_of("labels"), manifest.file_of("report")) == ("labels.txt", None)


def test_fields_of_newer_makers_are_kept(body: Body) -> None:
    manifest = bundle.parse(_changed(body, lambda one: one.update(licence="Apache-2.0")))
    assert manifest.to_json()["licence"] == "Apache-2.0"


@pytest.mark.parametrize("schema", [2, 0, -1, "1", 1.0, True, None, [1]])
def test_other_schemas_are_refused_before_anything_else(schema: object) -> None:
    with pytest.raises(BundleError, match=r"has schema .*, and this version reads 1") as caught:
        bundle.parse(json.dumps({"schema": schema, "future": {}}).encode())
    assert "update EdgeKit" in caught.value.__notes__[0]


def _put(*path: str | int, value: Any) -> Callable[[Body], object]:
    def change(body: Any) -> None:
        for key in path[:-1]:
            body = body[key]
        body[path[-1]] = value

    return change


WRONG: dict[str, tuple[Callable[[Body], object], str]] = {
    "no model": (lambda body: body.pop("model"), "Manifest.model is missing"),
    "a model's path": (_put("model", value="../kws"), "Manifest.model is not of the form"),
    "no semver": (_put("version", value="1.2"), "Manifest.version is not of the form"),
    "a negative counter": (_put("counter", value=-1), "Manifest.counter is not 0 or more"),
    "a fractional counter": (_put("counter", value=1.5), "Manifest.counter is not a whole number"),
    "hardware": (_put("hardware", value=["Raspberry Pi"]), "Manifest.hardware is not of the form"),
    "no runtimes": (_put("runtimes", value=[]), "names no runtime"),
    "versions": (_put("runtimes", 0, "versions", value="~=2.3"), "are not of the form >=2.3,<3"),
    "another format's runtime": (_put("runtimes", 0, "name", value="onnxruntime"), "'onnxruntime' does not run"),
    "a runtime's name": (_put("runtimes", 0, "name", value="os.system"), "RuntimeRange.name is not of the form"),
    "no artifact": (_put("artifact", value="other.tflite"), "'other.tflite' is none of the files"),
    "golden as artifact": (_put("artifact", value="golden-input-0.raw"), "or has another role"),
    "a role": (_put("files", 0, "role", value="script"), "BundleFile.role is not of the form"),
    "labels twice": (_put("files", 1, "role", value="labels"), "more than one file as labels"),
    "a digest": (_put("files", 0, "sha256", value="sha256:0"), "BundleFile.sha256 is not of the form"),
    "a negative size": (_put("files", 0, "size", value=-1), "BundleFile.size is not 0 or more"),
    "no files": (_put("files", value=[]), "names 0 files, and a bundle has 1 to"),
    "many files": (lambda body: body["files"].extend(body["files"] * 100), "files, and a bundle has 1 to 256"),
    "other inputs": (_put("inputs", 0, "name", value="z"), "golden inputs are not those of the model"),
    "other types": (_put("outputs", 0, "dtype", value="int8"), "golden outputs are not those of the model"),
    "signs of a terminal": (_put("inputs", 0, "name", value="\x1b[2J"), "Tensor.name is not of the form"),
    "no outputs": (_put("outputs", value=[]), "golden outputs are not those of the model"),
    "other runs": (_put("golden", "outputs", 0, "shape", value=[2, 1, 3]), "same number of runs"),
    "no runs": (_put("golden", "inputs", 0, "shape", value=[]), "same number of runs"),
    "a golden size": (_put("golden", "inputs", 0, "shape", value=[3, 1, 5]), "has 48 bytes, and its array 60"),
    "a golden type": (_put("golden", "inputs", 0, "dtype", value="object"), "GoldenArray.dtype is not of the form"),
    "a huge array": (_put("golden", "inputs", 0, "shape", value=[3, 2**62, 2**62]), "and its array"),
    "a golden file": (_put("golden", "inputs", 0, "file", value="model.tflite"), "not one for each file of that role"),
    "a file for two": (
        _put("golden", "inputs", 0, "file", value="golden-output-0.raw"),
        "not one for each file of that role",
    ),
    "no tolerance": (_put("golden", "tolerance", value={}), "tolerance is not a number of 0 or more for each"),
    "a negative tolerance": (_put("golden", "tolerance", "y", value=-1), "tolerance is not a number of 0 or more"),
    "preprocessing": (_put("preprocess", "order", value="cmyk"), "preprocess 'order' is 'cmyk'"),
    "post-processing": (_put("postprocess", "kind", value="masks"), "postprocess 'kind' is not one of"),
    "bounds": (_put("bounds", value={"p50_ms": -1}), "Bounds.p50_ms is not 0 or more"),
    "threads": (_put("threads", value=0), "Manifest.threads is not 1 or more"),
}


@pytest.mark.parametrize(("change", "why"), WRONG.values(), ids=WRONG)
def test_wrong_manifests_are_refused_by_what_is_wrong(body: Body, change: Callable[[Body], object], why: str) -> None:
    with pytest.raises(BundleError, match=why):
        bundle.parse(_changed(body, change))


def test_a_key_twice_is_refused_for_readers_could_take_another(body: Body) -> None:
    text = json.dumps(body).encode().replace(b'"counter": 7', b'"counter": 7, "counter": 1')
    with pytest.raises(BundleError, match="a key stands there twice"):
        bundle.parse(text)


def test_not_a_number_is_no_json(body: Body) -> None:
    with pytest.raises(BundleError, match="NaN is not JSON"):
        bundle.parse(_changed(body, _put("golden", "tolerance", "y", value=float("nan"))))


def test_what_files_may_be_together_is_the_caller_s(body: Body) -> None:
    with pytest.raises(BundleError, match="5780 bytes together, more than 5000"):
        bundle.parse(json.dumps(body).encode(), most_bytes=5000)


def test_half_a_pair_of_surrogates_is_no_text(body: Body) -> None:
    with pytest.raises(BundleError, match="text that is no Unicode"):
        bundle.parse(_changed(body, lambda one: one.update(note="\ud800")))


def test_runtimes_of_newer_agents_are_passed_over(body: Body) -> None:
    manifest = bundle.parse(_changed(body, lambda one: one["runtimes"].insert(0, {"name": "next-runtime"})))
    assert [one.name for one in manifest.runtimes] == ["next-runtime", "ai-edge-litert"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.data(), _JSON)
def test_whatever_stands_in_a_field_it_is_taken_or_refused(body: Body, data: st.DataObject, value: object) -> None:
    def change(found: Any) -> None:
        for _ in range(data.draw(st.integers(0, 3))):
            inner = (
                found if isinstance(found, list) else [one for one in found.values() if isinstance(one, list | dict)]
            )
            inner = [one for one in inner if isinstance(one, list | dict) and one]
            if inner:
                found = data.draw(st.sampled_from(inner))
        keys = list(range(len(found))) if isinstance(found, list) else list(found)
        found[data.draw(st.sampled_from(keys))] = value

    with contextlib.suppress(BundleError):
        assert isinstance(bundle.parse(_changed(body, change)), Manifest)
