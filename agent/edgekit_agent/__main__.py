"""`edgekit-agent`: run, probe, bench, check-config, unpack."""

# ruff: noqa: T201  # a command prints
import argparse
import importlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

from edgekit_agent import __version__
from edgekit_agent.errors import AgentError, ConfigError


def main() -> None:
    """Run the command line: 0 stopped as asked, 2 usage, 3 wrong configuration or input, 1 a crash."""
    arguments = _parser().parse_args()
    logging.basicConfig(
        level=arguments.log_level.upper(), stream=sys.stderr, format="ts=%(asctime)s lvl=%(levelname)s %(message)s"
    )
    try:
        arguments.run(arguments)
    except AgentError as exc:
        print(f"error: {exc}", file=sys.stderr)
        for note in getattr(exc, "__notes__", []):
            print(f"hint: {note}", file=sys.stderr)
        sys.exit(3)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgekit-agent",
        description="Run models on this device, measure every inference, report over MQTT.",
        epilog="example: edgekit-agent run --config agent.toml",
    )
    parser.add_argument("--version", action="version", version=f"edgekit-agent {__version__}")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the models of a configuration until SIGTERM")
    run.add_argument("--config", type=Path, required=True, help="agent.toml")
    run.set_defaults(run=_run)
    check = commands.add_parser("check-config", help="check a configuration and its files, and leave")
    check.add_argument("--config", type=Path, required=True, help="agent.toml")
    check.set_defaults(run=_check)
    probe = commands.add_parser("probe", help="print which hardware and runtimes are here")
    probe.add_argument("--json", action="store_true", help="print one JSON document")
    probe.set_defaults(run=_probe)
    bench = commands.add_parser("bench", help="measure a model's latency here")
    bench.add_argument("model", type=Path, help=".tflite, or .xml with its .bin")
    bench.add_argument(
        "--runtime", default="auto", help="ai-edge-litert, tflite-runtime, onnxruntime, openvino (default: auto)"
    )
    bench.add_argument("--threads", type=int, default=1)
    bench.add_argument("--streams", type=int, default=1, help="inferences at a time, to measure throughput beside one")
    bench.add_argument("--runs", type=int, default=200)
    bench.add_argument("--warmup", type=int, default=20)
    bench.add_argument("--json", action="store_true", help="print one JSON document")
    bench.set_defaults(run=_bench)
    unpack = commands.add_parser("unpack", help="write the files of what `edgekit pack` made")
    unpack.add_argument("file", type=Path)
    unpack.add_argument("-o", "--output", type=Path, default=None, help="folder (default: that of the file)")
    unpack.set_defaults(run=_unpack)
    return parser


def _run(arguments: argparse.Namespace) -> None:
    from edgekit_agent import config
    from edgekit_agent.service import Service
    from edgekit_agent.transport.mqtt import MqttTransport

    loaded = config.load(arguments.config)
    Service(loaded, MqttTransport(loaded.device, loaded.broker)).run()


def _check(arguments: argparse.Namespace) -> None:
    from edgekit_agent import config, runtimes

    loaded = config.load(arguments.config)
    for model in loaded.model:
        if not Path(model.path).is_file():
            raise ConfigError(f"model '{model.name}': '{model.path}' does not exist")
        if model.labels is not None and not Path(model.labels).is_file():
            raise ConfigError(f"model '{model.name}': labels '{model.labels}' do not exist")
        runtime = runtimes.choose(Path(model.path), model.runtime)
        print(f"{model.name} {model.version}: {model.path} on {runtime.name}")
    print(f"{arguments.config} is right: device {loaded.device}, site {loaded.site}, broker {loaded.broker.url}")


def _probe(arguments: argparse.Namespace) -> None:
    from edgekit_agent.probe import probe

    found = probe()
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for key, value in found["hardware"].items():
        print(f"{key:14} {', '.join(map(str, value)) or 'none' if isinstance(value, list) else value}")
    if not found["runtimes"]:
        print("runtimes       none: pip install 'edgekit-agent[tflite]' or 'edgekit-agent[openvino]'")
    for name, state in found["runtimes"].items():
        text = f"{state['version']} on {', '.join(state['devices'])}" if state["ok"] else f"unusable: {state['reason']}"
        print(f"{name:14} {text}")


def _bench(arguments: argparse.Namespace) -> None:
    from edgekit_agent.errors import ModelError

    measure = _needing_numpy("edgekit_agent.measure")
    model = {"id": "0", "path": str(arguments.model), "runtime": arguments.runtime, "threads": arguments.threads}
    request = {"models": [model], "inputs": None, "outputs": None, "runs": arguments.runs, "warmup": arguments.warmup}
    answer = measure.run({**request, "seed": 0, "batch": 1, "streams": arguments.streams})["models"]["0"]
    if "error" in answer:
        raise ModelError(answer["error"]["message"])
    if arguments.json:
        print(json.dumps({"schema": 1, "model": str(arguments.model), **answer}, indent=2))
        return
    timing = answer["timing"]
    figures = ", ".join(f"{name} {timing[f'{name}_ms']:.3f} ms" for name in ("p50", "p90", "p99", "min"))
    where = f"{answer['runtime']} {answer['version']} on {', '.join(answer['executed_on'])}"
    print(f"{where}: {figures} ({timing['runs']} runs)")
    for row in answer.get("throughput", ()):
        figures = ", ".join(f"{name} {row[f'{name}_ms']:.3f} ms" for name in ("p50", "p90", "p99"))
        print(f"{row['streams']} at a time: {row['per_second']:.1f} a second, {figures}")


def _unpack(arguments: argparse.Namespace) -> None:
    unpacking = _needing_numpy("edgekit_agent.unpacking")
    for path in unpacking.unpack_file(arguments.file, arguments.output or arguments.file.parent):
        print(path)


def _needing_numpy(name: str) -> Any:  # noqa: ANN401  # a module
    from edgekit_agent.errors import RuntimeMissingError

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        error = RuntimeMissingError(f"'{exc.name}' is not installed: it comes with a runtime")
        error.add_note("pip install 'edgekit-agent[tflite]' or 'edgekit-agent[openvino]'")
        raise error from exc


if __name__ == "__main__":
    main()
