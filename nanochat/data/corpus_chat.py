"""Conversations of one to three turns: who the assistant is, questions about the world, stories, small talk, numbers that mean nothing.

    conversation(random, "val")   {"messages": [...], "kind": "world", "value": "black"}

`value`, where there is one, is what the last answer must contain to be right. The wording of a question is in one split only: a question
of a validation conversation was never asked in a training conversation. (Greetings and thanks have too few wordings for that.)
"""

import re
from collections.abc import Callable

from nanochat.data.corpus_facts import FACTS, Question, ask, check, state
from nanochat.data.corpus_grammar import Random, choose, fill, listing, polish, sample
from nanochat.data.corpus_manners import FEW_FORMS, MANNERS, OUTSIDE, SELF, STRANGERS, TALK, TOPICS, UNKNOWN
from nanochat.data.corpus_nature import PLURALS
from nanochat.data.corpus_relations import ANIMAL_COLOR, FAVORITE_COLOR, HOBBY, JOB, KIND, NEAR, SCHOOL, WHERE
from nanochat.data.corpus_stories import THINGS, story
from nanochat.data.corpus_texts import facts_of
from nanochat.data.corpus_world import ANIMAL, ANIMALS, ASSISTANT, COLORS, DAYS, PEOPLE, PERSON, PLACE, PLACES, animal_slots, person_slots

Turn = tuple[str, str, str]  # what the user says, what the assistant answers, the value the answer must contain or ""
TRIES = 200


class NoWording(Exception):
    """No wording of a question was found that belongs to the split."""


def manners(random: Random, side: Callable[[str], bool], topics: tuple[str, ...]) -> Turn:
    """A turn about the assistant itself, or a polite one."""
    topic = choose(random, topics)
    said, answer = TOPICS[topic]
    person = choose(random, PEOPLE).name
    slots = {
        "guest": choose(random, STRANGERS) if random() < 0.7 else person,
        "outside": choose(random, OUTSIDE),
        "stranger": choose(random, STRANGERS),
        "person": person,
        "lonely": choose(random, [p.name for p in PEOPLE if not p.pet]),
    }

    def wording() -> str:
        return polish(fill(said, random, slots))

    user = wording() if topic in FEW_FORMS or topic == "my name" else _on_side(wording, side)
    value = slots["guest"] if topic == "my name" else ""
    return _casual(random, user), polish(fill(answer, random, slots)).strip(), value


def _on_side(wording: Callable[[], str], side: Callable[[str], bool]) -> str:
    for _ in range(TRIES):
        text = wording()
        if side(plain(text)):
            return text
    raise NoWording(text)


def plain(text: str) -> str:
    """A wording without case and punctuation: two that differ only in these are one."""
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text.lower()).split())


def _casual(random: Random, text: str) -> str:
    """As people type: sometimes without the mark at the end or the first capital."""
    draw = random()
    if draw < 0.08:
        text = text.rstrip("?.!")
    if draw < 0.04 or draw > 0.97:
        text = text[0].lower() + text[1:]
    return text


def question(random: Random, side: Callable[[str], bool], fact=None, pronoun: bool = False) -> Turn:
    """A question about a fact; a few are to be answered with yes or no."""
    fact = fact or choose(random, FACTS)

    def wording() -> Question:
        yes_no = None if pronoun or random() > 0.15 else check(random, fact)
        return yes_no or ask(random, fact, pronoun)

    for _ in range(TRIES):
        found = wording()
        if side(plain(found.text)):
            return _casual(random, found.text), found.answer, found.value
    raise NoWording(found.text)


ABOUT = (
    "tell me about <S>.", "who is <S>?", "who is <S>?", "what do you know about <S>?", "please tell me about <S>.",
    "can you tell me about <S>?", "tell me something about <S>.", "I want to know more about <S>.",
    "what can you say about <S>?", "do you know <S>?", "have you heard of <S>?", "give me some facts about <S>.",
    "I would like to hear about <S>.",
    "tell me more about <S>.", "what should I know about <S>?", "let us talk about <S>.",
)  # fmt: skip

INTRODUCED = (JOB, SCHOOL, NEAR, KIND, ANIMAL_COLOR, WHERE)  # what the first sentence about somebody says already


def about(random: Random, side: Callable[[str], bool]) -> Turn:
    """Some sentences about one entity."""
    topic = choose(random, PEOPLE).name if random() < 0.5 else choose(random, ANIMALS + PLACES).name
    forms = [form for form in ABOUT if topic in PERSON or not form.startswith("who")]
    user = _on_side(lambda: polish(fill("<hail>" + choose(random, forms), random, {"S": topic})), side)
    facts = sample(random, [f for f in facts_of(topic) if f.relation not in INTRODUCED], 1 if random() < 0.5 else 2)
    answer = " ".join([_introduction(random, topic), *(state(random, fact, pronoun=True) for fact in facts)])
    return _casual(random, user), answer, topic


