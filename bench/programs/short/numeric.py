"""Short programs that compute: few container objects, most of them short-lived."""

from __future__ import annotations

import math
import random


def nbody() -> float:
    """Move five bodies by Newton's law for a while; return the energy of the system."""
    bodies = [
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 39.478],
        [4.84, -1.16, -0.10, 0.606, 2.81, -0.02, 0.0377],
        [8.34, 4.12, -0.40, -1.01, 1.82, 0.008, 0.0113],
        [12.89, -15.11, -0.22, 1.08, 0.868, -0.010, 0.0017],
        [15.37, -25.9, 0.179, 0.979, 0.594, -0.034, 0.002],
    ]
    pairs = [(a, b) for i, a in enumerate(bodies) for b in bodies[i + 1 :]]
    step = 0.01
    for _ in range(12_000):
        for a, b in pairs:
            dx, dy, dz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
            pull = step / (dx * dx + dy * dy + dz * dz) ** 1.5
            near, far = b[6] * pull, a[6] * pull
            a[3] -= dx * near
            a[4] -= dy * near
            a[5] -= dz * near
            b[3] += dx * far
            b[4] += dy * far
            b[5] += dz * far
        for body in bodies:
            body[0] += step * body[3]
            body[1] += step * body[4]
            body[2] += step * body[5]
    kinetic = sum(0.5 * b[6] * (b[3] ** 2 + b[4] ** 2 + b[5] ** 2) for b in bodies)
    return kinetic - sum(a[6] * b[6] / math.dist(a[:3], b[:3]) for a, b in pairs)


def fannkuch(n: int = 8) -> tuple[int, int]:
    """Return the checksum and the greatest number of prefix flips over all permutations of `n`."""
    order = list(range(n))
    counts = list(range(1, n + 1))
    checksum = greatest = number = 0
    while True:
        first = order[0]
        if first:
            tiles = order[:]
            flips = 0
            while first:
                tiles[: first + 1] = tiles[first::-1]
                first = tiles[0]
                flips += 1
            greatest = max(greatest, flips)
            checksum += flips if number % 2 == 0 else -flips
        number += 1
        for i in range(1, n):
            order.insert(i, order.pop(0))
            counts[i] -= 1
            if counts[i]:
                break
            counts[i] = i + 1
        else:
            return checksum, greatest


def chaos(points: int = 30_000) -> int:
    """Play the chaos game on six corners and return how many cells of a grid were hit."""
    pick = random.Random(7)
    corners = [(math.cos(k * math.pi / 3), math.sin(k * math.pi / 3)) for k in range(6)]
    x = y = 0.0
    cells: dict[tuple[int, int], int] = {}
    for _ in range(points):
        cx, cy = corners[int(pick.random() * 6)]
        x, y = x + (cx - x) * 0.65, y + (cy - y) * 0.65
        cell = (int(x * 120), int(y * 120))
        cells[cell] = cells.get(cell, 0) + 1
    return len(cells)


class Vector:
    """Three coordinates, immutable by habit, as small programs write them."""

    __slots__ = ("x", "y", "z")

    def __init__(self, x: float, y: float, z: float) -> None:
        self.x, self.y, self.z = x, y, z

    def __add__(self, other: Vector) -> Vector:
        return Vector(self.x + other.x, self.y + other.y, self.z + other.z)

    def __sub__(self, other: Vector) -> Vector:
        return Vector(self.x - other.x, self.y - other.y, self.z - other.z)

    def __mul__(self, factor: float) -> Vector:
        return Vector(self.x * factor, self.y * factor, self.z * factor)

    def dot(self, other: Vector) -> float:
        """Return the scalar product."""
        return self.x * other.x + self.y * other.y + self.z * other.z

    def unit(self) -> Vector:
        """Return the vector of length one in the same direction."""
        return self * (1 / math.sqrt(self.dot(self)))


class Ball:
    """A sphere that mirrors a part of the light."""

    def __init__(self, centre: Vector, radius: float, mirror: float) -> None:
        self.centre, self.radius, self.mirror = centre, radius, mirror

    def hit(self, origin: Vector, ray: Vector) -> float | None:
        """Return how far along `ray` the sphere is met, None if it is missed."""
        to = self.centre - origin
        along = to.dot(ray)
        inside = along * along - to.dot(to) + self.radius * self.radius
        if inside < 0:
            return None
        distance = along - math.sqrt(inside)
        return distance if distance > 1e-6 else None


def raytrace(width: int = 96, height: int = 64) -> float:
    """Trace a small picture of nine mirror balls and return its brightness."""
    balls = [Ball(Vector(i - 1.0, j - 1.0, 4 + (i + j) * 0.4), 0.45, 0.4) for i in range(3) for j in range(3)]
    lamp = Vector(-0.5, 0.7, -0.5).unit()

    def colour(origin: Vector, ray: Vector, depth: int) -> float:
        hits = [(far, ball) for ball in balls if (far := ball.hit(origin, ray)) is not None]
        if not hits or depth == 0:
            return 0.1 + 0.2 * max(ray.y, 0.0)
        far, ball = min(hits, key=lambda pair: pair[0])
        point = origin + ray * far
        normal = (point - ball.centre).unit()
        direct = max(normal.dot(lamp), 0.0)
        mirrored = ray - normal * (2 * ray.dot(normal))
        return direct * (1 - ball.mirror) + ball.mirror * colour(point, mirrored, depth - 1)

    eye = Vector(0.0, 0.0, 0.0)
    total = 0.0
    for row in range(height):
        for column in range(width):
            total += colour(eye, Vector(column / width - 0.5, 0.5 - row / height, 0.8).unit(), 4)
    return total
