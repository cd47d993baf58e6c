"""How the facts about the village are said and asked. One `Relation` per attribute of the world's tables.

Slots: `<S>` the subject (a name, or its pronoun), `<S.him>` and `<S's>` its other cases, `<he>`, `<his>` always the pronoun, `<V>` the
value, `<W>` a wrong value, `<unit>` the value's last word, `<at>` the preposition of a place.
`corpus_nature.py` has the relations of the facts that hold everywhere.
"""

from dataclasses import dataclass

from nanochat.data import corpus_grammar
from nanochat.data.corpus_world import ANIMALS, DAYS, PEOPLE, PLACES, PRONOUNS, RIVER, VILLAGE

corpus_grammar.RULES |= {
    "village": VILLAGE,
    "river": RIVER,
    "known": "[everyone knows that|it is well known that|as you know,|it is true that|people say that]",
}
PREPOSITIONS = {"the forest": "in", "the hill": "on", "the bridge": "on", "the theater": "in", "the library": "in"}


@dataclass(frozen=True)
class Relation:
    """Templates of one kind of fact; each is one text with its choices inside.

    state   statements that stay right with a pronoun as subject; `named`: those that need the name
    ask     direct questions; `wonder`: the same as a clause ("what color Inky is"); `answer`: whole sentences
    check   yes/no questions about `<V>`; `deny`: "<S> is not <W>"
    back_*  the question from the value to the subject; asked only where the value has one subject
    pool    name of the set its wrong values come from; `back_pool` for wrong subjects
    """

    name: str
    pool: str
    state: str
    ask: str
    wonder: str
    answer: str = ""  # default: state
    named: str = ""
    check: str = ""
    deny: str = ""
    back_ask: str = ""
    back_wonder: str = ""
    back_answer: str = ""
    back_pool: str = ""


@dataclass(frozen=True)
class Fact:
    """One fact: `subject` as printed, `he` its pronoun ("" if none fits), `value` as printed, `topic` the entity or theme."""

    relation: Relation
    subject: str
    value: str
    he: str
    topic: str

    def slots(self, pronoun: bool = False, wrong: str = "") -> dict[str, str]:
        """The slots of the relation's templates, with the subject's pronoun instead of its name if asked for."""
        he, him, his = PRONOUNS[self.he or "it"]
        possessive = his if pronoun else f"{self.subject}'{'' if self.subject.endswith('s') else 's'}"
        return {"S": he if pronoun else self.subject, "S.him": him if pronoun else self.subject, "S's": possessive, "he": he, "his": his,
                "V": self.value, "W": wrong, "unit": self.value.rsplit(" ", 1)[-1], "at": PREPOSITIONS.get(self.subject, "at")}  # fmt: skip


