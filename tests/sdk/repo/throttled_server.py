"""A repository served at a set rate by a process of its own, which notes how many bytes of each file it sent.

`python -m tests.sdk.repo.throttled_server FOLDER BYTES_PER_S LOG`; prints its URL and runs until it is killed.
"""

import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import BinaryIO

from edgekit.repo import RepositoryHandler, serving

_PIECE = 16 << 10


class Throttled(RepositoryHandler):
    """Sends slowly, through a small buffer, and appends `bytes path` to the log."""

    rate = int(sys.argv[2])
    log = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * _PIECE)
        super().setup()

    def send_part(self, file: BinaryIO, start: int, end: int) -> None:
        sent = 0
        file.seek(start)
        try:
            while sent < end - start:
                piece = file.read(min(_PIECE, end - start - sent))
                self.wfile.write(piece)
                sent += len(piece)
                time.sleep(len(piece) / self.rate)
        finally:
            os.write(self.log, f"{sent} {self.path}\n".encode())


if __name__ == "__main__":
    with serving(Path(sys.argv[1]), handler=Throttled) as url:
        print(url, flush=True)  # noqa: T201  # the parent reads it
        signal.pause()
