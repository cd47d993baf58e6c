"""The vocabulary of word problems: things and what one does with them, people, containers, places, and phrases that sentences share.

    {**choose(random, THINGS), **person(random, "A"), **choose(random, BOXES)}      # slots for the templates of problem_words.py

No word here is a numeral.
"""

from nanochat.data.corpus_grammar import RULES, Random, choose
from nanochat.data.corpus_world import PEOPLE, PRONOUNS


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Kinds of things: (nouns, how one comes by them, how one is rid of them); verbs as base, present, past, participle.
KINDS: tuple[tuple[str, str, str], ...] = (
    ("apples pears oranges bananas plums peaches lemons cherries mangoes strawberries figs melons grapes limes apricots berries",
     "pick picks picked picked", "eat eats ate eaten"),
    ("carrots potatoes tomatoes onions peppers mushrooms cucumbers turnips radishes beans cabbages pumpkins beets",
     "grow grows grew grown", "cook cooks cooked cooked"),
    ("cookies cakes muffins rolls pies pancakes cupcakes pretzels brownies buns biscuits waffles tarts",
     "bake bakes baked baked", "eat eats ate eaten"),
    ("sweets candies lollipops chocolates nuts peanuts almonds walnuts eggs sandwiches crackers chestnuts",
     "buy buys bought bought", "eat eats ate eaten"),
    ("flowers roses tulips seeds bulbs daisies lilies seedlings bushes", "buy buys bought bought", "plant plants planted planted"),
    ("books stamps cards stickers pictures letters tickets posters photos magazines comics postcards maps badges",
     "collect collects collected collected", "sell sells sold sold"),
    ("marbles balls kites toys dolls puzzles robots blocks drums whistles masks trophies", "win wins won won", "lose loses lost lost"),
    ("candles cups plates bowls ribbons beads buttons necklaces bracelets lamps vases lanterns bells rings",
     "make makes made made", "sell sells sold sold"),
    ("pencils pens crayons markers erasers rulers notebooks folders brushes envelopes batteries napkins keys",
     "order orders ordered ordered", "use uses used used"),
    ("nails screws bolts bricks tiles boards planks hooks wires hinges logs poles", "fetch fetches fetched fetched", "use uses used used"),
    ("stones shells seashells feathers leaves acorns pebbles sticks pinecones", "find finds found found", "lose loses lost lost"),
    ("coats shirts socks gloves hats scarves sweaters caps aprons blankets pillows towels",
     "sew sews sewed sewn", "sell sells sold sold"),
    ("bottles jars glasses spoons forks mugs teapots mirrors balloons toothpicks", "get gets got got", "break breaks broke broken"),
)  # fmt: skip


def _verb(name: str, forms: str) -> dict[str, str]:
    return dict(zip((name, f"{name}s", f"{name}d", f"{name}n"), forms.split(), strict=True))


THINGS: tuple[dict[str, str], ...] = tuple(
    {"t": noun, **_verb("make", makes), **_verb("use", uses)} for nouns, makes, uses in KINDS for noun in nouns.split()
)  # <make>, <makes>, <maked>, <maken> and <use>, <uses>, <used>, <usen>
ADJECTIVES = ("small", "big", "new", "old", "pretty", "heavy", "cheap", "large", "fine", "little", "beautiful", "expensive")

SINGLE = _words(
    "cup lamp book hat ball kite scarf basket candle drum flute ladder map shirt coat toy doll chair table mug "
    "pen notebook bag ticket jacket belt game puzzle helmet racket umbrella clock pillow blanket towel plate "
    "bowl spoon teapot kettle rug mirror radio camera guitar bicycle tent rope shovel hammer saw bucket cake "
    "pizza melon burger salad plant tree poster album"
)
_BOX_NAMES = _words("box basket bag bucket jar crate drawer sack tin bowl chest suitcase carton barrel packet case bin trunk")
BOXES = tuple({"box": box, "boxes": f"{box}es" if box.endswith("x") else f"{box}s"} for box in _BOX_NAMES)

