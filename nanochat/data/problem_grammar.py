"""Word problems composed of sentences: thousands of templates, each with the formula that its sentences build up.

    problem = compose(random)     # Problem("<A> has {a} <t>. ...", "how many <t> does <A> have now?", "((a+b)-c)", key=...)

A story begins with a quantity; each sentence changes it and wraps the formula once more; the question asks for what it has become. So the
formula follows from the sentences and cannot disagree with them. What a sentence itself settles stands in square brackets: there the
planner reduces at the end of that sentence, a local decision; what only the question settles stands in round ones.
"""

import bisect
import itertools
from collections.abc import Callable

from nanochat.data import problem_chains as chains
from nanochat.data import problem_groups as groups_of
from nanochat.data import problem_measures as measures
from nanochat.data import problem_money as money
from nanochat.data import problem_people as people
from nanochat.data import problem_words as words
from nanochat.data.corpus_grammar import Random, choose
from nanochat.data.problem_chains import CLOSINGS
from nanochat.data.problem_nouns import PERIODS
from nanochat.data.problem_scenes import COMPARED, GROUPED, PARTS
from nanochat.data.problem_scenes_measured import PAID, TIMES, WAYS
from nanochat.data.problem_story import Problem, Story, count, events, scene_of


def possessions(random: Random) -> Problem:
    """<A> has, gets and gives things."""
    story = Story(random)
    (formula,) = story.tell(words.HAS, "")
    formula, took = events(story, formula, words.GAINS, words.LOSES, count(random))
    return story.asks(words.IS_LEFT if took else words.HAS_NOW, formula)


def half_of_them(random: Random) -> Problem:
    story = Story(random)
    (formula,) = story.tell(words.HAS, "")
    formula, _ = events(story, formula, words.GAINS, words.LOSES, int(random() * 2))
    if random() < 0.75:
        (letter,) = story.tell(words.HALVES, "=half")
        formula = f"[{formula}*{letter}]"
    else:
        story.tell(words.DOUBLES)
        formula = f"({formula}*2)"
    formula, took = events(story, formula, words.GAINS, words.LOSES, int(random() * 2))
    return story.asks(words.IS_LEFT if took else words.HAS_NOW, formula)


def told_backwards(random: Random) -> Problem:
    """First the change, then what there was before."""
    story, took = Story(random), random() < 0.5
    (change,) = story.tell(words.LOST_FIRST if took else words.GAINED_FIRST, "")
    (before,) = story.tell(words.BEFORE, "")
    return story.asks(words.IS_LEFT if took else words.HAS_NOW, f"[{before}{'-' if took else '+'}{change}]")


def at_a_place(random: Random) -> Problem:
    story = Story(random)
    (formula,) = story.tell(people.ARE_THERE, "")
    formula, took = events(story, formula, people.COME, people.GO, count(random))
    return story.asks(people.LEFT_THERE if took else people.THERE_NOW, formula)


def together(random: Random) -> Problem:
    """Several people's things, or each with the same change before."""
    story = Story(random)
    (formula,) = story.tell(words.HAS, "")
    if random() < 0.3:
        formula, _ = events(story, formula, words.GAINS, words.LOSES, 1)
    (b,) = story.tell(people.AND_HAS, "")
    formula = f"({formula}+{b})"
    if random() < 0.3:
        (c,) = story.tell(people.THIRD_HAS, "")
        return story.asks(groups_of.IN_ALL, f"({formula}+{c})")
    return story.asks(people.TOGETHER, formula)


def difference(random: Random) -> Problem:
    story = Story(random)
    (a,) = story.tell(words.HAS, "")
    formula, _ = events(story, a, words.GAINS, words.LOSES, int(random() * 1.4))
    (b,) = story.tell(people.AND_HAS, "")
    return story.asks(people.HOW_MANY_MORE, f"({formula}-{b})")


