"""A transformer with free batch and length, all-MiniLM-L6-v2: its numbers, its sentences' scores, every precision."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekit
from edgekit_agent import runtimes
from edgekit_agent.errors import InputDataError
from edgekit_agent.runtimes.base import LoadOptions
from edgekit_converters import ConversionRequest, ConversionResult, convert
from edgekit_converters.jobs import JobRunner
from tests.converters import minilm_net

pytestmark = [pytest.mark.slow, pytest.mark.shared_data, pytest.mark.usefixtures("factories", "shared_data")]

HERE = Path(__file__).parent
WANTED = (("tflite", "fp32"), ("openvino", "fp32"))
EXPORTERS = ("dynamo", "torchscript")


@pytest.fixture(autouse=True)
def _frameworks(installed: Callable[..., None]) -> None:
    installed("torch", "onnxscript", minilm_net.PACKAGE)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, installed: Callable[..., None]) -> Callable[[str], Path]:
    """Return the net as ONNX with free batch and length, by exporter; each is made once."""
    installed("torch", "onnxscript", minilm_net.PACKAGE)
    folder = tmp_path_factory.mktemp("minilm")

    def exported(exporter: str) -> Path:
        path = folder / f"{exporter}.onnx"
        if not path.exists():
            asked = [sys.executable, "minilm_net.py", exporter, str(path)]
            made = subprocess.run(asked, cwd=HERE, capture_output=True, text=True, check=False, timeout=300)
            assert made.returncode == 0, made.stderr[-2000:]
        return path

    return exported


@pytest.fixture
def golden(shared_data: Path) -> dict[str, Any]:
    with np.load(shared_data / "stsb-minilm" / "minilm_golden.npz", allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture
def converted(jobs: JobRunner, work: Path) -> Callable[..., ConversionResult]:
    def converted(model: Path | str, **asked: Any) -> ConversionResult:
        request = ConversionRequest(model=Path(model), wanted=WANTED, output=work / "out", work=work, **asked)
        result = convert(request, jobs)
        assert not result.failures
        return result

    return converted


def encoder(path: Path, batch: int = 1) -> Callable[[dict[str, Any]], Any]:
    """Return a function from the three inputs to the hidden states, run as a device runs them."""
    session = runtimes.choose(path, runtimes.AUTO).load(path, LoadOptions(batch=batch))
    names = [one.name for one in session.inputs]
    return lambda given: np.array(session.invoke([given[name] for name in names])[0])


def made_up(batch: int, length: int) -> dict[str, Any]:
    """Return sentences of random words, each with some padding but the first."""
    rng = np.random.default_rng(length)
    ids = rng.integers(1000, 30000, (batch, length))
    mask = (np.arange(length) < rng.integers(length // 2, length, (batch, 1))).astype(np.int64)
    mask[0] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def real(hidden: Any, mask: Any) -> Any:
    """Return the hidden states of what is no padding: what padding becomes is nobody's."""
    return hidden[mask.astype(bool)]


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_free_batch_and_length_give_the_sources_numbers_at_every_size(
    exported: Callable[[str], Path], converted: Callable[..., ConversionResult], golden: dict[str, Any], exporter: str
) -> None:
    import onnxruntime

    model = exported(exporter)
    result = converted(model)
    assert [one.shape for one in result.source.inputs] == [(None, None)] * 3
    session = onnxruntime.InferenceSession(str(model))
    known = {name: golden[name] for name in minilm_net.INPUTS}
    for artifact in result.artifacts:
        whole = encoder(artifact.path, batch=16)(known)
        assert np.abs(real(whole - golden["last_hidden_state"], known["attention_mask"])).max() <= 1e-4
        vectors = minilm_net.embedding(whole, known["attention_mask"])
        assert np.abs(vectors - golden["sentence_embedding"]).max() <= 1e-5
        for batch, length in ((1, 7), (3, 50), (1, 1), (2, 128)):
            given = made_up(batch, length)
            (right,) = session.run(None, given)
            got = encoder(artifact.path, batch)(given)
            assert np.abs(real(got - right, given["attention_mask"])).max() <= 1e-4, (artifact.format, batch, length)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_frozen_at_128_tokens_it_gives_the_golden_numbers_and_takes_nothing_else(
    exported: Callable[[str], Path], converted: Callable[..., ConversionResult], golden: dict[str, Any], exporter: str
) -> None:
    result = converted(exported(exporter), shapes=dict.fromkeys(minilm_net.INPUTS, (1, 128)))
    assert [one.shape for one in result.source.inputs] == [(1, 128)] * 3
    padded = {name: np.pad(golden[name], ((0, 0), (0, 96))) for name in minilm_net.INPUTS}
    for artifact in result.artifacts:
        run = encoder(artifact.path)
        rows = [run({name: one[at : at + 1] for name, one in padded.items()})[0, :32] for at in range(16)]
        assert np.abs(real(np.stack(rows) - golden["last_hidden_state"], golden["attention_mask"])).max() <= 1e-4
        with pytest.raises(InputDataError):
            run(made_up(1, 32))


