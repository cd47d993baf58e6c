"""Earlier systems as variants: numbers read by regression of sign and log magnitude, plans executed in sign / log space.

    hidden      trunk over the tokens                                                        (B, T, H)
    values      block -> MLP: sign = tanh, log = ln |value| of D + 1 numbers                 (B, T, D + 1) each
    plan        block -> attention to the value block -> norm -> MLP -> softmax              (B, T, D, ...)
    execution   D steps; each reads two slots, mixes the five operations, keeps the result   (B, T)

`StackModel` (the predictor that was pretrained alone, July 2025): the D + 1 values are a stack, each step pops two and pushes
f(second, top); identity keeps the top. There is no choice of operands, so only plans can be said in which every step takes the result
of the step before it. A result that stands left is put right: r - c is (-c) + r, r / c is (1/c) * r, and the value read is -c or 1/c.
A plan that combines two results cannot be said; such an example is skipped in the loss. Values that a shorter plan leaves over at the
bottom of the stack have no target.

`PointerModel` (the per-token form): an append-only list of slots; a step sees those before it. The first form had one slot to begin with,
the token's own number, and so could not combine two numbers of a text. Here the list begins with D + 1 numbers, S = 2 D + 1, and every plan
can be said.

What differs from the originals, and why. The loss looks at the answer token, not at the mean over all positions and padding. Log
magnitudes are not squeezed by 10 |tanh|, which could not say a number below 1, results not by 10 tanh(x / 10), which made 12 * 12
= 99. Operations have no temperature, which kept the likeliest below one. Masked slots are left out before the softmax, not after it.
What cannot be mended is the reading: a number is right only if its regressed logarithm is.

For an answer every decision is taken for sure and numbers are rounded to whole ones or, below 1, to 1 / whole: mixtures are never
exact. In the forward pass all is soft.
"""

from dataclasses import dataclass, field

import torch
import torch.nn as nn
import torch.nn.functional as F

from nanochat.dag.answer_plan import AnswerPlan, answer_plans
from nanochat.dag.executor import ADD, DIVIDE, IDENTITY, MULTIPLY, OPERATIONS, SUBTRACT
from nanochat.dag.means import mean_where
from nanochat.dag.numbers import NumberTable
from nanochat.dag.planner import norm
from nanochat.dag.predictor import PlanLabels, TowerConfig
from nanochat.dag.token_trunk import Attention, Block, TokenTrunk, parameter_kinds, reset_parameters

SMALLEST = 1e-4  # magnitude that stands for 0
OPERANDS = ("operand1", "operand2")
CANCELLED = 1e-13  # share of the larger operand below which a sum counts as 0: float64 holds no more


@dataclass
class Magnitudes:
    """What was predicted at every token: sign in [-1, 1] and natural log of the magnitude of the D + 1 numbers (B, T, D + 1); probabilities
    of the operations (B, T, D, 5) and, of the pointer form, of both operands (B, T, D, S), 0 for slots not yet filled; the result's
    sign and log (B, T) float64."""

    sign: torch.Tensor
    log: torch.Tensor
    operation_probs: torch.Tensor
    operand1_probs: torch.Tensor | None
    operand2_probs: torch.Tensor | None
    final_sign: torch.Tensor
    final_log: torch.Tensor


@dataclass
class Targets:
    """What is to be predicted at the answer token: value (B, D + 1) float64 where has_value; operation (B, D); operands (B, D) as slots,
    -1 where there is none, empty for the stack; known (B,): the form can say the plan."""

    value: torch.Tensor
    has_value: torch.Tensor
    operation: torch.Tensor
    known: torch.Tensor
    operands: tuple[torch.Tensor, ...] = field(default=())


# ---------------------------------------------------------------------------------------------------------------------
# Sign / log arithmetic


