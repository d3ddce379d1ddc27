"""`edgekit-agent`: run, status, probe, bench, verify, check-config, unit, unpack."""

# ruff: noqa: T201  # a command prints
import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgekit_agent import __version__
from edgekit_agent.errors import AgentAwayError, AgentError, ConfigError, UnprovedError

_EXIT_CODES: Mapping[type[AgentError], int] = MappingProxyType({AgentAwayError: 5, UnprovedError: 6})


def main() -> None:
    """Run the command line: 0 done, 2 usage, 3 wrong input, 5 no agent answers, 6 a model not proved, 1 a crash."""
    arguments = _parser().parse_args()
    logging.basicConfig(
        level=(arguments.log_level or "info").upper(),
        stream=sys.stderr,
        format="ts=%(asctime)s lvl=%(levelname)s %(message)s",
    )
    try:
        arguments.run(arguments)
    except AgentError as exc:
        print(f"error: {exc}", file=sys.stderr)
        for note in getattr(exc, "__notes__", []):
            print(f"hint: {note}", file=sys.stderr)
        sys.exit(next((code for kind, code in _EXIT_CODES.items() if isinstance(exc, kind)), 3))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgekit-agent",
        description="Run models on this device, measure every inference, report over MQTT.",
        epilog="example: edgekit-agent run --config agent.toml",
    )
    parser.add_argument("--version", action="version", version=f"edgekit-agent {__version__}")
    levels = ["debug", "info", "warning", "error"]
    parser.add_argument("--log-level", choices=levels, default=None, help="(default: log_level of agent.toml, or info)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the models of a configuration until SIGTERM")
    run.add_argument("--config", type=Path, required=True, help="agent.toml")
    run.set_defaults(run=_run)
    check = commands.add_parser("check-config", help="check a configuration and its files, and leave")
    check.add_argument("--config", type=Path, required=True, help="agent.toml")
    check.add_argument("--json", action="store_true", help="print one JSON document")
    check.set_defaults(run=_check)
    unit = commands.add_parser("unit", help="print a systemd unit that runs a configuration, hardened")
    unit.add_argument("--config", type=Path, required=True, help="agent.toml")
    unit.add_argument("--name", default="edgekit-agent", help="the unit's name: folders in /run go by it")
    unit.add_argument(
        "--writable", type=Path, action="append", default=[], help="a folder the agent may write to, that is there"
    )
    unit.add_argument("--user", action="store_true", help="for a user's own service manager")
    unit.set_defaults(run=_unit)
    status = commands.add_parser("status", help="ask the agent that runs on this device how it stands")
    status.add_argument("--config", type=Path, default=None, help="its agent.toml (default: where agents usually are)")
    status.add_argument("--json", action="store_true", help="print one JSON document")
    status.set_defaults(run=_status)
    probe = commands.add_parser("probe", help="print which hardware and runtimes are here")
    probe.add_argument("--json", action="store_true", help="print one JSON document")
    probe.set_defaults(run=_probe)
    bench = commands.add_parser("bench", help="measure a model's latency here")
    bench.add_argument("model", type=Path, help=".tflite, or .xml with its .bin")
    bench.add_argument(
        "--runtime", default="auto", help="ai-edge-litert, tflite-runtime, onnxruntime, openvino (default: auto)"
    )
    bench.add_argument("--threads", type=int, default=1)
    bench.add_argument("--device", default="CPU", help="the runtime's name of what is to run it (default: CPU)")
    bench.add_argument("--delegate", default=None, help="a TFLite delegate: the path of its library")
    for name in ("--delegate-option", "--property"):
        bench.add_argument(name, type=_pair, action="append", default=[], metavar="NAME=VALUE")
    bench.add_argument("--streams", type=int, default=1, help="inferences at a time, to measure throughput beside one")
    bench.add_argument("--runs", type=int, default=200)
    bench.add_argument("--warmup", type=int, default=20)
    bench.add_argument("--limit-s", type=float, default=120.0, help="time for all runs, in seconds (default: 120)")
    bench.add_argument("--nice", type=int, default=0, help="give way to other processes, up to 19")
    bench.add_argument("--progress", action="store_true", help="print progress=SHARE lines on stderr")
    bench.add_argument("--json", action="store_true", help="print one JSON document")
    bench.set_defaults(run=_bench)
    verify = commands.add_parser("verify", help="check every byte of a bundle, and prove its model here")
    verify.add_argument("bundle", type=Path, help="a .ekb file")
    verify.add_argument("--prove", action="store_true", help="run it: golden outputs, latency and memory bounds")
    verify.add_argument("--json", action="store_true", help="print one JSON document")
    verify.set_defaults(run=_verify)
    unpack = commands.add_parser("unpack", help="write the files of what `edgekit pack` made")
    unpack.add_argument("file", type=Path)
    unpack.add_argument("-o", "--output", type=Path, default=None, help="folder (default: that of the file)")
    unpack.set_defaults(run=_unpack)
    return parser


