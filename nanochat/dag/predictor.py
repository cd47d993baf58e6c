"""The tower that reads expressions and plans their computation, token by token.

    words    numbers become one word each, whatever their length (`numbers.read_numbers`), so the tower never sees digits
    trunk    a small causal transformer over the words, with rotary positions
    planner  at each token that may plan: D operations, and for each two pointers into the values known there
    executor `executor.execute`: the chosen values and operations, exactly, in float64

It runs alone (`dag_train`) and, unchanged, beside a GPT (`mixer.DagBranch`), which may add its own hidden state to the words.
"""

import math
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn as nn
import torch.nn.functional as F

from nanochat.dag.alternatives import Alternatives, best_plans
from nanochat.dag.executor import CONSTANTS, execute
from nanochat.dag.learned_reader import LearnedReader
from nanochat.dag.numbers import DECIMALS, NumberTable, Reading
from nanochat.dag.planner import Plan, Planner, Rotary, Slots, gather, norm, pick
from nanochat.dag.words import Words, last_results, read_words

DEEPEST_BRACKET = 7
SMALL, SMALL_STD = 5, 0.5  # whole numbers below this are told apart, at first by so much
AS_IT_IS_BIAS = 2.0  # before anything is learned numbers are printed as they are


@dataclass
class TowerConfig:
    """Shape of the tower. `mode`: in "tape" a token may use results of earlier tokens, in "isolated" only its own.
    `reader`: "exact", or "learned" for the ablation of learned_reader.py."""

    vocab_size: int
    bos_id: int
    width: int = 64
    layers: int = 4
    heads: int = 4
    steps: int = 2
    mode: str = "tape"
    reader: str = "exact"

    def to_dict(self) -> dict:
        return asdict(self)


@dataclass
class PlanLabels:
    """Gold plans per token: operation (B, T, D) int64 (NO_STEP unknown), operand1 and operand2 (B, T, D) references in the
    executor's form; gate (B, T): 1 where a computed number is printed next, 0 where not, -1 unknown, or None; decimals (B,): one of
    DECIMALS, how the number after a row's last token is printed, -1 unknown, or None. `words`: of the labelled tokens, if they were
    read before. `weights`: of the parts of the loss by name, see train/weighing.py; None: 1 each."""

    operation: torch.Tensor
    operand1: torch.Tensor
    operand2: torch.Tensor
    gate: torch.Tensor | None = None
    decimals: torch.Tensor | None = None
    words: Words | None = None
    weights: dict[str, torch.Tensor] | None = None


@dataclass
class TowerOutput:
    """hidden (B, A, d) at the planning tokens; at (B, A) their token positions; present (B, A); of_token (B, T) which of the A a
    token speaks for (-1: none); plan; labels of those tokens if any were given (operation, slots of operand 1 and 2: (B, A, D));
    word, document (B, A), asked (B, A, 2 D, d) of those tokens and slots: what was planned with, for other plans at the same tokens;
    reading_loss of a learned reader, whose values `reading` then has."""

    hidden: torch.Tensor
    at: torch.Tensor
    present: torch.Tensor
    of_token: torch.Tensor
    plan: Plan
    labels: tuple | None
    reading: Reading
    word: torch.Tensor
    document: torch.Tensor
    asked: torch.Tensor
    slots: Slots
    reading_loss: torch.Tensor | None = None


class TrunkBlock(nn.Module):
    """Pre-norm attention and squared-ReLU MLP, as in the main model, with keys and values handed out for the cache."""

    def __init__(self, config: TowerConfig):
        super().__init__()
        d = config.width
        self.heads = config.heads
        self.qkv, self.out = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.up, self.down = nn.Linear(d, 4 * d, bias=False), nn.Linear(4 * d, d, bias=False)
        self.rotary = Rotary(d // config.heads)

    def project(self, x, position):
        """Queries, keys, values (B, heads, W, d / heads), queries and keys turned to their positions."""
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in self.qkv(norm(x)).chunk(3, dim=-1))
        q, k = norm(q), norm(k)
        return self.rotary(q, position) * 1.2, self.rotary(k, position) * 1.2, v

    def finish(self, x, attended):
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.relu(self.up(norm(x))).square())

    def forward(self, x, position, mask):
        q, k, v = self.project(x, position)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.finish(x, y), (k, v)


