"""Applications and a worker: equality with a bare inference, many at once, limits, ends of either side."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_agent import feeds, runtimes
from edgekit_agent.client import (
    Busy,
    Client,
    ClientError,
    DeadlineExceeded,
    InferenceFailed,
    ModelChanged,
    ModelGone,
    RequestRefused,
)
from edgekit_agent.config import ServeConfig
from edgekit_agent.errors import InputDataError
from tests.agent.serving import Served

Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serves a model with one worker: `serve(model, max_batch=4)`."""
    made: list[Served] = []

    def make(model: Path, *, started: bool = True, **limits: int) -> Served:
        made.append(Served(tmp_path / f"run{len(made)}", model, ServeConfig(**limits)))
        if started:
            made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def null(tmp_path: Path) -> Callable[..., Path]:
    """Makes a model whose output is the mean of its input."""

    def make(name: str = "m", **script: Any) -> Path:
        path = tmp_path / f"{name}.null"
        ports = {
            "inputs": [{"name": "x", "shape": [-1, 4], "dtype": "float32"}],
            "outputs": [{"name": "y", "shape": [-1, 2], "dtype": "float32"}],
        }
        path.write_text(json.dumps({**ports, **script}))
        return path

    return make


def client(served: Served, *, patience_s: float = 60, **more: Any) -> Client:
    return Client(served.name, folder=served.folder, patience_s=patience_s, **more)


def row(value: float) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return np.full((1, 4), value, np.float32)


def same(answer: dict[str, Any], expected: list[Any]) -> None:
    for one, two in zip(answer.values(), expected, strict=True):
        np.testing.assert_array_equal(one, two)


# --- the same numbers as without


@pytest.mark.parametrize("name", ["conv.tflite", "conv_int8.tflite", "two.tflite", "pairs.tflite", "dense.onnx"])
def test_an_answer_is_what_the_bare_runtime_gives(serve: Serve, models: Path, name: str) -> None:
    model = models / name
    session = runtimes.choose(model).load(model)
    with client(serve(model)) as served:
        for arrays in feeds.synthetic(session.inputs, seed=3, count=4):
            for place, array in zip(served.shape(**_shapes(session, arrays)).values(), arrays, strict=True):
                place[...] = array
            answer = served.infer()
            expected = session.invoke(arrays)
            assert list(answer) == [spec.name for spec in session.outputs]
            same(answer, expected)


def _shapes(session: Any, arrays: Any) -> dict[str, tuple[int, ...]]:
    return {spec.name: array.shape for spec, array in zip(session.inputs, arrays, strict=True)}


@pytest.mark.shared_data
def test_keyword_spotting_answers_what_the_bare_runtime_does(serve: Serve, shared_data: Path) -> None:
    model = shared_data / "kws-dscnn" / "kws_ref_model.tflite"
    session = runtimes.choose(model).load(model)
    with client(serve(model)) as served:
        for arrays in feeds.synthetic(session.inputs, seed=1):
            same(served(*arrays), session.invoke(arrays))


def test_real_values_are_quantized_for_a_quantized_input(serve: Serve, models: Path) -> None:
    model = models / "conv_int8.tflite"
    session = runtimes.choose(model).load(model)
    real = np.random.default_rng(0).random(session.inputs[0].shape, dtype=np.float32)
    stored = feeds.fit(real, session.inputs[0], "x")
    with client(serve(model)) as served:
        same(served(real), session.invoke([stored]))


def test_free_dimensions_take_any_size_and_the_memory_grows_with_it(serve: Serve, models: Path) -> None:
    model = models / "length.tflite"
    session = runtimes.choose(model).load(model)
    (spec,) = session.inputs
    rng = np.random.default_rng(0)
    with client(serve(model)) as served:
        for length in (1, 7, 5000, 3, 200_000):
            shape = tuple(length if size == -1 else size for size in spec.shape)
            array = rng.random(shape).astype(spec.dtype)
            same(served(array), session.invoke([array]))


# --- many at once