def test_a_program_of_pytorch_gives_the_golden_numbers(
    converted: Callable[..., ConversionResult], golden: dict[str, Any]
) -> None:
    known = {name: golden[name] for name in minilm_net.INPUTS}
    result = converted("minilm_net:minilm", reference_inputs=known)
    for hidden in (
        result.reference["last_hidden_state"],
        *(encoder(artifact.path, batch=16)(known) for artifact in result.artifacts),
    ):
        assert np.abs(real(hidden - golden["last_hidden_state"], known["attention_mask"])).max() <= 1e-4


def test_the_tokenizer_gives_the_golden_tokens(shared_data: Path, golden: dict[str, Any]) -> None:
    pairs, _ = minilm_net.scored_pairs(shared_data)
    tokens = minilm_net.WordPiece()
    for (sentence, _), right in zip(pairs, golden["input_ids"], strict=False):
        own = tokens(sentence)["input_ids"][0]
        assert own.tolist() == right[right != 0].tolist()


def test_sentence_similarity_is_what_it_was(
    exported: Callable[[str], Path],
    converted: Callable[..., ConversionResult],
    golden: dict[str, Any],
    shared_data: Path,
) -> None:
    """All 1379 pairs of STS-B's test set; PyTorch's Spearman correlation is 0.8203."""
    pairs, scores = minilm_net.scored_pairs(shared_data)
    for artifact in converted(exported("dynamo")).artifacts:
        cosines = minilm_net.similarities(pairs, encoder(artifact.path))
        assert np.abs(cosines - golden["cosine_all"]).max() <= 1e-4
        assert minilm_net.spearman(cosines, scores) == pytest.approx(0.8203, abs=0.001)


def test_without_data_both_targets_are_measured(exported: Callable[[str], Path], tmp_path: Path) -> None:
    report = edgekit.convert(exported("dynamo"), edgekit.ConvertOptions(), tmp_path / "out")
    for one in report.artifacts:
        assert one.status == "ok", one.reason
        assert one.latency is not None
        assert one.agreement is not None
        assert one.agreement.max_abs <= 2e-4  # masks of random zeros and ones: larger numbers than sentences give


def test_every_precision_is_made_of_calibration_sentences(
    exported: Callable[[str], Path], golden: dict[str, Any], tmp_path: Path
) -> None:
    np.savez(tmp_path / "calib.npz", **{name: golden[name] for name in minilm_net.INPUTS})
    for target, precisions in {
        "tflite": ("fp32", "fp16", "int8", "int8-dynamic"),
        "openvino": ("fp32", "fp16", "int8"),
    }.items():
        options = edgekit.ConvertOptions(to=(target,), precisions=precisions, calib=str(tmp_path / "calib.npz"))
        report = edgekit.convert(exported("dynamo"), options, tmp_path / target)
        assert {one.precision: one.status for one in report.artifacts} == dict.fromkeys(precisions, "ok")
        allowed = {"fp32": 1e-4, "fp16": 1e-2}
        for one in report.artifacts:
            assert one.agreement is not None
            assert one.agreement.max_abs <= allowed.get(one.precision, 10)
