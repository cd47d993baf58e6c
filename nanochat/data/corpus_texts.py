"""Texts that are not stories: portraits of people, animals and places, comparisons, questions answered in a dialogue, explanations.

Each function writes one document (one paragraph). All they say comes from the facts, so a reader meets every fact in many places.
"""

import functools

from nanochat.data.corpus_facts import FACTS, NATURE_FACTS, VILLAGE_FACTS, ask, check, has_back, state
from nanochat.data.corpus_grammar import Random, choose, fill, listing, polish, sample
from nanochat.data.corpus_nature import NEXT_DAY, NEXT_SEASON
from nanochat.data.corpus_relations import FAVORITE_COLOR, FAVORITE_FOOD, HOBBY, Fact
from nanochat.data.corpus_world import (
    ANIMALS,
    ASSISTANT,
    CHILDREN,
    DAYS,
    PEOPLE,
    PERSON,
    PLACES,
    RIVER,
    SEASONS,
    VILLAGE,
    animal_slots,
    person_slots,
)


@functools.cache
def facts_of(topic: str) -> tuple[Fact, ...]:
    """The facts about one entity, or of one theme."""
    return tuple(f for f in FACTS if f.topic == topic)


@functools.cache
def facts_around(name: str) -> tuple[Fact, ...]:
    """The facts of an animal or place, and those of people that name it."""
    return facts_of(name) + tuple(f for f in FACTS if f.value in (name, f"near {name}"))


# what a teacher talks about: what holds everywhere, and the village itself; a theme is as frequent as it has facts
TAUGHT: tuple[Fact, ...] = NATURE_FACTS + 3 * facts_of(VILLAGE)


PERSON_OPENINGS = (
    "this is <A>.", "let me tell you about <A>.", "do you know <A>?", "in <village> there lives a <A.kind> called <A>.",
    "<A> is a <A.kind> from <village>.",
    "<A> lives in <village>.", "everybody in <village> knows <A>.", "<A> is <A.role>.", "<A>, <A.role>, has a pet called <A.pet>.",
    "<A> is <A.role> and lives near <A.near>.", "<A>, <A.role>, loves <A.food> and the color <A.color>.", "near <A.near> lives <A.title>.",
    "<A> lives near <A.near> and works at <A.work>.", "if you walk to <A.work>, you will meet <A>, <A.role>.",
)  # fmt: skip
PERSON_ENDINGS = (
    "", "", "", "everybody likes <A>.", "people are glad that <A> lives in <village>.",
    "<A> is never alone, because <A.friend> comes to visit <A.him>.",
    "if you meet <A>, say hello to <A.him>.", "and when the day is over, <A> enjoys <A.hobby>.",
    "when <A> is hungry, <A.he> eats <A.food>.",
    "that is why <A.he> often wears <A.color> clothes.", "<A.friend> says that there is no better friend than <A>.",
    "that is all I know about <A>.",
    "<A> says that <A.food> and <A.hobby> are the best things in the world.",
    "you can visit <A.him> near <A.near>, or meet <A.him> while <A.he> enjoys <A.hobby>.",
)  # fmt: skip
ANIMAL_OPENINGS = (
    "this is <P>.", "<P> is a <P.kind>.", "<P> is a <P.size> <P.color> <P.kind>.", "<P.owner> has a <P.size> <P.kind> called <P>.",
    "let me tell you about <P> the <P.kind>.",
    "do you know <P>, the <P.kind> of <P.owner>?", "<P> the <P.kind> belongs to <P.owner>.",
    "one of the animals in <village> is <P>, a <P.color> <P.kind>.",
    "<P.owner> takes good care of a <P.color> <P.kind>. the name of the <P.kind> is <P>.",
    "the <P.kind> of <P.owner> is called <P> and sleeps <P.bed>.",
)  # fmt: skip
ANIMAL_ENDINGS = (
    "", "", "", "<P> and <P.owner> are always together.", "<P.owner> would never give <P> away.",
    "after a long day of <P.likes>, <P> sleeps <P.bed>.",
    "if you bring <P.food>, <P> will be your friend.", "<P> is happy with <P.owner>.", "now you know <P>, the <P.color> <P.kind>.",
    "who would not like such a <P.kind>?",
    "<P> likes <P.likes>, but <P.he> likes <P.food> even more.", "when <P.owner> comes home, <P> is waiting <P.bed>.",
)  # fmt: skip
PLACE_OPENINGS = (
    "<village> has many places, and one of them is <L>.", "let us visit <L>.", "do you know <L>?", "today we walk to <L>.",
    "every child in <village> knows <L>.",
    "come with me to <L>.", "<L> is <L.where>.", "people often talk about <L>.",
)  # fmt: skip
KNOWN = ("Everyone knows", "It is well known", "As you know", "It is true", "People say")  # links themselves
NAMES = frozenset([p.name for p in PEOPLE] + [a.name for a in ANIMALS] + list(DAYS) + [VILLAGE, ASSISTANT])
LINK = "[||||||also, |besides, |and |one more thing: |you should know that |I can also tell you that |of course, ]"


