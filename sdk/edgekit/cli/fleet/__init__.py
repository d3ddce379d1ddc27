"""`edgekit fleet`: the table of its commands, one file a group."""

import typer

from edgekit.cli.fleet import (
    alerts,
    bench,
    bridge,
    broker,
    check,
    devices,
    events,
    export,
    figures,
    forget,
    operate,
    pki,
    rollout,
    serve,
    simulate,
    users,
    watch,
)

app = typer.Typer(
    help="Watch, ask and steer a fleet of devices; simulate one; run a broker to try things out.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

app.command("watch")(watch.watch)
app.command("ls")(devices.ls)
app.command("show")(devices.show)
app.command("top")(figures.top)
app.command("query")(figures.query)
app.command("events")(events.events)
app.command("logs")(operate.logs)
app.command("bench")(bench.bench)
app.add_typer(operate.config_app, name="config")
app.command("counters")(devices.counters)
app.command("forget")(forget.forget)
app.command("broker")(broker.broker)
app.command("serve")(serve.serve)
app.command("simulate")(simulate.simulate)
app.add_typer(pki.app, name="pki")
app.command("enroll")(pki.enroll)
app.command("revoke")(pki.revoke)
app.command("check")(check.check)
app.add_typer(export.app, name="export")
app.add_typer(bridge.app, name="bridge")
app.add_typer(alerts.app, name="alerts")
app.add_typer(users.users, name="user")
app.add_typer(users.tokens, name="token")
app.command("deploy")(rollout.deploy)
app.command("rollback")(rollout.rollback)
app.add_typer(rollout.rollout, name="rollout")
app.add_typer(rollout.audit, name="audit")
