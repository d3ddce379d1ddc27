"""What every runtime must do, the same for all of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_agent import runtimes
from edgekit_agent.errors import AgentError, InputDataError, ModelError
from edgekit_agent.quantize import to_real, to_stored
from edgekit_agent.runtimes.base import LoadOptions, Runtime, Session


@pytest.fixture
def models(repository: Path) -> Path:
    return repository / "tests" / "data" / "models"


class RuntimeContract:
    """The port's promises; a subclass gives the runtime and a model with a free batch `x [-1, 4] -> y [-1, n]`."""

    @pytest.fixture
    def runtime(self) -> Runtime:
        raise NotImplementedError

    @pytest.fixture
    def model(self, models: Path) -> Path:
        return models / "dense.tflite"

    @pytest.fixture
    def session(self, runtime: Runtime, model: Path) -> Session:
        return runtime.load(model)

    def test_says_that_it_is_available_and_its_version(self, runtime: Runtime) -> None:
        here = runtime.available()
        assert here.ok
        assert here.version

    def test_names_itself_with_its_version_and_where_it_executes(self, runtime: Runtime, session: Session) -> None:
        assert session.runtime == f"{runtime.name} {runtime.available().version}"
        assert session.executed_on == ("CPU",)

    def test_fixes_a_free_batch_to_one(self, session: Session) -> None:
        (spec,) = session.inputs
        assert (spec.name, spec.shape, spec.dtype) == ("x", (1, 4), "float32")
        assert session.outputs[0].shape[0] == 1

    def test_fixes_a_free_batch_to_what_is_asked(self, runtime: Runtime, model: Path) -> None:
        session = runtime.load(model, LoadOptions(batch=3))
        assert session.inputs[0].shape == (3, 4)
        (output,) = session.invoke([np.ones((3, 4), dtype=np.float32)])
        assert output.shape[0] == 3

    def test_gives_outputs_of_the_shape_and_type_it_promises(self, session: Session) -> None:
        (output,) = session.invoke([np.ones((1, 4), dtype=np.float32)])
        assert output.shape == session.outputs[0].shape
        assert output.dtype.name == session.outputs[0].dtype

    def test_the_same_input_gives_the_same_output(self, session: Session, rng: np.random.Generator) -> None:
        one, other = (rng.random((1, 4), dtype=np.float32) for _ in range(2))
        first = np.array(session.invoke([one])[0])
        second = np.array(session.invoke([other])[0])
        assert not np.array_equal(first, second)
        assert np.array_equal(first, session.invoke([one])[0])

    @pytest.fixture
    def lengths(self, models: Path) -> Path:
        """A model with a free length besides the batch: `x [-1, -1, 4]`, an output `all` of that shape."""
        return models / "length.tflite"

    def test_a_free_dimension_besides_the_batch_may_change_from_run_to_run(
        self, runtime: Runtime, lengths: Path
    ) -> None:
        session = runtime.load(lengths, LoadOptions(batch=2))
        assert session.inputs[0].shape == (2, -1, 4)
        place = [spec.name for spec in session.outputs].index("all")
        for length in (3, 1, 7, 7, 2):
            output = session.invoke([np.ones((2, length, 4), dtype=np.float32)])[place]
            assert output.shape == (2, length, 4)

    @pytest.mark.parametrize("shape", [(1, 3, 4), (2, 3, 5), (2, 4)], ids=str)
    def test_only_the_free_dimension_may_change(self, runtime: Runtime, lengths: Path, shape: tuple[int, ...]) -> None:
        session = runtime.load(lengths, LoadOptions(batch=2))
        with pytest.raises(InputDataError):
            session.invoke([np.ones(shape, dtype=np.float32)])
        session.invoke([np.ones((2, 3, 4), dtype=np.float32)])

    @pytest.mark.parametrize("shape", [(1, 5), (4,), (1, 1, 4)], ids=str)
    def test_refuses_an_input_of_another_shape(self, session: Session, shape: tuple[int, ...]) -> None:
        with pytest.raises(InputDataError):
            session.invoke([np.ones(shape, dtype=np.float32)])

    def test_refuses_an_input_of_another_type(self, session: Session) -> None:
        with pytest.raises(InputDataError):
            session.invoke([np.ones((1, 4), dtype=np.int8)])

    @pytest.mark.parametrize("count", [0, 2])
    def test_refuses_another_number_of_inputs(self, session: Session, count: int) -> None:
        with pytest.raises(InputDataError):
            session.invoke([np.ones((1, 4), dtype=np.float32)] * count)

    def test_goes_on_after_a_refused_input(self, session: Session) -> None:
        with pytest.raises(InputDataError):
            session.invoke([np.ones((1, 5), dtype=np.float32)])
        assert session.invoke([np.ones((1, 4), dtype=np.float32)])[0].shape[0] == 1

    def test_a_missing_file_is_named(self, runtime: Runtime, model: Path, tmp_path: Path) -> None:
        missing = tmp_path / f"missing{model.suffix}"
        with pytest.raises(ModelError, match=f"missing{model.suffix}"):
            runtime.load(missing)

    @pytest.mark.parametrize("content", [b"", b"text\n", bytes(64)], ids=["empty", "text", "zeros"])
    def test_a_file_of_something_else_is_refused(
        self, runtime: Runtime, model: Path, tmp_path: Path, content: bytes
    ) -> None:
        broken = tmp_path / f"broken{model.suffix}"
        broken.write_bytes(content)
        with pytest.raises(ModelError, match="broken"):
            runtime.load(broken)

    @pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
    def test_a_truncated_file_is_refused(self, runtime: Runtime, model: Path, tmp_path: Path, share: float) -> None:
        content = model.read_bytes()
        cut = tmp_path / f"cut{model.suffix}"
        cut.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ModelError, match="cut"):
            runtime.load(cut)


