"""`edgekit repo`: init, add, publish, renew, serve, keys rotate."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli._passphrase import Passphrases
from edgekit.cli._signals import sigterm_ends

if TYPE_CHECKING:
    from edgekit.repo import KeyFolder, Published

app = typer.Typer(
    help="Make and serve a signed repository of bundles that devices update from.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
keys_app = typer.Typer(help="Change who signs.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys_app, name="keys")

OFFLINE_DAYS = 365
ONLINE_DAYS = 14

_Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The repository's folder, which a web server serves.")]
_Keys = Annotated[
    Path | None,
    typer.Option("--keys", metavar="DIR", help="The private keys. [default: DIR-keys beside the repository]"),
]
_File = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="Or the variable EDGEKIT_PASSPHRASE, or a prompt."),
]
_OnlineFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="For the snapshot and timestamp keys; or EDGEKIT_ONLINE_PASSPHRASE. [default: as the others]",
    ),
]
_Days = Annotated[int, typer.Option(metavar="N", min=1, help="For how long root and targets hold.")]
_OnlineDays = Annotated[int, typer.Option(metavar="N", min=1, help="For how long devices take what is published.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command()
def init(
    folder: _Folder,
    threshold: Annotated[int, typer.Option(metavar="N", min=1, help="How many root keys must sign a root.")] = 1,
    root_keys: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many root keys are made. [default: the threshold]")
    ] = None,
    targets_threshold: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many targets keys must sign what is added.")
    ] = 1,
    targets_keys: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many targets keys are made. [default: the threshold]")
    ] = None,
    keys: _Keys = None,
    passphrase_file: _File = None,
    online_passphrase_file: _OnlineFile = None,
    days: _Days = OFFLINE_DAYS,
    online_days: _OnlineDays = ONLINE_DAYS,
    json: _Json = False,
) -> None:
    """Make a repository and its keys, and publish it empty.

    Take the key folders `root` and `targets` off line afterwards. Devices are set up with `metadata/1.root.json`.

    Examples:

        edgekit repo init repository

        edgekit repo init repository --threshold 2 --root-keys 3 --keys /media/usb/keys
    """
    from edgekit.repo import Validity
    from edgekit.repo import init as run

    folder_of_keys = _keys(folder, keys, Passphrases(passphrase_file, online_passphrase_file, new=True))
    published = run(
        folder,
        folder_of_keys,
        root=(threshold, root_keys or threshold),
        targets=(targets_threshold, targets_keys or targets_threshold),
        validity=Validity(offline=days, online=online_days),
    )
    if not json:
        typer.echo(f"keys in {folder_of_keys.folder}; devices trust {folder / 'metadata' / '1.root.json'}")
    _print_published(published, json=json)


@app.command()
def add(
    folder: _Folder,
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE.ekb", help="The bundle.")],
    name: Annotated[str | None, typer.Option(metavar="S", help="The model's name. [default: the bundle's]")] = None,
    version: Annotated[str | None, typer.Option(metavar="S", help="Its version. [default: the bundle's]")] = None,
    hardware: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Hardware it is for; repeatable. [default: the bundle's]")
    ] = None,
    counter: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="The release counter. [default: the bundle's]")
    ] = None,
    keys: _Keys = None,
    passphrase_file: _File = None,
    days: _Days = OFFLINE_DAYS,
    json: _Json = False,
) -> None:
    """Sign a bundle for devices; they see it after `edgekit repo publish`.

    Another file than a bundle needs --name and --version; it is for any hardware and takes the next release counter,
    unless told.

    Examples:

        edgekit repo add repository kws.ekb

        edgekit repo add repository kws.bin --name kws --version 1.2.0 --hardware rpi4 --hardware rpi5
    """
    from edgekit.repo import NewRelease, Validity
    from edgekit.repo import add as run

    added = run(
        folder,
        bundle,
        _keys(folder, keys, Passphrases(passphrase_file, None)),
        NewRelease.of(bundle, name=name, version=version, hardware=tuple(hardware or ()), counter=counter),
        Validity(offline=days),
    )
    if json:
        _print_json(added.to_json())
        return
    release = added.release
    typer.echo(f"{added.target}: {added.length:,} bytes in {added.blocks} blocks, sha256 {added.sha256}")
    typer.echo(f"  release counter {release.release_counter}, for {', '.join(release.hw_ids) or 'any hardware'}")
    typer.echo(f"devices see it after: edgekit repo publish {folder}")


@app.command()
def publish(
    folder: _Folder,
    keys: _Keys = None,
    passphrase_file: _File = None,
    online_passphrase_file: _OnlineFile = None,
    days: _OnlineDays = ONLINE_DAYS,
    json: _Json = False,
) -> None:
    """Make devices see what was added, with the on-line keys; run it again before --days are over, as by cron.

    Examples:

        edgekit repo publish repository --passphrase-file /run/secrets/online
    """
    from edgekit.repo import Validity
    from edgekit.repo import publish as run

    mine = _keys(folder, keys, Passphrases(passphrase_file, online_passphrase_file))
    published = run(folder, mine, Validity(online=days))
    _print_published(published, json=json)


@app.command()
def renew(
    folder: _Folder,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="root or targets.")],
    keys: _Keys = None,
    passphrase_file: _File = None,
    online_passphrase_file: _OnlineFile = None,
    days: _Days = OFFLINE_DAYS,
    online_days: _OnlineDays = ONLINE_DAYS,
    json: _Json = False,
) -> None:
    """Sign root or targets again with the same keys, to hold for longer.

    Examples:

        edgekit repo renew repository root --days 365
    """
    from edgekit.repo import Validity
    from edgekit.repo import renew as run

    mine = _keys(folder, keys, Passphrases(passphrase_file, online_passphrase_file))
    expires = run(folder, role, mine, Validity(offline=days, online=online_days))
    if json:
        _print_json({"schema": 1, "role": role, "expires": expires.isoformat()})
    else:
        typer.echo(f"{role} holds until {expires:%Y-%m-%d}")


@keys_app.command()
def rotate(
    folder: _Folder,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="root, targets, snapshot or timestamp.")],
    revoke: Annotated[
        list[str] | None, typer.Option(metavar="KEYID", help="A key to replace; repeatable. [default: all of the role]")
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="How many keys are made. [default: as many as are replaced]")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many must sign from now on. [default: as before]")
    ] = None,
    keys: _Keys = None,
    passphrase_file: _File = None,
    online_passphrase_file: _OnlineFile = None,
    days: _Days = OFFLINE_DAYS,
    online_days: _OnlineDays = ONLINE_DAYS,
    json: _Json = False,
) -> None:
    """Put new keys in the place of a role's old ones, by a root that the old and the new root keys sign.

    Devices follow from root to root by themselves. The old key files stay where they are, and are worth nothing.

    Examples:

        edgekit repo keys rotate repository timestamp

        edgekit repo keys rotate repository root --revoke 3f0c…
    """
    from edgekit.repo import Change, Validity
    from edgekit.repo import rotate as run

    rotated = run(
        folder,
        role,
        _keys(folder, keys, Passphrases(passphrase_file, online_passphrase_file, new=True)),
        Change(revoke=tuple(revoke or ()), count=count, threshold=threshold),
        Validity(offline=days, online=online_days),
    )
    if json:
        _print_json(rotated.to_json())
        return
    typer.echo(f"{role}: {rotated.threshold} of {len(rotated.new) + len(rotated.kept)} keys must sign")
    for what, keyids in (("new", rotated.new), ("kept", rotated.kept), ("revoked", rotated.revoked)):
        for keyid in keyids:
            typer.echo(f"  {what:8}{keyid}")
    typer.echo(f"root version {rotated.root_version} holds until {rotated.root_expires:%Y-%m-%d}")


@app.command()
def serve(
    folder: _Folder,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="The port; 0 takes a free one.")] = 8480,
    json: _Json = False,
) -> None:
    """Serve a repository on 127.0.0.1 until Ctrl-C, to try things out. Any web server that serves files does the same.

    Examples:

        edgekit repo serve repository --port 8480
    """
    import signal

    from edgekit.repo import serving

    with sigterm_ends(), serving(folder, port) as url:
        if json:
            import json as text

            print(text.dumps({"schema": 1, "url": url}), flush=True)
        else:
            print(f"{url}: this machine only; Ctrl-C ends it", flush=True)
        while True:
            signal.pause()


def _keys(folder: Path, keys: Path | None, passphrases: Passphrases) -> "KeyFolder":
    from edgekit.repo import KeyFolder

    beside = folder.resolve()
    return KeyFolder(keys or beside.with_name(f"{beside.name}-keys"), passphrases)


def _print_published(published: "Published", *, json: bool) -> None:
    if json:
        _print_json(published.to_json())
        return
    typer.echo(f"{published.folder}: {len(published.targets)} targets published")
    for role, version in published.versions.items():
        typer.echo(f"  {role:10} version {version:<5} holds until {published.expires[role]:%Y-%m-%d}")


def _print_json(document: Mapping[str, object]) -> None:
    import json

    typer.echo(json.dumps(document, indent=2))
