"""The tower trained through arithmetic instead of by labels, for comparison: its pointers and operations mixed, so that the error of the
answer has a gradient.

    soft              each choice is a mixture with its probabilities
    straight_through  each choice is the likeliest, its gradient that of the mixture (Bengio et al. 2013)
    gumbel            the same for choices drawn at random (straight-through Gumbel-softmax, Jang et al. 2017, Maddison et al. 2017)

The loss is Huber's of asinh of the answer token's result; it knows answers only, no plan. Values are held as asinh(value), as in soft.py,
for the same reasons. The tower itself is untouched: its logits are mixed here, its state goes on from its likeliest choices, and for
an answer it executes those exactly, as ever. It must plan all at the answer (isolated mode).
"""

import torch
import torch.nn.functional as F

from nanochat.dag.answer_plan import answer_plans
from nanochat.dag.executor import IDENTITY
from nanochat.dag.learned_reader import reading_counts
from nanochat.dag.means import mean_where, weighed
from nanochat.dag.predictor import PredictorOnlyModel, TowerOutput
from nanochat.dag.soft import LARGEST, bound_gradient, operate


def _straight_through(logits):
    p = logits.softmax(-1)
    return F.one_hot(p.argmax(-1), p.shape[-1]) + p - p.detach()


RELAXATIONS = {
    "soft": lambda logits: logits.softmax(-1),
    "straight_through": _straight_through,
    "gumbel": lambda logits: F.gumbel_softmax(logits, hard=True),
}


def relaxed_result(output: TowerOutput, lengths: torch.Tensor, relax) -> torch.Tensor:
    """asinh of the mixed result (B,) float64 at each row's last token. `relax` makes weights (..., n) of logits (..., n).

    A plan ends before its first identity. With p_s the weight of that, value_s mixed from the four other operations and x_0 the first
    operand of step 0:  r_(-1) = x_0,  r_s = (1 - g_s) r_(s-1) + g_s value_s,  g_s = prod_(j <= s) (1 - p_j).
    """
    rows = torch.arange(len(lengths), device=lengths.device)
    anchor, plan = output.of_token[rows, lengths - 1].clamp(min=0), output.plan
    operation, *pointers = (x[rows, anchor].double() for x in (plan.operation_logits, plan.operand1_logits, plan.operand2_logits))
    steps = operation.shape[1]
    others = plan.slot_values.shape[1] - plan.operation.shape[1] * steps  # constants and numbers come before all results
    own = others + anchor[:, None] * steps + torch.arange(steps, device=rows.device)
    pointers = [torch.cat([p[..., :others], p.gather(2, own[:, None].expand(-1, steps, -1))], dim=-1) for p in pointers]
    values = plan.slot_values[:, :others].nan_to_num(0.0, 0.0, 0.0).asinh().clamp(-LARGEST, LARGEST)
    going_on = (1 - relax(operation)[..., IDENTITY]).cumprod(-1)  # (B, D)
    which, result = relax(operation[..., :IDENTITY]), None
    for s in range(steps):
        x, y = ((relax(p[:, s, : others + s]) * values).sum(-1) for p in pointers)
        value = bound_gradient((which[:, s] * operate(x, y)[..., :IDENTITY]).sum(-1, keepdim=True))
        result = torch.lerp(x if result is None else result, value[:, 0], going_on[:, s])
        values = torch.cat([values, value], dim=1)
    return result


def relaxed_counts(model: PredictorOnlyModel, batch) -> dict[str, torch.Tensor]:
    """What `relaxed_loss` is a mean over."""
    idx, labels, lengths = batch
    counts = {"answers": answer_plans(idx, labels, lengths, model.tower.table, model.config.bos_id).known.sum()}
    return counts | reading_counts(model.tower.reader, model.tower.read(idx, lengths=lengths))


def relaxed_loss(kind: str, model: PredictorOnlyModel, batch, logger=None, weights=None) -> tuple[torch.Tensor, dict]:
    """Huber's loss of asinh of the relaxed result (plus that of a learned reader), and how often the executed plan's result is right.
    `kind`: of RELAXATIONS."""
    idx, labels, lengths = batch
    output = model(idx, lengths=lengths)
    if logger is not None and logger.watching:
        logger.see(output, idx)
    gold = answer_plans(idx, labels, lengths, model.tower.table, model.config.bos_id)
    mixed = relaxed_result(output, lengths, RELAXATIONS[kind])
    error = F.huber_loss(mixed, torch.where(gold.known, gold.result, 0.0).asinh(), reduction="none")
    loss = mean_where(error, gold.known, weights, "answers").float()
    loss = loss + (0.0 if output.reading_loss is None else weighed(output.reading_loss, weights, "read"))
    rows = torch.arange(len(idx), device=idx.device)
    right = output.plan.result[rows, output.of_token[rows, lengths - 1].clamp(min=0)] == gold.result
    return loss, {"answer_right": mean_where(right.double(), gold.known).detach()}