class TFLiteContract(RuntimeContract):
    """What a runtime of `.tflite` files must do besides."""

    def test_keeps_order_and_names_of_several_inputs_and_outputs(self, runtime: Runtime, models: Path) -> None:
        session = runtime.load(models / "two.tflite")
        assert [spec.name for spec in session.inputs] == ["zeta", "alpha"]
        zeta, alpha = np.array([[5, 7]], dtype=np.float32), np.array([[1, 2]], dtype=np.float32)
        named = {
            spec.name: out.tolist() for spec, out in zip(session.outputs, session.invoke([zeta, alpha]), strict=True)
        }
        assert named == {"total": [[6, 9]], "difference": [[4, 5]]}

    def test_the_numbers_of_another_length_are_right_and_an_output_may_be_empty(
        self, runtime: Runtime, lengths: Path, rng: np.random.Generator
    ) -> None:
        session = runtime.load(lengths)
        names = [spec.name for spec in session.outputs]
        x = rng.random((1, 5, 4), dtype=np.float32)
        whole = dict(zip(names, session.invoke([x]), strict=True))
        assert np.array_equal(whole["rest"], x[:, 1:])
        everything = np.array(whole["all"])
        for place in range(5):
            one = dict(zip(names, session.invoke([x[:, place : place + 1]]), strict=True))
            assert one["rest"].shape == (1, 0, 4)
            assert np.allclose(one["all"], everything[:, place : place + 1], rtol=1e-6, atol=1e-6)

    def test_quantized_inputs_and_outputs_carry_their_scale(
        self, runtime: Runtime, models: Path, rng: np.random.Generator
    ) -> None:
        session, original = runtime.load(models / "conv_int8.tflite"), runtime.load(models / "conv.tflite")
        (taken,), (given,) = session.inputs, session.outputs
        assert (taken.dtype, len(taken.scale), len(taken.zero_point)) == ("int8", 1, 1)
        image = rng.random((1, 8, 8, 3), dtype=np.float32)
        (stored,) = session.invoke([to_stored(image, taken)])
        (wanted,) = original.invoke([image])
        assert stored.dtype == np.int8
        # five accumulated int8 layers' worth of rounding: a few output steps
        assert np.allclose(to_real(stored, given).tolist(), wanted.tolist(), rtol=0, atol=4 * given.scale[0])

    def test_refuses_a_device_it_does_not_have(self, runtime: Runtime, model: Path) -> None:
        with pytest.raises(ModelError, match="NPU9"):
            runtime.load(model, LoadOptions(device="NPU9"))


