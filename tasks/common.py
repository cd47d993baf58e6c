"""What every task is, the table of tasks, and mixtures of them.

A task is a sequence of conversations that can be trained on and, if it has right answers, evaluated on. One file in this folder
per task; a new one needs a subclass of `Task` and a line in `TASKS`.

    task = load_task("gsm8k", data_dir, "test")
    task[0]                                  # {"messages": [{"role": "user", "content": ...}, {"role": "assistant", ...}]}
    task.evaluate(task[0], "... #### 18")    # True or False

Splits: `train` to learn from, `val` (disjoint from train) for choosing between models, `test` only for reporting. Where a
source has no validation file, one in twenty of its training items, chosen by its question, is `val` and leaves `train`; a
question that a source repeats in its test file stays only there.
"""

import functools
import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanochat.common import UserError, derive_seed
from nanochat.config import nearest
from nanochat.pipeline import manifest
from tasks import files

SPLITS = ("train", "val", "test")
VAL_SHARE = 20  # one training question in this many is held out as val where the source has no validation file
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Task(Sequence):
    """A sequence of conversations of one split.

    kind: `categorical` (the answer is one of `conversation["letters"]`, read off the logits), `generative` (the answer is
    written out and judged by `evaluate`), `chat` (only for training, nothing to judge).

    A subclass either names in `assets` the manifest's entry of each split and turns a row into a conversation, or makes its items
    itself by overriding `load`.
    """

    name: str = ""
    kind: str = "generative"
    splits: tuple[str, ...] = SPLITS
    assets: dict[str, str] = {}

    def __init__(self, data_dir: Path | str | None = None, split: str = "train"):
        self.check_split(split)
        self.data_dir, self.split = Path(data_dir or "."), split
        self.items = self.load()
        if not len(self.items):
            raise UserError(f"task '{self.name}' has no items in its split '{split}' under {self.data_dir}; check its files")

    @classmethod
    def check_split(cls, split: str) -> None:
        """UserError naming the splits of this task if `split` is none of them."""
        if split not in cls.splits:
            raise UserError(f"task '{cls.name}' has no split '{split}'; it has: {', '.join(cls.splits)}")

    def load(self) -> Sequence:
        """The items of this split, in a fixed order: rows of its files, unless a subclass makes its own."""
        if self.split == "test":
            return self.rows("test")
        carve = "val" in self.splits and not self.files(self.data_dir, "val")
        rows = self.rows("train" if carve else self.split)
        taken = self._taken()
        questions = (first_question(self.conversation(row)) for row in rows)
        return files.select(rows, (q not in taken and (not carve or held_out_for_val(q) == (self.split == "val")) for q in questions))

    def _taken(self) -> set[str]:
        """Questions that the files of a later split repeat; they leave this one. Chats begin alike without being the same."""
        later = SPLITS[SPLITS.index(self.split) + 1 :] if self.kind != "chat" else ()
        there = [split for split in later if self.files(self.data_dir, split)]
        return {first_question(self.conversation(row)) for split in there for row in self.rows(split)}

    def rows(self, split: str) -> Sequence:
        """Every row of a split's files; UserError saying where they were looked for if there are none."""
        found = self.files(self.data_dir, split)
        if not found:
            entry = manifest.asset(self.assets[split])
            looked, ends = " or ".join(entry.places), ", ".join(entry.forms)
            raise UserError(f"task '{self.name}' has no {split} file under {self.data_dir} (looked for {looked} with {ends}); "
                            "give the folder with --data_dir or fetch it with download_data.sh")  # fmt: skip
        return files.join([self.read(path) for path in found])

    def read(self, path: Path) -> Sequence:
        """The rows of one file."""
        return files.read_rows(path)

    @classmethod
    def files(cls, data_dir: Path | str | None, split: str) -> list[Path]:
        """The files of a split that are there."""
        return manifest.find_all(cls.assets[split], data_dir or ".") if split in cls.assets else []

    @classmethod
    def present(cls, data_dir: Path | str | None, split: str = "test") -> bool:
        """True if this split can be loaded: its files are there, or the task needs none."""
        if split not in cls.splits:
            return False
        if not cls.assets:
            return True
        return bool(cls.files(data_dir, split)) or (split == "val" and bool(cls.files(data_dir, "train")))

    @classmethod
    def place(cls, data_dir: Path | str | None, split: str) -> Path:
        """Where a file of this split is looked for first, under the name that a download gives it."""
        entry = cls.assets.get(split) or cls.assets["train"]  # val is carved from train where it has no file
        return Path(data_dir or ".") / manifest.asset(entry).place

    @classmethod
    def opens(cls, data_dir: Path | str | None, split: str) -> list[Path]:
        """Every file that loading a split reads: its own, those whose questions it leaves out, those it is carved from."""
        wanted = SPLITS[SPLITS.index(split) :]
        if split != "test" and not cls.files(data_dir, "val"):
            wanted = SPLITS
        return [path for name in wanted for path in cls.files(data_dir, name)]

    def conversation(self, item) -> dict:
        """The conversation of one item, ending with the assistant's right answer."""
        raise NotImplementedError(f"{type(self).__name__} must turn an item into a conversation")

    def evaluate(self, conversation: dict, completion: str) -> bool:
        """True if `completion`, the text a model answered with, is right. The default compares with the right answer's text."""
        return completion.strip() == answer_text(conversation).strip()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} items, not {index}")
        return self.conversation(self.items[index])

    @functools.cached_property
    def chance(self) -> float:
        """Accuracy of guessing: the mean over the items of 1 / number of options; 0 where the answer is written out."""
        return float(np.mean([chance_of(conversation) for conversation in self]))