# Half of the problems are about somebody who does not live in the village: readers must not know people by their names.
NAMES = {
    "she": _words(
        "Anna Emma Lily Mia Zoe Sara Maria Lucy Kate Jane Alice Betty Julia Ella Rosa Mary Nancy Joan Sandy Carol Karen "
        "Susan Linda Laura Helen Ruth Diana Amy Olivia Sophie Chloe Grace Hannah Nina Tina Clara Eva Ida Vera Wendy "
        "Amina Fatima Mei Priya Yuki Ingrid Carmen Melanie Rachel Rebecca Sally Sharon Stacy Tara Jessica Kelly"
    ),
    "he": _words(
        "Tom Ben Max Leo Jack James John Paul Peter David Adam Noah Liam Bob Karl Fred Mike Dan Tim Jason Kevin Brian "
        "Eric Frank George Henry Ian Joe Keith Luke Nick Oscar Pedro Robert Roger Simon Steve Victor Walter Will Ahmed "
        "Omar Raj Kenji Lars Carlos Diego Ivan Marco Randy Benny Ethan Logan Carter Edward"
    ),
}
SURNAMES = _words("Lane Reed Stone Brown Green Hill Fox Wood Baker Mills Parker King Young Hall Cook Ford Hunter West Rivers Marsh")
ROLES = {
    "": _words(
        "baker farmer teacher gardener painter waiter tailor miller clerk cook driver singer nurse captain coach "
        "librarian shopkeeper florist student neighbor chef carpenter plumber"
    ),
    "she": _words("girl woman queen grandmother aunt"),
    "he": _words("boy man king grandfather uncle"),
}
KIN = {"she": "sister mother aunt cousin niece", "he": "brother father uncle cousin nephew grandfather"}
_SYLLABLES = (
    _words("ba do fi ga ju ka lo me nu pa ro su ta ve wi zo"),
    _words("l n r s t m d v k ll nn"),
    _words("a e i o u ia"),
)


def _slots_of(prefix: str, named: list[tuple[str, str]]) -> tuple[dict[str, str], ...]:
    return tuple(
        {prefix: name, **dict(zip((f"{prefix}.he", f"{prefix}.him", f"{prefix}.his"), PRONOUNS[he], strict=True))} for name, he in named
    )


_NAMED = [(name, he) for he, names in NAMES.items() for name in names]
_TITLED = [(f"{title} {name}", he) for title, he in (("Mrs", "she"), ("Miss", "she"), ("Mr", "he")) for name in SURNAMES]
_ROLES = [(f"the {role}", he) for kind, roles in ROLES.items() for role in roles for he in ([kind] if kind else _words("she he"))]
_VILLAGERS = [(p.name, p.he) for p in PEOPLE]
PERSONS = {
    prefix: (*(_slots_of(prefix, group) for group in (_NAMED, _VILLAGERS, _TITLED, _ROLES)),) for prefix in ("A", "B")
}  # prefix -> four groups of slots
OTHER_NAMES = tuple(name for name, _ in (*_NAMED, *_VILLAGERS))


def invented_name(random: Random) -> str:
    """A name that nobody has, such as Kalino: what a name is, its place in a sentence must say."""
    begin, middle, end = _SYLLABLES
    return (choose(random, begin) + choose(random, middle) + choose(random, end) + choose(random, ("", "", "n", "ra", "do"))).capitalize()


def person(random: Random, prefix: str) -> dict[str, str]:
    """Slots of somebody: `<A>`, `<A.he>`, `<A.him>`, `<A.his>`. Half are named as people of no village, the others live there, have a
    title, an occupation or a name that nobody has."""
    share = random()
    at = 0 if share < 0.55 else 1 if share < 0.78 else 2 if share < 0.84 else 3
    slots = choose(random, PERSONS[prefix][at])
    return {**slots, prefix: invented_name(random)} if share > 0.45 and share < 0.55 else slots