class TFLiteLibraryContract(TFLiteContract):
    """What TFLite's own libraries must do; OpenVINO runs an odd length of `pairs` and refuses `empty`."""

    def test_an_output_without_values_is_an_empty_array(self, runtime: Runtime, models: Path) -> None:
        session = runtime.load(models / "empty.tflite")
        outputs = session.invoke([np.array([[-1, 2]], dtype=np.float32)])
        found = {spec.name: output for spec, output in zip(session.outputs, outputs, strict=True)}
        assert found["y"].tolist() == [[0, 2]]
        assert (found["rest"].shape, found["rest"].dtype.name) == ((1, 0), "float32")

    @pytest.mark.parametrize("length", [1, 5])
    def test_a_length_the_model_cannot_work_at_is_refused_and_another_one_runs(
        self, runtime: Runtime, models: Path, length: int
    ) -> None:
        session = runtime.load(models / "pairs.tflite")
        with pytest.raises(AgentError):
            session.invoke([np.ones((1, length, 4), dtype=np.float32)])
        assert session.invoke([np.ones((1, 6, 4), dtype=np.float32)])[0].shape == (1, 3, 8)


_SIDES = {"inputs": "x", "outputs": "all"}


class TestNull(RuntimeContract):
    @pytest.fixture
    def runtime(self) -> Runtime:
        return runtimes.get("null")

    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        script: dict[str, Any] = {
            "inputs": [{"name": "x", "shape": [-1, 4], "dtype": "float32"}],
            "outputs": [{"name": "y", "shape": [-1, 2], "dtype": "float32"}],
        }
        path = tmp_path / "model.null"
        path.write_text(json.dumps(script))
        return path

    @pytest.fixture
    def lengths(self, tmp_path: Path) -> Path:
        shape = [-1, -1, 4]
        ports = {side: [{"name": name, "shape": shape, "dtype": "float32"}] for side, name in _SIDES.items()}
        path = tmp_path / "lengths.null"
        path.write_text(json.dumps(ports))
        return path


class TestLiteRT(TFLiteLibraryContract):
    @pytest.fixture
    def runtime(self) -> Runtime:
        pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")
        return runtimes.get("ai-edge-litert")


class TestOpenVINOReadingTFLite(TFLiteContract):
    @pytest.fixture
    def runtime(self) -> Runtime:
        pytest.importorskip("openvino", reason="needs openvino")
        return runtimes.get("openvino")


class TestONNXRuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self) -> Runtime:
        pytest.importorskip("onnxruntime", reason="needs onnxruntime")
        return runtimes.get("onnxruntime")

    @pytest.fixture
    def model(self, models: Path) -> Path:
        return models / "dense.onnx"

    @pytest.fixture
    def lengths(self, models: Path) -> Path:
        return models / "length.onnx"

    def test_refuses_a_device_it_does_not_have(self, runtime: Runtime, model: Path) -> None:
        with pytest.raises(ModelError, match="GPU"):
            runtime.load(model, LoadOptions(device="GPU"))


@pytest.mark.slow
class TestTFLiteRuntime(TFLiteLibraryContract):
    @pytest.fixture
    def runtime(self, device_tflite: Runtime) -> Runtime:
        return device_tflite