def _introduction(random: Random, name: str) -> str:
    """The first thing to say about a person, an animal or a place."""
    if name in PERSON:
        return polish(fill("<A> is <A.role>[| and lives near <A.near>].", random, person_slots("A", PERSON[name])))
    if name in ANIMAL:
        return polish(fill("<P> is a [|<P.size> ]<P.color> <P.kind>[| and belongs to <P.owner>].", random, animal_slots("P", ANIMAL[name])))
    return polish(f"{name} is {PLACE[name].where}.")


STORY_REQUESTS = (
    "[tell me|can you tell me|please tell me|could you tell me|I would like to hear|I want to hear|tell us|do you know|write|please "
    "write|can you write] a [|short |nice |little |good |new ]story"
    "[ about <S>| about <S>| with <S>]<end>"
)


def tale(random: Random, side: Callable[[str], bool]) -> Turn:
    """A story on demand, about a person, about an animal, or about anybody."""
    draw = random()
    about, named = ("", "") if draw < 0.25 else (choose(random, PEOPLE).name,) * 2
    if draw > 0.75:
        animal = choose(random, ANIMALS)
        about, named = animal.owner, f"{animal.owner} and {animal.name}" if random() < 0.5 else animal.name
    for _ in range(TRIES):
        text = story(random, about, short=True)
        if len(text) < 700 and (not named or named.split()[-1] in text):
            break

    def wording() -> str:
        request = fill("<hail>" + STORY_REQUESTS, random, {"S": named, "end": ""})
        request = request if named else re.sub(r" (about|with) ?$", "", request.rstrip())
        return polish(request + ("?" if re.search(r"\b(can|could|do) you\b", request.lower()) else "."))

    return _casual(random, _on_side(wording, side)), text, ""


GROUPS = {
    NEAR: ("[who lives <V>|which people live <V>|whose house is <V>]", "<L> live <V>."),
    FAVORITE_COLOR: (
        "[who likes the color <V>|which people like the color <V> best|whose favorite color is <V>]",
        "<L> like the color <V> best.",
    ),
    HOBBY: ("[who enjoys <V>|which people enjoy <V>|who likes <V>]", "<L> enjoy <V>."),
}


def group(random: Random, side: Callable[[str], bool]) -> Turn:
    """A question with several people as its answer."""
    relation = choose(random, tuple(GROUPS))
    people: dict[str, list[str]] = {}
    for fact in FACTS:
        if fact.relation is relation:
            people.setdefault(fact.value, []).append(fact.subject)
    value = choose(random, [v for v, names in people.items() if len(names) > 1])
    asked, answer = GROUPS[relation]
    user = _on_side(lambda: polish(fill("<opening>" + asked + "?", random, {"V": value})), side)
    return user, polish(fill(answer, random, {"V": value, "L": listing(people[value])})), people[value][0]


# numbers in the question that the answer has nothing to do with: (situation, question, answer, value)
SITUATIONS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("<A> has <n> <c> <things>.", (
        ("what color are the <things>", "[they are <c>.|the <things> are <c>.]", "c"),
        ("who has the <things>", "[<A> has them.|<A> has the <things>.]", "A"),
        ("what does <A> have", "<A> has <c> <things>.", "things"))),
    ("<A> bought <n> <c> <things> [at the market|on <day>|for <k> coins].", (
        ("who bought the <things>", "<A> bought [them|the <things>].", "A"), ("what did <A> buy", "<A> bought <c> <things>.", "things"),
        ("what color are the <things>", "[they are <c>.|the <things> are <c>.]", "c"))),
    ("there are <n> <things> [near|behind] <L>.", (
        ("where are the <things>", "the <things> are <L.p>.", "L"), ("what is <L.p>", "there are <things> <L.p>.", "things"))),
    ("<A> is <n> years old, and <B> is <m> years old. <A> likes <things>.", (
        ("who likes <things>", "<A> likes <things>.", "A"), ("what does <A> like", "<A> likes <things>.", "things"))),
    ("<A> gave <n> <things> to <B> on <day>.", (
        ("who got the <things>", "<B> got [them|the <things>].", "B"), ("who gave the <things> away", "<A> gave them away.", "A"),
        ("when did that happen", "it happened on <day>.", "day"))),
    ("<A> walked <n> miles to <L> with <B>.", (
        ("where did they go", "they went to <L>.", "L"), ("who went with <A>", "<B> went with <A>.", "B"))),
    ("on <day>, <A> saw <n> <beasts> and <k> <things>.", (
        ("when was that", "it was on <day>.", "day"), ("who saw the <beasts>", "<A> saw [them|the <beasts>].", "A"),
        ("which animals did <A> see", "<A> saw <beasts>.", "beasts"))),
    ("the <c> box costs <n> coins and the <c2> box costs <k> coins. <A> takes the <c> box.", (
        ("which box does <A> take", "<A> takes the <c> box.", "c"), ("who takes the <c> box", "<A> takes the <c> box.", "A"))),
)  # fmt: skip


