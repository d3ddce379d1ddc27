"""What of a runtime's options is done, refused, and told: devices, providers, delegates, properties."""

import subprocess
from pathlib import Path
from shutil import which

import numpy as np
import pytest

from edgekit_agent import runtimes
from edgekit_agent.errors import ModelError
from edgekit_agent.runtimes.base import LoadOptions


def ones() -> list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    return [np.ones((1, 4), np.float32)]


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "null"])
def test_a_delegate_is_refused_where_there_are_none(name: str, models: Path, tmp_path: Path) -> None:
    if name != "null":
        pytest.importorskip(name, reason=f"needs {name}")
    options = LoadOptions(delegate=tmp_path / "lib.so")
    with pytest.raises(ModelError, match=f"{name} takes no delegate"):
        runtimes.get(name).load(models / "dense.onnx", options)


class TestOnnxRuntime:
    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        pytest.importorskip("onnxruntime", reason="needs onnxruntime")

    def test_it_tells_how_many_operators_each_provider_has(self, models: Path) -> None:
        session = runtimes.get("onnxruntime").load(models / "dense.onnx")
        assert set(session.operators) == {"CPU"}
        assert session.operators["CPU"] > 0
        assert session.executed_on == ("CPU",)

    def test_a_provider_that_is_not_here_is_named_with_those_that_are(self, models: Path) -> None:
        with pytest.raises(ModelError, match=r"no provider for 'CUDA' here; it has: .*CPU"):
            runtimes.get("onnxruntime").load(models / "dense.onnx", LoadOptions(device="CUDA"))

    def test_a_property_of_the_session_is_given_to_it(self, models: Path) -> None:
        options = LoadOptions(properties={"session.load_model_format": "ORT"})
        with pytest.raises(ModelError, match="cannot be run by onnxruntime"):
            runtimes.get("onnxruntime").load(models / "dense.onnx", options)


class TestOpenVino:
    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        pytest.importorskip("openvino", reason="needs openvino")

    @pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "HETERO:CPU", "MULTI:CPU"])
    def test_what_chooses_a_device_tells_which_one(self, models: Path, device: str) -> None:
        session = runtimes.get("openvino").load(models / "dense.onnx", LoadOptions(device=device))
        session.invoke(ones())
        assert session.executed_on == ("CPU",)

    @pytest.mark.parametrize("device", ["NPU9", "AUTO:NPU9,CPU", "HETERO:NPU9,CPU", "CPU:NPU9", "AUTO:;"])
    def test_a_device_that_is_not_here_is_refused_with_those_that_are(self, models: Path, device: str) -> None:
        with pytest.raises(ModelError, match=r"no device '.*' here; it has: CPU"):
            runtimes.get("openvino").load(models / "dense.onnx", LoadOptions(device=device))

    def test_a_property_is_above_what_is_set_here(self, models: Path) -> None:
        options = LoadOptions(threads=2, properties={"NUM_STREAMS": 2, "PERFORMANCE_HINT": "THROUGHPUT"})
        session = runtimes.get("openvino").load(models / "dense.onnx", options)
        assert session._compiled.get_property("NUM_STREAMS") == 2  # type: ignore[attr-defined]

    @pytest.mark.parametrize("properties", [{"NO_SUCH": "1"}, {"NUM_STREAMS": "many"}])
    def test_a_property_it_does_not_have_is_refused(self, models: Path, properties: dict[str, str]) -> None:
        with pytest.raises(ModelError, match="cannot be run by openvino"):
            runtimes.get("openvino").load(models / "dense.onnx", LoadOptions(properties=properties))


class TestTFLite:
    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")

    def test_operators_of_xnnpack_are_told_and_it_can_be_left_out(self, models: Path) -> None:
        runtime = runtimes.get("ai-edge-litert")
        assert runtime.load(models / "dense.tflite").operators == {"XNNPACK": 3}
        plain = runtime.load(models / "dense.tflite", LoadOptions(properties={"xnnpack": False}))
        assert plain.operators == {"CPU": 3}
        assert plain.executed_on == ("CPU",)

    def test_a_property_it_does_not_have_is_refused(self, models: Path) -> None:
        with pytest.raises(ModelError, match="has no property 'x'; it has: xnnpack, weight_cache"):
            runtimes.get("ai-edge-litert").load(models / "dense.tflite", LoadOptions(properties={"x": 1}))

    @pytest.mark.parametrize("content", [None, b"no library"], ids=["missing", "garbage"])
    def test_a_delegate_that_is_no_library_is_named(self, models: Path, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "libx.so"
        if content:
            path.write_bytes(content)
        with pytest.raises(ModelError, match=r"delegate '.*libx.so' cannot be loaded"):
            runtimes.get("ai-edge-litert").load(models / "dense.tflite", LoadOptions(delegate=path))


@pytest.fixture(scope="session")
def delegate(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delegate that takes SOFTMAX."""
    compiler = which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler: apt-get install gcc")
    source = repository / "tests" / "data" / "delegate" / "softmax_delegate.c"
    made = tmp_path_factory.mktemp("delegate") / "libsoftmax.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", source, "-lm", "-o", made], check=True)
    return made


class TestDelegate:
    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")

    def test_what_it_takes_it_computes_and_that_is_told(self, models: Path, delegate: Path) -> None:
        runtime = runtimes.get("ai-edge-litert")
        session = runtime.load(models / "dense.tflite", LoadOptions(delegate=delegate))
        assert session.operators == {"libsoftmax.so": 1, "XNNPACK": 2}
        assert session.executed_on == ("libsoftmax.so", "CPU")
        wanted = runtime.load(models / "dense.tflite").invoke(ones())[0]
        assert np.allclose(session.invoke(ones())[0].tolist(), wanted.tolist(), rtol=1e-5, atol=0)

    def test_one_that_takes_nothing_is_not_where_it_executed(self, models: Path, delegate: Path) -> None:
        options = LoadOptions(delegate=delegate, delegate_options={"take": "nothing"})
        session = runtimes.get("ai-edge-litert").load(models / "dense.tflite", options)
        assert session.executed_on == ("CPU",)

    @pytest.mark.parametrize(
        ("options", "words"),
        [({"x": "1"}, "cannot be loaded: there is no such option"), ({"fail": "1"}, "cannot be run by ai-edge-litert")],
        ids=["an unknown option", "the device does not answer"],
    )
    def test_one_that_fails_is_told(self, models: Path, delegate: Path, options: dict[str, str], words: str) -> None:
        with pytest.raises(ModelError, match=words):
            runtimes.get("ai-edge-litert").load(
                models / "dense.tflite", LoadOptions(delegate=delegate, delegate_options=options)
            )