def compared(random: Random) -> Problem:
    """<B> has more, fewer, so many times as many as <A>; asked for <B>'s or for both."""
    story = Story(random)
    (a,) = story.tell(words.HAS, "")
    kind = int(random() * 4)
    if kind < 2:
        (b,) = story.tell((people.HAS_MORE, people.HAS_FEWER)[kind], "")
    elif kind == 2:
        (b,) = story.tell(people.HAS_TIMES, "~")
    else:
        (b,) = story.tell(people.HAS_PART, choose(random, ("=twice", "=half")))
    formula = f"[{a}{'+-**'[kind]}{b}]"
    if random() < 0.4:
        return story.asks(people.TOGETHER, f"({a}+{formula})")
    return story.asks(people.HOW_MANY_HAS_B, formula)


def groups(random: Random) -> Problem:
    """Groups of the same size, then changes."""
    story, kind = Story(random), random()
    if kind < 0.15:
        (a,) = story.tell(groups_of.DAILY, "")
        formula = f"[{a}*7]"
    else:
        a, b = story.tell(groups_of.GROUPS, "~", "") if kind < 0.65 else story.tell(groups_of.SIZE_FIRST, "", "~")
        formula = f"[{a}*{b}]"
    more = random()
    if more < 0.2:
        (c,) = story.tell(groups_of.ALSO_HAS, "")
        return story.asks(groups_of.IN_ALL, f"({formula}+{c})")
    if more < 0.55:
        formula, took = events(story, formula, words.GAINS, words.LOSES, count(random, 1) if random() < 0.3 else 1)
        return story.asks(words.IS_LEFT if took else groups_of.IN_ALL, formula)
    if more < 0.65:
        (c,) = story.tell(groups_of.SHARES, "~")
        return story.asks(groups_of.SHARE_OF_EACH, f"[{formula}/{c}]")
    return story.asks(groups_of.IN_ALL, formula)


def had_then_groups(random: Random) -> Problem:
    story = Story(random)
    (a,) = story.tell(words.HAS, "")
    b, c = story.tell(groups_of.GAINS_GROUPS, "~", "")
    return story.asks(words.HAS_NOW, f"[{a}+[{b}*{c}]]")


def shared(random: Random) -> Problem:
    """Things are divided: into a number of parts, or into parts of a size."""
    story = Story(random)
    (formula,) = story.tell(words.HAS, "")
    formula, _ = events(story, formula, words.GAINS, words.LOSES, int(random() * 2.4))
    told, asked = choose(random, DIVISIONS)
    (n,) = story.tell(told, "~")
    return story.asks(asked, f"[{formula}/{n}]")


def prices(random: Random) -> Problem:
    """What several things cost."""
    story, kind = Story(random), random()
    if kind < 0.35:
        (a,) = story.tell(money.COSTS, "$")
        (b,) = story.tell(money.BUYS, "~")
        return story.asks(money.PAYS, f"[{a}*{b}]")
    if kind < 0.6:
        a, b = story.tell(money.BOUGHT_EACH, "~", "$")
        if random() < 0.5:
            return story.asks(money.PAYS, f"[{a}*{b}]")
        (c,) = story.tell(money.COSTS_TOO, "$")
        story.told.append("<A.he> [buys|bought|takes|took] that too.")
        return story.asks(money.PAYS, f"([{a}*{b}]+{c})")
    (a,) = story.tell(money.COSTS, "$")
    (b,) = story.tell(money.COSTS_TOO, "$")
    if kind < 0.8:
        story.told.append("<A> [buys|bought|takes|needs] both[ of them|].")
        return story.asks(money.PAYS, f"({a}+{b})")
    letter, hole = story.number("~")
    other, other_hole = story.number("~")
    story.told.append(f"<A> [buys|bought|needs] {hole} <s>s and {other_hole} <s2>s.")
    return story.asks(money.PAYS, f"([{a}*{letter}]+[{b}*{other}])")


def purse(random: Random) -> Problem:
    story = Story(random)
    (formula,) = story.tell(money.HAS_MONEY, "$")
    kind = random()
    if kind < 0.7:
        formula, took = events(story, formula, money.EARNS, money.SPENDS, count(random), "$")
        return story.asks(money.MONEY_LEFT if took else money.MONEY_NOW, formula)
    b, c = story.tell(money.BOUGHT_EACH, "~", "$")
    formula = f"[{formula}-[{b}*{c}]]"
    formula, _ = events(story, formula, money.EARNS, money.SPENDS, int(random() * 1.3), "$")
    return story.asks(money.MONEY_LEFT, formula)