JOB = Relation(
    "job", "job",
    state="[<S> is a <V>|<S> works as a <V>|<S> has worked as a <V> for many years]",
    named="[the <V> of <village> is <S>|the name of the village <V> is <S>|<known> <S> is the <V> of the village]",
    ask="[what is <S's> job|what does <S> do for work|what work does <S> do]",
    wonder="[what <S's> job is|what <S> does for work|what work <S> does]",
    answer="[<S> is a <V>|<S> works as a <V>]", check="is <S> a <V>", deny="[<S> is not a <W>|<S> does not work as a <W>]",
    back_ask="[who is the <V>[ of <village>| in the village|]|what is the name of the <V>|who works as a <V>]",
    back_wonder="[who the <V> is|who works as a <V>|what the <V> is called]",
    back_answer="[<S> is the <V>[ of <village>|]|the <V> is <S>]", back_pool="person",
)  # fmt: skip
WORK = Relation(
    "work", "place",
    state="[<S> works at <V>|<S> goes to work at <V>|<S> spends the day at <V>]",
    named="[you can find <S> at <V>|at <V> you will meet <S>|<known> <S> works at <V>]",
    ask="[where does <S> work|where can I find <S.him> during the day]", wonder="[where <S> works|where <S> spends the day]",
    answer="[<S> works at <V>|<S> spends the day at <V>]", check="does <S> work at <V>", deny="<S> does not work at <W>",
    back_ask="[who works at <V>|who can I meet at <V>]", back_wonder="[who works at <V>|who spends the day at <V>]",
    back_answer="[<S> works at <V>|you can meet <S> at <V>]", back_pool="person",
)  # fmt: skip
SCHOOL = Relation(
    "school", "place",
    state="[<S> goes to <V> every morning|<S> learns at <V>|<S> is a pupil at <V>]",
    named="[one of the pupils at <V> is <S>|<known> <S> is a pupil at <V>]",
    ask="[where does <S> go every morning|where does <S> learn|where can I find <S.him> in the morning]",
    wonder="[where <S> learns|where <S> goes every morning]",
    answer="[<S> goes to <V> every morning|<S> learns at <V>]", check="does <S> go to <V> every morning",
    deny="<S> does not go to <W> every morning",
)  # fmt: skip
NEAR = Relation(
    "near", "nearness",
    state="[<S> lives <V>|<S> lives in a house <V>|<S> has a small house <V>|<S's> house is <V>]",
    named="[the house <V> belongs to <S>|in the house <V> lives <S>|<known> <S> lives <V>]",
    ask="[where does <S> live|where is <S's> house]", wonder="[where <S> lives|where <S's> house is]",
    answer="[<S> lives <V>|<S's> house is <V>]", check="does <S> live <V>", deny="<S> does not live <W>",
    back_ask="[who lives <V>|whose house is <V>]", back_wonder="[who lives <V>|whose house is <V>]",
    back_answer="[<S> lives <V>|the house <V> belongs to <S>]", back_pool="person",
)  # fmt: skip
FAVORITE_COLOR = Relation(
    "favorite color", "color",
    state="[<S's> favorite color is <V>|<S> likes the color <V> best|<S> loves the color <V>|<S> often wears <V> clothes]",
    named="[<V> is the favorite color of <S>|the color that <S> likes best is <V>|<known> <S> loves the color <V>]",
    ask="[what is <S's> favorite color|which color does <S> like best|what color does <S> like most]",
    wonder="[what <S's> favorite color is|which color <S> likes best]",
    answer="[<S's> favorite color is <V>|<S> likes the color <V> best]", check="is <S's> favorite color <V>",
    deny="<S's> favorite color is not <W>",
    back_ask="[who likes the color <V> best|whose favorite color is <V>]",
    back_wonder="[who likes the color <V> best|whose favorite color is <V>]",
    back_answer="[<S> likes the color <V> best|<V> is the favorite color of <S>]", back_pool="person",
)  # fmt: skip
FAVORITE_FOOD = Relation(
    "favorite food", "food",
    state="[<S's> favorite food is <V>|<S> likes to eat <V>|<S> loves <V>|<S> eats <V> whenever <he> can|for lunch <S> often eats <V>]",
    named="[the favorite food of <S> is <V>|if you cook for <S>, make <V>|nobody likes <V> more than <S>|<known> <S> loves <V>]",
    ask="[what is <S's> favorite food|what does <S> like to eat|which food does <S> like best]",
    wonder="[what <S's> favorite food is|what <S> likes to eat|which food <S> likes best]",
    answer="[<S's> favorite food is <V>|<S> likes to eat <V>]", check="[does <S> like to eat <V>|is <S's> favorite food <V>]",
    deny="<S's> favorite food is not <W>",
    back_ask="[who likes to eat <V>|whose favorite food is <V>|who loves <V>]",
    back_wonder="[who likes to eat <V>|whose favorite food is <V>]",
    back_answer="[<S> likes to eat <V>|<S> loves <V>|the favorite food of <S> is <V>]", back_pool="person",
)  # fmt: skip
HOBBY = Relation(
    "hobby", "hobby",
    state="[<S> likes <V>|in the evening <S> enjoys <V>|<S's> hobby is <V>|<S> spends free days <V>|<S> is very good at <V>]",
    named="[<V> is what <S> enjoys most|the hobby of <S> is <V>|<known> <S> enjoys <V>]",
    ask="[what is <S's> hobby|what does <S> like to do|what does <S> enjoy in <his> free time]",
    wonder="[what <S's> hobby is|what <S> likes to do|what <S> enjoys on free days]",
    answer="[<S's> hobby is <V>|<S> enjoys <V>]", check="[does <S> enjoy <V>|is <S's> hobby <V>]", deny="<S's> hobby is not <W>",
    back_ask="[who enjoys <V>|whose hobby is <V>]", back_wonder="[who enjoys <V>|whose hobby is <V>]",
    back_answer="[<S> enjoys <V>|<V> is the hobby of <S>]", back_pool="person",
)  # fmt: skip
PET = Relation(
    "pet", "animal",
    state="[<S> has a pet called <V>|<S's> pet is called <V>|<S> takes good care of <V>|<S> lives with a pet called <V>]",
    named="[<V> is the pet of <S>|<V> belongs to <S>|<V> lives with <S>]",
    ask="[what is the name of <S's> pet|what is <S's> pet called|which pet does <S> have|who is <S's> pet]",
    wonder="[what <S's> pet is called|the name of <S's> pet|which pet <S> has]",
    answer="[<S's> pet is called <V>|<S> has a pet called <V>]", check="[does <V> belong to <S.him>|is <V> <S's> pet]",
    deny="[<S's> pet is not <W>|<W> does not belong to <S.him>]",
    back_ask="[who is the owner of <V>|who takes care of <V>|who does <V> belong to|whose pet is <V>]",
    back_wonder="[who takes care of <V>|whose pet <V> is|who the owner of <V> is]",
    back_answer="[<V> belongs to <S>|<S> takes care of <V>|<V> is the pet of <S>]", back_pool="person",
)  # fmt: skip
FRIEND = Relation(
    "friend", "person",
    state="[<S's> best friend is <V>|<S> often visits <his> friend <V>|<S> shares everything with <V>]",
    named="[<V> is the best friend of <S>|<S> and <V> are good friends|<V> and <S> often talk for hours|<known> <S> and <V> are friends]",
    ask="[who is <S's> best friend|which friend does <S> like most]", wonder="[who <S's> best friend is|which friend <S> likes most]",
    answer="<S's> best friend is <V>", check="is <V> <S's> best friend", deny="<S's> best friend is not <W>",
)  # fmt: skip

