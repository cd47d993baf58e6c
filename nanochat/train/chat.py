"""Training on packed conversations: what midtraining and fine-tuning share.

Targets are -1 where nothing is trained. A model with a branch also gets the plans of the conversations in each row.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from nanochat import common
from nanochat.common import UserError, all_reduce_sum, derive_seed
from nanochat.config import at_least, option
from nanochat.data.conversations import Rendered, render
from nanochat.data.loader import ConversationBatch, ConversationLoader
from nanochat.pipeline.manifest import advice
from nanochat.pipeline.stage import Input
from tasks.common import Mixture, check_shares, parse_share, present, task_files

PLANS_AT = ("unlabelled", "everywhere")
SAMPLE = 200  # items whose length stands for that of all


@dataclass
class ChatOptions:
    """Mixed into the configuration of a stage that trains on conversations."""

    mixture: list = option(
        ["embedded_chat", "facts", "identity", "word_problems"],
        "tasks to train on, each `name`, `name:limit`, `name*repeat` or `name:limit*repeat`",
    )
    arithmetic: int = option(20_000, "generated expressions among the conversations", "examples")
    operations: int = option(6, "most operations in a generated expression", "operations")
    styles: list = option(
        ["symbols", "english", "latex", "prefix", "numerals", "let"],
        "how generated expressions are written: symbols, english, latex, prefix, numerals, let, problems",
    )
    plans: int = option(
        1, "plans of the tower that the loss weighs where a number of unknown plan follows; 1: the plan learns only from labels"
    )
    plans_at: str = option("unlabelled", "where it weighs several: unlabelled, where no plan is known, or everywhere", choices=PLANS_AT)
    arithmetic_as: str = option(
        "answer",
        "how generated expressions are answered: with the number, or by a call of the calculator (only without the tower)",
        choices=("answer", "tool"),
    )
    eval_passes: int = option(16, "batches of unseen conversations per evaluation and process; 0 measures no val_loss")


def check_chat(config) -> None:
    """UserError for ChatOptions that cannot work."""
    from nanochat.dag.expressions import check_styles

    check_styles(config.styles)
    check_shares(config.mixture, "train")
    at_least(config, 0, "arithmetic", "eval_passes")
    at_least(config, 1, "operations", "plans")


def check_tool(config, has_tower: bool) -> None:
    """UserError if the calculator is to be called by a model that calculates by itself."""
    if has_tower and config.arithmetic_as == "tool":
        raise UserError(
            "--arithmetic_as=tool is for a model without the tower, which needs no calculator; make one with "
            "`python -m scripts.mid_train --dag_depth=0 --arithmetic_as=tool --tag=tool`"
        )


def task_inputs(config) -> list[Input]:
    """The files of the mixture's tasks, for a stage's inputs."""
    folder = common.data_dir(config.data_dir)
    return [Input(path, advice(path, config.data_dir, config.profile)) for path in task_files(config.mixture, folder, "train")]


def training_mixture(config) -> Mixture:
    """The conversations to train on."""
    return Mixture(config.mixture, common.data_dir(config.data_dir), "train", config.seed)


def expressions(config, tokenizer) -> Sequence:
    """Generated arithmetic with its plans, from the side of the split that may be trained on; other ones for each stage's seed."""
    if config.arithmetic <= 0:
        return []
    from nanochat.dag.arithmetic import ArithmeticTexts
    from nanochat.dag.expressions import ExpressionSettings

    settings = ExpressionSettings(operations=(1, config.operations), styles=tuple(config.styles))
    return ArithmeticTexts(tokenizer, settings, config.arithmetic, config.seed, config.arithmetic_as)


def unseen_mixture(config) -> Mixture | None:
    """The same tasks' validation conversations, as far as they have any; None if none does."""
    folder = common.data_dir(config.data_dir)
    names = list(dict.fromkeys(parse_share(text).name for text in config.mixture))
    names = [name for name in names if present(name, folder, "val")]
    return Mixture([f"{name}:1000" for name in names], folder, "val", config.seed) if names else None