def missing_money(random: Random) -> Problem:
    story = Story(random)
    a, b = story.tell(money.WANTS, "$", "$")
    formula = f"({a}-{b})"
    if random() < 0.4:
        (c,) = story.tell(money.EARNS, "$")
        formula = f"({formula}-{c})"
    return story.asks(money.STILL_NEEDS, formula)


def rates(random: Random) -> Problem:
    """So much an hour, for so many hours; or for a week, an hour, a year, without saying how much that is."""
    story, kind = Story(random), random()
    sentence = story.pick(measures.RATES)
    letter, hole = story.number("")
    period = choose(random, PERIODS)
    question = None
    if kind < 0.35:
        question, period, many = story.pick(measures.WHOLE_TIMES)
        formula = f"({letter}*{many})"
    story.told.append(sentence.replace("{}", hole).replace("{p}", period))
    if question:
        return story.ends(question, formula)
    other, other_hole = story.number("~")
    if kind < 0.7:
        return story.ends(story.pick(measures.FOR_TIME).replace("{}", other_hole).replace("{p}", period), f"({letter}*{other})")
    formula = f"[{letter}*{other}]"
    story.told.append(story.pick(measures.DOES_SO).replace("{}", other_hole).replace("{p}", period))
    if random() < 0.3:
        (c,) = story.tell(measures.MORE_OF_IT, "")
        formula = f"[{formula}+{c}]"
    return story.asks(measures.HOW_FAR, formula)


def lengths(random: Random) -> Problem:
    story = Story(random)
    (formula,) = story.tell(measures.LONG, "$")
    formula, cut = events(story, formula, measures.ADDS_ON, measures.CUTS_OFF, int(random() * 2.5), "$")
    if formula == "a" or random() < 0.4:
        (n,) = story.tell(measures.CUT_EQUAL, "~")
        return story.asks(measures.LONG_EACH, f"[{formula}/{n}]")
    return story.asks(measures.LONG_REST if cut else measures.LONG_NOW, formula)


def ages(random: Random) -> Problem:
    story = Story(random)
    (a,) = story.tell(measures.AGE, "@")
    kind = int(random() * 6)
    if kind < 2:
        letter, hole = story.number("~")
        return story.ends(story.pick((measures.AGE_IN, measures.AGE_AGO)[kind]).replace("{}", hole), f"({a}{'+-'[kind]}{letter})")
    table = (measures.OLDER, measures.YOUNGER, measures.TIMES_OLD, measures.PART_OLD)[kind - 2]
    (b,) = story.tell(table, "~" if kind < 5 else choose(random, ("=twice", "=half")))
    formula = f"[{a}{'+-**'[kind - 2]}{b}]"
    if random() < 0.35:
        letter, hole = story.number("~")
        return story.ends(story.pick(measures.AGE_B_IN).replace("{}", hole), f"({formula}+{letter})")
    return story.asks(measures.AGE_OF_B, formula)


def percents(random: Random) -> Problem:
    """`a` percent are `a` hundredths: the product divided by 100."""
    story, kind = Story(random), random()
    if kind < 0.35:
        (a,) = story.tell(words.HAS, "")
        (p,) = story.tell(measures.PERCENT_RED, "%")
        return story.asks(measures.HOW_MANY_RED, f"([{a}*{p}]/100)")
    if kind < 0.65:
        (a,) = story.tell(words.HAS, "")
        (p,) = story.tell(measures.PERCENT_GONE, "%")
        return story.asks(words.IS_LEFT, f"({a}-([{a}*{p}]/100))")
    (a,) = story.tell(money.COSTS, "$")
    less = random() < 0.5
    (p,) = story.tell(measures.CHEAPER if less else measures.DEARER, "%")
    return story.asks(measures.NEW_PRICE, f"({a}{'-' if less else '+'}([{a}*{p}]/100))")


