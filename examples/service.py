"""A web service that holds a large catalogue in memory: the kind of program whose full collections stop it.

    python service.py [--port N] [--objects N] [--tuned]            as it comes, or tuned by the usual recipe
    python -m midden run service.py [--port N] [--objects N]        the same file under midden

The catalogue is a graph of departments, products and offers that refer to each other, about OBJECTS
containers in all; a background task keeps renewing a little of it. A search makes a page of rows for the
user's session, and sessions live in a least-recently-used cache: page, rows, session and the errors that they
keep refer to each other, so what falls out of the cache is cyclic garbage that has become old. Nothing here
knows of midden. Needs aiohttp.

The service times itself: a task that sleeps for two milliseconds notes how much later than that it woke up.
The longest such delay is the longest time that nothing could be answered. `/report` returns it, `/stop` ends
the service.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import signal
import time
import weakref
from collections import OrderedDict
from typing import Any

from aiohttp import web

SESSIONS = 400
ROWS = 40
CHOICES = 4
OFFERS = 3
DEPARTMENT = 60


class Department:
    """A shelf of the catalogue; knows its products, which know it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.products: list[Product] = []


class Product:
    """Something for sale, with offers that refer back to it, and a related product elsewhere."""

    __slots__ = ("before", "department", "number", "offers", "related")

    def __init__(self, number: int, department: Department) -> None:
        self.number = number
        self.department = department
        self.related = self.before = self
        self.offers: list[dict[str, Any]] = []
        for price in range(OFFERS):
            self.offers.append({"product": self, "price": number % 97 + price, "seller": (department, price)})

    def relate(self, other: Product) -> None:
        """Make `other` the related one; it knows by whom."""
        self.related, other.before = other, self

    def succeed(self, old: Product) -> None:
        """Take over the relations of `old`, which nothing outside its department refers to afterwards."""
        old.before.relate(self)
        self.relate(old.related)