def mean_length(items: Sequence, tokenizer, longest: int) -> float:
    """Tokens of an item (a conversation or a Rendered) on average, cropped to `longest`, from a sample."""
    if not len(items):
        return 0.0
    chosen = {derive_seed(i, "sample of items") % len(items) for i in range(SAMPLE)}
    lengths = [len(item if isinstance(item, Rendered) else render(tokenizer, item)) for item in map(items.__getitem__, sorted(chosen))]
    return sum(min(n, longest) for n in lengths) / len(lengths)


class Joined(Sequence):
    """Several sequences of items as one, in order; a loader shuffles them."""

    def __init__(self, parts: Iterable[Sequence]):
        self.parts = [part for part in parts if len(part)]
        self.ends = list(itertools.accumulate(len(part) for part in self.parts))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index: int):
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        at = next(i for i, end in enumerate(self.ends) if index < end)
        return self.parts[at][index - (self.ends[at - 1] if at else 0)]


def make_loader(items: Sequence, config, run, tokenizer, length: int, name: str, train_on: str = "assistant") -> ConversationLoader:
    """Packed rows of `items` for this process, in an order of their own by `name`."""
    compute, seed = run.compute, derive_seed(config.seed, name)
    return ConversationLoader(items, tokenizer, config.device_batch, length, seed, compute.rank, compute.world, compute.device, train_on)


def set_plans(model, config) -> None:
    """Tells the branch, if there is one, at how many plans its loss looks, and where."""
    if model.branch is not None:
        model.branch.config.plans, model.branch.config.plans_at = config.plans, config.plans_at


def observer_of(model):
    """A DAGLogger for a model with a branch, else None: the `logger` of conversation_loss and the `observer` of fit."""
    if model.branch is None:
        return None
    from nanochat.dag.logger import DAGLogger

    return DAGLogger(model)


def conversation_loss(model, batch: ConversationBatch, logger=None, weights=None) -> tuple[torch.Tensor, dict]:
    """Loss of a batch, and what the branch measured on the way; `logger`: a DAGLogger that may look at it; `weights`: of its parts."""
    plan, weight = _labels(model, batch), 1.0
    if weights is not None:
        plan, weight = None if plan is None else replace(plan, weights=weights), weights["targets"]
    output = model(batch.inputs, batch.targets, plan=plan, weight=weight)
    if logger is not None and logger.watching:
        logger.see(output.side, batch.inputs)
    return output.loss, (output.side or {}).get("metrics", {})


def conversation_counts(model, batch: ConversationBatch) -> dict[str, torch.Tensor]:
    """Over how much the parts of `conversation_loss` are means. The batch keeps its labels."""
    batch.labels = _labels(model, batch)
    return trained_targets(batch) | ({} if batch.labels is None else model.branch.counts(batch.inputs, batch.labels))


def _labels(model, batch: ConversationBatch):
    if batch.labels is not None or model.branch is None:
        return batch.labels
    return model.branch.labels(batch.documents, batch.inputs)


def trained_targets(batch) -> dict[str, torch.Tensor]:
    """Over how many targets the loss of a batch with `targets` is the mean."""
    return {"targets": (batch.targets >= 0).sum()}


@torch.no_grad()
def validation_loss(model, batches: Iterable[ConversationBatch], passes: int) -> float:
    """Mean nats per trained token over `passes` batches of every process. UserError if not one token was trained."""
    nats = count = 0.0
    for batch in itertools.islice(batches, passes):
        nats += model(batch.inputs, batch.targets, reduction="none").loss.cpu().double().sum().item()
        count += (batch.targets >= 0).sum().item()
    nats, count = all_reduce_sum([nats, count])
    if not count:
        raise UserError("the validation conversations hold no token to predict; use more of them or longer rows")
    return nats / count


class UnseenLoss:
    """Measures `val_loss` on the validation conversations of a mixture: always the same batches."""

    def __init__(self, config, run, tokenizer, length: int):
        items = unseen_mixture(config) if config.eval_passes > 0 else None
        self.passes = config.eval_passes
        self.make = None if items is None else lambda: make_loader(items, config, run, tokenizer, length, "validation")

    def __call__(self, model) -> dict[str, float]:
        """{"val_loss": nats per trained token}, or nothing if there are no validation conversations."""
        return {} if self.make is None else {"val_loss": validation_loss(model, self.make(), self.passes)}
