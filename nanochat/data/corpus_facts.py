"""All facts of the embedded corpus, and the ways to state them, ask for them, and get them wrong.

    state(random, fact)           "Inky is black."
    ask(random, fact)             Question("What color is Inky?", "Inky is black.", "black")
    wrong_values(random, ...)     ["green", "white", "brown"]

Texts, conversations and multiple-choice questions are all made from these, so they never disagree.
"""

import functools
from collections import defaultdict
from dataclasses import dataclass

from nanochat.data.corpus_grammar import RULES, Random, choose, fill, polish, sample
from nanochat.data.corpus_nature import MANY, PLURALS, nature_facts
from nanochat.data.corpus_relations import EXTRA_POOLS, Fact, village_facts
from nanochat.data.corpus_world import ANIMALS, COLORS, PEOPLE, PLACES, VILLAGE

VILLAGE_FACTS: tuple[Fact, ...] = tuple(village_facts())
NATURE_FACTS: tuple[Fact, ...] = tuple(nature_facts())
FACTS: tuple[Fact, ...] = VILLAGE_FACTS + NATURE_FACTS

NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve")
TASTES, PROPERTIES = (
    ("sour", "sweet", "salty", "bitter"),
    ("cold", "hot", "hard", "soft", "light", "heavy", "wet", "dry", "smooth", "sharp", "warm"),
)

# values that could both be right for one subject: a question never offers two of them
_ALIKE = """
    grass | hay | leaves | plants | wet grass; seeds | corn | nuts | berries | worms; meat | bones | mice | fish; flies | worms;
    cheese | seeds; carrots | leaves | grass | apples | hay; berries | strawberries | honey | fish;
    hard | heavy | cold | smooth | sharp; hot | warm | dry; soft | light | warm | smooth; wet | cold;
    a barn | a stable | a field | a hen house; a pond | the water; a nest | a hollow tree; a house | a small hole | a kennel;
    a cave | a burrow | a small hole | a hollow tree; near the school | near the library; goat | horse; pigeon | parrot | canary;
    it melts | a snowman melts; flour | milk; stone | glass; leather | wool | wood; dry | light; cold | dry; light | soft | dry;
    iron | gold; dark | black; bright | light; big | high | long | heavy | strong | full;
    small | short | low | slow | weak | young | quiet; hot | sweet | dry; late | old | slow | dark;
    jumping over fences | jumping into puddles; teeth | tongue; cross the water | catch fish; wet | clean; seeds | plants | nectar;
    plants | flies | worms
"""
ALIKE: tuple[frozenset[str], ...] = tuple(frozenset(value.strip() for value in group.split("|")) for group in _ALIKE.split(";"))


@dataclass(frozen=True)
class Question:
    """A question, its answer as a whole sentence, the value in it, and the pool of the values like it."""

    text: str
    answer: str
    value: str
    pool: str
    fact: Fact


