"""Drives a headless Chromium over its DevTools protocol, by a pipe: no driver, no port, no further package."""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = "needs Chromium: apt-get install chromium"
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--no-default-browser-check", "--no-proxy-server",
)  # fmt: skip
TIMEOUT_S = 60.0
POLL_S = 0.03
SETTLED_S = 0.2


class Browser:
    """A browser with one page."""

    def __init__(self, width: int = 1360, height: int = 860, program: str | None = CHROMIUM) -> None:
        """Start it with an empty profile."""
        assert program is not None
        self._folder = Path(tempfile.mkdtemp(prefix="edgekit-chromium-"))
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [program, *_FLAGS, f"--user-data-dir={self._folder}", "--remote-debugging-pipe", "about:blank"]
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True, close_fds=False,
                preexec_fn=lambda: _as_three_and_four(theirs_in, theirs_out),  # noqa: PLW1509
            )  # fmt: skip
        except BaseException:
            self.close()
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._number, self._rest = 0, b""
        self._session: str | None = None
        self.seen: deque[dict[str, Any]] = deque(maxlen=20_000)
        try:
            self._attach(width, height)
        except BaseException:
            self.close()  # nobody else can: there is no browser yet to leave a block with
            raise

    def _attach(self, width: int, height: int) -> None:
        """Take the page it has opened."""
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.size(width, height)

    def __enter__(self) -> Self:
        """Use it in a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """End it with all its processes."""
        with contextlib.suppress(OSError):
            os.close(self._out)
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        with contextlib.suppress(OSError):
            os.close(self._in)
        shutil.rmtree(self._folder, ignore_errors=True)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Carry out a command of the protocol; what happens meanwhile is in `seen`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self.seen.append(answer)

    def run(self, script: str) -> Any:
        """Return what an expression is in the page, promises awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def until(self, script: str, timeout_s: float = TIMEOUT_S) -> Any:
        """Wait until an expression is true in the page; return what it is."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError):
                if value := self.run(script):
                    return value
            time.sleep(POLL_S)
        raise AssertionError(f"not so within {timeout_s} s: {script}\n{self.text()[:1500]}\n{self.complaints()}")

    def text(self) -> str:
        """Return what the page says."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def click(self, selector: str) -> None:
        """Click in the middle of an element, with the mouse."""
        found = (
            f"(() => {{ const node = document.querySelector({json.dumps(selector)}); if (!node) return null;"
            "node.scrollIntoView({block: 'nearest'}); const box = node.getBoundingClientRect();"
            "return box.width ? [box.x + box.width / 2, box.y + box.height / 2] : null; })()"
        )
        where, before = self.until(found), None
        while where != before:  # what is loaded above it moves it
            time.sleep(SETTLED_S)
            where, before = self.until(found), where
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1)

    def write(self, selector: str, text: str) -> None:
        """Type a text into a field, in place of what is there."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.until(f"({found}?.focus(), {found}?.select?.(), {found} !== null && document.activeElement === {found})")
        self.call("Input.insertText", text=text)

    def key(self, name: str, code: int = 0, text: str = "") -> None:
        """Press a key."""
        common = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def size(self, width: int, height: int) -> None:
        """Make the window so large, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def theme(self, name: str) -> None:
        """Let the system prefer `dark` or `light`."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self) -> bytes:
        """Return a picture of the window, PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def complaints(self) -> list[str]:
        """Return what went wrong in the page so far: exceptions, refusals of the content policy, failed assets."""
        self.run("0")
        found = []
        for message in self.seen:
            params = message.get("params", {})
            if message.get("method") == "Runtime.exceptionThrown":
                found.append(json.dumps(params["exceptionDetails"])[:600])
            elif message.get("method") == "Log.entryAdded" and params["entry"]["source"] in {"security", "violation"}:
                found.append(params["entry"]["text"])
        return found

    def requests(self) -> set[str]:
        """Return the addresses the page has asked for."""
        self.run("0")
        asked = (
            one["params"]["request"]["url"] for one in self.seen if one.get("method") == "Network.requestWillBeSent"
        )
        return set(asked)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._in], [], [], TIMEOUT_S)[0], f"Chromium said nothing for {TIMEOUT_S} s"
            part = os.read(self._in, 1 << 20)
            assert part, "Chromium has ended"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


def _as_three_and_four(theirs_in: int, theirs_out: int) -> None:
    """Give the pipe the numbers at which Chromium looks for it, whichever they were."""
    first, second = os.dup(theirs_in), os.dup(theirs_out)
    high = [os.dup2(one, 40 + at) for at, one in enumerate((first, second))]
    os.dup2(high[0], 3)
    os.dup2(high[1], 4)
    os.closerange(5, 64)


@contextlib.contextmanager
def signed_in(url: str, sign_in: Callable[[Browser], None], **size: Any) -> Iterator[Browser]:
    """Give a browser that is at the page and signed in."""
    with Browser(**size) as browser:
        browser.open(url)
        sign_in(browser)
        browser.until("!document.getElementById('bar').hidden")
        yield browser


def with_token(token: str) -> Callable[[Browser], None]:
    """Return how to sign in with a token."""

    def sign_in(browser: Browser) -> None:
        browser.click("details summary")
        browser.write("input[name=token]", token)
        browser.key("Enter", 13, "\r")

    return sign_in
