"""What the planner is trained with: cross-entropy on the plan, never a gradient through arithmetic."""

import torch
import torch.nn.functional as F

from nanochat.dag.executor import IDENTITY, NO_STEP
from nanochat.dag.predictor import TowerOutput


def structure_loss(output: TowerOutput):
    """Mean cross-entropy of the labelled decisions and how often the choices were right.

    Operands are set-valued: every visible slot whose value equals the labelled one's counts as right, since the result is the same.
    Returns (loss, {"operation_loss", "operand_loss", "operation_match", "operand_match"}); zero where nothing is labelled.
    """
    operation, slot1, slot2 = output.labels
    plan, present = output.plan, output.present[..., None]
    known = (operation != NO_STEP) & present
    operation_nll = F.cross_entropy(plan.operation_logits.flatten(0, 2), operation.clamp(min=0).flatten(), reduction="none").view_as(
        operation
    )
    computes = known & (operation != IDENTITY)
    nll1, right1 = _pointer_nll(plan.operand1_logits, slot1, plan.slot_values)
    nll2, right2 = _pointer_nll(plan.operand2_logits, slot2, plan.slot_values)
    has1, has2 = known & (slot1 >= 0), computes & (slot2 >= 0)
    operation_loss = _mean(operation_nll, known)
    operand_loss = _mean(nll1, has1) + _mean(nll2, has2)
    right = plan.operation_logits.argmax(-1) == operation
    metrics = {
        "operation_loss": operation_loss.detach(),
        "operand_loss": operand_loss.detach(),
        "operation_match": _mean(right.float(), known),
        "operand_match": (_mean(right1.float(), has1) + _mean(right2.float(), has2)) / 2,
    }
    return operation_loss + operand_loss, metrics


def _pointer_nll(logits, slot, values):
    """-log of the probability of all slots with the labelled slot's value; whether the likeliest is one of them. (B, A, D) each."""
    target = values.gather(1, slot.clamp(min=0).flatten(1)).view_as(slot)
    equal = values[:, None, None] == target[..., None]
    equal = equal.scatter(-1, slot.clamp(min=0)[..., None], True) & logits.isfinite()
    log_p = logits.log_softmax(-1)
    nll = -torch.where(equal, log_p, -1e9).logsumexp(-1)
    return nll, equal.gather(-1, logits.argmax(-1, keepdim=True)).squeeze(-1)


def _mean(x, where):
    return torch.where(where, x, 0.0).sum() / where.sum().clamp(min=1)
