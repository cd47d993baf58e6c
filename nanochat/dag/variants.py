"""The systems that `dag_train` can train, by name: the tower, and the earlier ones it is to be compared with.

    tower     plans at every token with pointers to the numbers read, executed exactly                  (predictor.py)
    soft      vector nodes, soft operands and operations, the answer in digits; June 2025               (soft.py)
    stack     signs, log magnitudes and operations of a stack; July 2025                                (magnitude.py)
    pointer   signs and log magnitudes with pointers to a list of slots, the per-token form             (magnitude.py)

All take a TowerConfig and the tokenizer, and answer with `answers(idx, lengths)`. Only the tower plugs into a GPT.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from nanochat.common import UserError
from nanochat.dag.learned_reader import reading_counts
from nanochat.dag.logger import DAGLogger
from nanochat.dag.losses import structure_counts, structure_loss, whole_plans
from nanochat.dag.magnitude import PointerModel, StackModel
from nanochat.dag.means import weighed
from nanochat.dag.planner import gather
from nanochat.dag.predictor import PredictorOnlyModel, TowerOutput
from nanochat.dag.rounding import rounding_loss, rounding_parts
from nanochat.dag.soft import SoftModel

ROUNDING_WEIGHT = 0.5


@dataclass(frozen=True)
class Variant:
    """`model(config, tokenizer)` makes one; `modes`: the plan forms it learns, the usual one first; `loss(model, batch, logger, weights)`
    gives (loss, figures) for a batch (idx, labels, lengths), and `counts(model, batch)` over how much each part of the loss is a mean, by
    the names of `weights` (train/weighing.py); `plans_right(model, idx, labels, lengths)` (B,) bool: every decision is as labelled, None
    where that cannot be told; `logger(model)` looks closer at training, None where nothing does."""

    model: type
    modes: tuple[str, ...]
    loss: Callable
    counts: Callable
    plans_right: Callable | None = None
    logger: type | None = None


def tower_loss(model: PredictorOnlyModel, batch, logger: DAGLogger | None = None, weights=None) -> tuple[torch.Tensor, dict]:
    """Structure loss of a batch of PlanBatches, and how many of its decisions were right; `logger` may look at the pass."""
    idx, labels, lengths = batch
    output = model(idx, labels=labels, lengths=lengths)
    if logger is not None and logger.watching:
        logger.see(output, idx)
    loss, figures = structure_loss(output, weights=weights)
    if labels.decimals is not None:
        rounding = _rounding_loss(model.tower, output, labels.decimals, lengths, weights)
        loss, figures = loss + ROUNDING_WEIGHT * rounding, {**figures, "rounding_loss": rounding.detach()}
    if output.reading_loss is None:
        return loss, figures
    reading = weighed(output.reading_loss, weights, "read")
    return loss + reading, {**figures, "reading_loss": reading.detach()}


def tower_counts(model: PredictorOnlyModel, batch) -> dict[str, torch.Tensor]:
    """What `tower_loss` is a mean over. The labels keep the words that were read."""
    idx, labels, lengths = batch
    words = labels.words = model.tower.read(idx, labels, lengths)
    counts = structure_counts(words)
    if labels.decimals is not None:
        of_last = words.of_token.gather(1, (lengths - 1)[:, None]).squeeze(1)
        parts = rounding_parts(torch.where(of_last >= 0, labels.decimals, -1))
        counts |= {name: where.sum() for name, where in parts.items()}
    return counts | reading_counts(model.tower.reader, words)


def _rounding_loss(tower, output: TowerOutput, decimals: torch.Tensor, lengths: torch.Tensor, weights) -> torch.Tensor:
    """Of the numbers printed after each row's last token, where a token speaks for one."""
    of_last = output.of_token.gather(1, (lengths - 1)[:, None])  # (B, 1)
    hidden = gather(output.hidden, of_last.clamp(min=0)).squeeze(1)
    return rounding_loss(tower.rounding(hidden), torch.where(of_last.squeeze(1) >= 0, decimals, -1), weights)


def tower_plans_right(model: PredictorOnlyModel, idx, labels, lengths) -> torch.Tensor:
    """(B,) bool, see losses.whole_plans."""
    return whole_plans(model(idx, labels=labels, lengths=lengths))


def own_loss(model, batch, logger=None, weights=None) -> tuple[torch.Tensor, dict]:
    """The loss of a variant that knows it by itself."""
    return model.loss(*batch, weights)


def own_counts(model, batch) -> dict[str, torch.Tensor]:
    """What that is a mean over."""
    return model.counts(*batch)


VARIANTS = {
    "tower": Variant(PredictorOnlyModel, ("tape", "isolated"), tower_loss, tower_counts, tower_plans_right, DAGLogger),
    "soft": Variant(SoftModel, ("isolated",), own_loss, own_counts),
    "stack": Variant(StackModel, ("isolated",), own_loss, own_counts),
    "pointer": Variant(PointerModel, ("isolated",), own_loss, own_counts),
}


def variant_of(meta: dict) -> str:
    """The name of the variant in a checkpoint of dag_train."""
    return meta.get("variant", "tower")


def require_tower(meta: dict, purpose: str) -> None:
    """UserError if a checkpoint of dag_train is not a tower, and so not fit for `purpose`, which ends the sentence."""
    if variant_of(meta) != "tower":
        raise UserError(f"{meta['id']} is the variant '{variant_of(meta)}' of dag_train, and only the variant 'tower' can be {purpose}")
