"""A word problem in the making: its sentences so far, the letters of its numbers, and the key by which it is told from others.

Every sentence is drawn from a table of the neighbouring modules and noted in the key; one template in HELD_OUT_SHARE (by a hash of the key)
is never trained on, though each of its sentences is, with others.
"""

import hashlib
from dataclasses import dataclass, field

from nanochat.data import problem_chains as chains
from nanochat.data import problem_groups as groups
from nanochat.data import problem_measures as measures
from nanochat.data import problem_money as money
from nanochat.data import problem_people as people
from nanochat.data import problem_words as words
from nanochat.data.corpus_grammar import Random
from nanochat.data.problem_scenes import Scene

HELD_OUT_SHARE = 8
SOME_WORDS = {"a dozen": 12, "dozen": 12, "half": 0.5, "twice": 2}
LETTERS = "abcdefgh"


@dataclass(frozen=True)
class Problem:
    """A template: what is told (sentences that may be joined are lines), what is asked, the formula. `held_out`: never trained on,
    only evaluated; `key` names the sentences it is composed of."""

    told: str
    asked: str
    formula: str
    held_out: bool = False
    key: str = ""


@dataclass
class Story:
    """A problem in the making."""

    random: Random
    told: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    letters: int = 0

    def number(self, mark: str = "") -> tuple[str, str]:
        """A new letter, and the hole of that kind; `mark` as in `corpus_problems`: "", "~", "$", "%", "@" or "=word"."""
        letter = LETTERS[self.letters]
        self.letters += 1
        return letter, "{" + letter + mark + "}"

    def pick(self, table: tuple) -> str:
        """One of `table`, noted in the key. What stands first is said most often: a quarter of the sentences makes half of the texts."""
        at = int(self.random() ** 2 * len(table))
        self.chosen.append(f"{_NAMES[id(table)]}{at}")
        return table[at]

    def tell(self, table: tuple, *marks: str) -> tuple[str, ...]:
        """Adds a sentence of `table` with a number for each of `marks`; the letters of the numbers."""
        sentence, letters = self.pick(table), []
        for mark in marks:
            letter, hole = self.number(mark[:1] + mark[3:] if mark == "=a dozen" and "another {}" in sentence else mark)
            sentence = sentence.replace("{}", hole, 1)
            letters.append(letter)
        self.told.append(sentence)
        return tuple(letters)

    def ends(self, question: str, formula: str) -> Problem:
        key = " ".join(self.chosen)
        held_out = hashlib.blake2b(key.encode(), digest_size=4).digest()[0] % HELD_OUT_SHARE == 0
        return Problem("\n".join(self.told), question, formula, held_out, key)

    def asks(self, table: tuple, formula: str) -> Problem:
        return self.ends(self.pick(table), formula)


TABLES = {
    name: table
    for room in (words, people, groups, money, measures, chains)
    for name, table in vars(room).items()
    if isinstance(table, tuple) and name not in ("LONGER", "CLOSINGS", "EACH")
}
_NAMES = {id(table): name for name, table in TABLES.items()}


def events(story: Story, formula: str, gains: tuple, losses: tuple, count: int, mark: str = "") -> tuple[str, bool]:
    """`count` sentences that add to the quantity or take from it: (formula, whether the last one took)."""
    took = False
    for _ in range(count):
        took = story.random() < 0.55
        dozen = not (took or mark) and story.random() < 0.1
        (letter,) = story.tell(losses if took else gains, "=a dozen" if dozen else mark)
        formula = f"[{formula}{'-' if took else '+'}{letter}]"
    return formula, took


def count(random: Random, low: int = 1) -> int:
    """1 to 3, the longer ones less often."""
    return min(3, low + (random() < 0.5) + (random() < 0.3))


def scene_of(story: Story, scenes: tuple[Scene, ...], name: str) -> tuple[list[str], str, str]:
    """The lines, the question and the formula of one of `scenes`, noted in the key."""
    at = int(story.random() * len(scenes))
    lines, asked = scenes[at]
    chosen = [int(story.random() * len(line)) for line in lines]
    kind = int(story.random() * len(asked))
    formula, questions = list(asked.items())[kind]
    question = int(story.random() * len(questions))
    story.chosen += [f"{name}{at}", *(f"WORDING{i}" for i in chosen), f"FORMULA{kind}", f"QUESTION{question}"]
    return [line[i] for line, i in zip(lines, chosen, strict=True)], questions[question], formula