def _told(random: Random, facts: list[Fact]) -> list[str]:
    """Facts as sentences; told of the same subject as the one before, half of them with a pronoun. Some are asked and answered."""
    sentences, before, pronoun = [], "", False
    for fact in facts:
        if random() < 0.1:
            question = ask(random, fact, direct=True)
            sentences.append(f"{question.text} {question.answer}")
        else:
            pronoun = fact.subject == before and random() < 0.6
            said = state(random, fact, pronoun)
            sentences.append(_linked(fill(LINK, random, {}), said) if sentences else said)
        named = pronoun or fact.subject.lower() in sentences[-1].lower()  # "ducks" is not "a duck", which "it" may stand for
        before = fact.subject if named else ""
    return sentences


def _linked(link: str, sentence: str) -> str:
    """The sentence behind "besides," or the like: its first word loses its capital unless that is a name."""
    if sentence.startswith(KNOWN):
        return sentence
    if not link or sentence.split(" ", 1)[0].rstrip(",").removesuffix("'s").removesuffix("'") in NAMES:
        return link + sentence
    return link + sentence[0].lower() + sentence[1:]


def _person_extra(random: Random, name: str) -> dict[str, str]:
    person = PERSON[name]
    child = name in CHILDREN
    kind = {"she": "girl", "he": "boy"} if child else {"she": "woman", "he": "man"}
    return {**person_slots("A", person), "A.kind": kind[person.he], "A.pet": person.pet}


def portrait(random: Random) -> str:
    """A person, an animal or a place: an opening, some of the facts in any order, an ending."""
    draw = random()
    if draw < 0.38:
        person = choose(random, PEOPLE)
        name, facts, slots, endings = person.name, facts_of(person.name), _person_extra(random, person.name), PERSON_ENDINGS
        openings = PERSON_OPENINGS if person.pet else [o for o in PERSON_OPENINGS if "<A.pet>" not in o]
    elif draw < 0.66:
        animal = choose(random, ANIMALS)
        name, facts, slots, endings = animal.name, facts_around(animal.name), animal_slots("P", animal), ANIMAL_ENDINGS
        openings = ANIMAL_OPENINGS
    else:
        place = choose(random, PLACES)
        name, facts, slots, endings = place.name, facts_around(place.name), {"L": place.name, "L.where": place.where}, ("",)
        openings = PLACE_OPENINGS
    chosen = sample(random, facts, 3 + int(random() * 6))
    own = [f for f in chosen if f.subject == name]
    others = [f for f in chosen if f.subject != name]
    sentences = [fill(choose(random, openings), random, slots), *_told(random, own), *(state(random, f) for f in others)]
    return polish(" ".join([*sentences, fill(choose(random, endings), random, slots)]).strip())


