"""The embedded corpus: an original little world in plain English, written by this program from its own words and templates.

    documents("train", seed=0)            stories, portraits, dialogues, explanations; about 7 MB
    conversations("train", seed=0)        chat: who the assistant is, questions about the world, stories, small talk
    facts_questions("train", seed=0)      multiple choice about the facts
    word_problems("train", seed=0)        arithmetic in words, with the plan behind each answer

Everything is a finite iterator, the same for the same arguments, and nothing is stored: writing it takes seconds. Splits are
`train`, `val` and `test`. A text belongs to the split that a hash of it names, so splits are disjoint whatever the seeds;
arithmetic is split by the canonical expression, as everywhere (`nanochat/data/split.py`).

The world's tables are in `corpus_world.py` and `corpus_nature.py`; what the other files write comes from there.
"""

import functools
import hashlib
import random as random_module
from collections.abc import Callable, Iterator

from nanochat.common import derive_seed
from nanochat.data import corpus_chat, corpus_texts
from nanochat.data.corpus_facts import FACTS, ask, wrong_values
from nanochat.data.corpus_grammar import Random, sample
from nanochat.data.corpus_problems import draw_problem, word_problem
from nanochat.data.corpus_stories import story
from nanochat.data.split import held_out

SPLITS = ("train", "val", "test")
SHARES = 16  # of 16 texts one is val and one is test
DEFAULT_COUNTS = {"train": 12_000, "val": 1_000, "test": 1_000}
DEFAULT_BYTES = {"train": 7_000_000, "val": 200_000, "test": 200_000}


def split_of(text: str) -> str:
    """The split a text belongs to."""
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") % SHARES
    return {0: "val", 1: "test"}.get(number, "train")


# kind of document -> (writer, share of the documents)
KINDS: dict[str, tuple[Callable[[Random], str], float]] = {
    "story": (story, 0.27),
    "portrait": (corpus_texts.portrait, 0.16),
    "dialogue": (corpus_texts.dialogue, 0.17),
    "quiz": (corpus_texts.quiz, 0.13),
    "explanation": (corpus_texts.explanation, 0.22),
    "comparison": (corpus_texts.comparison, 0.02),
    "assistant": (corpus_texts.about_assistant, 0.03),
    "visit": (lambda random: corpus_chat.visit(random, lambda wording: split_of(wording) == "train"), 0.04),
}


def stream(split: str, seed: int, name: str) -> Random:
    """The random numbers of one producer: uniform in [0, 1)."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    return random_module.Random(derive_seed(seed, "corpus", name, split)).random


def _pick(random: Random, kinds: dict[str, tuple]) -> Callable[[Random], object]:
    """One of the writers, as often as its share says."""
    draw = random() * sum(share for _, share in kinds.values())
    for writer, share in kinds.values():
        draw -= share
        if draw < 0:
            return writer
    return writer


def documents(split: str, seed: int = 0, size: int | None = None) -> Iterator[str]:
    """Documents of one paragraph until `size` bytes are written (default 7 MB for train, 200 KB for the others)."""
    random, written = stream(split, seed, "documents"), 0
    size = DEFAULT_BYTES[split] if size is None else size
    while written < size:
        text = _pick(random, KINDS)(random)
        if split_of(text) == split:
            written += len(text) + 1
            yield text


def conversations(split: str, seed: int = 0, count: int | None = None, kinds: dict[str, float] | None = None) -> Iterator[dict]:
    """Conversations of one to three turns: {"messages", "kind", "value"} (`corpus_chat.py`), each once.

    kinds: shares of the kinds, `corpus_chat.ALL_KINDS` or `IDENTITY_KINDS`. A wording of a question is in one split only.
    """
    kinds = kinds or corpus_chat.ALL_KINDS
    random, seen = stream(split, seed, f"conversations {sorted(kinds)}"), set()
    count = DEFAULT_COUNTS[split] if count is None else count
    while len(seen) < count:
        made = corpus_chat.conversation(random, lambda text: split_of(text) == split, kinds)
        text = "\n".join(message["content"] for message in made["messages"])
        if text not in seen:
            seen.add(text)
            yield made


def facts_questions(split: str, seed: int = 0, count: int | None = None) -> Iterator[dict]:
    """Multiple choice about the facts: {"question", "options" (4), "answer" (index of the right one), "fact" (index in FACTS)}, each once.

    A fact may be asked in every split, the same question with the same options (in any order) only in one.
    """
    random, seen = stream(split, seed, "facts"), set()
    count = DEFAULT_COUNTS[split] if count is None else count
    while len(seen) < count:
        fact = int(random() * len(FACTS))
        question = ask(random, FACTS[fact], direct=random() < 0.6)
        wrong = wrong_values(random, question.fact, question.value, question.pool, 3)
        key = "\n".join([question.text, *sorted([question.value, *wrong])])
        options = sample(random, [question.value, *wrong], 4)
        if len(options) == 4 and split_of(key) == split and (question.text, *options) not in seen:
            seen.add((question.text, *options))
            yield {"question": question.text, "options": options, "answer": options.index(question.value), "fact": fact}


def problem_split(canonical: str) -> str:
    """The split of the arithmetic behind a word problem: what `split.held_out` keeps from training is val or test."""
    if not held_out(canonical):
        return "train"
    return ("val", "test")[hashlib.blake2b(canonical.encode(), digest_size=1, salt=b"val or test").digest()[0] % 2]


def word_problems(split: str, seed: int = 0, count: int | None = None) -> Iterator[dict]:
    """Conversations of a word problem and its bare answer, the assistant's message with its plan (`corpus_problems.py`), each once.

    Training knows neither the held-out expressions nor the templates marked `held_out`; the others use all templates.
    """
    random, seen = stream(split, seed, "problems"), set()
    count = DEFAULT_COUNTS[split] if count is None else count
    held_out_templates = False if split == "train" else None
    draw = functools.partial(draw_problem, held_out=held_out_templates)
    while len(seen) < count:
        made = word_problem(random, draw, lambda canonical: problem_split(canonical) == split)
        text = made["messages"][0]["content"]
        if text not in seen:
            seen.add(text)
            yield made
