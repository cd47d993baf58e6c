"""Questions that ask for a rounded number, and what the head that chooses the decimals learns from.

A number is printed in one of the DECIMALS: all it has up to six (the default), or rounded to 0, 1, 2, 3 or 4, in each case without
trailing zeros. There is one rule, that of `numbers.format_value`: value * 10^decimals, half to even.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from nanochat.dag.emission import LONGEST, NumberPrinter
from nanochat.dag.executor import DIVIDE
from nanochat.dag.means import mean_where
from nanochat.dag.numbers import DECIMALS, DIGIT, DOT, PRINTED_DECIMALS
from nanochat.dag.planner import gather, pick
from nanochat.dag.surface import QUESTIONS, Wording, table
from nanochat.dag.trees import Trees, node_operation

LARGEST_ROUNDED = 1e5  # float64 has digits to spare behind the sixth decimal
AS_IT_IS = 0.2  # of the questions about numbers of many decimals do not ask for rounding
FRAMES = (
    ("What is {}", " rounded {}?"), ("How much is {}", ", rounded {}?"), ("Calculate {}", ", rounded {}."), ("Round {}", " {}."),
    ("Compute {}", " and round {}."), ("Work out {}", " {}."), ("Please round {}", " {}."), ("What is {}", " {}?"), ("{}", " rounded {}"),
)  # fmt: skip
NAMES = ("zero", "one", "two", "three", "four")


def _phrases(decimals: int) -> list[str]:
    if decimals == 0:
        return ["to the nearest whole number", "to the nearest integer", "to a whole number", "to 0 decimals"]
    nouns = ("decimal", "decimal place") if decimals == 1 else ("decimals", "decimal places")
    nearest = ("tenth", "hundredth", "thousandth")[decimals - 1 : decimals]
    return [f"to {n} {noun}" for n in (decimals, NAMES[decimals]) for noun in nouns] + [f"to the nearest {word}" for word in nearest]


class RoundingPieces:
    """Token ids of the questions, by number of decimals; asking without rounding stands for PRINTED_DECIMALS."""

    def __init__(self, tokenizer):
        encode, special = tokenizer.encode, tokenizer.special
        start, end = [special("<|bos|>"), special("<|user_start|>")], [special("<|user_end|>"), special("<|assistant_start|>")]
        asked = [(a, b.format(p), d) for d in DECIMALS if d != PRINTED_DECIMALS for p in _phrases(d) for a, b in FRAMES]
        halves = [(*q.replace("{}", "{}\0").split("\0"), PRINTED_DECIMALS) for q in QUESTIONS]
        self.decimals = np.array([d for *_, d in asked + halves])
        heads = [a.removesuffix("{}") for a, *_ in asked + halves]
        self.gap = np.array([head.endswith(" ") for head in heads])
        self.before = table([start + encode(head.rstrip(" ")) for head in heads])
        self.after = table([encode(b) + end for _, b, _ in asked + halves])

    def decimals_of(self, rng, n: int) -> np.ndarray:
        """To how many decimals n questions ask to round, (n,)."""
        classes = (*(d for d in DECIMALS if d != PRINTED_DECIMALS), PRINTED_DECIMALS)
        shares = [(1 - AS_IT_IS) / (len(classes) - 1)] * (len(classes) - 1) + [AS_IT_IS]
        return rng.choice(classes, size=n, p=shares)

    def wording(self, rng, decimals: np.ndarray) -> Wording:
        """Questions that ask for `decimals` (n,)."""
        order = np.argsort(self.decimals, kind="stable")
        first, last = (np.searchsorted(self.decimals[order], decimals, side) for side in ("left", "right"))
        chosen = order[(first + rng.random(len(decimals)) * (last - first)).astype(np.int64)]
        return Wording(self.before[chosen], self.gap[chosen], self.after[chosen])


def unfriendly_divisors(rng, trees: Trees, numbers: np.ndarray, decimals: np.ndarray) -> np.ndarray:
    """Makes the bare divisors of each expression such that most quotients do not end, in place; (n,) whether it has one."""
    n, k = trees.operation.shape
    kinds, done = node_operation(trees), np.zeros(n, dtype=bool)
    for j in range(k):
        r = np.flatnonzero((kinds[:, j] == DIVIDE) & (trees.right[:, j] <= k))
        numbers[r, trees.right[r, j]], decimals[r, trees.right[r, j]] = np.floor(3 * 33 ** rng.random(len(r))).astype(np.int64), 0
        done[r] = True
    return done


def is_rounded(values: np.ndarray, decimals: np.ndarray) -> np.ndarray:
    """(n,) bool: rounding to `decimals` (n,) changes what is printed, and no digit hangs on the last bit of float64. Where decimals is
    PRINTED_DECIMALS: the value has at least that many."""
    scaled = np.abs(values) * 10.0**decimals
    distance = np.abs(scaled - np.rint(scaled))
    as_it_is = np.rint(np.abs(values) * 10.0**PRINTED_DECIMALS)
    changes = as_it_is != np.rint(scaled) * 10.0 ** (PRINTED_DECIMALS - decimals)
    certain = (distance < 0.5 - 1e-4) & (np.abs(values) < LARGEST_ROUNDED)
    return certain & np.where(decimals == PRINTED_DECIMALS, distance > 1e-4, changes)


@dataclass
class Written:
    """Numbers as the text writes them, G of each row: at (B, G) the tokens before them; fits (B, G, C) which of DECIMALS print them so,
    none where the text has another number."""

    at: torch.Tensor
    fits: torch.Tensor

    def chosen(self, choice: torch.Tensor) -> torch.Tensor:
        """choice (B, T), indices into DECIMALS, with one that fits where any does."""
        known = torch.where(self.fits.any(-1), self.fits.long().argmax(-1), choice.gather(1, self.at))
        return choice.scatter(1, self.at, known)

    def parts(self) -> dict[str, torch.Tensor]:
        """(B, G) each: the numbers printed as they are, and those rounded."""
        known, as_it_is = self.fits.any(-1), self.fits[..., 0]
        return {"as_it_is": known & as_it_is, "rounded": known & ~as_it_is}

    def nll(self, logits: torch.Tensor, weights: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """-log of the probability of what fits: the mean over the numbers printed as they are plus that over the others, since only one in
        a few dozen is rounded. logits (B, T, C); `weights`: of `parts`."""
        log_p = gather(logits, self.at).log_softmax(-1)
        nll = -torch.where(self.fits, log_p, -1e9).logsumexp(-1)
        as_it_is, rounded = (mean_where(nll, where, weights, part) for part, where in self.parts().items())
        return as_it_is + rounded


def rounding_parts(decimals: torch.Tensor) -> dict[str, torch.Tensor]:
    """Where numbers are printed as they are, and where rounded. decimals (...): -1 unknown."""
    as_it_is = decimals == PRINTED_DECIMALS
    return {"as_it_is": as_it_is, "rounded": (decimals >= 0) & ~as_it_is}


def rounding_loss(logits: torch.Tensor, decimals: torch.Tensor, weights: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
    """-log of the probability of the labelled one of DECIMALS, logits (B, C), decimals (B,), -1 unknown: the mean over the numbers printed
    as they are plus that over the others. `weights`: of `rounding_parts`."""
    label = (decimals[:, None] == torch.tensor(DECIMALS, device=decimals.device)).long().argmax(-1)
    nll = F.cross_entropy(logits, label, reduction="none")
    as_it_is, rounded = (mean_where(nll, where, weights, part) for part, where in rounding_parts(decimals).items())
    return as_it_is + rounded


def written(idx: torch.Tensor, value: torch.Tensor, where: torch.Tensor, printer: NumberPrinter, kind: torch.Tensor) -> Written:
    """In how many decimals the text idx (B, T) writes `value` (B, T) after the tokens `where` (B, T): as it is if that agrees, else in
    any that do (3.02 rounded to one decimal is written as if to none)."""
    at, real = pick(where)
    streams = printer(value.gather(1, at)[..., None].expand(*at.shape, len(DECIMALS)), printer.choices)  # (B, G, C, L)
    position = at[..., None] + 1 + torch.arange(LONGEST + 2, device=at.device)
    text = idx.gather(1, position.clamp(max=idx.shape[1] - 1).flatten(1)).view_as(position)
    text = torch.where(position < idx.shape[1], text, -1)[:, :, None]
    length = (streams >= 0).sum(-1)
    agrees = ((streams == text[..., :LONGEST]) | (streams < 0)).all(-1) & (length > 0)
    next1, next2 = (text.expand(*length.shape, -1).gather(-1, (length + i)[..., None]).squeeze(-1) for i in (0, 1))
    digit1, digit2 = ((kind[x.clamp(min=0)] == DIGIT) & (x >= 0) for x in (next1, next2))
    goes_on = digit1 | ((next1 >= 0) & (kind[next1.clamp(min=0)] == DOT) & digit2)
    fits = agrees & ~goes_on & real[..., None]
    fits[..., 1:] &= ~fits[..., :1]
    return Written(at, fits)