def comparison(random: Random) -> str:
    """What people have in common and what not."""
    relation, verb = choose(random, ((FAVORITE_COLOR, "likes the color"), (FAVORITE_FOOD, "likes"), (HOBBY, "enjoys")))
    facts = sample(random, [f for f in VILLAGE_FACTS if f.relation is relation], 3 + int(random() * 4))
    topic = {FAVORITE_COLOR: "colors", FAVORITE_FOOD: "food", HOBBY: "free time"}[relation]
    sentences = [
        choose(
            random,
            (
                f"people in {VILLAGE} do not all like the same things.",
                f"let us talk about {topic}.",
                f"the people of {VILLAGE} talked about {topic}.",
                f"everybody is different when it comes to {topic}.",
                f"at the market, people were talking about {topic}.",
            ),
        )
    ]
    for one, two in zip(facts[::2], facts[1::2], strict=False):
        a, b = f"{one.subject} {verb} {one.value}", f"{two.subject} {verb} {two.value}"
        if one.value == two.value:
            sentences.append(
                choose(
                    random,
                    (f"{a}, and so does {two.subject}.", f"{a}, and {b} too.", f"both {one.subject} and {two.subject} like {one.value}."),
                )
            )
        else:
            sentences.append(
                choose(
                    random,
                    (f"{a}, but {b}.", f"{a}, and {b}.", f"while {a}, {b}.", f'"{a}," said {two.subject}, "but I like {two.value}."'),
                )
            )
    if len(facts) % 2:
        sentences.append(state(random, facts[-1]))
    names = [f.subject for f in facts]
    sentences.append(
        choose(
            random,
            (
                "",
                f"so {listing(names)} are different, and that is good.",
                "it would be boring if all people were the same.",
                f"who likes {facts[0].value}? {facts[0].subject} does." if has_back(facts[0]) else "",
            ),
        )
    )
    return polish(" ".join(sentences).strip())


def dialogue(random: Random) -> str:
    """Two people ask each other questions; half of the time about one topic."""
    asker, teller = sample(random, [p.name for p in PEOPLE], 2)
    if random() < 0.3:
        teller = ASSISTANT
    topic = choose(random, FACTS).topic
    pool = facts_of(topic) if random() < 0.5 else FACTS
    facts = [f for f in sample(random, pool, 2 + int(random() * 4)) if f.topic not in (asker, teller)] or [choose(random, NATURE_FACTS)]
    place = choose(random, PLACES)
    lines = [
        choose(
            random,
            (
                "",
                "",
                f"{asker} and {teller} met near {place.name}.",
                f"one day, {asker} had some questions for {teller}.",
                f"{asker} likes to ask questions, and {teller} likes to answer them.",
                f"on the way to {place.name}, {asker} met {teller}.",
            ),
        )
    ]
    for i, fact in enumerate(facts):
        question = (check(random, fact) if random() < 0.2 else None) or ask(random, fact, direct=random() < 0.8)
        verb = "asked" if question.text.endswith("?") else "said"
        lines.append(
            choose(
                random,
                (f'"{question.text}" {verb} {asker}.', f'{asker} {verb}, "{question.text}"')
                if i == 0 or random() < 0.5
                else (f'"{question.text}"',),
            )
        )
        answer = question.answer
        lines.append(choose(random, (f'"{answer[:-1]}," said {teller}.', f'{teller} said, "{answer}"', f'"{answer}"')))
    ending = (
        f'"Thank you," said {asker}.',
        f'"Now I know it," said {asker}.',
        "",
        "",
        f'"You know a lot," said {asker}.',
        f'"Ask me again tomorrow," said {teller}.',
    )
    return polish(" ".join([*lines, choose(random, ending)]).strip())


