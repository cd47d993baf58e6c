"""Batches for training the tower alone, from one endless sequence of numbered examples with exact resume.

What stands at a number follows from the settings and the seed: not from the number of processes, nor from the size of batches. A step
takes the next N of the sequence, however they are shared out; every process makes all of them, which costs little, and takes its own.

Examples of like length stand together, RUN of them, so that little of a batch is padding (in larger batches a fifth). They are made in
blocks of many runs.
"""

from collections.abc import Sequence

import numpy as np
import torch

from nanochat.common import UserError, derive_seed
from nanochat.dag.executor import NO_REFERENCE, NO_STEP
from nanochat.dag.expressions import Batch, ExpressionSettings, ExpressionStream, gathered
from nanochat.dag.labels import plan_tensors
from nanochat.dag.numbers import NumberTable
from nanochat.dag.predictor import PlanLabels
from nanochat.dag.problems import Pool
from nanochat.data.ahead import Ahead
from nanochat.data.conversations import Rendered, render

ROUNDED = 0.08  # share of the expressions that ask for a rounded number: the digits in "to 2 decimals" are no operand
RUN = 128  # examples of like length that follow one another
AT_ONCE = 32_768  # examples made together, for much of the cost is per call
FEWER = 4  # so many times smaller are blocks with questions that are labelled one by one: nobody waits seconds for the first
ALIKE, TOGETHER = 64, 16  # runs that share their rows out by length; those whose rows are copied together
FIELDS = ("ids", "operation", "operand1", "operand2", "decimals", "length")
FILLS = (0, NO_STEP, NO_REFERENCE, NO_REFERENCE)  # of those that have a column for each token, behind the end of a row
SHARED, WORDED = 16, 2  # neighbouring blocks whose word problems have the same texts, with other numbers, and for how many of them there
# are enough: composing takes longer than the rest


