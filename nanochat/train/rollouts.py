"""Learning from rewards: answers that a model samples to questions, and the loss by which it learns which of them were right.

REINFORCE (Williams 1992, Machine Learning 8:229) with the mean reward of a question's answers as its baseline. A question's K answers are
sampled from the model p itself and rewarded with r in {0, 1}; then over all answers of a step, N of whose tokens are trained,

    A_k  = r_k - mean r                                                   the advantage: 0 where all answers are equally good
    loss = -1/N sum_k A_k sum_t log p(token t of answer k | what stands before it)

On-policy: the weights that sampled are those that are trained, once. So there is no ratio, no clipping, no second model; and no division
by the deviation of the rewards, which would make nearly solved questions weigh most.

Trained are the tokens that the model chose, the stop token among them. Those that it had to say (infer/forced.py) had no other choice: of a
number that the tower printed the first token decided it all. The policy is the model as it answers: a gate of the tower that prints
nothing has no part in log p. What is sampled differs from p a little: `top_k` leaves out the least likely tokens, and beside a number of
the tower the tokens of other numbers, which may not be said, still have their small share of p. At another temperature than 1 the answers
come from a flatter or sharper p than the one that is improved.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nanochat.common import UserError, derive_seed
from nanochat.config import at_least, option
from nanochat.data.conversations import render_prompt
from nanochat.data.loader import IGNORE
from nanochat.infer.engine import Completion, Engine
from nanochat.infer.text import visible_text
from nanochat.train.chat import mean_length
from tasks.common import Mixture


@dataclass
class RolloutOptions:
    """Mixed into the configuration of a stage that learns from rewards."""

    questions: int = option(16, "questions in one optimizer step, over all processes", "questions")
    samples: int = option(16, "answers to each question", "answers")
    max_tokens: int = option(256, "longest answer", "tokens")
    temperature: float = option(1.0, "at which answers are sampled; 1: from the model that is improved")
    top_k: int = option(50, "answers are drawn from so many of the likeliest tokens; 0: from all", "tokens")
    batch: int = option(256, "answers written at a time and process", "answers")


def check_rollouts(config) -> None:
    """UserError for RolloutOptions that cannot work."""
    at_least(config, 1, "questions", "max_tokens", "batch")
    at_least(config, 2, "samples")  # one answer is its own mean
    at_least(config, 0, "top_k")
    if config.temperature <= 0:
        raise UserError(f"--temperature must be above 0, not {config.temperature}: the likeliest answer is the same every time")


@dataclass
class RolloutBatch:
    """inputs (B, T) int64; targets (B, T) int64, IGNORE where nothing is trained; advantages (B,) float32; `figures` of the whole step."""

    inputs: Tensor
    targets: Tensor
    advantages: Tensor
    figures: dict[str, float]


def policy_loss(model, batch: RolloutBatch, weights: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, float]]:
    """The loss above, as a mean over the batch's own trained tokens times the weight of these `targets`, and its figures. The model's mode
    is put back.

    Rows with an advantage of 0 are not computed: they count among the tokens, and give neither loss nor gradient.
    """
    count = (batch.targets != IGNORE).sum().clamp(min=1)
    rows = batch.advantages.nonzero().squeeze(1)
    if not len(rows):
        return 0.0 * next(model.parameters()).sum(), batch.figures
    training = model.training
    model.eval()  # as it answered: a gate that is nearly shut prints nothing
    try:
        nats = model(batch.inputs[rows], batch.targets[rows], reduction="none").loss  # (rows, T), 0 where nothing is trained
    finally:
        model.train(training)
    loss = (nats * batch.advantages[rows, None]).sum() / count
    return loss if weights is None else weights["targets"] * loss, batch.figures


@dataclass(frozen=True)
class Rollout:
    """A question's number in the mixture, its prompt as the model read it, and one answer with its reward and advantage."""

    question: int
    prompt: list[int]
    answer: Completion
    reward: float
    advantage: float

    @property
    def ids(self) -> list[int]:
        """All tokens, the chosen stop token included."""
        return self.prompt + self.answer.tokens + [self.answer.stop] * (self.answer.stop is not None)

    @property
    def targets(self) -> list[int]:
        """Each token that was chosen, IGNORE in the place of all others."""
        said = [token if sampled else IGNORE for token, sampled in zip(self.answer.tokens, self.answer.sampled, strict=True)]
        return [IGNORE] * len(self.prompt) + said + self.ids[len(self.prompt) + len(said) :]