def numbers(random: Random, side: Callable[[str], bool]) -> Turn:
    """A text with numbers in digits and a question that needs none of them."""
    for _ in range(TRIES):
        turn = _numbers(random)
        if side(plain(turn[0])):
            return turn
    raise NoWording(turn[0])


def _numbers(random: Random) -> Turn:
    one, two = sample(random, PEOPLE, 2)
    colors, place = sample(random, COLORS, 2), choose(random, PLACES)
    slots = {
        "A": one.name,
        "B": two.name,
        "c": colors[0],
        "c2": colors[1],
        "things": f"{choose(random, THINGS)}s".replace("scarfs", "scarves"),
        "day": choose(random, DAYS),
        "n": str(2 + int(random() * 98)),
        "m": str(2 + int(random() * 98)),
        "k": str(2 + int(random() * 398)),
        "L": place.name,
        "beasts": choose(random, tuple(PLURALS.values())),
    }
    situation, questions = choose(random, SITUATIONS)
    asked, answer, value = choose(random, questions)
    text = polish(fill(situation, random, slots))
    slots["L.p"] = ("behind " if " behind " in text else "near ") + place.name
    return polish(f"{text} {fill(asked, random, slots)}?"), polish(fill(answer, random, slots)), slots[value]


def visit(random: Random, side: Callable[[str], bool]) -> str:
    """A document: somebody talks with the assistant about itself, politely, in two to four turns."""
    name, told = choose(random, PEOPLE).name, []
    for i in range(2 + int(random() * 3)):
        user, answer, _ = manners(random, side, choose(random, (SELF, SELF, ("thanks", "praise", "bye"), TALK, UNKNOWN)))
        user = user[0].upper() + user[1:] + ("" if user[-1] in ".?!" else ".")
        asked = "asked" if user.endswith("?") else "said"
        told.append(f'{name} {asked}, "{user}"' if random() < 0.5 or i == 0 else f'"{user}"')
        told.append(f'{ASSISTANT} answered, "{answer}"' if random() < 0.5 else f'"{answer}"')
    return " ".join(told)


def _one(kind: str) -> Callable:
    topics = {"self": SELF, "manners": MANNERS, "talk": TALK, "unknown": UNKNOWN}
    single = {"world": question, "about": about, "tale": tale, "group": group, "numbers": numbers}
    return single[kind] if kind in single else lambda random, side: manners(random, side, topics[kind])


IDENTITY_KINDS = {"self": 0.5, "manners": 0.3, "unknown": 0.2}
ALL_KINDS = {
    "world": 0.56,
    "about": 0.06,
    "tale": 0.08,
    "group": 0.02,
    "numbers": 0.08,
    "self": 0.08,
    "manners": 0.03,
    "talk": 0.03,
    "unknown": 0.06,
}


def conversation(random: Random, side: Callable[[str], bool], kinds: dict[str, float]) -> dict:
    """A conversation whose turns are of `kinds` (kind -> share), sometimes framed by a greeting, thanks or a goodbye."""
    while True:
        try:
            turns, kind = _turns(random, side, kinds)
        except NoWording:
            continue
        messages = []
        for user, assistant, _ in turns:
            messages += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
        text = "\n".join(message["content"] for message in messages)
        kept = any(side(plain(user)) for user, _, _ in turns) or side(text)
        if len(text) < 900 and kept:
            return {"messages": messages, "kind": kind, "value": turns[-1][2]}


def _turns(random: Random, side: Callable[[str], bool], kinds: dict[str, float]) -> tuple[list[Turn], str]:
    """The turns of one conversation and the kind of the last."""
    count = 1 if (draw := random()) < 0.5 else 2 if draw < 0.8 else 3
    turns: list[Turn] = []
    kind = ""
    if count > 1 and random() < 0.12:
        turns.append(manners(random, side, ("hello", "how are you", "my name")))
    while len(turns) < count:
        if turns and kind == "world" and random() < 0.5:
            follow = _follow_up(random, side, turns)
            if follow:
                turns.append(follow)
                continue
        kind = _pick(random, kinds)
        turns.append(_one(kind)(random, side))
    if count > 1 and random() < 0.15:
        turns[-1], kind = manners(random, side, ("thanks", "bye", "thanks")), "manners"
    return turns, kind


def _pick(random: Random, kinds: dict[str, float]) -> str:
    draw = random() * sum(kinds.values())
    for kind, share in kinds.items():
        draw -= share
        if draw < 0:
            return kind
    return kind


def _follow_up(random: Random, side: Callable[[str], bool], turns: list[Turn]) -> Turn | None:
    """A question with a pronoun about the person or animal that the turn before spoke of; None if that was about nobody or several."""
    said = re.findall(r"[A-Z][a-z]+", turns[-1][0] + " " + turns[-1][1])
    names = [n for n in dict.fromkeys(said) if n in PERSON or n in ANIMAL]
    if len(names) != 1:
        return None
    return question(random, side, choose(random, facts_of(names[0])), pronoun=True)
