"""Graphs that are trained: run as `python -m tests.converters.compress.learning_cases FOLDER`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253  # a process of its own

from edgekit_converters.compress.base import Effect, Setting
from edgekit_converters.compress.distill import Distill
from edgekit_converters.compress.finetune import Finetune
from edgekit_converters.compress.steps import parse_step
from edgekit_converters.events import Event
from edgekit_converters.graph.oracle import session
from tests.converters.compress.learning_nets import classifier, model, regressor, saved, weights
from tests.framework_cases import digits, error_of, main

TRAIN_X, TRAIN_Y, TEST_X, TEST_Y = digits(channels_first=True)
FEW_X, FEW_Y = TRAIN_X[:200], TRAIN_Y[:200]
_TAUGHT: dict[str, Any] = {}


def setting(work: Path, x: Any = TRAIN_X, y: Any = None, **more: Any) -> Setting:
    inputs = x if isinstance(x, dict) else {"x": x}
    labels = None if y is None else {"y": y}
    return Setting(work=work, source=work / "source.onnx", calibration=inputs, labels=labels, **more)


def carried_out(text: str, made: Any, given: Setting) -> Effect:
    step = parse_step(text)
    technique: Any = {"finetune": Finetune, "distill": Distill}[step.technique]()
    why = technique.check(made, step.values, given)
    assert why is None, why
    effect: Effect = technique.apply(made, step.values, given)
    return effect


def accuracy(made: Any, folder: Path) -> float:
    one = session(saved(made, folder / "scored.onnx"))
    size = one.get_inputs()[0].shape[0]
    step = size if isinstance(size, int) else len(TEST_X)
    found = [one.run(None, {"x": TEST_X[at : at + step]})[0] for at in range(0, len(TEST_X) // step * step, step)]
    classes = np.concatenate(found).argmax(1)
    return float((classes == TEST_Y[: len(classes)]).mean())


def taught(work: Path) -> Any:
    """Return a net that knows the digits, and write it to where teachers are looked for."""
    if not _TAUGHT:
        made = classifier(seed=1)
        carried_out("finetune:epochs=12,rate=0.01", made, setting(work, TRAIN_X, TRAIN_Y))
        _TAUGHT.update(weights(made))
    made = classifier(seed=1)
    for name, array in _TAUGHT.items():
        _store(made, name, array)
    saved(made, work / "source.onnx")
    return made


def _store(made: Any, name: str, array: Any) -> None:
    import onnx_ir as ir

    made.graph.initializers[name].const_value = ir.tensor(array, name=name)


def finetune(work: Path) -> dict[str, Any]:
    made, told = classifier(), list[Event]()
    before, ops = weights(made), [node.op_type for node in made.graph]
    effect = carried_out("finetune:epochs=12,rate=0.01", made, setting(work, TRAIN_X, TRAIN_Y, on_event=told.append))
    return {
        "accuracy": accuracy(made, work),
        "figures": dict(effect.figures),
        "changes": [(one.layer, one.what, one.figures["moved"]) for one in effect.changes],
        "same graph": ops == [node.op_type for node in made.graph],
        "same shapes": all(one.shape == before[name].shape for name, one in weights(made).items()),
        "told": [event.detail for event in told if event.detail.startswith("epoch")],
        "total": told[-1].total,
    }


def batches(work: Path) -> dict[str, Any]:
    """Nets made for one sample, for three, and for any number, learn the same."""
    made = {batch: classifier(batch=batch) for batch in ("N", "1", "3")}
    for one in made.values():
        carried_out("finetune:epochs=2,batch=30,hold=0", one, setting(work, FEW_X, FEW_Y))
    free = weights(made["N"])
    return {
        "apart": {
            batch: max(float(np.abs(free[name] - one).max()) for name, one in weights(made[batch]).items())
            for batch in ("1", "3")
        },
        "accuracy": {batch: accuracy(one, work) for batch, one in made.items()},
    }


def values(work: Path) -> dict[str, Any]:
    x = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    y = np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2]], axis=1)
    effect = carried_out("finetune:epochs=30,rate=0.02", regressor(), setting(work, x, y))
    return {"figures": dict(effect.figures)}


def distill(work: Path) -> dict[str, Any]:
    """Without any label, and to a student that is narrower inside."""
    teacher = taught(work)
    found: dict[str, Any] = {"teacher": accuracy(teacher, work)}
    for name, options in {
        "soft": "", "inside": "features=0.5,attention=1,", "noise": "augment=noise,", "mixup": "augment=mixup,",
        "values": "loss=values,",
    }.items():  # fmt: skip
        student = classifier(width=4)
        effect = carried_out(f"distill:{options}epochs=12,rate=0.01", student, setting(work))
        found[name] = {"accuracy": accuracy(student, work), "figures": dict(effect.figures)}
    return found


def with_labels(work: Path) -> dict[str, Any]:
    taught(work)
    found = {}
    for alpha in (0, 0.7, 1):
        student = classifier(width=4)
        carried_out(f"distill:alpha={alpha:g},epochs=3,rate=0.01,hold=0", student, setting(work, FEW_X, FEW_Y))
        found[str(alpha)] = weights(student)
    plain = classifier(width=4)
    carried_out("finetune:epochs=3,rate=0.01,hold=0", plain, setting(work, FEW_X, FEW_Y))
    soft = classifier(width=4)
    carried_out("distill:epochs=3,rate=0.01,hold=0", soft, setting(work, FEW_X))
    return {
        "hard alone is fine-tuning": _same(found["0"], weights(plain)),
        "soft alone needs no labels": _same(found["1"], weights(soft)),
        "both are another": not _same(found["0.7"], found["0"]) and not _same(found["0.7"], found["1"]),
    }


def own_teacher(work: Path) -> dict[str, Any]:
    """A teacher of its own file, made for one sample, that gives logits."""
    taught(work)
    one = classifier(batch="1", softmax=False)
    for name, array in _TAUGHT.items():
        _store(one, name, array)
    saved(one, work / "other.onnx")
    student, same = classifier(width=4), classifier(width=4)
    text = "epochs=2,rate=0.01"
    carried_out(f"distill:teacher={work / 'other.onnx'},{text}", student, setting(work, FEW_X))
    carried_out(f"distill:{text}", same, setting(work, FEW_X))
    return {"same": max(float(np.abs(a - b).max()) for a, b in _both(weights(student), weights(same)))}


def _both(first: dict[str, Any], second: dict[str, Any]) -> list[Any]:
    return [(first[name], second[name]) for name in first]


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in _both(first, second))


def seeds(work: Path) -> dict[str, Any]:
    found = []
    for at, seed in enumerate((0, 0, 1)):
        (work / str(at)).mkdir()
        made = classifier()
        given = setting(work / str(at), FEW_X, FEW_Y, seed=seed)
        carried_out("finetune:epochs=2,augment=mixup", made, given)
        found.append(weights(made))
    return {"same": _same(*found[:2]), "other": not _same(*found[1:])}


def goes_on(work: Path) -> dict[str, Any]:
    """Ended in the third epoch and done again, a distillation with augmented images ends where it would have."""
    taught(work)

    def stop(event: Event) -> None:
        if event.detail.startswith("epoch 2"):
            raise KeyboardInterrupt

    results, told = [], list[str]()
    text = "distill:epochs=4,augment=moved,temperature=2"
    for kept, ends in (("whole", False), ("killed", True)):
        given = setting(work, FEW_X, FEW_Y, kept=work / kept)
        if ends:
            try:
                carried_out(text, classifier(width=4), replace(given, on_event=stop))
            except KeyboardInterrupt:
                np.random.seed(5)  # noqa: NPY002  # the loop seeds it anew
        student = classifier(width=4)
        effect = carried_out(text, student, replace(given, on_event=lambda event: told.append(event.detail)))
        results.append((dict(effect.figures), weights(student)))
    again, seen = classifier(width=4), list[str]()
    carried_out(text, again, replace(given, on_event=lambda event: seen.append(event.detail)))
    other = classifier(width=4, seed=3)
    carried_out(text, other, replace(given, on_event=lambda event: told.append(event.detail)))
    return {
        "same": results[0][0] == results[1][0] and _same(results[0][1], results[1][1]),
        "went on": [one for one in told if "going on" in one],
        "finished": _same(weights(again), results[1][1]) and not [one for one in seen if one.startswith("epoch")],
        "files": sorted(len(list((work / kept).glob("training-*.npz"))) for kept in ("whole", "killed")),
    }


def keeps_the_best(work: Path) -> dict[str, Any]:
    """A rate that ruins it leaves the net as it came, and patience ends the training."""
    made = taught(work)
    before = weights(made)
    effect = carried_out("finetune:epochs=9,rate=0.5,clip=0,patience=2", made, setting(work, FEW_X, FEW_Y))
    return {
        "same": _same(before, weights(made)),
        "figures": dict(effect.figures),
        "what": sorted({one.what for one in effect.changes}),
    }


def zeros(work: Path) -> dict[str, Any]:
    found = {}
    for option in ("", ",keep-zeros"):
        made = taught(work)
        for name in ("w1", "w2"):
            array = _TAUGHT[name] * (np.abs(_TAUGHT[name]) > np.median(np.abs(_TAUGHT[name])))
            _store(made, name, array)
        carried_out(f"finetune:epochs=2,hold=0{option}", made, setting(work, FEW_X, FEW_Y))
        found[option] = float((weights(made)["w1"] == 0).mean())
    return {"kept": found[",keep-zeros"], "lost": found[""]}


def only(work: Path) -> dict[str, Any]:
    made = classifier()
    before = weights(made)
    last = next(node for node in made.graph if node.op_type == "Gemm")
    given = setting(work, FEW_X, FEW_Y, only=frozenset({last.name or last.outputs[0].name}))
    effect = carried_out("finetune:epochs=1,hold=0", made, given)
    after = weights(made)
    return {
        "moved": sorted(name for name in before if not np.array_equal(before[name], after[name])),
        "layers": [one.layer for one in effect.changes],
    }


def tokens(work: Path) -> dict[str, Any]:
    """A table of rows is learnt, by whole numbers."""
    made = model(
        "e = Gather(table, x) m = ReduceMean<keepdims=0>(e, a) y = Gemm(m, w, b)",
        "int64[1,6] x",
        "float[1,3] y",
        {"table": (20, 8), "a": np.array([1]), "w": (8, 3), "b": (3,)},
    )
    x = np.random.default_rng(0).integers(0, 20, (300, 6))
    y = (x % 3 == 0).sum(1).clip(0, 2)
    effect = carried_out("finetune:epochs=30,rate=0.03", made, setting(work, x, y))
    return {"figures": dict(effect.figures)}


def whole_runs(work: Path) -> dict[str, Any]:
    """Inputs that are no rows of a batch: a state [2, 1, 4] and a number are given whole, each row a run."""
    made = model(
        "s = ReduceSum<keepdims=0>(h, a) t = Mul(s, k) c = Concat<axis=1>(x, t) y = Gemm(c, w, b)",
        "float[1,3] x, float[2,1,4] h, float k",
        "float[1,2] y",
        {"a": np.array([0]), "w": (7, 2), "b": (2,)},
    )
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "x": rng.normal(size=(50, 1, 3)).astype(np.float32),
        "h": rng.normal(size=(50, 2, 1, 4)).astype(np.float32),
        "k": rng.normal(size=50).astype(np.float32),
    }
    y = np.concatenate([arrays["x"][:, 0, :1], arrays["h"].sum(1)[:, 0, :1] * arrays["k"][:, None]], axis=1)
    effect = carried_out("finetune:epochs=40,rate=0.03", made, setting(work, arrays, y[:, None]))
    return {"figures": dict(effect.figures)}


def halves(work: Path) -> dict[str, Any]:
    """A net in half precision is trained in single, and is half again."""
    import onnx_ir as ir
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    stored = [numpy_helper.from_array((0.1 * rng.normal(size=size)).astype(np.float16), name)
              for name, size in (("w", (64, 10)), ("b", (10,)))]  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w", "b"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["N", 10])],
        stored,
    )
    made = ir.serde.deserialize_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    )
    effect = carried_out("finetune:epochs=10,rate=0.02", made, setting(work, TRAIN_X.astype(np.float16), TRAIN_Y))
    return {"figures": dict(effect.figures), "dtypes": [str(one.dtype) for one in weights(made).values()]}


def refusals(work: Path) -> dict[str, Any]:
    def why(text: str, made: Any, given: Setting) -> str | None:
        step = parse_step(text)
        technique: Any = {"finetune": Finetune, "distill": Distill}[step.technique]()
        answer: str | None = technique.check(made, step.values, given)
        return answer

    taught(work)
    saved(regressor(), work / "regressor.onnx")
    x = np.ones((8, 3), np.float32)
    unknown = model("a = MatMul(x, w) y = Hardmax(a)", "float[N,3] x", "float[N,2] y", {"w": (3, 2)})
    bare = model("y = Relu(x)", "float[N,3] x", "float[N,3] y", {})
    labels = np.zeros(8, np.int64)
    return {
        "op": why("finetune", unknown, setting(work, x, labels)),
        "weights": why("finetune", bare, setting(work, x, np.zeros((8, 3)))),
        "labels": why("finetune", classifier(), setting(work, FEW_X, np.full(200, 12))),
        "counts": why("finetune", classifier(), setting(work, FEW_X, FEW_Y[:100])),
        "augment": why("finetune:augment=moved", regressor(), setting(work, x, np.zeros((8, 2)))),
        "teacher": why(f"distill:teacher={work / 'regressor.onnx'}", classifier(), setting(work, FEW_X)),
        "no file": error_of(lambda: why("distill:teacher=nowhere.onnx", classifier(), setting(work, FEW_X))),
        "attention": why("distill:attention=1", regressor(), setting(work, x)),
        "nan": error_of(lambda: carried_out("finetune:hold=0", regressor(), setting(work, x, np.full((8, 2), 1e30)))),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(
        {
            one.__name__: one
            for one in (
                finetune, batches, values, distill, with_labels, own_teacher, seeds, goes_on, keeps_the_best, zeros,
                only, tokens, whole_runs, halves, refusals,
            )
        }
    )  # fmt: skip