def to_log(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sign and natural log of the magnitude; 0 has sign 0 and the log of SMALLEST."""
    return value.sign(), value.abs().clamp(min=SMALLEST).log()


def results(x, y) -> tuple[torch.Tensor, torch.Tensor]:
    """Sign and log of x + y, x - y, x * y, x / y, in the order of OPERATIONS, stacked last. x, y: pairs (sign, log)."""
    (s, a), (t, b) = x, y
    sums = [_sum(s, a, t, b), _sum(s, a, -t, b)]
    signs, logs = zip(*sums, (s * t, a + b), (s * t, a - b), strict=True)
    return torch.stack(signs, dim=-1), torch.stack(logs, dim=-1)


def _sum(s, a, t, b):
    """s e^a + t e^b = e^m (s e^(a - m) + t e^(b - m)) with m = max(a, b)."""
    m = torch.maximum(a, b)
    total = s * (a - m).exp() + t * (b - m).exp()
    cancelled = total.abs() < CANCELLED
    size = torch.where(cancelled, CANCELLED, total.abs())
    return torch.where(cancelled, 0.0, total / size), m + size.log()


def mix(probability, x, y, kept):
    """Sign and log of the mixture of all operations on x and y, identity giving `kept`. probability (..., 5)."""
    return tuple((probability * torch.cat([r, k[..., None]], dim=-1)).sum(-1) for r, k in zip(results(x, y), kept, strict=True))


def whole(sign: torch.Tensor, log: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sign and log of the nearest whole number or, below 1, of 1 / the nearest whole number; of 0 near SMALLEST."""
    size = log.exp()
    near = torch.where(size >= 1, size.round(), 1 / size.reciprocal().clamp(1, 1 / SMALLEST).round())
    return to_log(torch.where(size < 2 * SMALLEST, 0.0, sign.sign() * near))


# ---------------------------------------------------------------------------------------------------------------------
# The models


def _mlp(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width, bias=False), nn.SiLU(), nn.Linear(width, out))


class MagnitudeModel(nn.Module):
    """What both forms share. A form says how wide its plan is, what its targets are, and how it is executed."""

    per_step = len(OPERATIONS)

    def __init__(self, config: TowerConfig, tokenizer):
        super().__init__()
        self.config, self.table = config, NumberTable(tokenizer)
        d = config.width
        self.trunk, self.value_block, self.structure_block = TokenTrunk(config), Block(config), Block(config)
        self.attention = Attention(d, config.heads)
        self.value_head, self.plan_head = _mlp(d, 2 * (config.steps + 1)), _mlp(d, config.steps * self.per_step)
        reset_parameters(self)

    def parameter_kinds(self) -> dict[str, str]:
        """See token_trunk.parameter_kinds."""
        return parameter_kinds(self, ("value_head.2", "plan_head.2"))

    def forward(self, idx) -> Magnitudes:
        """idx (B, T). A token is read with those before it only."""
        hidden = self.trunk(idx)
        values, structure = self.value_block(hidden), self.structure_block(hidden)
        sign, log = self.value_head(norm(values)).float().chunk(2, dim=-1)
        plan = self.plan_head(norm(structure + self.attention(structure, values))).float()
        probabilities = self.probabilities(plan.unflatten(-1, (self.config.steps, -1)))
        sign = sign.tanh()
        return Magnitudes(sign, log, *probabilities, *self.execute(sign.double(), log.double(), *probabilities))

    @torch.no_grad()
    def answers(self, idx, lengths) -> list[float]:
        """The value planned at the last token of each row. idx (B, T) right-padded, lengths (B,)."""
        output, rows = self(idx), torch.arange(len(idx), device=idx.device)
        sign, log, *probabilities = (
            None if x is None else x[rows, lengths - 1]
            for x in (output.sign, output.log, output.operation_probs, output.operand1_probs, output.operand2_probs)
        )
        sure = (None if p is None else F.one_hot(p.argmax(-1), p.shape[-1]).double() for p in probabilities)
        sign, log = self.execute(*whole(sign.double(), log.double()), *sure)
        return torch.where(sign == 0, 0.0, sign * log.exp()).tolist()

    def counts(self, idx, labels: PlanLabels, lengths) -> dict[str, torch.Tensor]:
        """Over how many values, operations and operands the parts of the loss are means."""
        target = self.targets(answer_plans(idx, labels, lengths, self.table, self.config.bos_id))
        known = target.known[:, None].expand_as(target.operation)
        operands = zip(OPERANDS, target.operands, strict=False)
        return {"values": target.has_value.sum(), "operations": known.sum()} | {n: (known & (slot >= 0)).sum() for n, slot in operands}

    def loss(self, idx, labels: PlanLabels, lengths, weights=None) -> tuple[torch.Tensor, dict]:
        """Squared errors of sign and log magnitude, and -log p of operations and operands, at the answer token, all with weight 1."""
        target = self.targets(answer_plans(idx, labels, lengths, self.table, self.config.bos_id))
        output, rows = self(idx), torch.arange(len(idx), device=idx.device)
        here = (rows, lengths - 1)
        sign, log = (x.float() for x in to_log(target.value))
        sign_loss = mean_where((output.sign[here] - sign).square(), target.has_value, weights, "values")
        log_loss = mean_where((output.log[here] - log).square(), target.has_value, weights, "values")
        known = target.known[:, None].expand_as(target.operation)
        operation_loss, operation_match = _choice(output.operation_probs[here], target.operation, known, weights, "operations")
        metrics = {"sign_loss": sign_loss, "log_loss": log_loss, "operation_loss": operation_loss, "operation_match": operation_match}
        total = sign_loss + log_loss + operation_loss
        for name, slot in zip(OPERANDS, target.operands, strict=False):
            loss, metrics[f"{name}_match"] = _choice(getattr(output, f"{name}_probs")[here], slot, known & (slot >= 0), weights, name)
            total = total + loss
        return total, {"said": target.known.float().mean(), **{k: v.detach() for k, v in metrics.items()}}


