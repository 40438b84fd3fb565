"""One client after the other fetches a page from a server in the same event loop.

    client_loop.py REQUESTS (httpx | plain)

With ``httpx`` each request makes and closes an `httpx.AsyncClient`, whose responses are known to be cyclic;
with ``plain`` a client of our own has the same habit: response, stream and client refer to each other. Prints
one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter

from heap import memory

BODY = b"x" * 40_000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests on one connection until it closes."""
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


class Response:
    """An answer that knows the client that it came to."""

    def __init__(self, client: Client, headers: dict[str, str], content: bytes) -> None:
        self.client, self.headers, self.content = client, headers, content
        self.stream = Stream(self)


class Stream:
    """The body of a response, bound to it."""

    def __init__(self, response: Response) -> None:
        self.response = response


class Client:
    """A client with a history: client → response → stream → response → client."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.history: list[Response] = []

    async def get(self) -> Response:
        """Fetch the page on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        content = await reader.readexactly(int(headers["Content-Length"]))
        writer.close()
        await writer.wait_closed()
        response = Response(self, headers, content)
        self.history.append(response)
        return response


async def fetch_plain(port: int) -> int:
    """Fetch once with our own client."""
    return len((await Client(port).get()).content)


async def fetch_httpx(port: int) -> int:
    """Fetch once with a fresh httpx client."""
    import httpx

    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        response = await client.get(f"http://127.0.0.1:{port}/")
        return len(response.content)


async def loop(requests: int, fetch: Callable[[int], Awaitable[int]]) -> int:
    """Serve on a free port of the loopback interface and fetch that often."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    total = 0
    for _ in range(requests):
        total += await fetch(port)
    server.close()
    return total


def main(arguments: list[str]) -> None:
    """Run the loop."""
    began = perf_counter()
    fetch = fetch_httpx if arguments[1] == "httpx" else fetch_plain
    total = asyncio.run(loop(int(arguments[0]), fetch))
    print(json.dumps({"seconds": perf_counter() - began, "bytes": total, "memory_kib": memory()}))


if __name__ == "__main__":
    main(sys.argv[1:])
