"""The page of precisions and their options, from the tables that decide them."""

from edgekit_converters.backends import BACKENDS, backend_for
from edgekit_converters.precisions import parse

_HEAD = """# Precisions

What `edgekit convert --precision P` takes, by target; made from the program's own tables by `make docs`.
Options stand behind a colon: `--precision int4-weights:group=64,awq`. One that is on or off is on when it is named.
Artifacts are named after their precision: `net.int4-weights-group64-awq.xml`. `auto` takes the fastest of several
that passes `--max-drop` (half a point where nothing is said).
"""


def page() -> str:
    """Return the page as Markdown."""
    return "\n".join([_HEAD, *(line for target in BACKENDS for line in _target(target))]) + "\n"


def _target(target: str) -> list[str]:
    backend = backend_for(target)
    lines = [
        f"## {target}",
        "",
        "| precision | needs `--calib` | option | takes | what it does |",
        "|---|---|---|---|---|",
    ]
    for name, options in backend.precisions.items():
        needs = "yes" if backend.calibrated(parse(name, target, backend.precisions)) else "no"
        rows = [(f"`{key}`", option.takes, f"{option.help} [{option.default_text}]") for key, option in options.items()]
        lines += [
            f"| {f'`{name}`' if at == 0 else ''} | {needs if at == 0 else ''} | {' | '.join(row)} |"
            for at, row in enumerate(rows or [("", "", "")])
        ]
    return [*lines, ""]
