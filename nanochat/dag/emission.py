"""From an exact value to the tokens that print it, and from there into the next-token distribution.

    p(token) = (1 - g) * p_model(token) + g * [token is the next one of the number]

A pointer-generator mixture (See et al. 2017, eq. 9) whose copied token comes from the printed result. The gate g is taken where
the number begins; after that a latch keeps it while the emitted tokens agree with the number, until its last digit.
"""

import torch

from nanochat.dag.numbers import DECIMALS, LARGEST, PRINTED_DECIMALS

LONGEST = 20  # tokens of a printed number: sign, 16 digits, point and room for the end


class NumberPrinter(torch.nn.Module):
    """Token ids of printed numbers, the tensor form of `numbers.format_value` (equal by test)."""

    def __init__(self, tokenizer):
        super().__init__()
        self.register_buffer("digit", torch.tensor([tokenizer.encode(c)[0] for c in "0123456789"]), persistent=False)
        self.minus, self.point = tokenizer.encode("-")[0], tokenizer.encode(".")[0]
        self.register_buffer("power", 10 ** torch.arange(19), persistent=False)
        self.register_buffer("choices", torch.tensor(DECIMALS), persistent=False)

    def forward(self, value: torch.Tensor, decimals: torch.Tensor | None = None) -> torch.Tensor:
        """value (...) float64 to token ids (..., LONGEST), -1 after the end; all -1 where the value cannot be printed. decimals (...):
        rounded to so many, at most PRINTED_DECIMALS, which None stands for."""
        valid = value.isfinite() & (value.abs() < LARGEST)
        size = torch.where(valid, value.abs(), 0.0)
        scaled_by = torch.full_like(size, PRINTED_DECIMALS, dtype=torch.long)
        if decimals is not None:
            scaled_by = decimals.expand_as(size)
        for most in range(PRINTED_DECIMALS, 0, -1):
            scaled_by = torch.where((scaled_by == most) & (size * 10.0**most >= LARGEST), most - 1, scaled_by)
        scaled = torch.round(size * self.power[scaled_by].double()).long()
        decimals = scaled_by
        for _ in range(PRINTED_DECIMALS):  # drop trailing zeros
            zero = (decimals > 0) & (scaled % 10 == 0)
            scaled, decimals = torch.where(zero, scaled // 10, scaled), decimals - zero.long()
        length = torch.maximum((scaled[..., None] >= self.power[1:17]).sum(-1) + 1, decimals + 1)
        negative = (value < 0) & (scaled > 0)
        place = torch.arange(LONGEST, device=value.device) - negative[..., None].long()  # -1 at the sign
        whole = (length - decimals)[..., None]
        after_point = (place > whole) & (decimals > 0)[..., None]
        from_left = place - after_point.long()
        exponent = (length[..., None] - 1 - from_left).clamp(0, 18)
        tokens = self.digit[scaled[..., None] // self.power[exponent] % 10]
        tokens = torch.where((place == whole) & (decimals > 0)[..., None], self.point, tokens)
        tokens = torch.where(place < 0, self.minus, tokens)
        ended = place >= (length + (decimals > 0))[..., None]
        return torch.where(ended | ~valid[..., None], -1, tokens)


def latch(idx: torch.Tensor, speaks: torch.Tensor, stream: torch.Tensor):
    """Follows printed numbers through a whole sequence.

    idx (B, T) tokens; speaks (B, T) where a number may begin after this token; stream (B, T, LONGEST) what would be printed there.
    Returns source (B, T), the token where the number that is being printed began (-1: none), and following (B, T), the token the
    number continues with (-1: none, or the text has left the number).
    """
    at = torch.arange(idx.shape[1], device=idx.device).expand_as(idx)
    source = torch.where(speaks, at, -1).cummax(1).values
    offset = at - source
    from_source = stream.gather(1, source.clamp(min=0)[..., None].expand_as(stream))
    said = from_source.gather(2, (offset - 1).clamp(0, LONGEST - 1)[..., None]).squeeze(-1)
    wrong = ((offset > 0) & (idx != said)).long().cumsum(1)
    agrees = wrong == wrong.gather(1, source.clamp(min=0))
    following = from_source.gather(2, offset.clamp(0, LONGEST - 1)[..., None]).squeeze(-1)
    inside = (source >= 0) & agrees & (offset < LONGEST)
    return source, torch.where(inside, following, -1)


def mixture_nll(nll: torch.Tensor, targets: torch.Tensor, following: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """-log of the mixture at the targets, from the model's own nll (B, T): no tensor of vocabulary size is needed.

    following (B, T): the copied token, -1 for none; gate (B, T) in [0, 1).
    """
    gate = torch.where(following >= 0, gate, 0.0)
    copied = torch.where(following == targets, gate, 0.0)
    model = torch.log1p(-gate.clamp(max=1 - 1e-6)) - nll
    return torch.where(gate > 0, -torch.logaddexp(model, copied.clamp(min=1e-30).log()), nll)


def mixture_logits(logits: torch.Tensor, following: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """Log-probabilities (B, T, V) of the mixture; the logits themselves where nothing is copied."""
    use = (following >= 0) & (gate > 0)
    log_p = logits.log_softmax(-1)
    gate = gate.clamp(max=1 - 1e-6)[..., None]
    copy = torch.full_like(logits, -torch.inf).scatter(-1, following.clamp(min=0)[..., None], gate.clamp(min=1e-30).log())
    return torch.where(use[..., None], torch.logaddexp(log_p + torch.log1p(-gate), copy), logits)