def _run(arguments: argparse.Namespace) -> None:
    from edgekit_agent import config, launcher
    from edgekit_agent.service import Service
    from edgekit_agent.transport.mqtt import MqttTransport

    launcher.launch(arguments.config)
    loaded = config.load(arguments.config)
    loaded = replace(loaded, log_level=arguments.log_level or loaded.log_level)
    service = Service(loaded, MqttTransport(loaded.device, loaded.broker))
    service.run()
    if service.restart:
        launcher.restart()


def _check(arguments: argparse.Namespace) -> None:
    from edgekit_agent import checking, config

    findings = list(checking.check(config.load(arguments.config)))
    wrong = [one for one in findings if one.level is checking.Level.WRONG]
    if arguments.json:
        print(json.dumps({"schema": 1, "ok": not wrong, "checks": [one.to_json() for one in findings]}, indent=2))
    else:
        for one in findings:
            print(f"{one.level:8} {one.what}: {one.text}")
            for hint in one.hints:
                print(f"{'':8} hint: {hint}")
    if wrong:
        raise ConfigError(f"{arguments.config}: {wrong[0].what}: {wrong[0].text}")


def _status(arguments: argparse.Namespace) -> None:
    from edgekit_agent import config, control, rundir, status

    folders = [config.load(arguments.config).run_folder] if arguments.config else rundir.known_folders()
    places = [folder / rundir.CONTROL for folder in folders]
    here = next((one for one in places if os.path.exists(one)), None)  # noqa: PTH110  # False where it may not be looked at
    if here is None:
        error = AgentAwayError(f"no agent answers here: there is no {' or '.join(map(str, places))}")
        error.add_note("name its configuration with --config, or ask as the user it runs as")
        raise error
    document = control.ask(here, "status")
    if arguments.json:
        print(json.dumps(document, indent=2))
        return
    for line in status.lines(document):
        print(line)


def _unit(arguments: argparse.Namespace) -> None:
    from edgekit_agent import config
    from edgekit_agent.unit import unit

    path = arguments.config.absolute()
    command = [sys.executable, "-P", "-m", "edgekit_agent", "run", "--config", str(path)]
    state_dir = Path(config.load(path).state_dir)
    writable = [one.absolute() for one in arguments.writable]
    print(unit(command, state_dir=state_dir, writable=writable, name=arguments.name, user=arguments.user), end="")


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


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=VALUE")
    return name, value


def _bench(arguments: argparse.Namespace) -> None:
    from edgekit_agent.errors import ModelError

    os.nice(arguments.nice)
    measure = _needing_numpy("edgekit_agent.measure")
    model = {
        "id": "0",
        "path": str(arguments.model),
        "delegate_options": dict(arguments.delegate_option),
        "properties": dict(arguments.property),
        **{name: getattr(arguments, name) for name in ("runtime", "threads", "device", "delegate")},
    }
    request = {
        "models": [model],
        "inputs": None,
        "outputs": None,
        "runs": arguments.runs,
        "warmup": arguments.warmup,
        "limit_s": arguments.limit_s,
        "seed": 0,
        "batch": 1,
        "streams": arguments.streams,
    }
    answer = measure.run(request, _tell_share if arguments.progress else _nothing)["models"]["0"]
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


def _tell_share(share: float) -> None:
    print(f"progress={share:.3f}", file=sys.stderr, flush=True)


def _nothing(_share: float) -> None:
    pass


def _verify(arguments: argparse.Namespace) -> None:
    from edgekit_agent import bundle

    if arguments.prove:
        manifest, found = _needing_numpy("edgekit_agent.bundle.proving").prove(arguments.bundle)
        proof = found.to_json()
    else:
        manifest, proof = bundle.verify(arguments.bundle).manifest, None
    if arguments.json:
        print(json.dumps({"schema": 1, "model": manifest.model, "version": manifest.version, "proof": proof}, indent=2))
        return
    print(f"{arguments.bundle}: {manifest}: {len(manifest.files)} files as the manifest says")
    if proof is not None:
        figures = f"p50 {proof['p50_ms']:.3f} ms, p99 {proof['p99_ms']:.3f} ms, {proof['rss_bytes'] / 1e6:.1f} MB"
        print(f"{proof['golden_runs']} golden runs passed, {figures}")


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
