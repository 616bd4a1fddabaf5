"""A bad network in front of a server on this machine: it delays, stalls, resets and cuts off."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

CHUNK = 1 << 16
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST, and forget what was not sent


@dataclass
class Weather:
    """What befalls each piece of a stream, in either direction.

    Attributes:
        delay: seconds, at least half and at most one and a half times of it.
        loss: how often a piece is lost and sent again after ``again`` seconds, as TCP does.
        reset: how often the connection is reset.
    """

    delay: float = 0.0
    loss: float = 0.0
    again: float = 0.4
    reset: float = 0.0


class BadNetwork:
    """Forwards connections to a port of this machine to a server's Unix socket.

    Attributes:
        weather: may be changed at any time.
        resets: how many connections were reset.
    """

    def __init__(self, upstream: str, seed: int = 0) -> None:
        """
        Args:
            upstream: path of the socket.
        """
        self.weather, self.resets = Weather(), 0
        self._upstream, self._chance = upstream, random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server = self._run(self._listen())

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _listen(self) -> asyncio.Server:
        self._open.set()
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    @property
    def port(self) -> int:
        """Where it listens."""
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    def cut(self) -> None:
        """Let nothing through in either direction; nobody is told."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def mend(self) -> None:
        """Let everything through again."""
        self._loop.call_soon_threadsafe(self._open.set)

    def close(self) -> None:
        """End every connection."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there = await asyncio.open_unix_connection(self._upstream)
        except OSError:
            _reset(writer)
            return
        for source, target in ((reader, there), (there_reader, writer)):
            task = self._loop.create_task(self._carry(source, target, (writer, there)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        try:
            while piece := await source.read(CHUNK):
                weather, chance = self.weather, self._chance
                await asyncio.sleep(weather.delay * chance.uniform(0.5, 1.5))
                if chance.random() < weather.loss:
                    await asyncio.sleep(weather.again)
                await self._open.wait()
                if chance.random() < weather.reset:
                    self.resets += 1
                    break
                target.write(piece)
                await target.drain()
        except OSError:
            pass
        finally:
            for writer in both:
                _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, ValueError):
        if found.family == socket.AF_INET:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()
