"""The K most probable plans of a token, each carried out exactly.

A plan is chosen decision by decision: operation, first operand, second operand, and so on until an identity or the last step; its
probability is the product of theirs. A beam keeps the K best beginnings after every decision, so with K large enough it finds all
plans. In tape mode the results of earlier tokens are those of their best plans.
"""

from dataclasses import dataclass

import torch

from nanochat.dag.executor import IDENTITY, apply
from nanochat.dag.planner import gather, norm

NEVER = -1e9  # log-probability of what cannot be chosen: finite, so that gradients stay so


@dataclass
class Alternatives:
    """K plans at each of C tokens, best first.

    log_p (B, C, K), at most NEVER where there are fewer plans; operation, operand1, operand2 (B, C, K, D), IDENTITY and slot 0 after
    the end of a plan; step_values (B, C, K, D) and value (B, C, K) float64, NaN where there is none. Only log_p has a gradient.
    """

    log_p: torch.Tensor
    operation: torch.Tensor
    operand1: torch.Tensor
    operand2: torch.Tensor
    step_values: torch.Tensor
    value: torch.Tensor

    def merged(self) -> torch.Tensor:
        """(B, C, K) log-probability of each value: that of all plans which come to it, at the first of them; NEVER at the others."""
        a, b = self.value[..., None], self.value[..., None, :]
        same = (a == b) | (a.isnan() & b.isnan())  # (B, C, K, K)
        first = same.long().argmax(-1) == torch.arange(same.shape[-1], device=a.device)
        together = torch.where(same, self.log_p[..., None, :], NEVER).logsumexp(-1)
        return torch.where(first & (self.log_p > NEVER), together, NEVER)

    def likeliest_value(self) -> torch.Tensor:
        """(B, C) float64: the value that most probability comes to."""
        return self.value.gather(-1, self.merged().argmax(-1, keepdim=True)).squeeze(-1)


def best_plans(tower, output, at: torch.Tensor, k: int) -> Alternatives:
    """The `k` best plans of the planning tokens `at` (B, C), indices among the A of `output` (a TowerOutput of `tower`)."""
    beam = _Beam(tower, output, at, k)
    for s in range(tower.config.steps):
        beam.choose_operation(s)
        x, visible = beam.question(s), beam.visible(s)
        beam.choose_operand(beam.first, tower.planner.query1(x), visible, beam.takes(s) | beam.computes(s), s)
        x = beam.question(s)
        told = tower.planner.query2(x) + tower.planner.first_choice(beam.key(beam.first[..., s]))
        beam.choose_operand(beam.second, told, visible, beam.computes(s), s)
        beam.carry_out(s)
    return beam.done()


