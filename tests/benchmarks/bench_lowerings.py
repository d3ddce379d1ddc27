"""One ONNX op in each TFLite form that could stand for it: p50 in turns in one process, beside the form that is chosen.

`python -m tests.benchmarks.bench_lowerings [ROUNDS]`. `*` marks the form the lowering writes; a ratio is the form's
p50 over that one's, the median over the rounds. A form of the same speed loses to the one with fewer ops.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit._measure import Candidate, measure
from edgekit_converters.jobs import JobRunner, Json
from edgekit_converters.lowering.module import Module, Ref, compile_to_tflite

ROUNDS, RUNS = 7, 100
NONE = 'fused_activation_function = "NONE"'
IMAGE = (1, 56, 56, 64)
Form = Callable[[Module, Ref], Ref]


@dataclass(frozen=True)
class Case:
    """An op on an input of this shape; the first form is the one the lowering writes."""

    name: str
    shape: tuple[int, ...]
    forms: dict[str, Form]


def op(name: str, attributes: str = "") -> Form:
    """Return a form of one op that keeps the shape."""
    return lambda module, x: module.op(name, [x], attributes, x.shape, x.dtype)


def two(module: Module, name: str, left: Ref, right: Ref | float, attributes: str = NONE) -> Ref:
    """Write an elementwise op of two operands."""
    other = right if isinstance(right, Ref) else module.constant(np.asarray(right, np.float32))
    return module.op(name, [left, other], attributes, left.shape, left.dtype)


def weights(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return seeded weights."""
    return np.random.default_rng(0).normal(size=shape).astype(np.float32) / np.float32(np.sqrt(np.prod(shape[1:])))


def hard_swish(module: Module, x: Ref) -> Ref:
    return two(module, "mul", two(module, "mul", x, op("relu6")(module, two(module, "add", x, 3.0))), 1 / 6)


def tanh_gelu(module: Module, x: Ref) -> Ref:
    cube = two(module, "mul", two(module, "mul", x, x), x)
    inner = two(module, "mul", two(module, "add", two(module, "mul", cube, 0.044715), x), 0.7978845608)
    return two(module, "mul", two(module, "mul", x, 0.5), two(module, "add", op("tanh")(module, inner), 1.0))


def softmax(module: Module, x: Ref) -> Ref:
    rows, axis = (*x.shape[:-1], 1), [module.ints([len(x.shape) - 1])]
    highest = module.op("reduce_max", [x, *axis], "keep_dims = true", rows, "float32")
    powers = op("exp")(module, two(module, "sub", x, highest))
    return two(module, "div", powers, module.op("sum", [powers, *axis], "keep_dims = true", rows, "float32"))


def prelu(module: Module, x: Ref) -> Ref:
    return module.op("prelu", [x, module.constant(weights(1, 1, x.shape[-1]))], "", x.shape, "float32")


def prelu_by_relu(module: Module, x: Ref) -> Ref:
    below = two(module, "minimum", x, 0.0, "")
    return two(module, "add", op("relu")(module, x), two(module, "mul", below, module.constant(weights(x.shape[-1]))))


def mean(module: Module, x: Ref) -> Ref:
    shape = (x.shape[0], 1, 1, x.shape[3])
    return module.op("mean", [x, module.ints([1, 2])], "keep_dims = true", shape, "float32")


def average_pool(module: Module, x: Ref) -> Ref:
    size = f"filter_height = {x.shape[1]} : i32, filter_width = {x.shape[2]} : i32"
    rest = f'{NONE}, padding = "VALID", stride_h = 1 : i32, stride_w = 1 : i32'
    return module.op("average_pool_2d", [x], f"{size}, {rest}", (x.shape[0], 1, 1, x.shape[3]), "float32")


def fully_connected(module: Module, x: Ref) -> Ref:
    held = module.constant(weights(384, x.shape[-1]))
    inside = f'{NONE}, keep_num_dims = true, weights_format = "DEFAULT"'
    return module.op("fully_connected", [x, held, module.nothing()], inside, (*x.shape[:-1], 384), "float32")


def batch_matmul(module: Module, x: Ref) -> Ref:
    held = module.constant(weights(x.shape[-1], 384))
    return module.op("batch_matmul", [x, held], "adj_x = false, adj_y = false", (*x.shape[:-1], 384), "float32")


def nearest(module: Module, x: Ref) -> Ref:
    shape = (x.shape[0], 2 * x.shape[1], 2 * x.shape[2], x.shape[3])
    inside = "align_corners = false, half_pixel_centers = false"
    return module.op("resize_nearest_neighbor", [x, module.ints(shape[1:3])], inside, shape, "float32")


def nearest_by_gather(module: Module, x: Ref) -> Ref:
    for axis in (1, 2):
        places = np.repeat(np.arange(x.shape[axis]), 2).astype(np.int32)
        shape = tuple(2 * size if at == axis else size for at, size in enumerate(x.shape))
        inside = f"axis = {axis} : i32, batch_dims = 0 : i32"
        x = module.op("gather", [x, module.constant(places)], inside, shape, "float32")
    return x


def nearest_by_concatenation(module: Module, x: Ref) -> Ref:
    n, height, width, channels = x.shape
    wide = reshaped(module, joined(module, [x, x], (n, height, width, 2 * channels)), (n, height, 1, -1))
    twice = module.op(
        "concatenation", [wide, wide], f"axis = 2 : i32, {NONE}", (n, height, 2, wide.shape[3]), "float32"
    )
    return reshaped(module, twice, (n, 2 * height, 2 * width, channels))


def reshaped(module: Module, x: Ref, shape: tuple[int, ...]) -> Ref:
    rest = int(np.prod(x.shape)) // -int(np.prod(shape)) if -1 in shape else 0
    full = tuple(rest if size == -1 else size for size in shape)
    return module.op("reshape", [x, module.ints(full)], "", full, "float32")


