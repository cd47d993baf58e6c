"""What the planner is trained with: cross-entropy on the plan, never a gradient through arithmetic.

The targets of operands are sets, because the result is the same: every visible slot with the labelled one's value counts, and for
add and multiply both orders do. With p2(j | i) the second pointer after the first has chosen i,

    loss = -log [p1(i) p2(j | i) + p1(j) p2(i | j)]        each p summed over the slots of equal value

Most tokens of a text do nothing. Their mean and the mean of those that do something count alike, or else the few decisions that matter
would hardly be heard among the many that say "nothing here".
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from nanochat.dag.executor import IDENTITY, NO_STEP
from nanochat.dag.means import mean_where
from nanochat.dag.planner import gather
from nanochat.dag.predictor import TowerOutput
from nanochat.dag.words import Words


@dataclass
class Operands:
    """The labelled operands of N * D steps, (B, N * D) each, of the N tokens that were asked: nll in nats of both together; which are
    labelled; which are chosen right."""

    nll: torch.Tensor
    has1: torch.Tensor
    has2: torch.Tensor
    right1: torch.Tensor
    right2: torch.Tensor


def structure_loss(output: TowerOutput, either_order: bool = True, weights: dict[str, torch.Tensor] | None = None):
    """Mean cross-entropy of the labelled decisions and how often the choices were right.

    `either_order` False makes the labelled order of add and multiply the only right one for the loss (the figures count either). `weights`:
    of the parts that `structure_counts` names.
    Returns (loss, {"operation_loss", "operand_loss", "operation_match", "operand_match"}); zero where nothing is labelled.
    """
    operation, plan = output.labels[0], output.plan
    known, idle = labelled(output.labels, output.present)
    operation_nll = F.cross_entropy(plan.operation_logits.flatten(0, 2), operation.clamp(min=0).flatten(), reduction="none").view_as(
        operation
    )
    operands = _operands(output, known, either_order)
    operation_loss = mean_where(operation_nll, known & ~idle, weights, "operations") + mean_where(operation_nll, idle, weights, "idle")
    operand_loss = mean_where(operands.nll, operands.has1 | operands.has2, weights, "operands")
    right = plan.operation_logits.argmax(-1) == operation
    metrics = {
        "operation_loss": operation_loss.detach(),
        "operand_loss": operand_loss.detach(),
        "operation_match": mean_where(right.float(), known),
        "operand_match": (mean_where(operands.right1.float(), operands.has1) + mean_where(operands.right2.float(), operands.has2)) / 2,
    }
    return operation_loss + operand_loss, metrics


def structure_counts(words: Words) -> dict[str, torch.Tensor]:
    """Over how many decisions each part of the structure loss is a mean, scalars: those that do something, that do nothing, and those
    with a labelled operand."""
    operation, slot1, slot2 = words.labels
    known, idle = labelled(words.labels, words.a_present)
    has1, has2 = _labelled_operands(operation, slot1, slot2, known)
    return {"operations": (known & ~idle).sum(), "idle": idle.sum(), "operands": (has1 | has2).sum()}


def labelled(labels, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, A, D) each: the decisions with a label, and those of them that say that their token does nothing. `labels`: operation and slots
    of both operands, (B, A, D) each; present (B, A)."""
    operation, slot1, _ = labels
    known = (operation != NO_STEP) & present[..., None]
    idle = known & (operation == IDENTITY) & (slot1 < 0)
    idle[..., 1:] = False  # "done" after an operation is part of it
    return known, idle


def whole_plans(output: TowerOutput) -> torch.Tensor:
    """(B,) bool: with earlier decisions as labelled, every operation is chosen right and so are the values of its operands."""
    operation, (known, _) = output.labels[0], labelled(output.labels, output.present)
    operands = _operands(output, known, either_order=True)
    right = ((output.plan.operation_logits.argmax(-1) == operation) | ~known).flatten(1)
    return (right & (operands.right1 | ~operands.has1) & (operands.right2 | ~operands.has2)).all(1)


def _labelled_operands(operation, slot1, slot2, known):
    return known & (slot1 >= 0), known & (operation != IDENTITY) & (slot2 >= 0)


def _operands(output: TowerOutput, known, either_order: bool) -> Operands:
    plan = output.plan
    operation, slot1, slot2, known = (plan.of_busy(x).flatten(1) for x in (*output.labels, known))
    logits1, logits2 = plan.operand1_logits.flatten(1, 2), plan.operand2_logits.flatten(1, 2)
    has1, has2 = _labelled_operands(operation, slot1, slot2, known)
    nll1, right1 = _pointer_nll(logits1, slot1, plan.slot_values)
    nll2, right2 = _pointer_nll(logits2, slot2, plan.slot_values)
    nll = torch.where(has1, nll1, 0.0) + torch.where(has2, nll2, 0.0)
    other = plan.other_order
    if other is None:
        return Operands(nll, has1, has2, right1, right2)
    step, logits1 = other.step, gather(logits1, other.step)
    other_nll1, other_right1 = _pointer_nll(logits1, gather(slot2, step), plan.slot_values)
    other_nll2, other_right2 = _pointer_nll(other.operand2_logits, gather(slot1, step), plan.slot_values)
    value1, value2 = (plan.slot_values.gather(1, gather(s, step).clamp(min=0)) for s in (slot1, slot2))
    counts = other.real & gather(has1 & has2, step) & (value1 != value2)  # equal values: both orders are the same pairs
    if either_order:  # -log(exp(-a) + exp(-b)) = a - log(1 + exp(a - b))
        gain = F.softplus(gather(nll, step) - other_nll1 - other_nll2)
        nll = nll.scatter_add(1, step, torch.where(counts, -gain, 0.0))
    swapped = counts & other_right1 & ~gather(right1, step)
    right1 = right1.scatter(1, step, swapped | gather(right1, step))
    right2 = right2.scatter(1, step, torch.where(swapped, other_right2, gather(right2, step)))
    return Operands(nll, has1, has2, right1, right2)


def _pointer_nll(logits, slot, values):
    """-log of the probability of all slots with the labelled slot's value; whether the likeliest is one of them. (B, N) each."""
    target = values.gather(1, slot.clamp(min=0))
    equal = values[:, None] == target[..., None]
    equal = equal.scatter(-1, slot.clamp(min=0)[..., None], True) & logits.isfinite()
    log_p = logits.log_softmax(-1)
    peak = torch.where(equal, log_p, -1e9).amax(-1, keepdim=True).detach()
    # Not a logsumexp of masked numbers: exp() is several times slower where it underflows, and that is nearly everywhere.
    nll = -(torch.where(equal, log_p - peak, 0.0).exp() * equal).sum(-1).clamp(min=1e-30).log() - peak.squeeze(-1)
    return nll, equal.gather(-1, logits.argmax(-1, keepdim=True)).squeeze(-1)
