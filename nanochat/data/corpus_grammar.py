"""The small template language in which the embedded corpus is written.

    "<A> [walked|ran|went quickly] to <A.work>[| before breakfast]."

`[a|b|c]` chooses one alternative (an empty one is allowed, brackets nest), `<name>` is a slot: a value given by the caller, or
else a rule of `RULES`, which is itself a template. `write` expands a template and puts the typography right: capitals at the
start of sentences and quotations, `an` before vowels, single spaces.

A template is compiled once into nested functions; expanding it costs about a microsecond a part, so the corpus is never stored.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence

Random = Callable[[], float]  # random.Random(...).random: uniform in [0, 1)
Expand = Callable[[Random, Mapping[str, str]], str]

RULES: dict[str, str] = {}  # what several texts share; filled by the modules that own the rules

_PIECE = re.compile(r"[\[\]|]|<[\w.']+>|[^\[\]|<>]+")
_AN = re.compile(r"[Aa] (?<=\b[Aa] )(?=[aeiou])(?!one\b|use|uni)")
_LOOSE_COMMA = re.compile(r",(?=[,.!?])")  # an apposition ("Mila, the baker,") meets the end of its sentence
_START = re.compile(r"(^\"?|\n\"?|[.!?:] \"|[.!?] |\.\" \"?|[!?]\" \"|said, \")([a-z])")


def choose(random: Random, options):
    """One of `options`, evenly; three times as fast as `random.Random.choice`, and the corpus makes millions of choices."""
    return options[int(random() * len(options))]


def sample(random: Random, options: Sequence, n: int) -> list:
    """`n` different ones of `options` in random order, all of them if there are fewer."""
    size, taken, at = len(options), [], set()
    while len(taken) < min(n, size):
        i = int(random() * size)
        if i not in at:
            at.add(i)
            taken.append(options[i])
    return taken


@functools.cache
def compiled(template: str) -> Expand:
    """The template as a function of (random, slots). ValueError if its brackets do not match."""
    pieces = _PIECE.findall(template)
    if "".join(pieces) != template:
        raise ValueError(f"a stray < or > in the template {template!r}")
    expand, end = _sequence(pieces, 0, depth=0, template=template)
    if end != len(pieces):
        raise ValueError(f"a ']' too many in the template {template!r}")
    return expand


def _sequence(pieces: list[str], at: int, depth: int, template: str) -> tuple[Expand, int]:
    """Compiles pieces from `at` up to the end of the template or, inside brackets, up to `|` or `]`."""
    parts: list[str | Expand] = []
    while at < len(pieces):
        piece = pieces[at]
        if depth and piece in "|]":
            break
        if piece == "]":
            break
        if piece == "[":
            part, at = _choice(pieces, at + 1, depth + 1, template)
            parts.append(part)
        else:
            parts.append(_slot(piece[1:-1]) if piece[0] == "<" else piece)
            at += 1
    if len(parts) == 1 and isinstance(parts[0], str):
        text = parts[0]
        return (lambda random, slots: text), at
    return (lambda random, slots: "".join([p if p.__class__ is str else p(random, slots) for p in parts])), at


def _choice(pieces: list[str], at: int, depth: int, template: str) -> tuple[Expand, int]:
    """Compiles the alternatives of one bracket, from behind its `[` to behind its `]`."""
    options: list[Expand] = []
    while True:
        option, at = _sequence(pieces, at, depth, template)
        options.append(option)
        if at >= len(pieces):
            raise ValueError(f"a '[' without its ']' in the template {template!r}")
        at += 1
        if pieces[at - 1] == "]":
            return (lambda random, slots: options[int(random() * len(options))](random, slots)), at


def _slot(name: str) -> Expand:
    def expand(random: Random, slots: Mapping[str, str]) -> str:
        value = slots.get(name)
        return value if value is not None else compiled(RULES[name])(random, slots)

    return expand


def fill(template: str, random: Random, slots: Mapping[str, str]) -> str:
    """The template expanded, typography left as it is."""
    return compiled(template)(random, slots)


def polish(text: str) -> str:
    """Typography: `an` before a vowel, capitals where sentences and quotations start."""
    text = _AN.sub(lambda m: m.group()[0] + "n ", _LOOSE_COMMA.sub("", text))
    return _START.sub(lambda m: m.group(1) + m.group(2).upper(), text)


def write(template: str, random: Random, slots: Mapping[str, str]) -> str:
    """The template expanded and polished."""
    return polish(fill(template, random, slots))


def listing(words: list[str], joiner: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {joiner} {words[-1]}"