class StackModel(MagnitudeModel):
    """D + 1 values and D operations, popped from the end."""

    def probabilities(self, logits):
        """Of the operations (B, T, D, 5); there are no operands to choose."""
        return logits.softmax(-1), None, None

    def execute(self, sign, log, operation, *_):
        """Sign and log of the result; sign and log (..., D + 1), operation (..., D, 5)."""
        top = (sign[..., -1], log[..., -1])
        for s in range(self.config.steps):
            second = (sign[..., -2 - s], log[..., -2 - s])
            top = mix(operation[..., s, :], second, top, kept=top)
        return top

    def targets(self, plan: AnswerPlan) -> Targets:
        """The values from the end of the stack, in the order in which a plan takes them."""
        steps, leaves = self.config.steps, self.config.steps + 1
        value = plan.leaf.new_zeros(len(plan.leaf), leaves)
        has_value, operation, known = torch.zeros_like(plan.has_leaf), plan.operation.clone(), plan.known.clone()
        for s in range(steps):
            one, two, o = plan.operand1[:, s], plan.operand2[:, s], plan.operation[:, s]
            active = o != IDENTITY
            first, second = (plan.leaf.gather(1, i.clamp(0, steps)[:, None])[:, 0] for i in (one, two))
            if s == 0:
                value[:, -1], has_value[:, -1] = torch.where(active, second, first), True
                known &= (one < leaves) & (two < leaves)
                turned = torch.zeros_like(active)
            else:
                before = leaves + s - 1
                turned = active & (one == before)
                known &= ~active | (turned & (two < leaves)) | ((two == before) & (one < leaves))
            inverse = torch.where(o == SUBTRACT, -second, torch.where(o == DIVIDE, 1 / torch.where(second == 0, 1.0, second), second))
            value[:, -2 - s], has_value[:, -2 - s] = torch.where(turned, inverse, first), active
            instead = torch.where(o == SUBTRACT, ADD, torch.where(o == DIVIDE, MULTIPLY, o))
            operation[:, s] = torch.where(turned, instead, o)
        return Targets(value, has_value & known[:, None], operation, known)


class PointerModel(MagnitudeModel):
    """D + 1 values and D steps of two pointers and an operation over the S = 2 D + 1 slots."""

    def __init__(self, config: TowerConfig, tokenizer):
        self.slots = 2 * config.steps + 1
        self.per_step = 2 * self.slots + len(OPERATIONS)
        super().__init__(config, tokenizer)

    def probabilities(self, logits):
        """Of operations (B, T, D, 5) and both operands (B, T, D, S): step s sees the slots 0 .. D + s."""
        steps, at = self.config.steps, torch.arange(self.slots, device=logits.device)
        hidden = at > steps + torch.arange(steps, device=logits.device)[:, None]
        first, second, operation = logits.split((self.slots, self.slots, len(OPERATIONS)), dim=-1)
        return operation.softmax(-1), *(x.masked_fill(hidden, -torch.inf).softmax(-1) for x in (first, second))

    def execute(self, sign, log, operation, operand1, operand2):
        """Sign and log of the last slot; sign and log (..., D + 1), operation (..., D, 5), operands (..., D, S)."""
        for s in range(self.config.steps):
            n = self.config.steps + 1 + s
            x, y = (((p[..., s, :n] * sign).sum(-1), (p[..., s, :n] * log).sum(-1)) for p in (operand1, operand2))
            new = mix(operation[..., s, :], x, y, kept=x)
            sign, log = (torch.cat([slots, value[..., None]], dim=-1) for slots, value in zip((sign, log), new, strict=True))
        return sign[..., -1], log[..., -1]

    def targets(self, plan: AnswerPlan) -> Targets:
        """The plan as it is: its leaves are the first slots."""
        return Targets(plan.leaf, plan.has_leaf, plan.operation, plan.known, (plan.operand1, plan.operand2))


def _choice(probability, target, where, weights, part):
    """Mean -log p of the target where it counts, and how often it is the likeliest. probability (..., n), the rest (...)."""
    p = probability.gather(-1, target.clamp(min=0)[..., None]).squeeze(-1)
    return mean_where(-p.clamp(min=1e-30).log(), where, weights, part), mean_where((probability.argmax(-1) == target).float(), where)