class _Beam:
    """H <= K beginnings of plans at each of C tokens: (B, C, H) tensors, all reordered together after each decision."""

    def __init__(self, tower, output, at, k):
        self.planner, self.k, self.depth = tower.planner, k, tower.config.steps
        self.word, self.document = gather(output.word, at), gather(output.document, at)
        logits = gather(output.plan.operation_logits.flatten(2), at).unflatten(-1, (self.depth, -1))
        self.log_operation, self.values = logits.log_softmax(-1), output.plan.slot_values
        self.keys, self.slots = self.planner.all_keys(output.slots), output.slots
        self.asked = gather(output.asked.flatten(2), at).view(*at.shape, *output.asked.shape[2:])
        self.own = self.values.shape[1] - output.hidden.shape[1] * self.depth + at * self.depth  # (B, C): slot of the own first step
        one = (*at.shape, 1)
        self.log_p = torch.zeros(one, device=at.device)
        self.state = norm(gather(output.hidden, at))[:, :, None]  # (B, C, H, d)
        self.operation = torch.full((*one, self.depth), IDENTITY, device=at.device)
        self.first, self.second = torch.zeros_like(self.operation), torch.zeros_like(self.operation)
        self.step_values = torch.full(self.operation.shape, torch.nan, dtype=torch.float64, device=at.device)

    def computes(self, s: int):
        """(B, C, H) bool: step s is an operation on two operands."""
        return (self.operation[..., : s + 1] != IDENTITY).all(-1)

    def takes(self, s: int):
        """(B, C, H) bool: the plan is one identity: it takes a value as it is."""
        return (self.operation[..., 0] == IDENTITY) if s == 0 else torch.zeros_like(self.log_p, dtype=torch.bool)

    def choose_operation(self, s: int) -> None:
        going_on = self.computes(s - 1) if s else torch.ones_like(self.log_p, dtype=torch.bool)
        ended = torch.full_like(self.log_operation[:, :, :1], NEVER)
        ended[..., IDENTITY] = 0.0
        choice = self._keep(torch.where(going_on[..., None], self.log_operation[:, :, None, s], ended))
        self.operation = _with(self.operation, s, choice)

    def choose_operand(self, chosen, query, visible, asks, s: int) -> None:
        """The operand `chosen` (self.first or self.second) of step s where `asks`. query (B, C, H, d), visible (B, C, S)."""
        width, first = query.shape[2], chosen is self.first
        seen, asked = (x.repeat_interleave(width, dim=1) for x in (visible, self.asked[:, :, 2 * s + (not first)]))
        logits = self.planner.point(query.flatten(1, 2), asked, self._words(width), self.keys, self.slots.name, seen)
        logits = logits.unflatten(1, query.shape[1:3])
        log_p = logits.log_softmax(-1).clamp(min=NEVER)
        nothing = torch.full_like(log_p[:, :, :1], NEVER)
        nothing[..., 0] = 0.0
        choice = self._keep(torch.where(asks[..., None], log_p, nothing))
        if first:
            self.first = _with(self.first, s, choice)
        else:
            self.second = _with(self.second, s, choice)

    def question(self, s: int):
        """(B, C, H, d): what step s asks its pointers with."""
        return self.planner.question(self.state, s, self.operation[..., s])

    def visible(self, s: int):
        """(B, C, S) bool: what a step s may point to if all steps before it compute."""
        slot = torch.arange(self.values.shape[1], device=self.own.device)
        own = (slot >= self.own[..., None]) & (slot < self.own[..., None] + s)
        return self.planner.earlier(self.slots, self.word, self.document) | own

    def key(self, choice):
        """(B, C, H, d): keys of the chosen slots (B, C, H), as seen from the token."""
        return self.planner.seen_from(self._words(choice.shape[2]), self.keys, choice.flatten(1)).unflatten(1, choice.shape[1:])

    @torch.no_grad()
    def _value(self, choice):
        """(B, C, H) float64 values of chosen slots; own steps have values of their own in each plan."""
        step = choice - self.own[..., None]
        inside = (step >= 0) & (step < self.depth)
        own = self.step_values.gather(-1, step.clamp(0, self.depth - 1)[..., None]).squeeze(-1)
        return torch.where(inside, own, self.values.gather(1, choice.flatten(1)).view_as(choice))

    def carry_out(self, s: int) -> None:
        """Computes step s and moves the state on."""
        first, second, operation = (x[..., s] for x in (self.first, self.second, self.operation))
        value = apply(operation.flatten(), self._value(first).flatten(), self._value(second).flatten()).view_as(self.log_p)
        self.step_values = _with(self.step_values, s, torch.where(self.computes(s) | self.takes(s), value, torch.nan))
        self.state = self.state + self.planner.update(torch.cat([self.question(s), self.key(first) + self.key(second)], dim=-1))

    def _words(self, width: int):
        return self.word.repeat_interleave(width, dim=1)

    def _keep(self, options):
        """Extends each beginning by its `options` (B, C, H, N) log-probabilities and keeps the best K; the options taken (B, C, H)."""
        scores, n = (self.log_p[..., None] + options).flatten(2), options.shape[-1]
        self.log_p, index = scores.topk(min(self.k, scores.shape[-1]), dim=-1)
        parent = index // n
        for name in ("operation", "first", "second", "step_values", "state"):
            x = getattr(self, name)
            setattr(self, name, x.gather(2, parent[..., None].expand(*parent.shape, x.shape[-1])))
        return index % n

    def done(self) -> Alternatives:
        """All K, padded where there are fewer."""
        last = ((self.operation != IDENTITY).long().sum(-1) - 1).clamp(min=0)
        value = self.step_values.gather(-1, last[..., None]).squeeze(-1)
        fields = (self.log_p, self.operation, self.first, self.second, self.step_values, value)
        fills = (2 * NEVER, IDENTITY, 0, 0, torch.nan, torch.nan)
        return Alternatives(*(_padded(x, self.k, fill) for x, fill in zip(fields, fills, strict=True)))


def _with(x, s: int, value):
    """x (..., D) with x[..., s] = value."""
    x = x.clone()
    x[..., s] = value
    return x


def _padded(x, k: int, fill):
    missing = k - x.shape[2]
    return x if not missing else torch.cat([x, x.new_full((*x.shape[:2], missing, *x.shape[3:]), fill)], dim=2)
