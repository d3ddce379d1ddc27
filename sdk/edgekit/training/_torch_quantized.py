"""PyTorch nets with NNCF's fake-quantizers, and the files they go on as."""

import contextlib
import inspect
import io
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgekit.errors import DataError, UsageError
from edgekit.training._options import ACTIVATIONS, WEIGHT_BITS
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.training.loader import Tree, leaves, mapped
from edgekit_converters.training.torch_net import Module, call

_INNER = "net"


def quantized(net: Module, samples: list[Tree], precision: str) -> Module:
    """Return a copy of the net with fake-quantizers whose ranges hold these samples.

    Weights are symmetric a channel, activations a tensor, where OpenVINO's int8 kernels want them. The net is wrapped:
    NNCF hangs its quantizers into the outermost module, which a `Sequential` would then call like layers.

    Args:
        net: any module; it stays as it is.
        samples: inputs of batches, on the net's device.
        precision: one of `PRECISIONS`.

    Raises:
        ConverterMissingError: if NNCF is not installed.
        UsageError: if the net takes fewer inputs than it is given.
        DataError: if NNCF cannot trace the net, or there is nothing in it to quantize.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # NNCF then sends nothing
    try:
        import nncf
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet
    except ImportError as exc:
        raise missing("NNCF", "torch,openvino") from exc
    _compile_nothing()
    whole = _whole(net, samples[0]).eval()
    try:
        with _silent():
            made = nncf.quantize(
                whole,
                nncf.Dataset(samples),
                preset=nncf.QuantizationPreset.MIXED,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(samples),
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    disable_bias_correction=True,  # training does it
                    activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                ),
            )
    except Exception as exc:
        raise DataError(f"NNCF cannot quantize the net: {first_line(exc)}") from exc
    of_weights = weight_quantizers(made)
    if not of_weights:
        raise DataError("the net has no layer that NNCF quantizes")
    for one in of_weights:
        one.num_bits = WEIGHT_BITS[precision]  # NNCF's table of CPU kernels has 8 only; ranges stay
    if precision not in ACTIVATIONS:
        for one in activation_quantizers(made):
            one.disable_quantization()
    return made


def take_weights(net: Module, made: Module, sample: Tree) -> None:
    """Give the user's net the trained weights, without the fake-quantizers.

    Weights are put on the trained grids: a quantizer that takes a channel's largest weight for its step finds the same.
    """
    import torch

    rounded: dict[int, Any] = {}

    def keep(_quantizer: Module, arguments: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401  # a tensor
        rounded[id(arguments[0])] = output.detach()

    made.eval()
    with contextlib.ExitStack() as stack, torch.no_grad():
        for one in weight_quantizers(made):
            stack.callback(one.register_forward_hook(keep).remove)
        call(made, sample)
    inner = getattr(made, _INNER)
    net.load_state_dict(inner.state_dict())
    with torch.no_grad():
        for mine, trained in zip(net.parameters(), inner.parameters(), strict=True):
            if id(trained) in rounded:
                mine.copy_(rounded[id(trained)])


def weight_quantizers(made: Module) -> list[Module]:
    """Return the fake-quantizers of weights; those of activations have other bounds."""
    return [one for one in _quantizers(made) if one.narrow_range or one.is_half_range]


def activation_quantizers(made: Module) -> list[Module]:
    """Return the fake-quantizers of activations."""
    return [one for one in _quantizers(made) if not (one.narrow_range or one.is_half_range)]


def _quantizers(made: Module) -> list[Module]:
    from nncf.torch.quantization.layers import BaseQuantizer

    return [one for one in made.modules() if isinstance(one, BaseQuantizer)]


def save_openvino(made: Module, sample: Tree, path: Path) -> None:
    """Write the quantized net as OpenVINO IR with the trained quantizers, for one sample at a time.

    Raises:
        ConverterMissingError: if OpenVINO is not installed.
        DataError: if OpenVINO cannot read the net.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO then sends nothing
    try:
        import openvino
    except ImportError as exc:
        raise missing("OpenVINO", "openvino") from exc
    one = mapped(lambda tensor: tensor[:1], sample)
    made.eval()
    try:
        with _silent():
            model = openvino.convert_model(made, example_input=one)
            model.reshape({port: list(given.shape) for port, given in zip(model.inputs, leaves(one), strict=True)})
    except Exception as exc:
        raise DataError(f"OpenVINO cannot read the trained net: {first_line(exc)}") from exc
    for port, name in zip(model.inputs, input_names(getattr(made, _INNER), one), strict=True):
        port.get_tensor().set_names({name})
    for at, port in enumerate(model.outputs):
        if not port.get_names():
            port.get_tensor().set_names({f"output_{at}" if len(model.outputs) > 1 else "output"})
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".edgekit-") as scratch:
        openvino.save_model(model, Path(scratch, path.name), compress_to_fp16=False)
        for suffix in (".bin", ".xml"):  # the .xml last: it is the one that is looked for
            Path(scratch, path.name).with_suffix(suffix).replace(path.with_suffix(suffix))


def save_exported(net: Module, sample: Tree, path: Path) -> None:
    """Write the float net as an exported program for one sample at a time, which `edgekit convert` reads.

    Raises:
        DataError: if PyTorch cannot export the net.
    """
    import torch

    one = mapped(lambda tensor: tensor[:1], sample)
    args, kwargs = ((), one) if isinstance(one, dict) else (tuple(leaves(one)), {})
    try:
        with _silent():
            program = torch.export.export(net.eval(), args, kwargs)
    except Exception as exc:
        raise DataError(f"PyTorch cannot export the net: {first_line(exc)}") from exc
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".edgekit-") as scratch:
        torch.export.save(program, Path(scratch, path.name))
        Path(scratch, path.name).replace(path)


def input_names(net: Module, inputs: Tree) -> list[str]:
    """Return the names of the arguments these inputs are given as.

    Raises:
        UsageError: if the net takes fewer.
    """
    if isinstance(inputs, dict):
        return list(inputs)
    count = len(inputs) if isinstance(inputs, (tuple, list)) else 1
    parameters = inspect.signature(net.forward).parameters.values()
    names = [one.name for one in parameters if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}]
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        names += [f"input_{at}" for at in range(len(names), count)]
    if len(names) < count:
        raise UsageError(f"train_data gives {count} inputs and the net takes {len(names)}")
    return names[:count]


def _whole(net: Module, inputs: Tree) -> Module:
    """Wrap a net: NNCF and OpenVINO see arguments by name, as many as there are inputs."""
    import torch

    class Whole(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # whatever the net takes and gives
            return self.net(*args, **kwargs)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = ["self", *input_names(net, inputs)]
    Whole.forward.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    return Whole()


def _compile_nothing() -> None:
    """Let NNCF compute its fake-quantizers by PyTorch's own operators.

    It would compile a C++ extension on first use: more than a minute, with a compiler, into the home folder.
    """
    from nncf.torch.quantization import extensions, reference

    plain = reference.torch_executor
    functions = SimpleNamespace(Quantize_forward=plain.forward, Quantize_backward=plain.backward)
    extensions.QuantizedFunctionsCPU._loaded_namespace = functions  # noqa: SLF001  # it has no other way


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep progress bars and warnings of tracing from the user's terminal."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
