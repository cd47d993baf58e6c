"""Which arithmetic may be trained on: a hash of the canonical expression decides, so no held-out example can slip in anywhere."""

import functools
import re

import numpy as np

HELD_OUT_SHARE = 10  # one canonical expression in this many is for evaluation only
_PRIME = 1099511628211  # the 64-bit FNV prime
_MASK = (1 << 64) - 1


def held_out(canonical: str) -> bool:
    """True if an expression belongs to the evaluation split.

    `canonical` is the infix text without spaces, every operation in brackets, numbers as printed, operators + - * /:
    `(12+(30*2))`. Every producer of arithmetic, whatever style it writes in, asks with the same canonical text, so
    `12 plus 30 times 2` and a word problem with that plan fall on the same side.
    """
    state = 0
    for byte in canonical.encode():
        state = (state * _PRIME + byte + 1) & _MASK
    return bool(_finish(np.array([state], dtype=np.uint64))[0])


def held_out_rows(text: np.ndarray) -> np.ndarray:
    """The same decision for many expressions at once: `text` (n, L) uint8, 0 where a row has no character; returns (n,) bool."""
    length = np.count_nonzero(text, axis=1)
    filled, flat = length > 0, text.ravel()
    characters = flat.take(np.flatnonzero(flat))
    end = length[filled].cumsum()
    behind = np.repeat(end - 1, length[filled]) - np.arange(len(characters))  # characters after each one: the power of the prime it has
    terms = _powers(text.shape[1]).take(behind) * (characters.astype(np.uint64) + np.uint64(1))
    state = np.zeros(len(text), dtype=np.uint64)
    state[filled] = np.add.reduceat(terms, end - length[filled]) if len(end) else 0
    return _finish(state)


@functools.lru_cache
def _powers(count: int) -> np.ndarray:
    """The first `count` powers of the prime, modulo 2^64."""
    return np.array([pow(_PRIME, i, _MASK + 1) for i in range(count)], dtype=np.uint64)


def fewest_brackets(canonical: str) -> str:
    """The same expression with those brackets only that it needs: `12+30*2` for `(12+(30*2))`, but still `7-(3-1)`.

    This is what a calculator is told: the numbers and operators stand as in the question, so that a model mostly copies. ValueError
    if `canonical` is not of the form that `held_out` takes.
    """
    stack: list[tuple[str, int]] = []  # texts with their level: 1 a sum, 2 a product, 3 a number; operators and what opens: 0
    for token in re.findall(r"\d+(?:\.\d+)?|\S", canonical):
        if token != ")":
            stack.append((token, 3 if token[0].isdigit() else 0))
            continue
        opening, left, symbol, right = stack[-4:] if len(stack) >= 4 else [("", 0)] * 4
        if opening[0] != "(" or not left[1] or symbol[0] not in "+-*/" or not right[1]:
            break
        level = 1 if symbol[0] in "+-" else 2
        first = left[0] if left[1] >= level else f"({left[0]})"
        second = right[0] if right[1] > level else f"({right[0]})"
        stack[-4:] = [(first + symbol[0] + second, level)]
    else:
        if len(stack) == 1 and stack[0][1]:
            return stack[0][0]
    raise ValueError(f"{canonical!r} is not an expression with a pair of brackets around every operation")


def _finish(state: np.ndarray) -> np.ndarray:
    """Mixes the rolling hash's bits (the SplitMix64 finaliser, Steele et al. 2014) before taking its residue."""
    with np.errstate(over="ignore"):
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (state ^ (state >> np.uint64(31))) % np.uint64(HELD_OUT_SHARE) == 0
