"""`edgekit fleet`: the table of its commands, one file a group."""

import typer

from edgekit.cli.fleet import broker, serve, simulate, watch

app = typer.Typer(help="Watch a fleet, or run a broker to try things out.", no_args_is_help=True, rich_markup_mode=None)

app.command("watch")(watch.watch)
app.command("broker")(broker.broker)
app.command("serve")(serve.serve)
app.command("simulate")(simulate.simulate)
