"""A web application that is served from a thread, for as long as a test needs it."""

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from stepsynth.llm.engine.loop import cancel_others


@dataclass
class ThreadedServer:
    """Attributes: url: where it is, up to and with its /v1; "" before it was started."""

    url: str = field(default="", kw_only=True)

    def make_app(self) -> web.Application:
        """Return what is served."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()

        def serve() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self._start())
            started.set()
            self._loop.run_forever()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await cancel_others()  # answers that nobody waits for any more

    async def _start(self) -> None:
        self._runner = web.AppRunner(self.make_app(), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
