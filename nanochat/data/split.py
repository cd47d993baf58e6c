"""Which arithmetic may be trained on: a hash of the canonical expression decides, so no held-out example can slip in anywhere."""

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
    state = np.zeros(len(text), dtype=np.uint64)
    for column in text.T:
        state = np.where(column > 0, state * np.uint64(_PRIME) + column.astype(np.uint64) + np.uint64(1), state)
    return _finish(state)


def _finish(state: np.ndarray) -> np.ndarray:
    """Mixes the rolling hash's bits (the SplitMix64 finaliser, Steele et al. 2014) before taking its residue."""
    with np.errstate(over="ignore"):
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (state ^ (state >> np.uint64(31))) % np.uint64(HELD_OUT_SHARE) == 0
