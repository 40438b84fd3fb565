"""Integers of hundreds and thousands of digits: every result is a new block of another size."""

from __future__ import annotations

import math


def fibonacci(n: int) -> int:
    """Return the n-th Fibonacci number by adding."""
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


def pi_digits(count: int) -> int:
    """Return `count` digits of pi, from a spigot whose integers keep growing."""
    q, r, t, k, digit, size = 1, 0, 1, 1, 3, 3
    digits = made = 0
    while made < count:
        if 4 * q + r - t < digit * t:
            digits = digits * 10 + digit
            made += 1
            q, r, digit = 10 * q, 10 * (r - digit * t), (10 * (3 * q + r)) // t - 10 * digit
        else:
            q, r, t, k, digit, size = (
                q * k,
                (2 * q + r) * size,
                t * size,
                k + 1,
                (q * (7 * k + 2) + r * size) // (t * size),
                size + 2,
            )
    return digits


def big_integers() -> int:
    """Fibonacci numbers, digits of pi, factorials, powers and roots; return a short remainder of all."""
    prime = (1 << 521) - 1
    total = fibonacci(9_000) % prime + pi_digits(320) % prime
    product = 1
    for i in range(1, 1_500):
        product *= i
        total += product & 0xFFFF
    for i in range(3, 60):
        total += pow(i, prime >> 380, prime) + math.isqrt(product >> i)
    values = [(1 << bits) // 3 for bits in range(30, 3_000, 7)]
    for value in values:
        total += (value * value - value) % 1_000_003 + value.bit_count()
    return total % prime
