"""Stories: casts a plot with people of the village and writes it. Who likes what,
lives where and owns which pet is as the world's tables say.

story(random)                    five to twelve sentences about anybody
story(random, about="Mila")      with Mila as its hero
story(random, short=True)        only what the plot cannot do without: an answer in a conversation
"""

import functools

from nanochat.data import corpus_adventures, corpus_plots
from nanochat.data.corpus_facts import FACTS, ask
from nanochat.data.corpus_grammar import Random, choose, fill, polish, sample
from nanochat.data.corpus_nature import MIX
from nanochat.data.corpus_relations import PREPOSITIONS
from nanochat.data.corpus_world import ANIMAL, CHILDREN, COLORS, DAYS, PEOPLE, PERSON, PLACES, SEASONS, Person, animal_slots, person_slots

PLOTS = corpus_plots.PLOTS + corpus_adventures.ADVENTURES
THINGS = ("hat", "key", "scarf", "book", "basket", "ring", "ball", "umbrella", "cup", "drum", "bag", "lamp", "flute", "pen", "spoon")
BEASTS = {"bird": "worms", "rabbit": "carrots", "mouse": "seeds", "duck": "plants", "frog": "flies", "hen": "seeds", "goat": "leaves"}
SPOTS = (
    "under a bench",
    "behind a tree",
    "beside the path",
    "between two stones",
    "in the tall grass",
    "under some leaves",
    "near the gate",
    "behind an old box",
)
OUTSIDE = [
    p
    for p in PLACES
    if p.name in ("the forest", "the lake", "the hill", "the bridge", "the market", "the harbor", "the garden", "the mill")
]
HOUSES = [p for p in PLACES if p.door]


def plots_for(person: Person) -> list[corpus_plots.Plot]:
    """The plots in which a person can be the hero."""
    return [plot for plot in PLOTS if _fits(person, plot)]


def _fits(person: Person, plot: corpus_plots.Plot) -> bool:
    child = person.name in CHILDREN
    rules = {"pet": bool(person.pet), "child": child, "grown": not child}
    return all(rules.get(need, need != f"not {person.name}") for need in plot.needs)


@functools.cache
def _heroes(plot: corpus_plots.Plot) -> tuple[Person, ...]:
    return tuple(p for p in PEOPLE if _fits(p, plot))


def _other(random: Random, plot: corpus_plots.Plot, *taken: str) -> Person:
    """Somebody who is not in the story yet."""
    while True:
        person = choose(random, PEOPLE)
        if person.name not in taken and f"not {person.name}" not in plot.needs:
            return person


def _cast(random: Random, plot: corpus_plots.Plot, hero: Person) -> dict[str, str]:
    """Everybody and everything a plot may mention."""
    friend = PERSON[hero.friend]
    if random() < 0.5 or f"not {friend.name}" in plot.needs:
        friend = _other(random, plot, hero.name)
    third = _other(random, plot, hero.name, friend.name)
    place, house = choose(random, OUTSIDE), choose(random, HOUSES)
    beast = choose(random, tuple(BEASTS))
    spots = sample(random, SPOTS, 3)
    kid = choose(random, [k for k in CHILDREN if k not in (hero.name, friend.name)] or CHILDREN)
    slots = {
        **person_slots("A", hero),
        **person_slots("B", friend),
        **person_slots("C", third),
        "K": kid,
        "T": choose(random, THINGS),
        "c": choose(random, COLORS),
        "day": choose(random, DAYS),
        "season": choose(random, SEASONS),
        "L": place.name,
        "at": PREPOSITIONS.get(place.name, "at"),
        "W": house.name,
        "W.where": house.where,
        "W.there": house.there,
        "W.door": house.door,
        "beast": beast,
        "beast.food": BEASTS[beast],
        "job": third.job,
        "spot": spots[0],
        "spot2": spots[1],
        "spot3": spots[2],
        **plot.slots,
    }
    if hero.pet:
        slots |= animal_slots("P", ANIMAL[hero.pet])
    return slots


def _lesson_slots(random: Random) -> dict[str, str]:
    """Three questions of a school lesson with their answers."""
    slots = {}
    for i in "123":
        question = ask(random, choose(random, FACTS), direct=True)
        slots |= {f"q{i}": question.text, f"a{i}": question.answer}
    return slots


def _mixing(color: str) -> str:
    """How to get a color of paint from others."""
    for fact in FACTS:
        if fact.relation is MIX and fact.value == color:
            return f"but a painter can mix colors. If you mix {fact.subject}, you get {color}."
    return f"and look, here is still some {color} in this old pot."


def story(random: Random, about: str = "", short: bool = False) -> str:
    """A story, one paragraph. `about`: the name of its hero; `short`: without the lines that may be left out."""
    if about:
        plot, hero = choose(random, plots_for(PERSON[about])), PERSON[about]
    else:
        plot = choose(random, PLOTS)
        hero = choose(random, _heroes(plot))
    slots = _cast(random, plot, hero)
    if "<q1>" in plot.text:
        slots |= _lesson_slots(random)
    if "<mix>" in plot.text:
        slots["mix"] = _mixing(slots["W.door"])
    lines = [line.lstrip("? ") for line in plot.lines() if not line.startswith("?") or (not short and random() < 0.6)]
    return polish(" ".join(fill(line, random, slots) for line in lines))