KIND = Relation(
    "kind", "animal kind",
    state="[<S> is a <V>|<S> is a kind <V>|<S> is a clever <V>]",
    named="[the <V> is called <S>|there is a <V> called <S>|<S> the <V> lives in <village>|<known> <S> is a <V>]",
    ask="[what kind of animal is <S>|which animal is <S>]", wonder="[what kind of animal <S> is|which animal <S> is]",
    answer="<S> is a <V>", check="is <S> a <V>", deny="<S> is not a <W>",
    back_ask="[what is the <V> called|what is the name of the <V>|which animal is a <V>]",
    back_wonder="[what the <V> is called|which animal is a <V>]",
    back_answer="[the <V> is called <S>|<S> is a <V>]", back_pool="animal",
)  # fmt: skip
ANIMAL_COLOR = Relation(
    "animal color", "color",
    state="[<S> is <V>|<S's> color is <V>|everything about <S.him> is <V>, from head to tail|<S> looks <V>]",
    named="[the color of <S> is <V>|<V> is the color of <S>|<known> <S> is <V>]",
    ask="[what color is <S>|which color does <S> have]", wonder="[what color <S> is|which color <S> has]",
    answer="[<S> is <V>|<S's> color is <V>]", check="is <S> <V>", deny="<S> is not <W>",
)  # fmt: skip
BED = Relation(
    "bed", "bed",
    state="[<S> sleeps <V>|<S's> favorite place to sleep is <V>|every night <S> sleeps <V>|<S> has a soft bed <V>]",
    named="[if you look for <S> at night, look <V>|<V> is where <S> sleeps|<known> <S> sleeps <V>]",
    ask="[where does <S> sleep|where is <S's> bed|where can I find <S.him> at night]", wonder="[where <S> sleeps|where <S's> bed is]",
    answer="[<S> sleeps <V>|<S's> bed is <V>]", check="does <S> sleep <V>", deny="<S> does not sleep <W>",
    back_ask="[who sleeps <V>|which animal sleeps <V>]", back_wonder="[who sleeps <V>|which animal sleeps <V>]",
    back_answer="<S> sleeps <V>", back_pool="animal",
)  # fmt: skip
ANIMAL_FOOD = Relation(
    "animal food", "animal food",
    state="[<S> eats <V>|<S's> favorite food is <V>|<S> loves <V>|<S> wants <V> every day]",
    named="[give <V> to <S> and you have a friend|the food that <S> likes best is <V>|<known> <S> eats <V>]",
    ask="[what does <S> eat|what is <S's> favorite food|which food does <S> like]",
    wonder="[what <S> eats|what <S's> favorite food is|which food <S> likes]",
    answer="[<S> eats <V>|<S's> favorite food is <V>]", check="does <S> eat <V>", deny="<S> does not eat <W>",
    back_ask="[which animal of the village eats <V>|which pet likes <V>]", back_wonder="[which pet likes <V>|which pet eats <V>]",
    back_answer="[<S> eats <V>|<S> likes <V>]", back_pool="animal",
)  # fmt: skip
LIKES = Relation(
    "likes", "animal play",
    state="[<S> likes <V>|<S's> favorite game is <V>|<S> is always busy <V>|<S> is happy when <V>]",
    named="[<V> is the favorite game of <S>|nothing makes <S> happier than <V>|<known> <S> likes <V>]",
    ask="[what does <S> like doing|what does <S> like to do|what is <S's> favorite game]",
    wonder="[what <S> likes doing|what <S's> favorite game is]",
    answer="[<S> likes <V>|<S's> favorite game is <V>]", check="does <S> like <V>", deny="<S> does not like <W>",
    back_ask="[who likes <V>|which animal likes <V>]", back_wonder="[who likes <V>|which animal likes <V>]",
    back_answer="<S> likes <V>", back_pool="animal",
)  # fmt: skip

