"""The ONNX target on made-up nets of many kinds, run by ONNX Runtime beside the float source."""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253  # the files are looked into
import onnxruntime  # noqa: TID253  # the oracle
import pytest
from onnx import TensorProto, numpy_helper  # noqa: TID253

from edgekit_converters._exchange import write_arrays
from edgekit_converters.backends.base import BuildRequest, Failure
from edgekit_converters.backends.onnx import OnnxBackend
from edgekit_converters.conversion import ConversionRequest, check_wanted, convert
from edgekit_converters.data import bind, runs
from edgekit_converters.errors import ConversionError, PrecisionError, UnsupportedError
from edgekit_converters.frontends.base import Loaded
from edgekit_converters.frontends.onnx import OnnxFrontend
from edgekit_converters.graph.model import inputs_of, load, specs
from edgekit_converters.jobs import JobRunner
from edgekit_converters.layers import onnx as layers
from edgekit_converters.layout import Layout
from edgekit_converters.model import Artifact, SourceModel
from edgekit_converters.precisions import parse
from tests.converters import onnx_nets
from tests.converters.onnx_nets import NETS

Q, DQ = "QuantizeLinear", "DequantizeLinear"
# the least signal-to-noise ratio in dB any of the nets may have: about six a bit, less what layers add up
LEAST = {
    "fp32": 120,
    "fp16": 55,
    "int8": 28,
    "int8:ranges=mse": 28,
    "int8:ranges=entropy": 20,
    "int8:ranges=percentile": 28,
    "int8:ranges=moving-average": 15,
    "int8:for=tensorrt": 30,
    "int8:for=qnn": 28,
    "int8:for=qnn,activations=16": 34,
    "int8-dynamic": 30,
    "int8-weights": 35,
    "int4-weights:group=16": 18,
}


class InThisProcess(JobRunner):
    """Runs jobs here: starting a process takes longer than what these jobs do."""

    def run(
        self,
        module: str,
        request: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        on_event: Any = None,
    ) -> Any:
        assert environment is None
        assert on_event is None
        return importlib.import_module(module).run(json.loads(json.dumps(dict(request))))


@dataclass(frozen=True)
class Case:
    """A net as the backend takes it."""

    loaded: Loaded
    data: Mapping[str, Any]
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)

    def build(self, *precisions: str, **settings: Any) -> dict[str, Artifact | Failure]:
        request = BuildRequest(
            loaded=self.loaded,
            precisions=tuple(parse(one, "onnx", OnnxBackend.precisions) for one in precisions),
            output=self.folder,
            stem="m",
            work=self.folder,
            calibration=bind(self.data, self.loaded.source.inputs),
            layout=settings.pop("layout", Layout()),
            seed=0,
            **settings,
        )
        made = OnnxBackend().build(request, InThisProcess(log=self.folder / "run.log"))
        return {one.precision: one for one in made}

    def artifact(self, precision: str, **settings: Any) -> Any:
        """Return the artifact's model, which must have been made."""
        made = self.build(precision, **settings)[parse(precision, "onnx", OnnxBackend.precisions).text]
        assert isinstance(made, Artifact), made
        return onnx.load(made.path)

    def run(self, path: Path) -> dict[str, Any]:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_outputs()]
        made = [session.run(names, feeds) for feeds in runs(self.data, self.loaded.source.inputs)]
        return {name: np.concatenate([one[at] for one in made]) for at, name in enumerate(names)}

    @property
    def reference(self) -> dict[str, Any]:
        assert self.loaded.onnx is not None
        return self.run(self.loaded.onnx)


def case(folder: Path, made: onnx_nets.Made) -> Case:
    model, data = made
    path = folder / "source.onnx"
    onnx.save(model, path)
    graph = load(path)
    inputs, outputs = specs(inputs_of(graph)), specs(list(graph.graph.outputs))
    source = SourceModel(path=path, format="onnx", sha256="", size_bytes=0, inputs=inputs, outputs=outputs)
    loaded = Loaded(source=source, reference={}, float_tflite=None, openvino_input=path, onnx=path)
    return Case(loaded, bind(data, inputs), folder)