def test_many_applications_get_their_own_answers(serve: Serve, null: Callable[..., Path]) -> None:
    served = serve(null())
    failures: list[str] = []

    def ask(number: int) -> None:
        with client(served) as model:
            for step in range(50):
                value = float(1000 * number + step)
                if model(row(value))["y"][0, 0] != value:
                    failures.append(f"{number} {step}")

    threads = [threading.Thread(target=ask, args=[number]) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    (last,) = served.workers
    counted = served.measured(last)
    assert sum(message["n"] for message in counted) == 600


def test_requests_can_be_on_their_way_while_others_are_written(serve: Serve, null: Callable[..., Path]) -> None:
    with client(serve(null()), depth=3) as model:
        pending = []
        for number in range(20):
            model.inputs["x"][...] = number
            pending.append(model.submit())
        assert [float(one.result()["y"][0, 1]) for one in reversed(pending)] == list(range(19, -1, -1))


def test_requests_that_wait_are_run_together(serve: Serve, null: Callable[..., Path]) -> None:
    """The null runtime averages over the whole batch: equal values show that rows stay with their request."""
    served = serve(null(latency_ms=[20.0]), max_batch=4, max_wait_us=2000)
    with client(served, depth=8) as model:
        begin = time.monotonic()
        for _ in range(8):
            model.inputs["x"][...] = 3
            model.submit()
        model.inputs["x"][...] = 3
        assert model.infer()["y"].tolist() == [[3.0, 3.0]]
        taken_s = time.monotonic() - begin
    (worker,) = served.workers
    stages = served.measured(worker)
    assert sum(message["n"] for message in stages) == 9
    assert taken_s < 9 * 0.02  # nine runs one after the other would take longer


def test_a_batch_gives_each_request_its_rows(serve: Serve, models: Path) -> None:
    model = models / "dense.tflite"
    session = runtimes.choose(model).load(model)
    (spec,) = session.inputs
    served = serve(model, max_batch=6, max_wait_us=3000)
    rng = np.random.default_rng(5)
    rows = [rng.random((count, *spec.shape[1:]), dtype=np.float32) for count in (1, 2, 3, 1, 1, 6, 4)]
    with client(served, depth=8) as asked:
        pending = []
        for array in rows:
            asked.put(array)
            pending.append(asked.submit())
        for array, one in zip(rows, pending, strict=True):
            expected = np.concatenate([session.invoke([line[None]])[0] for line in array])
            (answer,) = one.result().values()
            np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-6)  # type: ignore[arg-type]  # numbers


# --- limits


def test_a_full_queue_is_told_at_once(serve: Serve, null: Callable[..., Path]) -> None:
    served = serve(null(latency_ms=[300.0]), queue=2)
    with client(served, depth=8) as model:
        model(row(0))  # from here on it is known to take long
        begin = time.monotonic()
        pending = [model.submit() for _ in range(8)]
        refused = 0
        for one in reversed(pending):
            try:
                one.result()
            except Busy:
                refused += 1
                assert time.monotonic() - begin < 0.3
        assert refused >= 5


def test_what_is_too_late_is_not_run(serve: Serve, null: Callable[..., Path]) -> None:
    served = serve(null(latency_ms=[200.0]))
    with client(served) as model:
        slow = model.submit()
        with pytest.raises(DeadlineExceeded):
            model.infer(deadline_s=0.05)
        slow.result()
        assert model(row(1))["y"][0, 0] == 1
    (worker,) = served.workers
    assert sum(message["n"] for message in served.measured(worker)) == 2


def test_rows_above_the_batch_are_refused_in_words(serve: Serve, null: Callable[..., Path]) -> None:
    with client(serve(null(), max_batch=2)) as model:
        with pytest.raises(RequestRefused, match="batch of at most 2"):
            model(np.zeros((3, 4), np.float32))
        assert model(np.ones((2, 4), np.float32))["y"].shape == (2, 2)


def test_a_batch_of_a_model_that_takes_one_is_refused_at_the_start(serve: Serve, null: Callable[..., Path]) -> None:
    fixed = null(inputs=[{"name": "x", "shape": [1, 4], "dtype": "float32"}])
    served = serve(fixed, started=False, max_batch=8)
    with pytest.raises(AssertionError, match="first dimension is not free"):
        served.start()


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (np.zeros((1, 5), np.float32), InputDataError, "takes 1x4 and 1x5 was given"),
        (np.full((1, 4), "a"), InputDataError, "takes numbers"),
    ],
    ids=["shape", "text"],
)
def test_what_does_not_fit_is_refused_in_words(
    serve: Serve, null: Callable[..., Path], array: Any, error: type[Exception], words: str
) -> None:
    with client(serve(null())) as model, pytest.raises(error, match=words):
        model(array)


def test_more_memory_than_allowed_is_refused_in_words(serve: Serve, models: Path) -> None:
    with client(serve(models / "length.tflite", memory_mb=1)) as model:
        (spec,) = model.specs
        shape = tuple(10_000_000 if size == -1 else size for size in spec.shape)
        with pytest.raises(RequestRefused, match="no memory for the inputs"):
            model.shape(**{spec.name: shape})


# --- ends


def test_a_failed_inference_is_told_and_others_go_on(serve: Serve, null: Callable[..., Path]) -> None:
    with client(serve(null(faults={"1": "raise"}))) as model:
        assert model(row(1))["y"][0, 0] == 1
        with pytest.raises(InferenceFailed, match="the script raises here"):
            model(row(2))
        assert model(row(3))["y"][0, 0] == 3


def test_a_killed_worker_is_not_noticed_where_another_takes_over(serve: Serve, null: Callable[..., Path]) -> None:
    served = serve(null(latency_ms=[50.0]))
    first = served.workers[0]
    with client(served) as model:
        model(row(1))
        model.inputs["x"][...] = 7
        pending = model.submit()
        served.kill(first)
        served.start()
        assert pending.result()["y"][0, 0] == 7
        assert model(row(8))["y"][0, 0] == 8