class Rollouts:
    """Batches for `fit`, made by the model that is trained: an endless iterator of RolloutBatch.

    The first of a step's `passes` batches samples the answers to the step's questions with the weights of that moment; the others are rows
    of the same answers, `batch` each: the most of at most `device_batch` by which a process's answers can be divided. In every epoch the
    questions come in another order by `seed`. Where in it a question stands tells how its answers are drawn, so that they are the same
    in whichever process, and no generator has a state. Tokens are counted by the length of the tasks' own answers: how long the model's
    will be nobody knows. UserError for questions that the processes cannot share evenly.
    """

    noun = "question"

    def __init__(self, model, tokenizer, mixture: Mixture, options: RolloutOptions, device_batch: int, seed: int, rank: int = 0,
                 world: int = 1, device="cpu"):  # fmt: skip
        if options.questions % world:
            below = options.questions // world * world
            near = " or ".join(str(n) for n in (below, below + world) if n)
            raise UserError(f"--questions={options.questions} cannot be shared by {world} processes; use {near}")
        self.engine, self.tokenizer, self.mixture, self.options = Engine(model, tokenizer), tokenizer, mixture, options
        self.seed, self.rank, self.world, self.device = seed, rank, world, device
        rows = options.questions // world * options.samples
        self.resize(max(n for n in range(1, device_batch + 1) if rows % n == 0))
        self.length = max(1, round(mean_length(mixture, tokenizer, model.config.sequence_len)))
        self.place, self.taken = 0, 0  # of the step's first question in the endless order; how many of its batches are given out
        self.rollouts: list[Rollout] = []
        self.sources: list[list[int]] = []

    def __iter__(self) -> Iterator[RolloutBatch]:
        return self

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one pass over all processes, about."""
        return self.batch * self.length * self.world

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.place // len(self.mixture)

    @property
    def progress(self) -> float:
        """Share of the current epoch, 0..1."""
        return self.place % len(self.mixture) / len(self.mixture)

    @property
    def examples(self) -> int:
        """Questions answered by this process."""
        return self.place // self.world

    def resize(self, batch: int) -> None:
        """Makes batches of `batch` rows, by which the answers of a step can be divided, where larger ones do not fit into memory."""
        self.batch, self.passes = batch, self.options.questions // self.world * self.options.samples // batch

    def state_dict(self) -> dict[str, int]:
        """Plain integers, the same in every process."""
        return {"place": self.place, "taken": self.taken, "seed": self.seed, "items": len(self.mixture)}

    def load_state_dict(self, state: dict) -> None:
        """Goes on where `state` was taken; within a step its answers are sampled again. UserError if the questions are not the same."""
        if (state["seed"], state["items"]) != (self.seed, len(self.mixture)):
            raise UserError(
                f"the checkpoint was asking {state['items']} questions with seed {state['seed']}, now there are {len(self.mixture)} with "
                f"seed {self.seed}; restore the tasks and the seed, or start again with --resume=off"
            )
        self.place, self.taken, self.rollouts = state["place"], state["taken"], []

    def __next__(self) -> RolloutBatch:
        if not self.rollouts:
            self.rollouts = self._sampled()
        some = self.rollouts[self.taken * self.batch : (self.taken + 1) * self.batch]
        batch = self._as_tensors(some)
        self.sources = [[rollout.question] for rollout in some]
        self.taken += 1
        if self.taken == self.passes:
            self.place, self.taken, self.rollouts = self.place + self.options.questions, 0, []
        return batch

    # -- sampling -----------------------------------------------------------------------------------------------------

    def _sampled(self) -> list[Rollout]:
        """The answers of this process to its share of the step's questions."""
        places = range(self.place + self.rank, self.place + self.options.questions, self.world)
        questions, samples = [self._question(place) for place in places], self.options.samples
        prompts = [self.engine.fit(render_prompt(self.tokenizer, self.mixture[q]), self.options.max_tokens) for q in questions]
        seeds = [derive_seed(self.seed, "answer", place, sample) for place in places for sample in range(samples)]
        answers = self._complete([prompt for prompt in prompts for _ in range(samples)], seeds)
        rollouts = []
        for i, (question, prompt) in enumerate(zip(questions, prompts, strict=True)):
            own = answers[i * samples : (i + 1) * samples]
            rewards = self._rewards(question, own)
            mean = sum(rewards) / samples
            rollouts += [Rollout(question, prompt, answer, r, r - mean) for answer, r in zip(own, rewards, strict=True)]
        return rollouts

    def _question(self, place: int) -> int:
        """Which of the mixture's questions stands at a place of the endless order."""
        epoch, at = divmod(place, len(self.mixture))
        return int(np.random.default_rng(derive_seed(self.seed, "questions", epoch)).permutation(len(self.mixture))[at])

    def _complete(self, prompts: Sequence[list[int]], seeds: Sequence[int]) -> list[Completion]:
        o, answers = self.options, []
        for start in range(0, len(prompts), o.batch):
            some = slice(start, start + o.batch)
            answers += self.engine.complete(prompts[some], o.max_tokens, o.temperature, o.top_k, seeds[some])
        return answers

    def _rewards(self, question: int, answers: Sequence[Completion]) -> list[float]:
        """1 where the task calls the text that a person would read right, else 0."""
        task, conversation = self.mixture.tasks[self.mixture.source(question)[0]], self.mixture[question]
        return [float(task.evaluate(conversation, visible_text(self.tokenizer, answer.tokens))) for answer in answers]

    # -- batches ------------------------------------------------------------------------------------------------------

    def _as_tensors(self, rollouts: Sequence[Rollout]) -> RolloutBatch:
        """Right-padded with <|bos|>, which no token before it sees."""
        T = max(len(rollout.ids) for rollout in rollouts) - 1
        inputs = torch.full((len(rollouts), T), self.tokenizer.bos_id)
        targets = torch.full((len(rollouts), T), IGNORE)
        for row, rollout in enumerate(rollouts):
            n = len(rollout.ids) - 1
            inputs[row, :n], targets[row, :n] = torch.tensor(rollout.ids[:-1]), torch.tensor(rollout.targets[1:])
        advantages = torch.tensor([rollout.advantage for rollout in rollouts])
        return RolloutBatch(*(x.to(self.device) for x in (inputs, targets, advantages)), self._figures())

    def _figures(self) -> dict[str, float]:
        """Of this process's answers of the step: mean reward and length, and of its questions the share that anything is learnt from."""
        n, samples = len(self.rollouts), self.options.samples
        mixed = sum(any(r.advantage for r in self.rollouts[i : i + samples]) for i in range(0, n, samples))
        return {
            "reward": sum(r.reward for r in self.rollouts) / n,
            "answer_tokens": sum(len(r.answer.tokens) for r in self.rollouts) / n,
            "advantage_share": mixed * samples / n,
        }