def snr_db(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> float:
    assert list(wanted) == list(found)
    return min(
        float(10 * np.log10((one.astype(np.float64) ** 2).sum() / max(((one - found[name]) ** 2).sum(), 1e-30)))
        for name, one in wanted.items()
    )


def ops(model: Any, *names: str) -> list[Any]:
    return [node for node in model.graph.node if node.op_type in names]


def constants(model: Any) -> dict[str, Any]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_every_precision_of_every_net_runs_and_is_near_the_float_source(tmp_path: Path, name: str) -> None:
    net = case(tmp_path, NETS[name]())
    wanted = net.reference
    for precision, made in net.build(*LEAST).items():
        if name == "branches" and precision.startswith("int4"):
            assert isinstance(made, Failure)
            assert "need opset 21" in str(made.error)
            continue
        assert isinstance(made, Artifact), made
        onnx.checker.check_model(str(made.path))
        found = net.run(made.path)
        assert snr_db(wanted, found) >= LEAST[precision], precision
        session = onnxruntime.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
        sides = (session.get_inputs(), net.loaded.source.inputs), (session.get_outputs(), net.loaded.source.outputs)
        for ports, known in sides:
            assert [one.name for one in ports] == [one.name for one in known]
            for port, spec in zip(ports, known, strict=True):
                shape = [size if isinstance(size, int) else None for size in port.shape]
                # that of an output may be known better than the source says
                assert all(size in {own, None} for size, own in zip(spec.shape, shape, strict=True))


@pytest.fixture
def plain(tmp_path: Path) -> Case:
    return case(tmp_path, NETS["plain"]())


def test_onnx_runtimes_form_has_unsigned_activations_and_int32_biases(plain: Case) -> None:
    model = plain.artifact("int8")
    known = constants(model)
    assert {known[node.input[2]].dtype.name for node in ops(model, Q)} == {"uint8"}
    stored = {known[node.input[0]].dtype.name for node in ops(model, DQ) if node.input[0] in known}
    assert stored == {"int8", "int32"}
    (kernel, *_) = [node for node in ops(model, DQ) if node.input[0] in known and known[node.input[0]].ndim == 4]
    assert known[kernel.input[1]].shape == (16,)
    assert not known[kernel.input[2]].any()


def test_what_an_exporter_noted_of_its_code_is_not_in_the_artifact(tmp_path: Path) -> None:
    model, data = NETS["plain"]()
    model.graph.node[0].doc_string = "File mynet.py, line 3"
    model.graph.node[1].metadata_props.add(key="pkg.torch.onnx.stack_trace", value="File mynet.py, line 4")
    for precision in ("fp32", "int8"):
        assert b"mynet.py" not in case(tmp_path, (model, data)).artifact(precision).SerializeToString()


def test_batch_normalization_is_part_of_its_convolution(plain: Case) -> None:
    assert not ops(plain.artifact("int8"), "BatchNormalization")


def test_tensorrts_form_has_no_zero_points_and_biases_in_float(plain: Case) -> None:
    model = plain.artifact("int8:for=tensorrt")
    known = constants(model)
    for node in ops(model, Q, DQ):
        assert known[node.input[2]].dtype.name == "int8"
        assert not known[node.input[2]].any()
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in ops(model, "Conv", "Gemm"):
        assert [makers[name].op_type for name in node.input[:2]] == [DQ, DQ]
        assert known[node.input[2]].dtype.name == "float32"
        assert known[makers[node.input[1]].input[1]].size > 1
    (total,) = ops(model, "Add")
    assert [makers[name].op_type for name in total.input] == [DQ, DQ]


def test_qnns_form_takes_sixteen_bits_where_asked(plain: Case) -> None:
    model = plain.artifact("int8:for=qnn,activations=16")
    known = constants(model)
    assert {known[node.input[2]].dtype.name for node in ops(model, Q)} == {"uint16"}
    assert not [node for node in model.graph.node if node.domain]


def test_sixteen_bits_are_refused_for_another_engine(plain: Case) -> None:
    (made,) = plain.build("int8:activations=16").values()
    assert isinstance(made, Failure)
    assert str(made.error) == "16 bits of activations are for QNN: for=ort takes 8"


def test_seven_bits_of_weights_where_asked(plain: Case) -> None:
    model = plain.artifact("int8:reduce-range")
    known = constants(model)
    weights = [
        known[node.input[0]] for node in ops(model, DQ) if known.get(node.input[0], np.int32(0)).dtype == np.int8
    ]
    assert max(np.abs(one.astype(int)).max() for one in weights) == 64


def test_inputs_and_outputs_are_stored_numbers_where_asked(plain: Case) -> None:
    model = plain.artifact("int8", quantized_io=True)
    assert [one.type.tensor_type.elem_type for one in model.graph.input] == [TensorProto.UINT8]
    assert [one.type.tensor_type.elem_type for one in model.graph.output] == [TensorProto.UINT8]
    assert [one.name for one in (*model.graph.input, *model.graph.output)] == ["x", "y"]
    onnx.checker.check_model(model, full_check=True)


def test_an_output_that_is_taken_inside_too_is_stored_all_the_same(tmp_path: Path) -> None:
    model = case(tmp_path, NETS["two-inputs"]()).artifact("int8", quantized_io=True)
    kinds = [one.type.tensor_type.elem_type for one in (*model.graph.input, *model.graph.output)]
    assert kinds == [TensorProto.UINT8] * 4
    onnx.checker.check_model(model, full_check=True)


def test_token_ids_stay_integers_and_what_cannot_be_stored_is_told(tmp_path: Path) -> None:
    made = case(tmp_path, NETS["attention"]()).build("int8", quantized_io=True)["int8"]
    assert isinstance(made, Artifact)
    assert "stays float at the rim: y" in made.warnings
    model = onnx.load(made.path)
    assert [one.type.tensor_type.elem_type for one in model.graph.input] == [TensorProto.INT64] * 2


@pytest.mark.parametrize("pattern", ["n/v0", "v0", "op:conv", "n/v?"])
def test_named_layers_stay_float(plain: Case, pattern: str) -> None:
    model = plain.artifact("int8", float_layers=(pattern,))
    makers = {name: node for node in model.graph.node for name in node.output}
    first = ops(model, "Conv")[0]
    assert first.input[1] in constants(model)
    assert first.input[0] == "x" or makers[first.input[0]].op_type != DQ


def test_a_batch_normalization_that_is_named_keeps_its_convolution_float(plain: Case) -> None:
    model = plain.artifact("int8", float_layers=("op:BatchNormalization",))
    first, second = ops(model, "Conv")
    known = constants(model)
    assert first.input[1] in known
    assert second.input[1] not in known


def test_weights_of_named_layers_stay_float(plain: Case) -> None:
    for precision in ("fp16", "int8-weights"):
        model = plain.artifact(precision, float_layers=("op:Conv",))
        kept = [one for one in constants(model).values() if one.ndim == 4]
        assert {one.dtype.name for one in kept} == {"float32"}


def test_a_layer_that_is_not_there_is_an_error_with_its_name(plain: Case) -> None:
    made = plain.build("fp16", "int8", float_layers=("op:Conv", "conv9*"))
    assert all(isinstance(one, Failure) and "conv9*" in str(one.error) for one in made.values())


def test_four_bits_have_a_scale_a_group(tmp_path: Path) -> None:
    model = case(tmp_path, NETS["dense"]()).artifact("int4-weights:group=16")
    known = {one.name: one for one in model.graph.initializer}
    groups = [node for node in ops(model, DQ) if known[node.input[0]].data_type == TensorProto.INT4]
    shapes = {(tuple(known[one.input[0]].dims), tuple(known[one.input[1]].dims)) for one in groups}
    assert shapes == {((40, 128), (3, 128)), ((128, 48), (8, 48))}


def test_onnx_runtime_computes_groups_of_four_bits_by_its_own_kernel(tmp_path: Path) -> None:
    (made,) = case(tmp_path, NETS["dense"]()).build("int4-weights:group=32").values()
    assert isinstance(made, Artifact)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(made.path), options, providers=["CPUExecutionProvider"])
    assert ops(onnx.load(tmp_path / "optimized.onnx"), "MatMulNBits")


