"""CORE: 22 tasks of the DCLM low-variance set, read from an `eval_bundle` folder (Li et al. 2024, arXiv:2406.11794).

    eval_bundle/core.yaml                    the tasks: label, file, kind, number of examples shown, delimiter
    eval_bundle/eval_meta_data.csv           accuracy of guessing ("Random baseline", in percent)
    eval_bundle/eval_data/<group>/<file>     one JSON object per line

Three kinds. multiple_choice: the same context, several continuations; the one with the lowest mean nats per token is the
answer. schema: several contexts, the same continuation; the lowest again. language_modeling: right if every token of the
continuation is the model's first guess. Per task: centered = (accuracy - baseline) / (1 - baseline); CORE is their mean.
A bundle without some of the files gives the mean over the others, and says so.
"""

import csv
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from nanochat.common import UserError, all_reduce_sum, rank, world_size
from nanochat.evaluate.batches import buckets, device_of, inference, pad_right

SHUFFLE_SEED, SHOTS_SEED = 1337, 1234  # those of the published results
KINDS = ("multiple_choice", "schema", "language_modeling")


@dataclass(frozen=True)
class CoreTask:
    """One entry of core.yaml."""

    label: str
    kind: str
    path: Path
    shots: int
    delimiter: str
    baseline: float  # accuracy of guessing, 0 to 1


@dataclass(frozen=True)
class Row:
    """One sequence to score: the nats of its tokens [start, end), each predicted from those before it."""

    ids: list[int]
    start: int
    end: int


