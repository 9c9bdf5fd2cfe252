"""Headless Chromium, driven over its DevTools protocol with nothing but the standard library."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

BINARY = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_S = 60
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


class Browser:
    """One tab. `events` holds what it reported: exceptions, console messages, requests."""

    def __init__(self, folder: Path, width: int = 1360, height: int = 900) -> None:
        self._process = subprocess.Popen(
            [BINARY or "", *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.events: list[dict[str, Any]] = []
        self._calls = 0
        self._socket = self._connected(folder / "DevToolsActivePort")
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(PATIENCE_S)

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        self._calls += 1
        self._send(json.dumps({"id": self._calls, "method": method, "params": params}).encode())
        while True:
            message = self._receive()
            if message.get("id") == self._calls:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    # --- what tests do ---

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is there."""
        self.events.clear()
        self("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, expression: str) -> Any:
        """The value of some JavaScript."""
        answer = self("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until it is true."""
        over_at = time.monotonic() + PATIENCE_S
        while not self.run(f"Boolean({expression})"):
            assert time.monotonic() < over_at, f"never true: {expression}"
            threading.Event().wait(0.02)

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key, as an operator presses it."""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
        self("Input.dispatchKeyEvent", type="keyDown", **about)
        self("Input.dispatchKeyEvent", type="keyUp", **{**about, "text": ""})

    def prefer(self, **features: str) -> None:
        """Media features, with underscores: `prefers_color_scheme="dark"`."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self("Emulation.setEmulatedMedia", features=named)

    def resize(self, width: int, height: int) -> None:
        """The size of the window, in CSS pixels."""
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def picture(self, path: Path) -> None:
        """The whole page, as PNG."""
        width, height = self.run("[innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[Any]:
        """Exceptions, refusals of the content security policy and other errors; not that an answer was a 400."""
        self.run("0")
        thrown = [event["params"] for event in self.events if event["method"] == "Runtime.exceptionThrown"]
        logged = [event["params"]["entry"] for event in self.events if event["method"] == "Log.entryAdded"]
        return thrown + [e for e in logged if e["level"] in ("warning", "error") and e["source"] != "network"]

    def hosts(self) -> set[str]:
        """Whom the page asked for anything."""
        sent = [
            e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"
        ]
        return {url.split("/")[2] for url in sent if "//" in url}

    # --- the protocol ---

    def _connected(self, told: Path) -> socket.socket:
        over_at = time.monotonic() + PATIENCE_S
        while not (told.exists() and told.read_text().count("\n")):
            assert time.monotonic() < over_at, "Chromium does not start"
            threading.Event().wait(0.05)
        port = int(told.read_text().split()[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            page = next(each for each in json.load(answer) if each["type"] == "page")
        path = page["webSocketDebuggerUrl"].split(str(port), 1)[1]
        connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        assert b" 101 " in head
        return connection

    def _send(self, payload: bytes) -> None:
        """One masked text frame."""
        size = len(payload)
        if size < 126:
            head = struct.pack(">BB", 0x81, 0x80 | size)
        elif size < 65_536:
            head = struct.pack(">BBH", 0x81, 0x80 | 126, size)
        else:
            head = struct.pack(">BBQ", 0x81, 0x80 | 127, size)
        mask = os.urandom(4)
        self._socket.sendall(head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))

    def _receive(self) -> Any:
        """One message, of any number of frames."""
        message = b""
        while True:
            first, size = self._exactly(2)
            if size == 126:
                (size,) = struct.unpack(">H", self._exactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self._exactly(8))
            message += self._exactly(size)
            if first & 0x80:
                return json.loads(message)

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            piece = self._socket.recv(size - len(found))
            assert piece, "Chromium hung up"
            found += piece
        return found