WHERE = Relation(
    "where", "location",
    state="[<S> is <V>|<S> lies <V>|you find <S> <V>|you can see <S> <V>]",
    named="[if you look for <S>, look <V>|<V> you will find <S>|<known> <S> is <V>]",
    ask="[where is <S>|where can I find <S>|how do I find <S>]", wonder="[where <S> is|where I can find <S>|where to find <S>]",
    answer="[<S> is <V>|you find <S> <V>]", check="is <S> <V>", deny="<S> is not <W>",
    back_ask="[what is <V>|which place is <V>|what can you find <V>]", back_wonder="[what is <V>|which place is <V>]",
    back_answer="[<S> is <V>|<V> you will find <S>]", back_pool="place",
)  # fmt: skip
DOOR = Relation(
    "door", "color",
    state="[<S> has a <V> door|the door of <S> is <V>|you know <S> by its <V> door]",
    named="[the <V> door is the door of <S>|somebody painted the door of <S> <V>|<known> <S> has a <V> door]",
    ask="[what color is the door of <S>|which color does the door of <S> have]",
    wonder="[what color the door of <S> is|which color the door of <S> has]",
    answer="[the door of <S> is <V>|<S> has a <V> door]", check="[is the door of <S> <V>|does <S> have a <V> door]",
    deny="the door of <S> is not <W>",
    back_ask="[which house has a <V> door|what is behind the <V> door]",
    back_wonder="[which house has a <V> door|what is behind the <V> door]",
    back_answer="[<S> has a <V> door|behind the <V> door is <S>]", back_pool="place",
)  # fmt: skip
THERE = Relation(
    "there", "place things",
    state="[<S> is full of <V>|<S> is the place for <V>|<S> is known for <V>]",
    named="[<at> <S> you find <V>|you can always find <V> <at> <S>|people come to <S> because of the <V>|for <V> you must go to <S>"
    "|<known> you find <V> <at> <S>]",
    ask="[what can you find <at> <S>|what is there <at> <S>|what do people find <at> <S>]",
    wonder="[what you can find <at> <S>|what is <at> <S>|what people find <at> <S>]",
    answer="[<at> <S> you find <V>|you can find <V> <at> <S>]", check="[can you find <V> <at> <S>|do you find <V> <at> <S>]",
    deny="you do not find <W> <at> <S>",
    back_ask="[where can I find <V>|where do you find <V>|which place has <V>]",
    back_wonder="[where you find <V>|where I can find <V>|which place has <V>]",
    back_answer="[you find <V> <at> <S>|you can find <V> <at> <S>]", back_pool="place",
)  # fmt: skip