class MultipleChoice(Task):
    """A task whose items are a question with lettered options; a subclass says how to read `choice(item)`."""

    kind = "categorical"

    def choice(self, item) -> tuple[str, list[str], int]:
        """(question, options, index of the right one)."""
        raise NotImplementedError(f"{type(self).__name__} must read a question, its options and the right one")

    def conversation(self, item) -> dict:
        return multiple_choice(*self.choice(item))


def multiple_choice(question: str, options: Sequence[str], answer: int) -> dict:
    """A multiple-choice conversation with `letters`, the legal answers.

    The letter stands behind its option and right after `=`, so that it is the same token as the bare letter of the answer,
    which small models find easier to bind (nanochat's finding).
    """
    if not 2 <= len(options) <= len(LETTERS) or not 0 <= answer < len(options):
        raise ValueError(f"a question needs 2 to {len(LETTERS)} options and a right one among them, not {len(options)} and {answer}")
    letters = list(LETTERS[: len(options)])
    lines = [question.strip(), *(f"- {option.strip()}={letter}" for option, letter in zip(options, letters, strict=True))]
    prompt = "\n".join(lines) + "\n\nAnswer with one letter."
    return {**question_answer(prompt, letters[answer]), "letters": letters}


def question_answer(question: str, answer: str | list[dict]) -> dict:
    """A conversation of one question and its answer (text, or a list of parts)."""
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def answer_text(conversation: dict) -> str:
    """The text of the conversation's last assistant message, tool calls and their outputs left out."""
    content = conversation["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content if part["type"] == "text")


def chance_of(conversation: dict) -> float:
    """Probability of answering one conversation by guessing among its letters; 0 where it has none."""
    return 1 / len(conversation["letters"]) if conversation.get("letters") else 0.0


def first_question(conversation: dict) -> str:
    """The text of the first user message."""
    return next(m["content"] for m in conversation["messages"] if m["role"] == "user")


def held_out_for_val(question: str) -> bool:
    """True for the one in `VAL_SHARE` of training questions that is validation instead: repeated questions stay together."""
    return derive_seed(0, "val", question) % VAL_SHARE == 0


def sample_indices(n: int, limit: int | None, seed: int = 0) -> list[int]:
    """All of `range(n)`, or `limit` of them chosen by `seed`, ascending: files are often sorted, so the first ones mislead."""
    if not limit or limit < 0 or limit >= n:
        return list(range(n))
    return sorted(np.random.default_rng(derive_seed(seed, "sample", n)).permutation(n)[:limit].tolist())


# ---------------------------------------------------------------------------------------------------------------------
# The table of tasks


@dataclass(frozen=True)
class Entry:
    """Where a task's class is; imported when it is first used. Calling it makes the task."""

    module: str
    attribute: str

    def type(self) -> type[Task]:
        return getattr(importlib.import_module(f"tasks.{self.module}"), self.attribute)

    def __call__(self, data_dir: Path | str | None, split: str) -> Task:
        return self.type()(data_dir, split)


TASKS: dict[str, Entry] = {
    # made by the project itself, no files
    "facts": Entry("facts", "Facts"),
    "identity": Entry("identity", "Identity"),
    "embedded_chat": Entry("embedded_chat", "EmbeddedChat"),
    "word_problems": Entry("word_problems", "WordProblems"),
    "word_problems_tool": Entry("word_problems", "WordProblemsTool"),
    # multiple choice
    "arc_easy": Entry("arc", "ArcEasy"),
    "arc_challenge": Entry("arc", "ArcChallenge"),
    "mmlu": Entry("mmlu", "MMLU"),
    "openbookqa": Entry("openbookqa", "OpenBookQA"),
    # written answers
    "gsm8k": Entry("gsm8k", "GSM8K"),
    "gsm8k_plain": Entry("gsm8k", "GSM8KPlain"),
    "gsm8k_plans": Entry("gsm8k", "GSM8KPlans"),
    "gsm8k_direct": Entry("gsm8k", "GSM8KDirect"),
    "svamp": Entry("svamp", "SVAMP"),
    "asdiv": Entry("asdiv", "ASDiv"),
    "mawps": Entry("mawps", "MAWPS"),
    "bigbench_arithmetic": Entry("bigbench_arithmetic", "BigBenchArithmetic"),
    "humaneval": Entry("humaneval", "HumanEval"),
    # conversations, for training only
    "smoltalk": Entry("smoltalk", "SmolTalk"),
    "alpaca": Entry("alpaca", "Alpaca"),
    "oasst": Entry("oasst", "OpenAssistant"),
    "identity_file": Entry("identity_file", "IdentityFile"),
}


def _entry(name: str) -> Entry:
    if name not in TASKS:
        raise UserError(f"there is no task '{name}'{nearest(name, TASKS)}; tasks: {', '.join(TASKS)}")
    return TASKS[name]


def load_task(name: str, data_dir: Path | str | None = None, split: str = "train") -> Task:
    """The task called `name`; UserError naming its neighbours if there is none, or its missing file."""
    return _entry(name)(data_dir, split)


def present(name: str, data_dir: Path | str | None, split: str = "test") -> bool:
    """True if the named task's split can be loaded from `data_dir`."""
    return _entry(name).type().present(data_dir, split)


def check_shares(shares: Sequence[str], split: str) -> None:
    """UserError unless these shares of a mixture name at least one task, and only tasks that have this split."""
    if not shares:
        raise UserError("name at least one task, for example gsm8k*2 or smoltalk:10000")
    for text in shares:
        _entry(parse_share(text).name).type().check_split(split)


def task_files(shares: Iterable[str], data_dir: Path | str | None, split: str) -> list[Path]:
    """The files that loading the named tasks (or shares of a mixture) opens, for a stage's list of inputs.

    Of a task that has none there: the place where its file is looked for.
    """
    found: list[Path] = []
    for text in shares:
        task = _entry(parse_share(text).name).type()
        task.check_split(split)
        found += task.opens(data_dir, split) if task.present(data_dir, split) else [task.place(data_dir, split)]
    return list(dict.fromkeys(found))


def available(data_dir: Path | str | None, split: str = "test") -> list[str]:
    """Names of the tasks whose `split` can be loaded from `data_dir`, in the table's order."""
    return [name for name in TASKS if present(name, data_dir, split)]


# ---------------------------------------------------------------------------------------------------------------------
# Mixtures


@dataclass(frozen=True)
class Share:
    """One part of a mixture: a task, how many of its items at most (None: all), and how many times each."""

    name: str
    limit: int | None = None
    repeat: int = 1


def parse_share(text: str) -> Share:
    """`name`, `name:limit`, `name*repeat` or `name:limit*repeat`; UserError showing the form if it is none of these."""
    head, star, repeat = text.strip().partition("*")
    name, colon, limit = head.partition(":")
    numbers = [part for mark, part in ((colon, limit), (star, repeat)) if mark]
    if not name.strip() or any(not part.strip().isdigit() or int(part) < 1 for part in numbers):
        raise UserError(f"'{text}' is not a part of a mixture; write name, name:limit, name*repeat or name:limit*repeat")
    return Share(name.strip(), int(limit) if colon else None, int(repeat) if star else 1)


class Mixture(Sequence):
    """Several tasks as one sequence of conversations in an order fixed by `seed`.

    `shares` are texts as `parse_share` reads them. Every conversation appears as often as its share says.
    """

    def __init__(self, shares: Iterable[str], data_dir: Path | str | None = None, split: str = "train", seed: int = 0):
        shares = list(shares)
        check_shares(shares, split)
        self.shares = [parse_share(text) for text in shares]
        loaded = {share.name: None for share in self.shares}
        self.tasks = {name: load_task(name, data_dir, split) for name in loaded}
        self.names = list(self.tasks)
        parts = [self._part(share, seed) for share in self.shares for _ in range(share.repeat)]
        pairs = np.concatenate(parts)
        self.order = pairs[np.random.default_rng(derive_seed(seed, "mixture")).permutation(len(pairs))]  # (N, 2): task, index

    def _part(self, share: Share, seed: int) -> np.ndarray:
        indices = sample_indices(len(self.tasks[share.name]), share.limit, seed)
        return np.stack([np.full(len(indices), self.names.index(share.name)), np.asarray(indices)], axis=1)

    def source(self, index: int) -> tuple[str, int]:
        """(task name, index within it) of one conversation."""
        task, item = self.order[index]
        return self.names[task], int(item)

    def counts(self) -> dict[str, int]:
        """How many conversations each task gives."""
        return {name: int((self.order[:, 0] == i).sum()) for i, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> dict:
        name, item = self.source(index)
        return self.tasks[name][item]