def test_a_value_float16_does_not_have_stays_float(tmp_path: Path) -> None:
    net = onnx_nets.Net()
    weights = net.rng.normal(size=(20, 20)).astype(np.float32)
    weights[3, 4] = 1e6
    net.add("MatMul", "x", net.constant(weights), out="y")
    made = net.model({"x": (TensorProto.FLOAT, [1, 20])}, {"y": [1, 20]})
    model = case(tmp_path, (made, {"x": onnx_nets.image(net.rng, 20)})).artifact("fp16")
    assert {one.dtype.name for one in constants(model).values()} == {"float32"}


@pytest.mark.parametrize(
    "precision", ["int8", "int8:for=tensorrt", "int8-dynamic", "int8-weights", "int4-weights", "fp16"]
)
def test_a_model_with_nothing_to_quantize_says_so(tmp_path: Path, precision: str) -> None:
    (made,) = case(tmp_path, onnx_nets.nothing()).build(precision).values()
    assert isinstance(made, Artifact)
    assert made.warnings[0] == "nothing was quantized: no layer with weights of a kind that can be"


def test_what_is_left_in_float_is_told(tmp_path: Path) -> None:
    (made,) = case(tmp_path, NETS["recurrent"]()).build("int8").values()
    assert isinstance(made, Artifact)
    assert made.warnings == ("computed in float: LSTM",)


