"""`edgekit fleet`: the table of its commands, one file a group."""

import typer

from edgekit.cli.fleet import alerts, bridge, broker, check, export, pki, serve, simulate, users, watch

app = typer.Typer(help="Watch a fleet, or run a broker to try things out.", no_args_is_help=True, rich_markup_mode=None)

app.command("watch")(watch.watch)
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