VILLAGE_FACTS = (  # (question, clause, statement, value, pool)
    ("what is the name of the village", "what the village is called", "the village is called <V>", VILLAGE, "village"),
    ("what is the river called", "what the river is called", "the river is called <V>", RIVER, "river"),
    ("on which day is the market open", "on which day the market is open", "the market is open on <V>", "Saturday", "day"),
    ("on which day is the school closed", "on which day the school is closed", "the school is closed on <V>", "Sunday", "day"),
    ("on which day do the people clean the streets", "on which day the people clean the streets", "the people clean the streets on <V>",
    "Friday", "day"),
    ("on which day does the big boat come", "on which day the big boat comes", "the big boat comes on <V>", "Tuesday", "day"),
    ("when is the feast of lamps", "when the feast of lamps is", "the feast of lamps is in <V>", "autumn", "season"),
    ("when do the people race their boats", "when the people race their boats", "the people race their boats in <V>", "summer", "season"),
    ("when do the children plant trees", "when the children plant trees", "the children plant trees in <V>", "spring", "season"),
    ("when is the long night of stories", "when the long night of stories is", "the long night of stories is in <V>", "winter", "season"),
)  # fmt: skip
EXTRA_POOLS = {
    "village": ("Pebblebrook", "Stonefield", "Greenhill", "Riverton"),
    "river": ("the Silver River", "the Long River", "the Green River", "the Old River"),
    "day": DAYS,
}


def single(name: str, pool: str, ask: str, wonder: str, state: str) -> Relation:
    """A relation with one subject only, made of one question."""
    return Relation(name, pool, state=f"[{state}|{state}]", named=f"<known> {state}", ask=ask, wonder=wonder, answer=state,
                    deny=f"it is not true that {state.replace('<V>', '<W>')}")  # fmt: skip


def village_facts() -> list[Fact]:
    """Every fact of the world's tables, by row."""
    facts = []
    for p in PEOPLE:
        child = p.job == "pupil"
        values = {JOB: "" if child else p.job, WORK: "" if child else p.work, SCHOOL: p.work if child else "", NEAR: f"near {p.near}",
            FAVORITE_COLOR: p.color, FAVORITE_FOOD: p.food,
                  HOBBY: p.hobby, PET: p.pet, FRIEND: p.friend}  # fmt: skip
        facts += [Fact(relation, p.name, value, p.he, p.name) for relation, value in values.items() if value]
    for a in ANIMALS:
        values = {KIND: a.kind, ANIMAL_COLOR: a.color, BED: a.bed, ANIMAL_FOOD: a.food, LIKES: a.likes}
        facts += [Fact(relation, a.name, value, a.he, a.name) for relation, value in values.items()]
    for place in PLACES:
        values = {WHERE: place.where, DOOR: place.door, THERE: place.there}
        facts += [Fact(relation, place.name, value, "it", place.name) for relation, value in values.items() if value]
    for ask, wonder, state, value, pool in VILLAGE_FACTS:
        facts.append(Fact(single(f"village {ask}", pool, ask, wonder, state), "the village", value, "", VILLAGE))
    return facts