def test_a_quantized_model_is_copied_and_not_quantized_again(plain: Case, tmp_path: Path) -> None:
    (first,) = plain.build("int8").values()
    assert isinstance(first, Artifact)
    folder = tmp_path / "again"
    folder.mkdir()
    again = case(folder, (onnx.load(first.path), dict(plain.data))).build("fp32", "int8", "int8-weights")
    assert isinstance(again["fp32"], Artifact)
    for one in ("int8", "int8-weights"):
        failed = again[one]
        assert isinstance(failed, Failure)
        assert str(failed.error) == f"the ONNX model is quantized already: {one} is made from a float one"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_images_lie_as_they_are_asked_for(plain: Case, precision: str) -> None:
    turned = Layout("nhwc", channels_first=True)
    model = plain.artifact(precision, layout=turned)
    shape = [one.dim_value for one in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == [1, 12, 12, 3]
    onnx.save(model, plain.folder / "turned.onnx")
    session = onnxruntime.InferenceSession(str(plain.folder / "turned.onnx"), providers=["CPUExecutionProvider"])
    image = np.asarray(plain.data["x"][:1])
    (found,) = session.run(None, {"x": image.transpose(0, 2, 3, 1)})
    assert np.allclose(found, plain.reference["y"][:1], atol=1e-5 if precision == "fp32" else 0.05)


def test_values_that_only_softmax_takes_are_cut_where_it_gives_no_share(tmp_path: Path) -> None:
    """A mask's -10000 would take all levels of the scores."""
    model = case(tmp_path, NETS["attention"]()).artifact("int8")
    (softmax,) = ops(model, "Softmax")
    makers = {name: node for node in model.graph.node for name in node.output}
    scale = float(constants(model)[makers[softmax.input[0]].input[1]])
    assert scale < 40 / 255


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("int8:for=rknn", "takes ort, tensorrt, qnn"),
        ("int4-weights:group=7", "takes 64, 16, 32, 128, 256"),
        ("int16x8", "onnx has no precision 'int16x8': it has fp32, fp16, int8"),
    ],
)
def test_what_the_target_does_not_have_is_refused(text: str, words: str) -> None:
    with pytest.raises(PrecisionError, match=words):
        check_wanted((("onnx", text),))


