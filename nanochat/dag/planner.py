"""The plan head: at each token that may plan, D operations and for each two pointers into the values known there.

Probabilities have the shapes of the first description of this model: operand1, operand2 (B, T, D, S), operation (B, T, D, 5); only
the A <= T tokens that may plan are computed.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn as nn
import torch.nn.functional as F

from nanochat.dag.executor import ADD, CONSTANTS, IDENTITY, MULTIPLY, NO_STEP, OPERATIONS
from nanochat.dag.mentions import Mentions


@dataclass
class Slots:
    """The values a plan may point to, S of them: constants, numbers, results. Positions are word numbers.

    key (B, S', d) of numbers and results, `rotated` to their words' positions; name (B, S', d) of them (mentions.py); word (B, S') the
    word each stands at; step (B, S') -1 for a number, else the step of a result; document (B, S'); present (B, S').
    """

    key: torch.Tensor
    name: torch.Tensor
    word: torch.Tensor
    step: torch.Tensor
    document: torch.Tensor
    present: torch.Tensor


@dataclass
class OtherOrder:
    """The labelled steps whose operation commutes, C of them in a row: step (B, C) their indices among the A * D; real (B, C), padded;
    operand2_logits (B, C, S) of the second pointer if the first had chosen the labelled second operand."""

    step: torch.Tensor
    real: torch.Tensor
    operand2_logits: torch.Tensor


@dataclass
class Plan:
    """What the planner decided at A tokens: logits, choices (indices into the S slots), who may be pointed to, and the values.

    operation_logits (B, A, D, 5); operand1_logits, operand2_logits (B, A, D, S), -inf where not visible; operation, operand1,
    operand2 (B, A, D) the choices executed; result (B, A) float64, NaN where there is none; slot_values (B, S) float64; other_order
    None without labels.

    `busy` None, or (B, N) the only ones of the A tokens that were asked for operands: then operand1_logits and operand2_logits are
    (B, N, D, S) and tell of those, and no other has a result.
    """

    operation_logits: torch.Tensor
    operand1_logits: torch.Tensor
    operand2_logits: torch.Tensor
    operation: torch.Tensor
    operand1: torch.Tensor
    operand2: torch.Tensor
    result: torch.Tensor = None
    slot_values: torch.Tensor = None
    other_order: OtherOrder | None = None
    busy: torch.Tensor | None = None

    def of_busy(self, x: torch.Tensor) -> torch.Tensor:
        """Of x (B, A, ...) the tokens that the operands' logits tell of: (B, N, ...)."""
        return x if self.busy is None else gather(x.flatten(2), self.busy).view(*self.busy.shape, *x.shape[2:])

    def spread(self, busy: torch.Tensor, operation: torch.Tensor, operation_logits: torch.Tensor) -> "Plan":
        """This plan of N tokens as one of all A, of which it tells `busy` (B, N): operation (B, A, D), operation_logits (B, A, D, 5)."""
        index = busy[..., None].expand(*busy.shape, operation.shape[-1])
        one, two = (torch.zeros_like(operation).scatter(1, index, x) for x in (self.operand1, self.operand2))
        return replace(self, operation_logits=operation_logits, operation=operation, operand1=one, operand2=two, busy=busy)


def gather(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """x[b, index[b, i]] for x (B, N) or (B, N, d)."""
    return x.gather(1, index) if x.dim() == 2 else x.gather(1, index[..., None].expand(*index.shape, x.shape[-1]))


def pick(flag: torch.Tensor):
    """Positions (B, N) of the flagged entries of each row in order, padded, and which of them are real (B, N)."""
    n = max(int(flag.sum(1).max()), 1)
    order = torch.argsort((~flag).to(torch.uint8), dim=1, stable=True)[:, :n]
    return order, flag.gather(1, order)


def norm(x: torch.Tensor) -> torch.Tensor:
    """RMSNorm without weights over the last dimension."""
    return F.rms_norm(x, (x.shape[-1],))


class Rotary(nn.Module):
    """Rotary positions (Su et al. 2021, eq. 34) for vectors of `width`, base 1000: texts here are short."""

    def __init__(self, width: int, base: float = 1000.0):
        super().__init__()
        self.register_buffer("frequency", base ** (-torch.arange(0, width, 2).double() / width), persistent=False)
        self.register_buffer("table", torch.empty(2, 0, width // 2), persistent=False)

    def forward(self, x: torch.Tensor, position: torch.Tensor, back: bool = False) -> torch.Tensor:
        """x (B, ..., N, width) turned by `position` (B, N), or turned back by it."""
        cos, sin = self._angles(int(position.max()) + 1)[:, position]
        while cos.dim() < x.dim():
            cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos + b * sin, b * cos - a * sin] if back else [a * cos - b * sin, a * sin + b * cos], dim=-1)

    def _angles(self, positions: int) -> torch.Tensor:
        """(2, P, width / 2) cosines and sines, grown by doubling."""
        if self.table.shape[1] < positions:
            angle = torch.arange(max(256, 2 * positions), device=self.frequency.device)[:, None] * self.frequency
            self.table = torch.stack([angle.cos(), angle.sin()]).float()
        return self.table


class Planner(nn.Module):
    """D steps at each planning token: the operations from the token's hidden state, then two pointers per step.

    Deciding all operations first keeps the forward pass parallel over tokens: which results exist is then known before
    anything points to them. The pointers are recurrent over the steps, and the second is told the first.
    """

    def __init__(self, config):
        super().__init__()
        d, self.steps, self.mode = config.width, config.steps, config.mode
        self.operation = nn.Linear(d, self.steps * len(OPERATIONS), bias=False)
        self.operation_embedding = nn.Embedding(len(OPERATIONS), d)
        self.step_embedding = nn.Embedding(self.steps, d)
        self.number_key, self.result_key = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.result_step = nn.Embedding(self.steps, d)
        self.constant_key = nn.Embedding(len(CONSTANTS), d)
        self.query1, self.query2 = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.first_choice = nn.Linear(d, d, bias=False)
        self.update = nn.Sequential(nn.Linear(2 * d, d, bias=False), nn.SiLU(), nn.Linear(d, d, bias=False))
        self.rotary = Rotary(d)
        self.mentions = Mentions(d, 1 + 2 * self.steps)

    def choose_operations(self, hidden, given=None):
        """Logits (B, A, D, 5), the operations (B, A, D) to carry out, and which steps are `active`: before the first identity."""
        logits = self.operation(hidden).unflatten(-1, (self.steps, len(OPERATIONS))).float()
        operation = logits.argmax(-1)
        if given is not None:
            operation = torch.where(given == NO_STEP, torch.where((given[..., :1] == NO_STEP), operation, IDENTITY), given)
        active = (operation != IDENTITY).long().cumprod(-1).bool()
        return logits, torch.where(active, operation, IDENTITY), active

    def number_keys(self, hidden, word):
        """Keys (B, N, d) of numbers whose last digit's hidden state is `hidden` (B, N, d)."""
        return self.rotary(self.number_key(hidden), word)

    def result_keys(self, hidden, word):
        """Keys (B, A, D, d) of the results of D steps at A tokens: from the hidden state alone, so training stays parallel."""
        key = self.result_key(hidden)[:, :, None] + self.result_step.weight
        return self.rotary(key.transpose(1, 2), word).transpose(1, 2)

    def forward(self, hidden, asked, word, document, logits, operation, slots: Slots, given=None) -> Plan:
        """Chooses operands at A tokens: hidden (B, A, d), names asked for (B, A, 2 D, d), their word numbers and documents (B, A),
        operations (B, A, D).

        `given`: slots of operand 1 and 2 (B, A, D), -1 where the planner shall choose.
        """
        earlier = self.earlier(slots, word, document)
        own = (slots.word[:, None] == word[..., None]) & slots.present[:, None]  # (B, A, S')
        state, out = norm(hidden), ([], [], [], [], [])
        keys = self.all_keys(slots)
        for s in range(self.steps):
            reach = own & ((slots.step >= 0) & (slots.step < s))[:, None]
            visible = earlier | F.pad(reach, (len(CONSTANTS), 0))  # (B, A, S)
            x = self.question(state, s, operation[:, :, s])
            logits1 = self.point(self.query1(x), asked[:, :, 2 * s], word, keys, slots.name, visible)
            choice1 = logits1.argmax(-1) if given is None else torch.where(given[0][..., s] >= 0, given[0][..., s], logits1.argmax(-1))
            key1 = self.seen_from(word, keys, choice1)
            query2 = self.query2(x) + self.first_choice(key1)
            logits2 = self.point(query2, asked[:, :, 2 * s + 1], word, keys, slots.name, visible)
            choice2 = logits2.argmax(-1) if given is None else torch.where(given[1][..., s] >= 0, given[1][..., s], logits2.argmax(-1))
            state = state + self.update(torch.cat([x, key1 + self.seen_from(word, keys, choice2)], dim=-1))
            for kept, new in zip(out, (logits1, logits2, choice1, choice2, x), strict=True):
                kept.append(new)
        logits1, logits2, choice1, choice2, x = (torch.stack(x, dim=2) for x in out)
        plan = Plan(logits, logits1, logits2, operation, choice1, choice2)
        if given is not None:
            plan.other_order = self._other_order(plan, x, asked, word, keys, slots.name, given)
        return plan

    def all_keys(self, slots: Slots):
        """Keys (B, S, d) of constants, numbers and results."""
        return torch.cat([self.constant_key.weight.expand(len(slots.key), -1, -1), slots.key], dim=1)

    def earlier(self, slots: Slots, word, document):
        """(B, A, S) bool: the constants, and the values that were there before each token and may be used by it."""
        there = slots.present if self.mode == "tape" else slots.present & (slots.step < 0)
        before = (slots.word[:, None] < word[..., None]) & there[:, None] & (slots.document[:, None] == document[..., None])
        return F.pad(before, (len(CONSTANTS), 0), value=True)

    def question(self, state, s: int, operation):
        """What step `s` asks its pointers with: state (..., d), its operation (...) -> (..., d)."""
        return norm(state + self.step_embedding.weight[s] + self.operation_embedding(operation))

    def _other_order(self, plan: Plan, x, asked, word, keys, names, given) -> OtherOrder:
        """The second pointer of labelled commuting steps, told the labelled second operand. The state of later steps is the same for
        both orders, since `update` adds the two keys. x (B, A, D, d): what the pointers of each step ask with."""
        commutes = (plan.operation == ADD) | (plan.operation == MULTIPLY)
        step, real = pick((commutes & (given[0] >= 0) & (given[1] >= 0)).flatten(1))
        word = gather(word, step // self.steps)
        first = self.seen_from(word, keys, gather(given[1].flatten(1), step).clamp(min=0))
        visible = gather(plan.operand1_logits.flatten(1, 2), step).isfinite()
        query = self.query2(gather(x.flatten(1, 2), step)) + self.first_choice(first)
        asked = gather(asked[:, :, 1::2].flatten(1, 2), step)
        return OtherOrder(step, real, self.point(query, asked, word, keys, names, visible))

    def seen_from(self, word, keys, choice):
        """Keys (B, A, d) of the chosen slots, turned back by the query's position, so that only relative positions remain."""
        key = gather(keys, choice)
        return torch.where((choice < len(CONSTANTS))[..., None], key, self.rotary(key, word, back=True))

    def point(self, query, asked, word, keys, names, visible):
        """Logits (B, A, S): constants are compared with the query (B, A, d) as it is, values with the query turned to its position, and
        their names (B, S', d) with the one asked for (B, A, d)."""
        n, scale = len(CONSTANTS), 1 / math.sqrt(query.shape[-1])
        plain = query @ keys[:, :n].transpose(1, 2) * scale
        placed = self.rotary(query, word) @ keys[:, n:].transpose(1, 2) * scale + self.mentions.compare(asked, names)
        return torch.cat([plain, placed], dim=-1).float().masked_fill(~visible, -math.inf)