class PlanBlocks:
    """Blocks of `size` runs, each a function of its number alone, whoever makes it and when; at most `at_once` examples."""

    def __init__(self, tokenizer, settings: ExpressionSettings, seed: tuple, problems: Sequence[Rendered] = (), share: float = 0.0,
                 at_once: int = AT_ONCE):  # fmt: skip
        self.stream = ExpressionStream(tokenizer, settings, "train")
        self.seed, self.problems = seed, problems
        self.table, self.bos, self.steps, self.mode = NumberTable(tokenizer), tokenizer.bos_id, settings.steps, settings.mode
        asked = len(problems) > 0 and share > 0
        self.size = max(1, at_once // RUN // (FEWER if asked else 1))
        self.of_problems = max(1, round(self.size * share)) if asked else 0
        self.rounded = ROUNDED if self.stream.families[0] == "infix" else 0.0
        self.texts: tuple[int, Pool | None] = (-1, None)  # of the last group of blocks
        self.labelled: dict[int, tuple[np.ndarray, ...]] = {}  # FIELDS of the problems that were asked for

    @property
    def examples(self) -> int:
        """Of a block."""
        return self.size * RUN

    def make(self, number: int) -> list[tuple[np.ndarray, ...]]:
        """For each run ids, operation, operand1, operand2, decimals and length, as `expressions.Batch` has them; the order of runs is
        random."""
        rng = self.stream.rng = np.random.default_rng(derive_seed(*self.seed, number))
        made = []
        if n := RUN * (self.size - self.of_problems):
            rounded = round(n * self.rounded)
            parts = self.stream.parts(n - rounded, texts=self._texts(number // SHARED, n))
            made += self._of_expressions([*parts, self.stream.rounded(rounded)] if rounded else parts)
        if self.of_problems:
            chosen = rng.integers(len(self.problems), size=RUN * self.of_problems)
            made += [self._of_problems(chosen[rows].tolist()) for rows in self._alike([len(self.problems[i]) for i in chosen])]
        return [made[i] for i in rng.permutation(self.size)]

    def _texts(self, group: int, n: int) -> Pool | None:
        """Texts for the word problems of a group of blocks with n expressions each: a function of the group's number alone."""
        if self.texts[0] != group:
            rng = np.random.default_rng(derive_seed(*self.seed, "texts", group))
            self.texts = group, self.stream.texts(rng, WORDED * n)
        return self.texts[1]

    def _of_expressions(self, parts: list[Batch]) -> list[tuple[np.ndarray, ...]]:
        """Runs of all examples of `parts`. Some runs are put together at a time, and each is a view of them."""
        lengths = np.concatenate([part.length for part in parts])
        order = self.stream.rng.permutation(len(lengths))
        rows, made = order[self._alike(lengths[order])], []
        for begin in range(0, len(rows), TOGETHER):
            fields = list(gathered(parts, rows[begin : begin + TOGETHER].ravel(), FIELDS).values())
            made += [_cut(fields, slice(at, at + RUN)) for at in range(0, len(fields[0]), RUN)]
        return made

    def _alike(self, lengths) -> np.ndarray:
        """The rows of each run: of every ALIKE runs, those of like length."""
        lengths, at_once = np.asarray(lengths), ALIKE * RUN
        begins = range(0, len(lengths), at_once)
        return np.concatenate([b + np.argsort(lengths[b : b + at_once], kind="stable") for b in begins]).reshape(-1, RUN)

    def _of_problems(self, chosen: list[int]) -> tuple[np.ndarray, ...]:
        """A run of these problems. Labelling one takes longer than all else that is done for it: each is labelled once."""
        if fresh := [i for i in dict.fromkeys(chosen) if i not in self.labelled]:
            self.labelled |= zip(fresh, self._label([self.problems[i] for i in fresh]), strict=True)
        return _joined([self.labelled[i] for i in chosen])

    def _label(self, items: list[Rendered]) -> list[tuple[np.ndarray, ...]]:
        """FIELDS of each problem, (1, its length, ...)."""
        lengths = np.array([len(item) for item in items])
        idx = torch.nn.utils.rnn.pad_sequence([torch.tensor(item.ids) for item in items], batch_first=True)
        labels = plan_tensors([[(0, item)] for item in items], idx, self.table, self.bos, self.steps, self.mode)
        operation, *operands = (x.numpy() for x in (labels.operation, labels.operand1, labels.operand2))
        fields = (idx.numpy().astype(np.int32), operation.astype(np.int8), *(x.astype(np.int32) for x in operands))
        fields = (*fields, np.full(len(items), -1), lengths)
        return [tuple(x.copy() for x in _cut(fields, slice(i, i + 1))) for i in range(len(items))]


def _cut(fields: Sequence[np.ndarray], rows: slice) -> tuple[np.ndarray, ...]:
    """These rows of FIELDS, as wide as their longest."""
    longest = int(fields[-1][rows].max())
    return *(x[rows, :longest] for x in fields[:-2]), *(x[rows] for x in fields[-2:])


def _joined(pieces: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """The rows of all pieces of FIELDS, padded to one width."""
    if len(pieces) == 1:
        return pieces[0]
    columns = [list(column) for column in zip(*pieces, strict=True)]
    longest = max(x.shape[1] for x in columns[0])
    for column, fill in zip(columns, FILLS, strict=False):
        for i, x in enumerate(column):
            wider = np.full((len(x), longest, *x.shape[2:]), fill, x.dtype)
            wider[:, : x.shape[1]] = x
            column[i] = wider
    return tuple(np.concatenate(column) for column in columns)


class PlanBatches:
    """Yields (idx (B, T), PlanLabels, lengths (B,)), right-padded: unique random expressions and, for `share` of the runs (rounded to those
    of a block, but at least one), `problems`: questions rendered up to where their planned answer begins.

    Of the next `batch` * `world` examples those of process `rank`. `epoch` and `progress` stay 0: expressions never end. `tokens_per_step`
    is the number of tokens of one pass over all processes, padding not counted, by the mean length of an example in whole tokens: so it
    is the same for as many examples, in whatever number of processes. `workers` processes make the next blocks (see `data.ahead`);
    the batches are the same without.
    """

    epoch, progress = 0, 0.0

    def __init__(
        self,
        tokenizer,
        settings: ExpressionSettings,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        device="cpu",
        problems: Sequence[Rendered] = (),
        share: float = 0.25,
        workers: int = 0,
    ):
        self.batch, self.rank, self.world, self.device, self.examples = batch, rank, world, torch.device(device), 0
        self.blocks = PlanBlocks(tokenizer, settings, (seed, "expressions"), problems, share, AT_ONCE)
        self.ahead = Ahead(self.blocks.make, workers)
        self._next = 0  # the number of the first example that no process has been given
        self._made = {0: self.ahead.get(0)}  # the blocks that the last batch came from
        self.tokens_per_example = max(1, round(sum(int(lengths.sum()) for *_, lengths in self._made[0]) / self.blocks.examples))

    @property
    def tokens_per_step(self) -> int:
        return self.tokens_per_example * self.batch * self.world

    def __iter__(self):
        return self

    def __next__(self):
        first = self._next + self.rank * self.batch
        idx, *plan, decimals, lengths = (torch.from_numpy(x).to(self.device).long() for x in self._rows(first, first + self.batch))
        self._next += self.batch * self.world
        self.examples += self.batch
        return idx, PlanLabels(*plan, decimals=decimals), lengths

    def _rows(self, first: int, end: int) -> tuple[np.ndarray, ...]:
        """FIELDS of the examples of these numbers."""
        blocks = range(first // self.blocks.examples, (end - 1) // self.blocks.examples + 1)
        self._made = {number: self._made.get(number) or self.ahead.get(number) for number in blocks}
        pieces = []
        for run in range(first // RUN, (end - 1) // RUN + 1):
            block, at = divmod(run, self.blocks.size)
            pieces.append(_cut(self._made[block][at], slice(max(0, first - run * RUN), end - run * RUN)))
        return _joined(pieces)

    def resize(self, batch: int) -> None:
        """From the next batch on `batch` rows each. Only where a step of training ends, which all processes reach."""
        self.batch = batch

    def state_dict(self) -> dict:
        """A plain integer: the number of the next example, the same in every process."""
        return {"example": self._next}

    def load_state_dict(self, state: dict) -> None:
        """Goes on exactly where `state` was taken, in any number of processes. UserError for one of another form."""
        if state.keys() != self.state_dict().keys():
            raise UserError("the checkpoint notes its place among the examples in another version's way; start again with --resume=off")
        self._next = state["example"]


def planned_questions(tokenizer, conversations) -> list[Rendered]:
    """The conversations with a plan, each rendered up to the token after which its last planned answer is printed."""
    rendered = (render(tokenizer, conversation) for conversation in conversations)
    return [_until(item, item.plans[-1].position + 1) for item in rendered if item.plans]


def _until(item: Rendered, length: int) -> Rendered:
    return Rendered(item.ids[:length], item.mask[:length], item.plans)
