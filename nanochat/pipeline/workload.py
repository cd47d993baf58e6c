"""How much work the stages of a profile are: tokens, steps, parameters, operations, memory, files. From settings alone, so that it can
be said before there is any data. Parameters, operations and what a step keeps for its backward pass are those of the real model,
built without memory (torch's fake tensors); what depends on data not read yet is a range.
"""

import math
from dataclasses import dataclass, field

from nanochat.config import load_profile
from nanochat.pipeline.footprint import Model, measure
from nanochat.pipeline.plan import Step
from nanochat.pipeline.throughput import NOTHING, Machine, Range, sure

SHARD_CHARACTERS = 250e6  # of a file of pretraining text; about 100 MB
SHARD_BYTES = 100e6
CHARACTERS_PER_TOKEN = Range(3.4, 4.2, 4.8)  # one token per digit; nanochat's 65,536 tokens reach 4.8
# Items and tokens each: counted with our tokenizer of 2,048 tokens where files were at hand (larger ones need a fifth fewer);
# smoltalk from nanochat's 401 M tokens of midtraining, of which all else is a twentieth.
ITEMS = {
    "smoltalk": (460_341, Range(700, 880, 1050)), "mmlu": (99_842, Range(75, 105, 150)), "gsm8k": (7_106, Range(180, 220, 260)),
    "arc_easy": (2_139, Range(80, 95, 115)), "arc_challenge": (1_055, Range(90, 105, 125)), "openbookqa": (4_742, Range(55, 65, 75)),
    "alpaca": (4_744, Range(110, 130, 150)), "oasst": (95, Range(600, 750, 900)), "facts": (12_000, Range(40, 45, 48)),
    "identity": (4_000, Range(40, 47, 50)), "embedded_chat": (12_000, Range(42, 50, 54)), "word_problems": (12_000, Range(42, 50, 54)),
}  # fmt: skip
UNKNOWN_ITEMS = (5_000, Range(50, 150, 600))
EXPRESSION = Range(24, 29, 40)  # tokens of a generated expression with its answer
QUESTIONS = {"arc_easy": 2376, "arc_challenge": 1172, "mmlu": 14_042, "gsm8k": 1319, "humaneval": 164, "openbookqa": 500}
SOME_QUESTIONS = 300  # of a test set that the project makes itself
CORE_TOKENS = Range(60e6, 150e6, 400e6)  # of all prompts of all 22 tasks, 91,000 items
CORE_ITEMS = 91_000 / 22  # of a task
TOWER_OPERATIONS = 9.5e6  # a token costs with the embedded tower plugged in what so many operations cost: measured, see docs/dag_results.md
LABELS_PER_TOKEN = 2.0  # bytes on disk
EXAMPLE_TOKENS = 42  # of an expression of dag_train with one to six operations, in all styles


@dataclass(frozen=True)
class Workload:
    """One stage. `work`: unit of throughput.py -> amount. Bytes: `memory` of one process's device, `disk` of what stays."""

    label: str
    stage: str
    work: dict[str, Range] = field(default_factory=dict)
    tokens: Range = NOTHING
    steps: Range = NOTHING
    weights: float = 0.0
    flops: Range = NOTHING  # of training alone
    memory: Range = NOTHING
    disk: float = 0.0


@dataclass(frozen=True)
class Text:
    """The pretraining text: tokens that training needs, files that takes, files the profile downloads (None: not shards), and how
    often they may be read."""

    needed: Range
    shards: Range | None
    downloaded: int | None
    epochs: float = math.inf

    @property
    def there(self) -> Range:
        """Tokens of all shards that are downloaded."""
        characters = (self.downloaded or 0) * SHARD_CHARACTERS
        return Range(*(characters / c for c in (CHARACTERS_PER_TOKEN.high, CHARACTERS_PER_TOKEN.mid, CHARACTERS_PER_TOKEN.low)))