def test_without_another_worker_it_is_gone_in_the_time_said(serve: Serve, null: Callable[..., Path]) -> None:
    served = serve(null())
    with client(served, patience_s=0.5) as model:
        model(row(1))
        served.kill(served.workers[0])
        begin = time.monotonic()
        with pytest.raises(ModelGone, match="'m' is not served"):
            model.infer()
        assert 0.4 < time.monotonic() - begin < 10
        served.start()
        model.patience_s = 60  # a busy machine starts no process in half a second
        assert model(row(2))["y"][0, 0] == 2


def test_a_deadline_holds_while_there_is_no_worker(serve: Serve, null: Callable[..., Path]) -> None:
    served = serve(null())
    with client(served) as model:
        served.kill(served.workers[0])
        with pytest.raises(DeadlineExceeded):
            model.infer(deadline_s=0.2)


def test_a_request_that_kills_workers_is_given_up(serve: Serve, null: Callable[..., Path]) -> None:
    served = serve(null(faults={"0": "segfault"}))
    with client(served, patience_s=60) as model:
        pending, done = model.submit(), threading.Event()

        def supervise() -> None:
            """Start one behind the other: one that dies before it had the request does not count."""
            while not done.wait(0.2):
                if all(worker.process.poll() is not None for worker in served.workers):
                    served.start()

        supervisor = threading.Thread(target=supervise)
        supervisor.start()
        try:
            with pytest.raises(ModelGone, match="2 workers of model 'm' died"):
                pending.result()
        finally:
            done.set()
            supervisor.join()


def test_a_worker_told_to_end_answers_what_it_has_and_sends_the_rest_on(
    serve: Serve, null: Callable[..., Path]
) -> None:
    """As in an update: the successor already listens on the same socket, and no request fails."""
    served = serve(null("old", latency_ms=[5.0]))
    old = served.workers[0]
    stop = threading.Event()
    wrong: list[object] = []
    answered = 0

    def ask() -> None:
        nonlocal answered
        with client(served) as model:
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    pending = [model.submit() for _ in range(3)]
                    del pending
                    if model(row(number))["y"][0, 0] != number:
                        wrong.append(number)
                    answered += 1
                except ClientError as exc:
                    wrong.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    served.start(model=null("new", latency_ms=[1.0]))
    old.ask_to_stop()
    assert old.process.wait(30) == 0
    before = answered
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert answered > before


def test_other_inputs_after_an_update_are_told(serve: Serve, null: Callable[..., Path]) -> None:
    served = serve(null())
    with client(served) as model:
        model(row(1))
        served.kill(served.workers[0])
        wider = null("wide", inputs=[{"name": "x", "shape": [-1, 6], "dtype": "float32"}])
        served.start(model=wider)
        with pytest.raises(ModelChanged, match="other inputs or outputs now"):
            model(row(2))
        assert model(np.full((1, 6), 5, np.float32))["y"][0, 0] == 5


def test_a_model_that_is_not_there_is_said_to_be_gone(tmp_path: Path) -> None:
    with pytest.raises(ModelGone, match="No such file"):
        Client("nothing", folder=tmp_path, patience_s=0.1)


def test_requests_of_a_dead_application_are_not_run(serve: Serve, null: Callable[..., Path]) -> None:
    served = serve(null(latency_ms=[400.0]))
    model = client(served)
    model(row(0))  # it is known to take long: requests are taken in beside it from here on
    for _ in range(4):
        model.submit()
    time.sleep(0.2)
    model.close()
    with client(served) as other:
        assert other(row(4))["y"][0, 0] == 4
    (worker,) = served.workers
    told = served.measured(worker)
    assert sum(message["n"] for message in told) == 3
    assert sum(message["stat"].get("refused", {}).get("Cancelled", 0) for message in told) == 3


# --- what is measured


def test_waits_are_measured_as_a_stage_of_their_own(serve: Serve, null: Callable[..., Path]) -> None:
    served = serve(null(latency_ms=[30.0]), queue=2)
    with client(served, depth=6) as model:
        pending = [model.submit() for _ in range(2)]
        for one in pending:
            one.result()
    (worker,) = served.workers
    told = [message for message in served.measured(worker) if message["n"]]
    waited = max(message["lat"]["queue"]["max"] for message in told)
    whole = max(message["lat"]["e2e"]["max"] for message in told)
    assert 0.02 < waited < whole


def test_an_idle_worker_says_that_it_lives(serve: Serve, null: Callable[..., Path]) -> None:
    served = serve(null())
    (worker,) = served.workers
    assert [served.wait(worker, "measured")["n"] for _ in range(2)] == [0, 0]


def test_a_worker_ends_with_its_supervisor(serve: Serve, null: Callable[..., Path]) -> None:
    served = serve(null())
    (worker,) = served.workers
    worker.control.close()
    assert worker.process.wait(30) == 0
    assert (served.folder / "m.sock").exists()