@functools.cache
def pools() -> dict[str, tuple[str, ...]]:
    """Pool name -> every value in it, in a fixed order."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for name, values in {
        **EXTRA_POOLS,
        "person": [p.name for p in PEOPLE],
        "animal": [a.name for a in ANIMALS],
        "place": [p.name for p in PLACES],
        "color": COLORS,
        "taste": TASTES,
        "property": PROPERTIES,
    }.items():
        found[name].update(dict.fromkeys(values))
    for fact in FACTS:
        found[fact.relation.pool][fact.value] = None
        if fact.relation.back_pool:
            found[fact.relation.back_pool][fact.subject] = None
    return {name: tuple(values) for name, values in found.items()}


@functools.cache
def _answers() -> dict[tuple[str, str], tuple[str, ...]]:
    """(relation, value) -> subjects: a question from the value back to its subject is asked only where there is one."""
    found = defaultdict(list)
    for fact in FACTS:
        found[fact.relation.name, fact.value].append(fact.subject)
    return {key: tuple(subjects) for key, subjects in found.items()}


def _about(fact: Fact) -> str:
    return fact.relation.name if fact.topic == VILLAGE else fact.subject


@functools.cache
def _true_values() -> dict[tuple[str, str], frozenset[str]]:
    """(subject, pool) -> every value of that pool that is true of the subject by some fact. (The village's facts have a subject each.)"""
    found = defaultdict(set)
    for fact in FACTS:
        found[_about(fact), fact.relation.pool].add(fact.value)
    return {key: frozenset(values) for key, values in found.items()}


def has_back(fact: Fact) -> bool:
    """True if the value points to this subject alone, so that "Who is the baker?" has one answer."""
    return bool(fact.relation.back_ask) and len(_answers()[fact.relation.name, fact.value]) == 1


def wrong_values(random: Random, fact: Fact, value: str, pool: str, n: int) -> list[str]:
    """`n` values of `pool` that are not right and not alike the right one or, as far as possible, one another."""
    if pool == "number":
        _, unit = value.rsplit(" ", 1)
        return [f"{number} {unit}" for number in sample(random, [w for w in NUMBERS if f"{w} {unit}" != value], n)]
    true = _true_values().get((_about(fact), pool), frozenset()) if value == fact.value else {value}
    barred = {value, *true}
    if len(pools()[pool]) > 5:  # the word in the question itself is a poor wrong option, where there are others
        barred.add(fact.subject if value == fact.value else fact.value)
    barred.update(*(group for group in ALIKE if value in group))
    return sample(random, [v for v in pools()[pool] if v not in barred], n)


def state(random: Random, fact: Fact, pronoun: bool = False) -> str:
    """The fact as a sentence. With `pronoun` its subject is "she", "he" or "it" where the fact allows that."""
    relation, pronoun = fact.relation, pronoun and bool(fact.he)
    if not pronoun and relation in MANY and random() < 0.4:
        return polish(fill(MANY[relation] + ".", random, {"Ss": PLURALS[fact.subject], "V": fact.value}))
    template = relation.named if relation.named and not pronoun and random() < 0.35 else relation.state
    return polish(fill(template + ".", random, fact.slots(pronoun)))


def ask(random: Random, fact: Fact, pronoun: bool = False, back: bool | None = None, direct: bool | None = None) -> Question:
    """A question about the fact in one of its many forms.

    pronoun: the subject was named before ("What is her job?"). back: ask from the value ("Who is the baker?"); default: sometimes,
    where it has one answer. direct: only plain questions (True), or also "Can you tell me what ...?" (default).
    """
    relation, slots = fact.relation, fact.slots(pronoun and bool(fact.he))
    if back is None:
        back = has_back(fact) and not pronoun and random() < 0.3
    question, clause, answer = (
        (relation.back_ask, relation.back_wonder, relation.back_answer)
        if back
        else (relation.ask, relation.wonder, relation.answer or relation.state)
    )
    form = "<ask>?" if direct or random() < 0.45 else choose(random, LATER_FORMS if pronoun else FORMS)
    parts = {"ask": fill(question, random, slots)} if "<ask>" in form else {"wonder": fill(clause, random, slots)}
    value, pool = (fact.subject, relation.back_pool) if back else (fact.value, relation.pool)
    return Question(polish(fill(form, random, parts)), polish(fill(answer + ".", random, slots)), value, pool, fact)


def check(random: Random, fact: Fact) -> Question | None:
    """A yes/no question with a whole-sentence answer, None if the fact has none."""
    relation = fact.relation
    if not relation.check:
        return None
    right = random() < 0.5
    wrong = "" if right else wrong_values(random, fact, fact.value, relation.pool, 1)[0]
    slots = fact.slots(wrong=wrong)
    form = choose(random, ("<ask>?", "<ask>?", "<ask>?", "please tell me: <ask>?", "tell me, <ask>?", "I wonder: <ask>?"))
    asked = fill(relation.check, random, slots if right else {**slots, "V": wrong})
    yes = fill(relation.answer or relation.state, random, slots) + "."
    answer = f"yes, {yes}" if right else choose(random, (f"no, {fill(relation.deny, random, slots)}. {yes}", f"no. {yes}"))
    return Question(polish(fill(form, random, {"ask": asked})), polish(answer), fact.value, relation.pool, fact)


FORMS = (
    "can you tell me <wonder>?", "do you know <wonder>?", "tell me <wonder>.", "please tell me <wonder>.", "I want to know <wonder>.",
    "I wonder <wonder>.", "could you tell me <wonder>?", "I would like to know <wonder>.", "I forgot <wonder>.",
    "do you remember <wonder>?",
    "<hey>, <ask>?", "please tell me: <ask>?", "I have a question: <ask>?", "<hey>, can you tell me <wonder>?",
    "<hey>, do you know <wonder>?",
    "<ask>? Please tell me.", "<ask>, please?", "a question: <ask>?", "<hey>! <ask>?", "please help me: <ask>?",
    "I need to know <wonder>. Can you help me?",
)  # fmt: skip
LATER_FORMS = tuple(form for form in FORMS if "<hey>" not in form)  # in the middle of a talk nobody says hello
RULES["hey"] = "[hello|hi|Abacus|hello Abacus|hi Abacus|excuse me|dear Abacus]"
