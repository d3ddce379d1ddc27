"""The gateway's process: `python -P -m edgekit_agent.gateway HOST PORT FOLDER MAX_BODY SUPERVISOR_PID`."""

import logging
import signal
import socket
import sys
from pathlib import Path

from edgekit_agent.parent import die_with

CANNOT_LISTEN = 3


def main() -> None:
    """Answer until the supervisor ends."""
    host, port, folder, max_body, supervisor = sys.argv[1:6]
    die_with(int(supervisor))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group: the supervisor decides
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="ts=%(asctime)s lvl=%(levelname)s %(message)s")
    try:
        from edgekit_agent.gateway.server import BACKLOG, Server

        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    except ImportError as exc:
        sys.stderr.write(f"'{exc.name}' is not installed: pip install 'edgekit-agent[serve]'\n")
        sys.exit(CANNOT_LISTEN)
    except OSError as exc:
        sys.stderr.write(f"{host}:{port} cannot be listened on: {exc.strerror}\n")
        sys.exit(CANNOT_LISTEN)
    Server(listener, Path(folder), int(max_body)).run()


if __name__ == "__main__":
    main()