def conv(module: Module, x: Ref, outer: int, groups: int) -> Ref:
    held = module.constant(weights(outer, 3, 3, x.shape[-1] // groups))
    inside = f'dilation_h_factor = 1 : i32, dilation_w_factor = 1 : i32, {NONE}, padding = "SAME"'
    shape = (*x.shape[:-1], outer)
    operands = [x, held, module.constant(np.zeros(outer, np.float32))]
    return module.op("conv_2d", operands, f"{inside}, stride_h = 1 : i32, stride_w = 1 : i32", shape, "float32")


def grouped(module: Module, x: Ref) -> Ref:
    return conv(module, x, x.shape[-1], 4)


def parts(module: Module, x: Ref) -> list[Ref]:
    shapes = [(*x.shape[:-1], x.shape[-1] // 4)] * 4
    return module.ops("split", [module.ints(len(x.shape) - 1), x], "num_splits = 4 : i32", shapes, "float32")


def joined(module: Module, ones: list[Ref], shape: tuple[int, ...]) -> Ref:
    inside = f"axis = {len(shape) - 1} : i32, {NONE}"
    return module.op("concatenation", list(ones), inside, shape, "float32")


def grouped_by_split(module: Module, x: Ref) -> Ref:
    return joined(module, [conv(module, one, one.shape[-1], 1) for one in parts(module, x)], x.shape)


def split(module: Module, x: Ref) -> Ref:
    first, second, third, fourth = parts(module, x)
    return two(module, "add", two(module, "add", first, second), two(module, "add", third, fourth))


def split_by_slices(module: Module, x: Ref) -> Ref:
    size = (*x.shape[:-1], x.shape[-1] // 4)
    starts = [module.ints([*[0] * (len(x.shape) - 1), at * size[-1]]) for at in range(4)]
    ones = [module.op("slice", [x, start, module.ints(size)], "", size, "float32") for start in starts]
    return two(module, "add", two(module, "add", ones[0], ones[1]), two(module, "add", ones[2], ones[3]))


def cube(module: Module, x: Ref) -> Ref:
    return two(module, "mul", two(module, "mul", x, x), x)


def cube_by_pow(module: Module, x: Ref) -> Ref:
    return two(module, "pow", x, 3.0, "")


NEAREST: dict[str, Form] = {
    "RESIZE_NEAREST_NEIGHBOR": nearest,
    "GATHER": nearest_by_gather,
    "CONCATENATION, RESHAPE": nearest_by_concatenation,
}
CASES = (
    Case("HardSwish", IMAGE, {"HARD_SWISH": op("hard_swish"), "written out": hard_swish}),
    Case("Gelu (tanh)", (1, 128, 1536), {"GELU": op("gelu", "approximate = true"), "written out": tanh_gelu}),
    Case("Softmax", (1, 12, 128, 128), {"SOFTMAX": op("softmax", "beta = 1.0 : f32"), "written out": softmax}),
    Case("PRelu", IMAGE, {"PRELU": prelu, "RELU, MINIMUM": prelu_by_relu}),
    Case("GlobalAveragePool", (1, 7, 7, 1280), {"MEAN": mean, "AVERAGE_POOL_2D": average_pool}),
    Case("MatMul by weights", (1, 128, 384), {"FULLY_CONNECTED": fully_connected, "BATCH_MATMUL": batch_matmul}),
    *(Case("Resize nearest x2", shape, NEAREST) for shape in ((1, 13, 13, 256), (1, 28, 28, 64), (1, 80, 80, 32))),
    Case("Conv in 4 groups", IMAGE, {"CONV_2D in groups": grouped, "SPLIT, 4 CONV_2D": grouped_by_split}),
    Case("Split", IMAGE, {"SPLIT": split, "4 SLICE": split_by_slices}),
    Case("Pow 3", IMAGE, {"MUL, MUL": cube, "POW": cube_by_pow}),
)


def run(request: Json) -> Json:
    """Compile all forms of all cases, in a process of its own: the compiler may end it."""
    for number, case in enumerate(CASES):
        for place, form in enumerate(case.forms.values()):
            module = Module(_no_free_sizes)
            result = form(module, module.argument(case.shape, "float32"))
            Path(request["folder"], f"{number}-{place}.tflite").write_bytes(
                compile_to_tflite(module, [result], ["x"], ["y"])
            )
    return None


def _no_free_sizes(_: object) -> Ref:
    raise AssertionError("all sizes are known here")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = ":".join([str(Path(__file__).parent), *sys.path])
        jobs = JobRunner(log=folder / "log", environment={"PYTHONPATH": paths})
        jobs.run("bench_lowerings", {"folder": name})
        for number, case in enumerate(CASES):
            keys = {form: f"{number}-{place}" for place, form in enumerate(case.forms)}
            times: dict[str, list[float]] = {form: [] for form in keys}
            for _ in range(rounds):
                ones = [
                    Candidate(key=key, path=folder / f"{key}.tflite", runtime="ai-edge-litert") for key in keys.values()
                ]
                measured = measure(ones, jobs, folder, runs=RUNS)
                for form, key in keys.items():
                    if measured[key].error:
                        raise measured[key].failure()
                    times[form].append(measured[key].p50_ms)
            chosen = times[next(iter(keys))]
            print(f"{case.name}, {'x'.join(map(str, case.shape))}", flush=True)
            for place, (form, ones_ms) in enumerate(times.items()):
                ratio = statistics.median(a / b for a, b in zip(ones_ms, chosen, strict=True))
                mark = "*" if place == 0 else " "
                print(f"  {mark} {form:<24} {1000 * statistics.median(ones_ms):9.1f} us  {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