class DagTower(nn.Module):
    """Words, trunk, planner and execution. `input_width` > 0 adds a zero-initialised projection of a GPT's hidden state."""

    def __init__(self, config: TowerConfig, tokenizer, input_width: int = 0):
        super().__init__()
        self.config, self.table = config, NumberTable(tokenizer)
        d = config.width
        self.embedding, self.number_embedding = nn.Embedding(config.vocab_size, d), nn.Parameter(torch.zeros(2, d))
        self.small_embedding = nn.Parameter(torch.zeros(SMALL, d))
        self.depth_embedding = nn.Embedding(DEEPEST_BRACKET + 1, d)
        self.from_model = nn.Linear(input_width, d, bias=False) if input_width else None
        self.blocks = nn.ModuleList(TrunkBlock(config) for _ in range(config.layers))
        self.planner = Planner(config)
        self.rounding = nn.Linear(d, len(DECIMALS))  # how a result is printed (rounding.py)
        self.reader = LearnedReader(config.vocab_size) if config.reader == "learned" else None
        self.register_buffer("constants", torch.tensor(CONSTANTS, dtype=torch.float64), persistent=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Embeddings N(0, 1), numbers too; matrices uniform with variance 1/fan_in; what ends a residual branch is zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                bound = math.sqrt(3 / module.in_features)
                nn.init.uniform_(module.weight, -bound, bound)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight)
        nn.init.normal_(self.number_embedding)
        nn.init.normal_(self.small_embedding, std=SMALL_STD)
        for block in self.blocks:
            nn.init.zeros_(block.out.weight)
            nn.init.zeros_(block.down.weight)
        nn.init.zeros_(self.planner.update[-1].weight)
        nn.init.zeros_(self.rounding.weight)
        nn.init.zeros_(self.rounding.bias)
        nn.init.constant_(self.rounding.bias[:1], AS_IT_IS_BIAS)
        if self.from_model is not None:
            nn.init.zeros_(self.from_model.weight)

    def parameter_kinds(self) -> dict[str, str]:
        """How the optimizer treats each parameter: maps between hidden states are matrices (Muon), all else is plain (AdamW)."""
        choices = ("planner.operation", "rounding")
        maps = {f"{prefix}.weight" for prefix, m in self.named_modules() if isinstance(m, nn.Linear) and prefix not in choices}
        return {name: "matrix" if name in maps else "scalar" for name, _ in self.named_parameters()}

    def embed(self, idx, number, value, depth, hidden):
        """Trunk inputs (B, W, d) of words: token ids, whether they are numbers, their values, bracket depth, the model's hidden state or
        None. Of a number's size it is only told whether it is less than one, `half of them` is no `3 of them`, and which of the smallest
        whole numbers it is: `to 2 decimals`."""
        less_than_one = ((value != 0) & (value.abs() < 1)).long()
        small = (value >= 0) & (value < SMALL) & (value == value.floor())
        of_small = self.small_embedding[torch.where(small, value, 0.0).long()] * small[..., None]
        x = torch.where(number[..., None], self.number_embedding[less_than_one] + of_small, self.embedding(idx))
        x = norm(x + self.depth_embedding(depth.clamp(0, DEEPEST_BRACKET)))
        return x if hidden is None else x + self.from_model(norm(hidden.float()))  # the tower computes in float32 throughout

    def read(self, idx, labels: PlanLabels | None = None, lengths=None) -> Words:
        """The words of idx (B, T), see words.py; of `labels` those that were read before."""
        if labels is not None and labels.words is not None:
            return labels.words
        return read_words(idx, self.table, self.config.bos_id, self.config.steps, labels, lengths)

    def forward(self, idx, hidden=None, labels: PlanLabels | None = None, lengths=None, keep_words=False, busy_only=False):
        """idx (B, T) int64; hidden (B, T, H) of a GPT or None; labels give plans to follow where known; lengths (B,) if right-padded;
        `busy_only`, with labels: tokens that neither compute nor have a labelled operand get no result (cheaper, for training).

        Returns a TowerOutput; with `keep_words` also what incremental decoding needs (see cache.TowerCache.fill).
        """
        words = self.read(idx, labels, lengths)
        reading, word, present, doc = words.reading, words.word, words.present, words.document
        n_at, n_present, a_at, a_present, at = words.n_at, words.n_present, words.a_at, words.a_present, words.at
        of_words = (gather(x, word) for x in (idx, reading.number, reading.value, reading.depth))
        x = self.embed(*of_words, None if hidden is None else gather(hidden, word))
        mask = None
        if not bool((doc == doc[:, :1])[present].all()):
            causal = torch.ones(doc.shape[1], doc.shape[1], dtype=torch.bool, device=idx.device).tril()
            mask = (causal & (doc[:, :, None] == doc[:, None, :]))[:, None]
        position, caches, embedded = torch.arange(word.shape[1], device=idx.device).expand_as(word), [], x
        for block in self.blocks:
            x, cache = block(x, position, mask)
            caches.append(cache)
        x = norm(x)
        names = self.planner.mentions(x, embedded, doc)

        a_hidden, a_doc = gather(x, a_at), gather(doc, a_at)
        asked = gather(names[:, :, 1:].flatten(2), a_at).unflatten(-1, (-1, x.shape[-1]))
        given_operation, *given = words.labels or (None,)
        logits, operation, active = self.planner.choose_operations(a_hidden, given_operation)
        slots = self._slots(x, names[:, :, 0], n_at, n_present, doc, a_hidden, a_at, a_doc, active & a_present[..., None])
        given = tuple(given) or None
        planned = (a_hidden, asked, a_at, a_doc, logits, operation)
        plan, idle = self._plan(*planned, slots, given, active & a_present[..., None], busy_only)
        values, reading_loss = words.values, None
        if self.reader is not None:
            ends = gather(word, n_at)
            before = torch.where(n_at > 0, gather(word, (n_at - 1).clamp(min=0)), -1)
            read, *logits_of_read = self.reader(idx, before + 1, ends)
            reading_loss = self.reader.loss(values, n_present, *logits_of_read)
            values = torch.where(n_present, read, values)
            reading = replace(reading, value=_written_at(reading.value, ends, n_present, values))
        known = torch.cat([self.constants.expand(len(idx), -1), values], dim=1)
        self.run(plan, known)
        if idle is not None:
            plan.result = plan.result.masked_fill(idle, torch.nan)
        output = TowerOutput(a_hidden, at, a_present, words.of_token, plan, words.labels, reading, a_at, a_doc, asked, slots, reading_loss)
        return (output, (word, present, x, embedded, names[:, :, 0], caches, words.is_number, a_at, active)) if keep_words else output

    def _plan(self, hidden, asked, at, document, logits, operation, slots, given, active, busy_only):
        """The plan of A tokens, and with `busy_only` which of them (B, A) were not asked for operands, since they neither compute nor have
        a labelled one: nine in ten tokens of a text."""
        if not busy_only:
            return self.planner(hidden, asked, at, document, logits, operation, slots, given), None
        needed = active.any(-1) | (given[0] >= 0).any(-1)
        busy, _ = pick(needed)
        parts = [gather(x.flatten(2), busy).view(*busy.shape, *x.shape[2:]) for x in (hidden, asked, logits, operation, *given)]
        plan = self.planner(*parts[:2], gather(at, busy), gather(document, busy), *parts[2:4], slots, tuple(parts[4:]))
        return plan.spread(busy, operation, logits), ~needed

    def plans(self, output: TowerOutput, k: int, at=None) -> Alternatives:
        """The `k` most probable plans of the planning tokens `at` (B, C), indices among the A of `output`; by default of all."""
        every = torch.arange(output.at.shape[1], device=output.at.device).expand_as(output.at)
        return best_plans(self, output, every if at is None else at, k)

    def run(self, plan: Plan, known: torch.Tensor) -> None:
        """Executes a plan: the result of a token is that of its last active step, or the operand of its identity."""
        steps = self.config.steps
        values = execute(plan.operation.flatten(1), plan.operand1.flatten(1), plan.operand2.flatten(1), known)
        values = values.unflatten(1, (-1, steps))  # (B, A, D)
        plan.result = last_results(plan.operation, values)
        plan.slot_values = torch.cat([known, values.flatten(1)], dim=1)

    def _slots(self, x, names, n_at, n_present, doc, a_hidden, a_at, a_doc, active) -> Slots:
        steps = self.config.steps
        numbers = self.planner.number_keys(gather(x, n_at), n_at)
        results = self.planner.result_keys(a_hidden, a_at).flatten(1, 2)
        step = torch.arange(steps, device=x.device).expand(*a_at.shape, steps)
        return Slots(
            key=torch.cat([numbers, results], dim=1),
            name=torch.cat([gather(names, n_at), gather(names, a_at).repeat_interleave(steps, dim=1)], dim=1),
            word=torch.cat([n_at, a_at.repeat_interleave(steps, dim=1)], dim=1),
            step=torch.cat([torch.full_like(n_at, -1), step.flatten(1)], dim=1),
            document=torch.cat([gather(doc, n_at), a_doc.repeat_interleave(steps, dim=1)], dim=1),
            present=torch.cat([n_present, active.flatten(1)], dim=1),
        )


