"""A bounded, open-loop load for `service.py`: requests start by the clock, answered or not.

    python load.py PORT [--rate R] [--seconds S] [--warm-up S]

A request's latency counts from the moment at which it was due, not from the moment at which a connection was
free to send it. So a service that stands still for a second shows in all requests that were due in that
second (a closed loop would ask just once and report one slow answer: "coordinated omission"). Prints one JSON
object with a list of [seconds since the start, latency in seconds]. Needs nothing but the standard library;
talks to 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import sys
from time import perf_counter
from typing import Any

CONNECTIONS = 64
USERS = 4_000


async def get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, bytes]:
    """Send one request on an open connection; return status and body."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    length = next(int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:"))
    return int(head[0].split()[1]), await reader.readexactly(length)


async def once(port: int, path: str) -> Any:
    """Fetch `path` on a connection of its own and return its JSON. Raises OSError when it is not answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        status, body = await get(reader, writer, path)
    except asyncio.IncompleteReadError as error:
        raise ConnectionError(f"{path} was not answered") from error
    finally:
        writer.close()
    if status != 200:
        raise ConnectionError(f"{path} was answered with status {status}")
    return json.loads(body)


class Load:
    """The schedule, the connections that work it off, and what they saw."""

    def __init__(self, port: int, rate: float, seconds: float) -> None:
        self.port, self.rate, self.seconds = port, rate, seconds
        self.latencies: list[tuple[float, float]] = []
        self.failures: list[str] = []
        self._due: asyncio.Queue[tuple[float, str] | None] = asyncio.Queue()
        self._began = 0.0

    async def run(self) -> None:
        """Carry out the schedule and wait for the last answer."""
        self._began = perf_counter()
        workers = [asyncio.create_task(self._work()) for _ in range(CONNECTIONS)]
        choose = random.Random(5)
        for number in range(int(self.rate * self.seconds)):
            due = self._began + number / self.rate
            delay = due - perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            path = f"/search?user=user{int(choose.random() * USERS)}&q={int(choose.random() * 1e6)}"
            self._due.put_nowait((due, path))
        for _ in workers:
            self._due.put_nowait(None)
        await asyncio.gather(*workers)

    async def _work(self) -> None:
        """Take requests that are due, one after the other."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            while (item := await self._due.get()) is not None:
                due, path = item
                status, _ = await get(reader, writer, path)
                self.latencies.append((due - self._began, perf_counter() - due))
                if status != 200:
                    self.failures.append(f"status {status}")
        except (OSError, asyncio.IncompleteReadError) as error:
            self.failures.append(f"connection lost: {error!r}")
        finally:
            writer.close()


async def main(options: argparse.Namespace) -> dict[str, Any]:
    """Warm up, clear the service's record, load it, and ask what it saw."""
    if options.warm_up:
        await Load(options.port, options.rate, options.warm_up).run()
    await once(options.port, "/reset")
    load = Load(options.port, options.rate, options.seconds)
    await load.run()
    return {
        "latencies": sorted(load.latencies),
        "asked": int(options.rate * options.seconds),
        "failures": load.failures,
        "service": await once(options.port, "/report"),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="an open-loop load for service.py")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=300.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--warm-up", type=float, default=1.0, dest="warm_up", metavar="SECONDS")
    gc.disable()  # this process must not stand still itself
    try:
        json.dump(asyncio.run(main(parser.parse_args())), sys.stdout)
    except OSError as problem:
        sys.exit(f"load.py: {problem}")