@dataclass
class CoreResult:
    """`tasks`: label -> accuracy, centered, n. `missing`: labels without a file. `cropped`: rows longer than the context."""

    tasks: dict[str, dict[str, float]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    cropped: int = 0

    @property
    def core(self) -> float:
        """Mean of the centered accuracies of the tasks present."""
        return sum(task["centered"] for task in self.tasks.values()) / len(self.tasks)

    @property
    def coverage(self) -> str:
        """`22 tasks`, or `21 of 22 tasks, missing: coqa`."""
        total = len(self.tasks) + len(self.missing)
        return f"{len(self.tasks)} of {total} tasks, missing: {', '.join(self.missing)}" if self.missing else f"{total} tasks"


# ---------------------------------------------------------------------------------------------------------------------
# Reading the bundle


def read_bundle(folder: Path) -> list[CoreTask]:
    """The tasks of core.yaml; UserError naming the file if the bundle is incomplete or damaged."""
    import yaml

    folder = Path(folder)
    try:
        entries = yaml.safe_load((folder / "core.yaml").read_text(encoding="utf-8"))["icl_tasks"]
        with open(folder / "eval_meta_data.csv", encoding="utf-8", newline="") as f:
            baselines = {row["Eval Task"]: float(row["Random baseline"]) / 100 for row in csv.DictReader(f)}
        return [_core_task(folder, entry, baselines) for entry in entries]
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{folder} is not a complete CORE bundle ({type(error).__name__}: {error}); fetch it again") from None


def _core_task(folder: Path, entry: dict, baselines: dict[str, float]) -> CoreTask:
    if entry["icl_task_type"] not in KINDS:
        raise ValueError(f"{entry['label']} is of kind {entry['icl_task_type']}; legal kinds: {', '.join(KINDS)}")
    path = folder / "eval_data" / entry["dataset_uri"]
    shots, delimiter = entry["num_fewshot"][0], entry.get("continuation_delimiter", " ")
    return CoreTask(entry["label"], entry["icl_task_type"], path, shots, delimiter, baselines[entry["label"]])


def read_items(task: CoreTask) -> list[dict]:
    """The items of a task in the order of the published results; UserError naming file and line if one is damaged."""
    items = []
    with open(task.path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                items += [json.loads(line)] if line.strip() else []
            except ValueError as error:
                raise UserError(f"{task.path} line {number} is not JSON ({error}); fetch the bundle again") from None
    random.Random(SHUFFLE_SEED).shuffle(items)
    return items


# ---------------------------------------------------------------------------------------------------------------------
# Prompts


def prompts(task: CoreTask, item: dict, shown: Sequence[dict]) -> list[str]:
    """The texts to compare for one item, each after the `shown` solved examples; two texts, without and with the
    continuation, for language modelling."""
    head = "".join(_options(task, example)[_gold(task, example)] + "\n\n" for example in shown)
    options = [head + option for option in _options(task, item)]
    if task.kind != "language_modeling":
        return options
    # Blanks before the continuation would be cut off from its first word, so the prompt ends without them.
    return [(head + item["context"].strip() + task.delimiter).rstrip(), options[0]]


def _options(task: CoreTask, item: dict) -> list[str]:
    if task.kind == "multiple_choice":
        return [item["query"] + task.delimiter + choice for choice in item["choices"]]
    if task.kind == "schema":
        return [context + task.delimiter + item["continuation"] for context in item["context_options"]]
    return [item["context"].strip() + task.delimiter + item["continuation"]]


def _gold(task: CoreTask, item: dict) -> int:
    return 0 if task.kind == "language_modeling" else item["gold"]


def shown_examples(items: Sequence[dict], index: int, shots: int) -> list[dict]:
    """The solved examples in front of item `index`: drawn without replacement from all others, seeded by the index.

    From all, also when only some items are scored: as many can be shown however few are asked.
    """
    others = range(len(items) - 1)
    chosen = random.Random(SHOTS_SEED + index).sample(others, min(shots, len(others)))
    return [items[i + (i >= index)] for i in chosen]


def rows_of(task: CoreTask, texts: Sequence[str], encode: Callable[[str], list[int]], bos: int) -> list[Row]:
    """The sequences to score for one item, one per option; the scored span is what the options do not share
    (multiple choice: after the common start; schema: the common end; language modelling: the continuation)."""
    sequences = [[bos, *encode(text)] for text in texts]
    if task.kind == "language_modeling":
        return [_row(sequences[1], _shared(sequences))]
    if task.kind == "multiple_choice":
        start = _shared(sequences)
        return [_row(ids, start) for ids in sequences]
    tail = _shared([ids[::-1] for ids in sequences])
    return [_row(ids, len(ids) - tail) for ids in sequences]


def _row(ids: list[int], start: int) -> Row:
    """A row scored from `start` to its end: at least its last token, even where one option begins like another."""
    return Row(ids, max(1, min(start, len(ids) - 1)), len(ids))


def _shared(sequences: Sequence[Sequence[int]]) -> int:
    """Length of the common start of all sequences."""
    for i, column in enumerate(zip(*sequences, strict=False)):
        if len(set(column)) > 1:
            return i
    return min(len(ids) for ids in sequences)


def fit(row: Row, length: int) -> Row:
    """`row` in at most `length` tokens: what is cut away lies behind the first token, the furthest from the answer."""
    cut = len(row.ids) - length
    if cut <= 0:
        return row
    return Row([row.ids[0], *row.ids[cut + 1 :]], max(1, row.start - cut), row.end - cut)


# ---------------------------------------------------------------------------------------------------------------------
# Scoring


def score(model, rows: Sequence[Row], bos: int, budget: int, guesses: bool) -> list[float]:
    """For each row the mean nats of its span or, with `guesses`, 1.0 if every token of it is the model's first guess.

    Rows run in batches of similar lengths holding up to `budget` tokens; the result is the same as one at a time.
    """
    scores, device = [0.0] * len(rows), device_of(model)
    with inference(model):
        for batch in buckets([len(row.ids) for row in rows], budget):
            ids = pad_right([rows[i].ids for i in batch], bos, device)  # (B, T)
            spans = _spans([rows[i] for i in batch], ids.shape[1] - 1).to(device)  # (B, T-1), of the predicted tokens
            inputs, targets = ids[:, :-1], torch.where(spans, ids[:, 1:], -1)
            if guesses:
                wrong = (model(inputs).logits.argmax(-1) != targets) & spans  # (B, T-1)
                values = (~wrong.any(dim=1)).float()
            else:
                nll = model(inputs, targets, reduction="none").loss.cpu().double()  # (B, T-1), 0 outside the span
                values = nll.sum(dim=1) / spans.cpu().sum(dim=1)
            for i, value in zip(batch, values.tolist(), strict=True):
                scores[i] = value
    return scores


def _spans(rows: Sequence[Row], length: int) -> torch.Tensor:
    """(B, length) bool: position t - 1 predicts token t, for t in [start, end)."""
    at = torch.arange(length)
    starts = torch.tensor([row.start - 1 for row in rows])[:, None]
    ends = torch.tensor([row.end - 1 for row in rows])[:, None]
    return (at >= starts) & (at < ends)


def evaluate_task(model, tokenizer, task: CoreTask, limit: int, context: int, budget: int) -> tuple[dict[str, float], int]:
    """(accuracy, centered accuracy and n of one task, number of cropped rows). Processes take every world-th item."""
    items = read_items(task)
    count = min(limit, len(items)) if limit > 0 else len(items)
    mine = range(rank(), count, world_size())
    options = [_item_rows(tokenizer, task, items, index) for index in mine]  # one list of rows per item
    rows = [row for own in options for row in own]
    fitted = [fit(row, context) for row in rows]
    scores = iter(score(model, fitted, tokenizer.bos_id, budget, guesses=task.kind == "language_modeling"))
    right = sum(_right(task, items[index], [next(scores) for _ in own]) for index, own in zip(mine, options, strict=True))
    cropped = sum(a is not b for a, b in zip(rows, fitted, strict=True))
    right, n, cropped = all_reduce_sum([right, len(mine), cropped])
    return {"accuracy": right / n, "centered": (right / n - task.baseline) / (1 - task.baseline), "n": int(n)}, int(cropped)


def _item_rows(tokenizer, task: CoreTask, items: Sequence[dict], index: int) -> list[Row]:
    texts = prompts(task, items[index], shown_examples(items, index, task.shots))
    return rows_of(task, texts, tokenizer.encode, tokenizer.bos_id)


def _right(task: CoreTask, item: dict, scores: list[float]) -> bool:
    """Language modelling: every guess was right; else: the right option has the lowest score, the first of equals."""
    return scores[0] == 1.0 if task.kind == "language_modeling" else scores.index(min(scores)) == item["gold"]


def evaluate_core(
    model, tokenizer, bundle: Path, max_per_task: int = -1, context: int = 2048, budget: int = 16384, tell=None
) -> CoreResult:
    """CORE of a model. `max_per_task` limits the items of each task (<= 0: all); `context` is the most tokens of a row.

    `tell(label, values)` is called after each task.
    """
    result = CoreResult()
    for task in read_bundle(bundle):
        if not task.path.is_file():
            result.missing.append(task.label)
            continue
        result.tasks[task.label], cropped = evaluate_task(model, tokenizer, task, max_per_task, context, budget)
        result.cropped += cropped
        if tell:
            tell(task.label, result.tasks[task.label])
    if not result.tasks:
        raise UserError(f"{bundle} has none of the task files that its core.yaml names; fetch it again")
    return result
