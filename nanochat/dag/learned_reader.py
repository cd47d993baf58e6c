"""Numbers read by a network instead of the lexer: an ablation, to show what reading by learning costs.

Where a number begins and ends stays with `numbers.read_numbers`. Its value is put together from digits that a small transformer over its
tokens predicts, one of ten for each place from 10^8 down to 10^-4, and a sign, each with cross-entropy against the exact reading.
No gradient of the plan reaches it, nor does the value carry one. It works in the tower alone; decoding with a cache reads exactly.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

from nanochat.dag.words import Words

WHOLE, DECIMALS = 9, 4  # places before and after the point
WINDOW = 16  # tokens of a number, its last ones if it has more


def readable(exact: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of the numbers `present` (B, N) the places can hold, by their `exact` values (B, N); their sizes in units of the last place."""
    scaled = torch.where(exact.isfinite(), exact.abs(), torch.inf) * 10.0**DECIMALS
    return present & (scaled < 10.0 ** (WHOLE + DECIMALS)), scaled


class LearnedReader(nn.Module):
    """Predicts sign and digits of the numbers that end at given tokens."""

    def __init__(self, vocab_size: int, width: int = 32):
        super().__init__()
        self.embedding, self.from_end = nn.Embedding(vocab_size, width), nn.Embedding(WINDOW, width)
        layers = [nn.TransformerEncoderLayer(width, 2, 4 * width, 0.0, batch_first=True, norm_first=True) for _ in range(2)]
        self.layers = nn.ModuleList(layers)
        self.digits = nn.Linear(WINDOW * width, (WHOLE + DECIMALS) * 10)
        self.sign = nn.Linear(WINDOW * width, 1)
        powers = 10.0 ** torch.arange(WHOLE + DECIMALS - 1, -1, -1, dtype=torch.float64)
        self.register_buffer("power", powers, persistent=False)

    def forward(self, idx: torch.Tensor, begin: torch.Tensor, end: torch.Tensor):
        """Values (B, N) float64, and logits: digits (B, N, places, 10), minus (B, N).

        idx (B, T); begin, end (B, N) are the first and the last tokens of the numbers.
        """
        at = end[..., None] - torch.arange(WINDOW, device=idx.device)  # (B, N, WINDOW), backwards
        inside = (at >= begin[..., None]) & (at >= 0)
        tokens = idx.gather(1, at.clamp(min=0).flatten(1)).view_as(at)
        x = (self.embedding(tokens) + self.from_end.weight).flatten(0, 1)
        outside = ~inside.flatten(0, 1)
        outside[:, 0] = False  # padding has a token too: attention needs one
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=outside)
        x = x.masked_fill(outside[..., None], 0.0).flatten(1).view(*end.shape, -1)
        digits, minus = self.digits(x).unflatten(-1, (-1, 10)).float(), self.sign(x).squeeze(-1).float()
        size = (digits.argmax(-1) * self.power).sum(-1) / 10.0**DECIMALS
        return torch.where(minus > 0, -size, size).detach(), digits, minus

    def loss(self, exact: torch.Tensor, present: torch.Tensor, digits: torch.Tensor, minus: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of a decision, over the numbers that can be read."""
        fits, scaled = readable(exact, present)
        whole = torch.where(fits, scaled, 0.0).round()
        gold = torch.div(whole[..., None], self.power, rounding_mode="floor").long() % 10  # (B, N, places)
        nll = F.cross_entropy(digits.flatten(0, 2), gold.flatten(), reduction="none").view_as(gold).sum(-1)
        nll = nll + F.binary_cross_entropy_with_logits(minus, (exact < 0).float(), reduction="none")
        return torch.where(fits, nll, 0.0).sum() / fits.sum().clamp(min=1) / (WHOLE + DECIMALS + 1)


def reading_counts(reader: LearnedReader | None, words: Words) -> dict[str, torch.Tensor]:
    """Over how many numbers the loss of a reader is a mean, under the name of that part; empty for the exact one."""
    return {} if reader is None else {"read": readable(words.values, words.n_present)[0].sum()}