class Catalogue:
    """All departments. One product with its parts is `PARTS` container objects."""

    PARTS = 2 + 2 * OFFERS

    def __init__(self, objects: int) -> None:
        self.departments: list[Department] = []
        self.replaced = 0
        self._gone = 0
        self._watch: list[weakref.ref[Department]] = []
        self._random = random.Random(1)
        numbers = iter(range(objects))
        for _ in range(max(1, objects // (DEPARTMENT * self.PARTS))):
            self.departments.append(self._department(next(numbers)))
        products = [product for department in self.departments for product in department.products]
        # Mixing the order is what some hours of business do to a heap: neighbours in the graph lie far apart.
        order = products[:]
        self._random.shuffle(order)
        for product, other in zip(products, order, strict=True):
            product.relate(other)
        self._random.shuffle(self.departments)

    def _department(self, number: int) -> Department:
        department = Department(f"department {number}")
        for i in range(DEPARTMENT):
            department.products.append(Product(number * DEPARTMENT + i, department))
        return department

    def renew(self) -> None:
        """Replace one department. The old one is a cycle that only a full collection can free."""
        place = self._random.randrange(len(self.departments))
        self._watch.append(weakref.ref(self.departments[place], self._count))
        new = self._department(self._random.randrange(1 << 20))
        for product, old in zip(new.products, self.departments[place].products, strict=True):
            product.succeed(old)
        self.departments[place] = new
        self.replaced += 1

    def _count(self, _: weakref.ref[Department]) -> None:
        self._gone += 1

    def lingering(self) -> int:
        """Return how many replaced departments are still in memory."""
        return self.replaced - self._gone

    def pick(self, choose: random.Random) -> Product:
        """Return some product."""
        department = self.departments[int(choose.random() * len(self.departments))]
        return department.products[int(choose.random() * DEPARTMENT)]


class Session:
    """What is known of a user: the last page seen, and the last error."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.page: Page | None = None
        self.error: BaseException | None = None


class Page:
    """A page of results, which belongs to a session, and whose rows belong to it."""

    def __init__(self, session: Session, catalogue: Catalogue, seed: int) -> None:
        self.session = session
        choose = random.Random(seed)
        product = catalogue.pick(choose)
        self.rows: list[Row] = []
        for number in range(ROWS):
            self.rows.append(Row(self, product, number))
            product = product.related if number % 10 else catalogue.pick(choose)

    def summary(self) -> dict[str, Any]:
        """Return what the client gets to see."""
        return {
            "user": self.session.user,
            "rows": [{"number": row.product.number, "price": row.choices[0].parts[1]} for row in self.rows],
        }


class Row:
    """One line of a page: a product, and what is shown of its offers."""

    __slots__ = ("best", "choices", "page", "product")

    def __init__(self, page: Page, product: Product, number: int) -> None:
        self.page = page
        self.product = product
        self.best = product.offers[number % OFFERS]
        price = self.best["price"]
        self.choices = [Choice(self, place, price * (100 - place)) for place in range(CHOICES)]


class Choice:
    """A way to buy what a row shows, with its label and the parts of its price."""

    __slots__ = ("label", "parts", "row")

    def __init__(self, row: Row, place: int, cents: int) -> None:
        self.row = row
        self.label = {"choice": self, "place": place}
        self.parts = [self, cents, cents // 5]


class Service:
    """The handlers and what they share."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.sessions: OrderedDict[str, Session] = OrderedDict()
        self.answered = 0
        self.stalls: list[tuple[float, float]] = []
        self.longest = 0.0
        self.stop = asyncio.Event()

    def session(self, user: str) -> Session:
        """Return the user's session, the most recently used from now on."""
        session = self.sessions.pop(user, None) or Session(user)
        self.sessions[user] = session
        if len(self.sessions) > SESSIONS:
            self.sessions.popitem(last=False)
        return session

    async def search(self, request: web.Request) -> web.Response:
        """Answer ``GET /search?user=U&q=N``."""
        self.answered += 1
        session = self.session(request.query["user"])
        try:
            query = int(request.query["q"])
            if query % 100 == 0:
                raise LookupError(f"nothing found for {query}")
        except LookupError as error:
            session.error = error  # its traceback holds this frame, which holds the session
            return web.json_response({"user": session.user, "rows": []})
        session.page = Page(session, self.catalogue, query)
        return web.json_response(session.page.summary())

    async def report(self, request: web.Request) -> web.Response:
        """Answer ``GET /report``."""
        return web.json_response(
            {
                "answered": self.answered,
                "longest_stall_s": self.longest,
                "stalls": self.stalls[-1000:],
                "replaced": self.catalogue.replaced,
                "lingering": self.catalogue.lingering(),
                "objects": len(gc.get_objects()) if "count" in request.query else None,
            }
        )

    async def reset(self, _: web.Request) -> web.Response:
        """Answer ``GET /reset``: forget the stalls so far."""
        self.longest = 0.0
        self.stalls.clear()
        return web.json_response({})

    async def end(self, _: web.Request) -> web.Response:
        """Answer ``GET /stop``."""
        self.stop.set()
        return web.json_response({})

    async def watch(self, every: float = 0.002) -> None:
        """Note how late a short sleep ends; more than five milliseconds is a stall."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(every)
            late = time.perf_counter() - began - every
            self.longest = max(self.longest, late)
            if late > 0.005:
                self.stalls.append((time.monotonic(), late))

    async def renew(self, every: float = 0.025) -> None:
        """Keep the catalogue fresh."""
        while True:
            await asyncio.sleep(every)
            self.catalogue.renew()


async def serve(service: Service, port: int) -> None:
    """Serve on the loopback interface until asked to stop."""
    app = web.Application()
    for path, handler in (
        ("/search", service.search),
        ("/report", service.report),
        ("/reset", service.reset),
        ("/stop", service.end),
    ):
        app.router.add_get(path, handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    chosen = runner.addresses[0][1]
    tasks = [asyncio.create_task(service.watch()), asyncio.create_task(service.renew())]
    print(f"listening on 127.0.0.1:{chosen}", flush=True)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop.set)
    await service.stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.sleep(0.1)
    await runner.cleanup()


def main() -> None:
    """Load the catalogue, then serve."""
    parser = argparse.ArgumentParser(description="a service with a large catalogue in memory")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--objects", type=int, default=3_000_000)
    parser.add_argument("--tuned", action="store_true", help="freeze after loading and raise the thresholds")
    options = parser.parse_args()
    gc.disable()  # while loading, whoever collects afterwards
    catalogue = Catalogue(options.objects)
    gc.enable()
    gc.collect()
    if options.tuned:
        gc.freeze()
        _, middle, old = gc.get_threshold()
        gc.set_threshold(50_000, middle * 2, old * 2)
    asyncio.run(_main(catalogue, options.port))


async def _main(catalogue: Catalogue, port: int) -> None:
    await serve(Service(catalogue), port)


if __name__ == "__main__":
    main()
