"""`edgekit flash`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli._progress import Progress, show

if TYPE_CHECKING:
    from edgekit.flash import FlashRequest, Target
    from edgekit.fleet._url import BrokerUrl


def flash(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="ssh://user@host[:port], or 'local' and a folder.")],
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="With 'local': where to install.")] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR|FILE", help="A .tflite, .xml or .ekb, or a folder of edgekit convert.")
    ] = None,
    broker: Annotated[
        str | None, typer.Option(metavar="URL", help="mqtt://host[:port], as the device reaches it.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The model's name. [default: its file's]")] = None,
    device: Annotated[
        str | None, typer.Option(metavar="ID", help="The device's id. [default: what it has, or of its host name]")
    ] = None,
    site: Annotated[str, typer.Option(metavar="S", help="The device's site.")] = "default",
    runtime: Annotated[
        str, typer.Option(metavar="R", help="auto, ai-edge-litert, tflite-runtime or openvino.")
    ] = "auto",
    precision: Annotated[str | None, typer.Option(metavar="P", help="Which artifact of a folder.")] = None,
    rate: Annotated[
        float, typer.Option(metavar="HZ", min=0, help="Inferences a second; 0 is as fast as it can.")
    ] = 10.0,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Threads of one inference.")] = 1,
    window: Annotated[float, typer.Option(metavar="S", min=1, help="Seconds a report covers.")] = 10.0,
    username: Annotated[str | None, typer.Option(metavar="NAME", help="The broker's user.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the broker's password.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Who signed the broker's certificate, for mqtts://.")
    ] = None,
    cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The device's certificate, of its key --key.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The device's key; only its owner may read it.")
    ] = None,
    pki: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Take --ca, --cert and --key of --device from `edgekit fleet pki init`."),
    ] = None,
    watch: Annotated[
        str | None,
        typer.Option(metavar="URL", help="With --pki: where services connect. [default: --broker's host, port 8884]"),
    ] = None,
    repository: Annotated[
        str | None, typer.Option(metavar="URL", help="The signed repository that updates come from, with --root.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its root metadata: what the device trusts from then on.")
    ] = None,
    hardware: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="What the device is, where bundles are for some hardware.")
    ] = None,
    identity: Annotated[Path | None, typer.Option(metavar="KEY", help="The private key for ssh.")] = None,
    prefix: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where on the device. [default: ~/.edgekit; root: /opt/edgekit]")
    ] = None,
    wheels: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Take wheels from this folder and fetch nothing.")
    ] = None,
    wait: Annotated[float, typer.Option(metavar="S", min=0, help="How long to wait for a report; 0 does not.")] = 120.0,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="The same as --wait 0.")] = False,
    foreground: Annotated[bool, typer.Option("--foreground", help="Run the agent attached until Ctrl-C.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Only stop the agent there.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Stop the agent and take the installation away.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    progress: Annotated[Progress, typer.Option(help="How to show progress, on stderr.")] = Progress.AUTO,
) -> None:
    """Put the agent, its runtime and a model on a running Linux device, start it, and wait until it reports.

    The device needs Linux and Python 3.11 or newer with venv; it is reached by this system's OpenSSH. The agent is
    started by systemd where there is one, else as a process in the background. Doing it twice changes nothing.

    Examples:

        edgekit flash ssh://pi@raspberrypi.local --model build/kws --broker mqtt://192.0.2.10:1883

        edgekit flash local /tmp/device --model build/kws/models/saved_model.int8.tflite --broker mqtt://127.0.0.1:1883

        edgekit flash ssh://pi@raspberrypi.local --model kws.ekb --broker mqtt://192.0.2.10:1883
        --repository https://updates.example/kws --root repository/metadata/1.root.json

        edgekit flash ssh://pi@raspberrypi.local --model build/kws --device pi-7 --pki pki
        --broker mqtts://broker.example:8883

        edgekit flash ssh://pi@raspberrypi.local --stop
    """
    from edgekit.errors import UsageError
    from edgekit.flash import FlashRequest, Settings, parse

    place = parse(target, folder, prefix, identity)
    if stop or remove:
        _print(place.call("remove" if remove else "stop"), json=json)
        return
    if model is None or broker is None:
        raise UsageError("flash needs --model and --broker")
    listening = None
    if pki is not None:
        ca, cert, key, listening = _enrolled(pki, device, broker, watch)
    settings = Settings(
        broker=broker,
        ca=ca,
        cert=cert,
        key=key,
        site=site,
        username=username,
        password=_secret(password_file),
        rate_hz=rate,
        threads=threads,
        window_s=window,
        repository=repository,
        root=root,
        hardware=tuple(hardware or ()),
    )
    request = FlashRequest(
        model=model,
        name=name,
        settings=settings,
        device=device,
        runtime=runtime,
        precision=precision,
        wheels=wheels,
        wait_s=0 if foreground or no_wait else wait,
        start=not foreground,
        watch=listening,
    )
    with show(progress) as on_event:
        if dry_run:
            _print(_planned(place, request, on_event), json=json)
            return
        from edgekit.flash import flash as run

        done = run(place, request, on_event)
    for warning in done.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if json:
        _print(done.to_json(), json=True)
    else:
        how = "installed" if done.changed else "unchanged"
        when = f", p50 {done.p50_ms:.3f} ms" if done.p50_ms is not None else ""
        typer.echo(f"{done.device}: {how} in {done.prefix}, {done.model} on {done.runtime}{when}")
        if not done.systemd and done.pid:
            typer.echo(f"no systemd there: the agent runs in the background as process {done.pid}; --stop ends it")
    if foreground:
        raise typer.Exit(place.foreground(done.command))


def _enrolled(pki: Path, device: str | None, broker: str, watch: str | None) -> tuple[Path, Path, Path, "BrokerUrl"]:
    """Return the files of an enrolled device, and how this machine listens to the fleet."""
    from edgekit.errors import DataError, UsageError
    from edgekit.fleet._url import parse
    from edgekit.fleet.security.mosquitto import SERVICE_PORT

    if device is None:
        raise UsageError("--pki needs --device: a certificate is for one name")
    folder = pki / "devices" / device
    if not (folder / "key.pem").is_file():
        error = DataError(f"there is no key of '{device}' in '{pki}'")
        error.add_note(f"edgekit fleet enroll {device} --pki {pki}")
        raise error
    at = parse(broker)
    host = f"[{at.host}]" if ":" in at.host else at.host
    mine = pki / "hosts" / "main"
    url = watch or f"mqtts://{host}:{SERVICE_PORT}"
    listening = parse(url, ca=mine / "ca.pem", cert=mine / "cert.pem", key=mine / "key.pem")
    return folder / "ca.pem", folder / "cert.pem", folder / "key.pem", listening


def _secret(path: Path | None) -> str | None:
    if path is None:
        return None
    from edgekit.errors import DataError

    try:
        return path.read_text().rstrip("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"password file '{path}' cannot be read") from exc


def _planned(place: "Target", request: "FlashRequest", on_event: Any) -> dict[str, Any]:  # noqa: ANN401  # a callback
    from edgekit.flash import plan

    payload, facts, chosen, runtime = plan(place, request, on_event)
    missing = set(place.call("missing", _body(payload.manifest))["missing"])
    return {
        "device": payload.manifest["device"] if request.device or facts.device else f"a new one of '{facts.hostname}'",
        "prefix": facts.prefix,
        "model": chosen.name,
        "runtime": runtime,
        "start": f"systemd ({facts.systemd})" if facts.systemd else "in the background",
        "send": [one["name"] for one in payload.manifest["files"] if one["sha256"] in missing],
    }


def _body(manifest: dict[str, Any]) -> bytes:
    import json

    return json.dumps(manifest).encode()


def _print(document: dict[str, Any], *, json: bool) -> None:
    if json:
        import json as text

        typer.echo(text.dumps(document, indent=2))
        return
    for key, value in document.items():
        shown = ", ".join(map(str, value)) or "nothing" if isinstance(value, list) else value
        typer.echo(f"{key}: {shown}")
