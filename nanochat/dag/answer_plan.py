"""The whole plan of an example as seen from its answer token: which values it computes with, and every step with its operands.

The tower's labels say this token by token. The variants (variants.py) plan everything at the answer, so they learn from this form,
which comes from the same labels (of isolated mode) and therefore from the same stream of examples.
"""

from dataclasses import dataclass

import torch

from nanochat.dag.executor import CONSTANTS, IDENTITY, NO_REFERENCE, NO_STEP, execute
from nanochat.dag.numbers import NumberTable, documents_of, read_numbers
from nanochat.dag.planner import gather
from nanochat.dag.predictor import PlanLabels


@dataclass
class AnswerPlan:
    """Plans of B examples, D steps each, over L = D + 1 leaves: the values that the plan computes with, each once, in the order in
    which they stand in the text, then constants.

    leaf (B, L) float64; leaf_at (B, L) token of the number's last digit, -1 for constants; has_leaf (B, L); operation (B, D), identity
    once everything is done; operand1, operand2 (B, D): a leaf's index, or L + s for the result of step s, -1 for none. An identity
    takes the last result, so that step D - 1 always gives the answer. result (B,) float64: the answer. known (B,): there is a plan.
    """

    leaf: torch.Tensor
    leaf_at: torch.Tensor
    has_leaf: torch.Tensor
    operation: torch.Tensor
    operand1: torch.Tensor
    operand2: torch.Tensor
    result: torch.Tensor
    known: torch.Tensor


@torch.no_grad()
def answer_plans(idx: torch.Tensor, labels: PlanLabels, lengths: torch.Tensor, table: NumberTable, bos: int) -> AnswerPlan:
    """The plans at the last token of each row. idx (B, T) right-padded, lengths (B,)."""
    answer = (lengths - 1)[:, None]
    operation, *reference = (gather(x.flatten(2), answer)[:, 0] for x in (labels.operation, labels.operand1, labels.operand2))
    reference = torch.stack(reference, dim=1)  # (B, 2, D)
    steps, width = operation.shape[1], idx.shape[1]
    active = ((operation != IDENTITY) & (operation != NO_STEP)).long().cumprod(1).bool()

    used = (reference > NO_REFERENCE // 2) & torch.stack([active | (torch.arange(steps, device=idx.device) == 0), active], dim=1)
    token, part = reference.div(steps + 1, rounding_mode="floor"), reference.remainder(steps + 1)
    own = used & (reference >= 0) & (part > 0)
    is_leaf = used & ~own
    key = torch.where(is_leaf, torch.where(reference < 0, width - 1 - reference, token), width + len(CONSTANTS))
    leaf_key, enough = _distinct(key.flatten(1), steps + 1, width + len(CONSTANTS))
    has_leaf = leaf_key < width + len(CONSTANTS)
    operand = torch.where(own, steps + part, torch.where(is_leaf, (key[..., None] == leaf_key[:, None, None]).long().argmax(-1), -1))

    value = read_numbers(idx, table, documents_of(idx, bos)).value
    every = torch.cat([value, value.new_tensor((*CONSTANTS, 0.0)).expand(len(idx), -1)], dim=1)
    leaf = every.gather(1, leaf_key)
    step = torch.arange(steps, device=idx.device)
    operand1 = torch.where(active | (step == 0), operand[:, 0], steps + step)  # an identity takes the result before it: L + s - 1
    operand2 = torch.where(active, operand[:, 1], -1)
    operation = torch.where(active, operation, IDENTITY)
    result = execute(operation, operand1.clamp(min=0), operand2.clamp(min=0), leaf)[:, -1]
    elsewhere = (own & (token != answer[:, None])).flatten(1).any(1)  # what another token computed
    known = enough & ~elsewhere & used[:, 0, 0] & result.isfinite()
    leaf_at = torch.where(has_leaf & (leaf_key < width), leaf_key, -1)
    return AnswerPlan(leaf, leaf_at, has_leaf & known[:, None], operation, operand1, operand2, result, known)


def _distinct(key: torch.Tensor, most: int, none: int):
    """The distinct entries of each row of key (B, N) in rising order, (B, most) filled up with `none`; whether `most` were enough (B,)."""
    ordered = key.sort(dim=1).values
    first = torch.cat([torch.ones_like(ordered[:, :1], dtype=torch.bool), ordered[:, 1:] != ordered[:, :-1]], dim=1) & (ordered < none)
    place = torch.where(first, first.long().cumsum(1) - 1, most).clamp(max=most)
    found = key.new_full((len(key), most + 1), none).scatter(1, place, torch.where(first, ordered, none))
    return found[:, :most], first.sum(1) <= most
