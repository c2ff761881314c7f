"""A real browser, driven over the DevTools protocol: keys, screenshots, what the console says."""

import asyncio
import base64
import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

needs_chromium = pytest.mark.skipif(
    not shutil.which("chromium"), reason="chromium is not installed"
)
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-port=0"
)
CODES = {"Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38}


class Page:
    """A page of the browser.

    Attributes:
        troubles: What the console and the network complain of.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.troubles: list[str] = []
        self._socket = socket
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    async def call(self, method: str, **params: Any) -> Any:
        number = len(self._answers) + 1
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        return await asyncio.wait_for(self._answers[number], 30)

    async def _read(self) -> None:
        async for message in self._socket:
            found = json.loads(message.data)
            if "id" in found:
                answer = self._answers[found["id"]]
                if "error" in found:
                    answer.set_exception(RuntimeError(str(found["error"])))
                else:
                    answer.set_result(found["result"])
            elif found["method"] == "Log.entryAdded":
                self.troubles.append(found["params"]["entry"]["text"])
            elif found["method"] == "Runtime.exceptionThrown":
                self.troubles.append(str(found["params"]["exceptionDetails"]))

    async def open(self, url: str) -> None:
        await self.call("Page.enable")
        await self.call("Log.enable")
        await self.call("Runtime.enable")
        await self.call("Page.navigate", url=url)

    async def reload(self) -> None:
        """Load the page anew."""
        await self.run("window.isOld = true")
        await self.call("Page.reload")
        await self.wait("!window.isOld && document.readyState === 'complete'")

    async def run(self, script: str) -> Any:
        """Return what an expression is in the page."""
        found = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    async def wait(self, script: str) -> Any:
        """Wait until an expression is true in the page."""
        for _ in range(600):
            with contextlib.suppress(RuntimeError):  # a page is just being left or loaded
                if found := await self.run(script):
                    return found
            await asyncio.sleep(0.05)
        page = await self.run("document.body.innerText.slice(0, 2000)")
        raise AssertionError(f"{script} never came true; {self.troubles}; the page: {page}")

    async def press(self, *keys: str, control: bool = False) -> None:
        """Press keys, one after the other."""
        for key in keys:
            named = {"key": key, "modifiers": 2 * control}
            if key in CODES:
                named |= {"code": key, "windowsVirtualKeyCode": CODES[key]}
            text = {"text": key} if len(key) == 1 else {}
            await self.call("Input.dispatchKeyEvent", type="keyDown", **named, **text)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    async def type(self, text: str) -> None:
        """Type a text where the cursor is."""
        await self.call("Input.insertText", text=text)

    async def show(self, path: Path, *, width: int, dark: bool = False, height: int = 900) -> None:
        """Write a screenshot."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        found = await self.call("Page.captureScreenshot")
        path.write_bytes(base64.b64decode(found["data"]))


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Page]:
    """Start a browser with a profile of its own, and yield its page."""
    process = subprocess.Popen(
        ["chromium", *OPTIONS.split(), f"--user-data-dir={profile}", "about:blank"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        place = None
        while place is None:
            line = process.stderr.readline()
            assert line, "chromium has ended"
            place = re.search(r"ws://([\d.]+:\d+)/", line)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{place[1]}/json/list") as answer:
                targets = await answer.json(content_type=None)
            target = next(each for each in targets if each["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        process.kill()
        process.wait(10)
        process.stderr.close()