def request_of(model: Path, tmp_path: Path, *wanted: tuple[str, str]) -> ConversionRequest:
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return ConversionRequest(model=model, wanted=wanted, output=tmp_path / "out", work=work, reference_samples=4)


def test_an_onnx_source_goes_to_all_three_targets(plain: Case, tmp_path: Path, jobs: JobRunner) -> None:
    wanted: Sequence[tuple[str, str]] = [(one, "fp32") for one in ("tflite", "openvino", "onnx")]
    result = convert(request_of(plain.loaded.source.path, tmp_path, *wanted), jobs)
    assert [one.format for one in result.artifacts] == ["tflite", "openvino", "onnx"]
    assert result.artifacts[2].path.name == "source.fp32.onnx"


def test_a_tflite_source_has_no_onnx_form_and_does_not_lose_its_other_targets(
    repository: Path, tmp_path: Path, jobs: JobRunner
) -> None:
    model = repository / "tests" / "data" / "models" / "conv.tflite"
    result = convert(request_of(model, tmp_path, ("tflite", "fp32"), ("onnx", "fp32")), jobs)
    (failure,) = result.failures
    assert (failure.format, [one.format for one in result.artifacts]) == ("onnx", ["tflite"])
    assert "has no way to ONNX" in str(failure.error)
    with pytest.raises(UnsupportedError, match="has no way to ONNX"):
        convert(request_of(model, tmp_path, ("onnx", "fp32")), jobs)


@pytest.mark.slow
def test_a_keras_source_keeps_its_tflite_lane_and_goes_over_onnx_for_onnx(
    tensorflow_models: Path, tmp_path: Path, jobs: JobRunner
) -> None:
    result = convert(request_of(tensorflow_models / "two.keras", tmp_path, ("tflite", "fp32"), ("onnx", "fp32")), jobs)
    tflite, made = result.artifacts
    assert "convert to float TFLite" in [one.name for one in tflite.steps]
    session = onnxruntime.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == [one.name for one in result.source.inputs]
    assert [one.name for one in session.get_outputs()] == [one.name for one in result.source.outputs]


def test_a_damaged_model_is_refused_by_the_job(plain: Case) -> None:
    path = plain.loaded.source.path
    path.write_bytes(path.read_bytes()[:-200])
    (made,) = plain.build("fp32").values()
    assert isinstance(made, Failure)
    assert isinstance(made.error, ConversionError)


def test_a_frontend_gives_the_onnx_the_backend_starts_from(plain: Case, tmp_path: Path, jobs: JobRunner) -> None:
    from edgekit_converters.frontends.base import LoadRequest

    loaded = OnnxFrontend().load(LoadRequest(model=plain.loaded.source.path, work=tmp_path), jobs)
    assert loaded.onnx is not None


def test_stored_weights_are_counted_where_they_are_used(plain: Case) -> None:
    float_nodes = {node.name: node for node in layers.view(onnx.load(plain.loaded.source.path)).nodes}
    for precision in ("fp16", "int8:for=tensorrt", "int8-weights"):
        view = layers.view(plain.artifact(precision))
        counted = {node.name: node.parameters for node in view.nodes if node.op in {"Conv", "Gemm"}}
        assert counted == {name: float_nodes[name].parameters for name in counted}
        assert not any(node.parameters for node in view.nodes if node.op in {"Cast", DQ, Q})


def test_layers_of_a_quantized_file_are_compared_with_those_of_its_source(plain: Case, jobs: JobRunner) -> None:
    (made,) = plain.build("int8").values()
    assert isinstance(made, Artifact)
    request = {
        "source": str(plain.loaded.source.path),
        "artifact": str(made.path),
        "data": write_arrays(plain.folder / "data.npz", plain.data),
        "layers": True,
        "work": str(plain.folder),
    }
    rows = jobs.run("edgekit_converters.layers.compare_job", request)["layers"]
    damages = {row["layer"]: row["damage"] for row in rows if "Conv" in row["op"]}
    assert len(damages) >= 2
    assert all(0 < damage < 0.05 for damage in damages.values())