def unknown(random: Random) -> Problem:
    """The beginning or the change is what is asked."""
    story, kind = Story(random), int(random() * 4)
    if kind < 2:
        story.tell(words.UNKNOWN_BEFORE_GAIN)
        gained = kind == 0
        (b,) = story.tell(words.GAINS if gained else words.LOSES, "")
        (c,) = story.tell(words.NOW_HAS if gained else words.LEFT_WITH, "")
        return story.asks(words.AT_FIRST, f"({c}{'-' if gained else '+'}{b})")
    (a,) = story.tell(words.HAS, "")
    gained = kind == 2
    story.tell(words.GAINED_SOME if gained else words.LOST_SOME)
    (b,) = story.tell(words.NOW_HAS if gained else words.LEFT_WITH, "")
    return story.asks(words.HOW_MANY_CAME if gained else words.HOW_MANY_WENT, f"({b}-{a})" if gained else f"({a}-{b})")


def scene(random: Random) -> Problem:
    """A problem of fixed shape, and one of its questions."""
    story, (name, scenes) = Story(random), choose(random, SCENES)
    told, question, formula = scene_of(story, scenes, name)
    story.told += told
    return story.ends(question, formula)


def chain(random: Random) -> Problem:
    """A quantity, perhaps changed, and at last something done with it: up to three operations."""
    story, kind = Story(random), random()
    if kind < 0.35:
        (formula,) = story.tell(words.HAS, "")
    elif kind < 0.6:
        a, b = story.tell(chains.STOCKS, "", "")
        formula = f"({a}+{b})"
    elif kind < 0.75:
        a, b = story.tell(chains.DIMINISHED, "", "")
        formula = f"[{a}-{b}]"
    else:
        a, b = story.tell(groups_of.GROUPS, "~", "")
        formula = f"[{a}*{b}]"
    formula, took = events(story, formula, words.GAINS, words.LOSES, int(random() * (2.2 if kind < 0.35 else 1.6)))
    if kind >= 0.35 and random() < 0.4:
        return story.asks(words.IS_LEFT if took else words.HAS_NOW, formula)
    told, question, closing = scene_of(story, CLOSINGS, "CLOSING")
    letter, _ = story.number()
    story.told += [line.replace("{n", "{" + letter) for line in told]
    return story.ends(question, closing.replace("n", letter).replace("F", formula))


DIVISIONS = (
    (groups_of.SHARES, groups_of.SHARE_OF_EACH), (groups_of.SHARES, groups_of.SHARE_OF_EACH), (groups_of.DIVIDES, groups_of.IN_EACH_PART),
    (groups_of.PACKS, groups_of.HOW_MANY_PACKS), (groups_of.PORTIONS, groups_of.HOW_MANY_PEOPLE),
    (groups_of.BUNDLES, groups_of.HOW_MANY_BUNDLES),
)  # fmt: skip
SCENES = (("PARTS", PARTS), ("COMPARED", COMPARED), ("GROUPED", GROUPED), ("PAID", PAID), ("WAYS", WAYS), ("TIMES", TIMES))
FAMILIES: tuple[tuple[Callable[[Random], Problem], float], ...] = (
    (possessions, 0.2), (half_of_them, 0.1), (told_backwards, 0.04), (at_a_place, 0.08), (together, 0.07), (difference, 0.05),
    (compared, 0.08), (groups, 0.1), (had_then_groups, 0.03), (shared, 0.08), (prices, 0.06), (purse, 0.05), (missing_money, 0.02),
    (rates, 0.12), (lengths, 0.03), (ages, 0.05), (percents, 0.08), (unknown, 0.05), (scene, 0.3), (chain, 0.1),
)  # fmt: skip
_SHARES = tuple(itertools.accumulate(weight for _, weight in FAMILIES))


def compose(random: Random) -> Problem:
    """A random template. Its alternatives and slots are still open: filling them gives many texts."""
    return FAMILIES[bisect.bisect(_SHARES, random() * _SHARES[-1], hi=len(FAMILIES) - 1)][0](random)