class Workloads:
    """The workloads of a profile's steps on a machine. UserError for a batch that cannot be reached with its processes."""

    def __init__(self, profile: str, steps: list[Step], machine: Machine):
        self.machine, self.tables = machine, load_profile(profile)
        self.processes = machine.devices if machine.gpu else 1
        self.configs = {step.label: step.stage.configure(list(step.argv)) for step in steps}
        self.names = {step.label: step.stage.name for step in steps}

    def all(self) -> list[Workload]:
        """One workload per step, in order."""
        makers = {
            "tok_train": self._tok_train,
            "base_train": self._base_train,
            "base_eval": self._base_eval,
            "dag_train": self._dag_train,
            "dag_eval": self._dag_eval,
            "mid_train": self._chat,
            "chat_sft": self._chat,
            "chat_rl": self._chat_rl,
            "chat_eval": self._chat_eval,
        }
        return [makers.get(name, self._small)(label, self.configs[label]) for label, name in self.names.items()]

    def text(self) -> Text:
        """What the text must offer, and what the download brings of it."""
        label = next((label for label, name in self.names.items() if name == "base_train"), None)
        needed = self._base_train(label, self.configs[label]).tokens if label else NOTHING
        if label is None or not self.configs[label].text.startswith("base_data/"):
            return Text(needed, None, None)
        begun = 1 + 1 / self.configs[label].sequence_len  # packing drops nothing; a document that is cut gets another <|bos|>
        characters = [n * begun * c for n, c in zip(_ends(needed), _ends(CHARACTERS_PER_TOKEN), strict=True)]
        shards = Range(*(math.ceil(c / SHARD_CHARACTERS) for c in characters))
        return Text(needed, shards, self.tables.get("prefetch", {}).get("shards"), self.configs[label].max_epochs)

    # -- stages -------------------------------------------------------------------------------------------------------

    def _small(self, label: str, config) -> Workload:
        return Workload(label, self.names[label], {"starts": sure(1)})

    def _tok_train(self, label: str, config) -> Workload:
        unit = "corpus characters" if config.text == "embedded" else "characters"
        return Workload(label, "tok_train", {"starts": sure(1), unit: sure(config.max_chars)}, disk=1e6)

    def _base_train(self, label: str, config) -> Workload:
        from nanochat.train.horizon import planned

        model = self.model(config)
        config = planned(config, round((model.flops_per_token - self._attention(config)) / 6), self._tokens_per_pass(config, model.length))
        per_step, steps = self._tokens_per_step(config, model.length), config.steps
        shards = self.tables.get("prefetch", {}).get("shards") if config.text.startswith("base_data/") else None
        work = self._training(config, model, sure(steps * per_step), steps)
        if shards:
            work["characters"] = sure(shards * SHARD_CHARACTERS)
        tokens_on_disk = (shards or 0) * SHARD_CHARACTERS / CHARACTERS_PER_TOKEN.mid * LABELS_PER_TOKEN
        return self._trained(label, model, config, sure(steps * per_step), steps, work, tokens_on_disk)

    def _chat(self, label: str, config) -> Workload:
        model = self.model(self._base_of(config))
        per_step = self._tokens_per_step(config, model.length)
        tokens = sure(config.steps * per_step) if config.steps else self._epoch(config)
        steps = config.steps or max(1, math.ceil(tokens.mid / per_step))
        work = self._training(config, model, tokens, steps)
        if getattr(config, "dag_depth", None) != 0 and "dag_train" in self.names.values():
            towers = [self.configs[name].width for name, stage in self.names.items() if stage == "dag_train"]
            extra = TOWER_OPERATIONS * (towers[0] / 64) ** 2
            work["flops"] += Range(tokens.low * extra * 0.5, tokens.mid * extra, tokens.high * extra * 4)
        return self._trained(label, model, config, tokens, steps, work)

    def _chat_rl(self, label: str, config) -> Workload:
        """Answers, and training on those to questions with right and wrong ones: how many that will be nobody knows."""
        model, (questions, there) = self.model(self._base_of(config)), self._mixture(config.tasks)
        steps = config.steps or math.ceil(questions / config.questions)
        answers = steps * config.questions * config.samples
        tokens, asked = there * (answers / questions), self._evaluations(config, steps) * config.eval_problems * len(config.tasks)
        work = {"starts": sure(1), "answers": sure(answers + asked)}
        work["flops"] = Range(0.05 * tokens.low, 0.4 * tokens.mid, tokens.high) * model.flops_per_token
        rows = Range(0.0, there.mid / questions / model.length, 1.0) * (config.device_batch * model.per_row)
        memory = rows + sure(model.memory(0, self.processes))
        disk = _checkpoints(config) * (model.state - 4 * model.params)
        return Workload(label, "chat_rl", work, tokens, sure(steps), model.params, work["flops"], memory, disk)

    def _trained(self, label, model: Model, config, tokens: Range, steps: int, work: dict, more_disk: float = 0.0) -> Workload:
        memory = Range(0.9, 1.0, 1.25) * model.memory(config.device_batch, self.processes)
        per_step = self._tokens_per_step(config, model.length)
        disk = _checkpoints(config) * (model.state - 4 * model.params) + more_disk  # no gradients
        return Workload(label, self.names[label], work, tokens, Range(*(math.ceil(t / per_step) for t in _ends(tokens))), model.params,
                        tokens * model.flops_per_token, memory, disk)  # fmt: skip

    def _training(self, config, model: Model, tokens: Range, steps: int) -> dict[str, Range]:
        """Operations of the steps, and of the evaluations between them: forward only, a third."""
        passes = getattr(config, "eval_passes", 0) * config.device_batch * model.length * self.processes
        read = self._evaluations(config, steps) * (passes + (getattr(config, "eval_tokens", 0)))
        return {"starts": sure(1), "flops": tokens * model.flops_per_token + Range(0.3, 1, 1) * (read * model.flops_per_token / 3)}

    def _evaluations(self, config, steps: int) -> int:
        return (steps - 1) // config.eval_every + 1 if config.eval_every else 1

    def _dag_train(self, label: str, config) -> Workload:
        a_step, width = config.total_batch / EXAMPLE_TOKENS or config.device_batch * self.processes, config.width
        weights = self._vocabulary() * width + (12 * config.layers + 8.5) * width**2  # embedding, blocks, and what decides
        work = {"starts": sure(1)}
        if self.machine.gpu:
            work["tower steps"] = sure(config.steps)
        else:
            work["example weights"] = Range(0.8, 1, 1.3) * (config.steps * a_step * weights)
        return Workload(label, "dag_train", work, steps=sure(config.steps), weights=weights, disk=_checkpoints(config) * 12 * weights)

    def _base_eval(self, label: str, config) -> Workload:
        model = self.model(self._base_of(config, "model_tag"))
        read = sure(2.0 * config.eval_tokens) if self.machine.gpu else Range(0.5, 1, 1) * (2.0 * config.eval_tokens)
        if config.core and "eval_bundle" in self.tables.get("prefetch", {}).get("assets", []):
            share = min(1.0, config.max_per_task / CORE_ITEMS) if config.max_per_task >= 0 else 1.0
            read = read + CORE_TOKENS * share
        return Workload(label, "base_eval", {"starts": sure(1), "flops": read * (model.flops_per_token / 3)}, weights=model.params)

    def _chat_eval(self, label: str, config) -> Workload:
        asked = 0
        for text in config.tasks:
            name, _, limit = text.partition(":")
            most = int(limit) if limit else config.max_problems or math.inf
            asked += min(most, QUESTIONS.get(name, SOME_QUESTIONS))
        return Workload(label, "chat_eval", {"starts": sure(1), "answers": sure(asked)})

    def _dag_eval(self, label: str, config) -> Workload:
        cells = config.operations * (len(config.suites) or 1)
        return Workload(label, "dag_eval", {"starts": sure(1), "expressions": sure(config.items * cells)})

    # -- sizes --------------------------------------------------------------------------------------------------------

    def _vocabulary(self) -> int:
        label = next((label for label, name in self.names.items() if name == "tok_train"), None)
        return self.configs[label].vocab_size if label else 32_768

    def _base_of(self, config, key: str = "base_tag"):
        """The configuration of the base model that a later stage goes on from; the only one where its own name is not known."""
        found = {c.tag: c for label, c in self.configs.items() if self.names[label] == "base_train"}
        return found.get(getattr(config, key, ""), next(iter(found.values()), None))

    def _tokens_per_step(self, config, length: int) -> int:
        from nanochat.train.settings import accumulation

        per_pass = self._tokens_per_pass(config, length)
        return per_pass * accumulation(config.total_batch, per_pass)

    def _tokens_per_pass(self, config, length: int) -> int:
        return config.device_batch * length * self.processes

    def _epoch(self, config) -> Range:
        """Tokens of one epoch of a mixture with its expressions and its share of text; rows are filled to about 98 %."""
        total = EXPRESSION * config.arithmetic + self._mixture(config.mixture)[1]
        return total * (1.02 / (1 - getattr(config, "text_share", 0.0)))

    def _mixture(self, shares: list[str]) -> tuple[int, Range]:
        """Items of a mixture, and their tokens."""
        from tasks.common import parse_share

        items, tokens = 0, NOTHING
        for share in map(parse_share, shares):
            rows, each = ITEMS.get(share.name, UNKNOWN_ITEMS)
            taken = min(share.limit or rows, rows) * share.repeat
            items, tokens = items + taken, tokens + each * taken
        return items, tokens

    def _attention(self, config) -> int:
        return self._gpt_config(config).attention_flops()

    def _gpt_config(self, config):
        from nanochat.model.options import model_config

        return model_config(config, self._vocabulary())

    def model(self, config) -> Model:
        """The model of a base_train configuration."""
        return measure(self._gpt_config(config), bfloat16=bool(self.machine.gpu))


def _checkpoints(config) -> int:
    """On disk at once: those that are kept, and one that is being written."""
    return config.keep + config.keep_best + 1


def _ends(values: Range) -> tuple[float, float, float]:
    return values.low, values.mid, values.high