def people(random: Random) -> dict[str, str]:
    """Slots of the four people of a problem, all different: <A> and <B>, who act, <C> and <D>, of whom only the name is known."""
    a, b = person(random, "A"), person(random, "B")
    if random() < 0.07:
        he = choose(random, ("she", "he"))
        b = {**choose(random, _OF_KIN[he]), "B": f"{a['A.his']} {choose(random, _KIN[he])}"}
    c, d, first, second = choose(random, OTHER_NAMES), choose(random, OTHER_NAMES), a["A"], b["B"]
    if first == second or c == d or c in (first, second) or d in (first, second):
        return people(random)
    return {**a, **b, "C": c, "D": d}


_KIN = {he: tuple(names.split()) for he, names in KIN.items()}
_OF_KIN = {he: _slots_of("B", [("", he)]) for he in KIN}

WHO = _words(
    "people children birds ducks students boys girls men women sheep cows horses cats dogs guests players fish "
    "chickens hens workers visitors passengers tourists bees frogs rabbits goats pigs geese swans monkeys puppies "
    "kittens butterflies pupils dancers soldiers fans customers crows owls ants turtles penguins sailors"
)
PLACES_OF_STORIES = tuple(
    {"at": at, "where": where}
    for at, places in (
        ("on", "bus train beach ship square farm playground bridge ferry boat lake stage"),
        ("in", "park school field garden hall yard zoo theater museum shop town village house meadow library camp forest hotel cinema gym"
        " castle "
         "pool barn river pond"),
        ("at", "lake park farm school station market beach party zoo museum stadium airport circus harbor pond pool camp shop theater"),
    )
    for where in places.split()
)  # fmt: skip
LENGTHS = ("meters", "feet", "yards", "inches", "centimeters", "meters", "feet")
WEIGHTS = ("pounds", "kilograms")
DISTANCES = ("miles", "kilometers", "miles")
UNITS_OF_MONEY = ("coins", "dollars", "dollars", "dollars", "euros", "euros", "pounds", "francs", "crowns")
PERIODS = ("hour", "day", "week", "month", "minute", "year")

_RELATIVES = "[mother|father|sister|brother|friend|uncle|aunt|grandmother|grandfather|cousin|neighbor|teacher|grandma|grandpa|mom|dad]"
# What many sentences share. `when` may stand in front of any event; `gains` has a thing as its object.
RULES |= {
    "when": "[||||then |later, |after that, |the next day, |in the [afternoon|evening|morning], |on <day>, |[a little|a day|an hour|some"
    " time] later, "
    "|soon |next, |[during|after|before] [lunch|dinner|breakfast|the break|school|work], |at [noon|night|the end of the day|school|the"
    " market], "
    "|today |this [morning|week|month|year] |afterwards |on the way home, |over the weekend, "
    "|because of the [rain|party|holidays], |by [noon|evening|the end of the week], |meanwhile, |luckily, |finally, |suddenly ]",
    "gains": "[buys|gets|finds|picks up|wins|collects|gathers|takes home|receives|earns|orders|adds|borrows|fetches|<makes>|<makes>"
    "|bought|got|found|picked up|won|collected|gathered|took home|received|earned|ordered|added|borrowed|was given|is given|<maked>"
    "|has [bought|got|found|received|<maken>]|[decides|decided] to [buy|get|order]"
    "|[goes|went] out to [buy|get|fetch]|[comes|came] back with|[comes|came] home with|is handed|was handed]",
    "loses": "[sells|loses|drops|uses|gives away|throws away|hands out|trades away|donates|gives back|<uses>|<uses>"
    "|sold|lost|dropped|used|gave away|threw away|handed out|traded away|donated|gave back|returned|misplaced|<used>|<used>"
    "|has [sold|lost|given away|<usen>]|[decides|decided|has|had] to [sell|give away|throw away|<use>]]",
    "gives": "[gives|gave|hands|handed|sends|sent|lends|lent|passes|passed|mails|mailed|brings|brought|has given]",
    "relative": _RELATIVES,
    "gone": "[lost|broken|sold|stolen|given away|thrown away|used|<usen>|<usen>|damaged|taken|removed]",
    "counted": "[in all|altogether|in total|together|all together|all in all]",
    "around": "[at the market|in a shop|in the garden|at school|at the fair|on the beach|in the park|at the store|at the mall|at home|in"
    " town]",
    "lot": "[||||||| [small|big|new|old|pretty|little|large]]",
}