def quiz(random: Random) -> str:
    """Questions and answers without a story around them."""
    facts = [choose(random, FACTS) for _ in range(2 + int(random() * 4))]
    questions = [(check(random, f) if random() < 0.25 else None) or ask(random, f) for f in facts]
    if random() < 0.5:
        return "\n".join(f"Question: {q.text}\nAnswer: {q.answer}" for q in questions)
    return " ".join(f"{q.text} {q.answer}" for q in questions)


def explanation(random: Random) -> str:
    """Some facts of one theme, or of several, as a teacher tells them."""
    theme = choose(random, TAUGHT).topic
    many = theme in ("next day", "next season")
    chosen = sample(random, facts_of(theme) if random() < 0.7 else NATURE_FACTS, 4 + int(random() * 5))
    opening = choose(
        random,
        (
            "",
            "",
            "",
            "Tessa tells the children many things.",
            "here is what the children learn at school.",
            "today we learn something new.",
            "the world is full of things to know.",
            "listen, this is good to know.",
        ),
    )
    if many and random() < 0.5:
        return polish(" ".join([opening, _calendar(random, theme), *(state(random, f) for f in chosen[:3])]).strip())
    return polish(" ".join([opening, *_told(random, chosen)]).strip())


def _calendar(random: Random, theme: str) -> str:
    """The days or the seasons in order."""
    if theme == NEXT_DAY.name:
        start = int(random() * 7)
        days = [DAYS[(start + i) % 7] for i in range(7)]
        return choose(
            random,
            (
                f"the days of the week are {listing(list(DAYS))}.",
                f"if you start on {days[0]}, the days are {listing(days)}.",
                f"a week has seven days: {listing(list(DAYS))}.",
            ),
        )
    assert theme == NEXT_SEASON.name
    return choose(random, (f"the four seasons are {listing(list(SEASONS))}.", f"a year has four seasons: {listing(list(SEASONS))}."))


ABOUT_ASSISTANT = (
    "<abacus> is a [small|little|friendly] helper that [answers questions|talks with people|likes questions].",
    "you can ask <abacus> about the people and animals of <village>.",
    "<abacus> is not a person. it is a computer program.", "<abacus> is good with numbers: it can add, subtract, multiply and divide.",
    "when you ask <abacus> for a story, it tells you one.",
    "<abacus> is polite. it says hello, thank you and goodbye.",
    "<abacus> does not know everything. when it does not know something, it says so.",
    "<abacus> knows the world of <village>, and it knows little about other places.",
    "<abacus> learned to talk by reading many small stories.",
    "the name <abacus> comes from an old tool for counting.", "an abacus is an old tool with little balls, and people use it to count.",
    "<abacus> has no hands and no eyes, but it can read and write.",
    "<abacus> was made by the people of a small project, who wanted a helper that calculates exactly.", "people call the helper <abacus>.",
    "<abacus> never gets tired, and it never sleeps.",
)  # fmt: skip
VISITS = (
    '<once>, <name> asked <abacus>, "Who are you?" "I am <abacus>, a small helper," said <abacus>.',
    '"What can you do?" asked <name>. "I can answer questions, tell stories and calculate," said <abacus>.',
    '"Hello, <abacus>," said <name>. "Hello, <name>. How can I help you?" said <abacus>.',
    '"Are you a person?" asked <name>. "No, I am a computer program," said <abacus>.',
    '"Who made you?" asked <name>. "I was made by the people of a small project," said <abacus>.',
    '"Thank you, <abacus>," said <name>. "You are welcome," said <abacus>.',
)  # fmt: skip


def about_assistant(random: Random) -> str:
    """A paragraph about the assistant itself."""
    slots = {
        "abacus": ASSISTANT,
        "village": VILLAGE,
        "river": RIVER,
        "name": choose(random, PEOPLE).name,
        "season": choose(random, SEASONS),
        "day": choose(random, DAYS),
    }
    lines = sample(random, ABOUT_ASSISTANT, 2 + int(random() * 4)) + sample(random, VISITS, int(random() * 3))
    return polish(" ".join(fill(line, random, slots) for line in lines))
