"""The configuration that devices are wanted to have: `/api/v1/config`."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from edgekit.errors import UsageError
from edgekit.fleet import _clock
from edgekit.fleet.api.access import Operator
from edgekit.fleet.api.context import InContext
from edgekit.fleet.api.filters import LONGEST
from edgekit.fleet.api.scope import Scoped
from edgekit.fleet.audit import Entry
from edgekit.fleet.configuration import check_keys, merged
from edgekit.fleet.query import parse
from edgekit.fleet.store.desired import Wish

router = APIRouter(tags=["config"], prefix="/api/v1/config")


class NewConfig(BaseModel):
    """What to set, as tables of `agent.toml` with models by name: `{"model": {"kws": {"rate_hz": 5}}}`.

    It lies over what was set before, and null takes a key away; with `replace` it takes the place of all of it.
    """

    filter: Annotated[str, Field(max_length=LONGEST)]
    conf: Mapping[str, Any]
    replace: bool = False
    dry_run: bool = False


class Wanted(BaseModel):
    """A device and the version of its desired state; devices answer with what became of it in `reported`."""

    site: str
    device: str
    v: int


class ConfigAnswer(BaseModel):
    """Whom it concerns."""

    devices: list[Wanted]
    dry_run: bool


@router.put("")
def put_config(context: InContext, who: Operator, scope: Scoped, wanted: NewConfig) -> ConfigAnswer:
    """Set configuration of all devices that a filter is true of; each is told when it is there."""
    check_keys(wanted.conf)
    rows = parse(wanted.filter).devices(context.store)
    if not rows:
        error = UsageError(f"no device is '{wanted.filter}'")
        error.add_note("`edgekit fleet ls --filter` tells which devices a filter is true of")
        raise error
    scope.refuse_outside(rows)
    now_ms = _clock.now_ms()
    before = {row.key: context.store.desired.get(row.key) for row in rows}
    wishes = [
        Wish(key=key, conf=merged({} if wanted.replace or known is None else known.conf, wanted.conf))
        for key, known in before.items()
    ]
    versions = {key: known.v if known else 0 for key, known in before.items()}
    if not wanted.dry_run:
        versions = context.store.desired.put(wishes, now_ms)
        detail = {"filter": wanted.filter, "conf": dict(wanted.conf), "replace": wanted.replace, "devices": len(rows)}
        context.store.audit.add(Entry(at_ms=now_ms, who=who.name, action="config", subject="config", detail=detail))
    told = [Wanted(site=key.site, device=key.device, v=v) for key, v in versions.items()]
    return ConfigAnswer(devices=told, dry_run=wanted.dry_run)
