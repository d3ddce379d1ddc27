"""`edgekit fleet`: the table of its commands, one file a group."""

import typer

from edgekit.cli.fleet import broker, check, pki, rollout, simulate, watch

app = typer.Typer(help="Watch a fleet, or run a broker to try things out.", no_args_is_help=True, rich_markup_mode=None)

app.command("watch")(watch.watch)
app.command("broker")(broker.broker)
app.command("simulate")(simulate.simulate)
app.add_typer(pki.app, name="pki")
app.command("enroll")(pki.enroll)
app.command("revoke")(pki.revoke)
app.command("check")(check.check)
app.command("deploy")(rollout.deploy)
app.command("rollback")(rollout.rollback)
app.add_typer(rollout.rollout, name="rollout")
app.add_typer(rollout.audit, name="audit")