def _written_at(values, at, present, new):
    """`values` (B, T) with `new` (B, N) written at the tokens `at` (B, N) that are `present`."""
    out = torch.cat([values, torch.zeros_like(values[:, :1])], dim=1)  # a last column for those that are not
    return out.scatter(1, torch.where(present, at, values.shape[1]), new)[:, :-1]


class PredictorOnlyModel(nn.Module):
    """The tower alone, as `dag_train` trains it: numbers in, plans and exact results out."""

    def __init__(self, config: TowerConfig, tokenizer):
        super().__init__()
        self.config, self.tower = config, DagTower(config, tokenizer)

    def parameter_kinds(self) -> dict[str, str]:
        return {f"tower.{name}": kind for name, kind in self.tower.parameter_kinds().items()}

    def forward(self, idx, labels: PlanLabels | None = None, lengths=None) -> TowerOutput:
        return self.tower(idx, labels=labels, lengths=lengths, busy_only=self.training and labels is not None)

    @torch.no_grad()
    def answers(self, idx, lengths, plans: int = 1) -> list[float]:
        """The value planned at the last token of each row, NaN where there is none. idx (B, T) right-padded, lengths (B,).

        `plans` 1: the value of the choices that are best one by one. More: the value to which most probability comes among that many
        plans of the last token.
        """
        output = self(idx, lengths=lengths)
        of_last = output.of_token.gather(1, (lengths - 1)[:, None])
        result = output.plan.result.gather(1, of_last.clamp(min=0))
        if plans > 1:
            result = self.tower.plans(output, plans, of_last.clamp(min=0)).likeliest_value()
        return torch.where(of_last >= 0, result, torch.nan).squeeze(1).tolist()
