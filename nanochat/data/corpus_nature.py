"""Facts that hold everywhere: things, animals, tools, days, opposites, causes. The same `Relation` and `Fact` as the village's.

A table row is `subject = value`; a subject of an animal table also has its plural, so that facts are told of one and of many.
"""

from nanochat.data.corpus_relations import Fact, Relation
from nanochat.data.corpus_world import DAYS, SEASONS


def _pairs(table: str) -> list[tuple[str, str]]:
    """`a = b; c = d` as [(a, b), (c, d)]."""
    return [tuple(side.strip() for side in pair.split("=")) for pair in table.replace("\n", " ").split(";") if pair.strip()]


COLOR = Relation(
    "thing color", "color",
    state="[<S> is <V>|<S> has a <V> color|the color of <S.him> is <V>]",
    named="[<V> is the color of <S>|<S> is as <V> as can be|<known> <S> is <V>]",
    ask="[what color is <S>|which color does <S> have|what is the color of <S>]", wonder="[what color <S> is|which color <S> has]",
    answer="<S> is <V>", check="is <S> <V>", deny="<S> is not <W>",
)  # fmt: skip
FEEL = Relation(
    "feel", "property",
    state="[<S> is <V>|<S> feels <V>|<S> is always <V>]",
    named="[if you touch <S>, it feels <V>|<known> <S> is <V>|nobody doubts that <S> is <V>]",
    ask="[how does <S> feel|what does <S> feel like|how does it feel to touch <S>]", wonder="[how <S> feels|what <S> feels like]",
    answer="[<S> is <V>|<S> feels <V>]", check="is <S> <V>", deny="<S> is not <W>",
)  # fmt: skip
TASTE = Relation(
    "taste", "taste",
    state="[<S> tastes <V>|<S> is <V>|<S> has a <V> taste]",
    named="[if you eat <S>, it tastes <V>|<known> <S> tastes <V>]",
    ask="[how does <S> taste|what does <S> taste like|what is the taste of <S>]", wonder="[how <S> tastes|what <S> tastes like]",
    answer="<S> tastes <V>", check="does <S> taste <V>", deny="<S> does not taste <W>",
)  # fmt: skip
EATS = Relation(
    "eats", "animal food",
    state="[<S> eats <V>|<S> likes to eat <V>|<S> lives on <V>|<S> is hungry for <V>]",
    named="[the food of <S> is <V>|<known> <S> eats <V>|you can feed <S> with <V>]",
    ask="[what does <S> eat|what does <S> like to eat|what is the food of <S>]", wonder="[what <S> eats|what <S> likes to eat]",
    answer="<S> eats <V>", check="does <S> eat <V>", deny="<S> does not eat <W>",
)  # fmt: skip
SAYS = Relation(
    "says", "sound",
    state="[<S> says <V>|<S> makes the sound <V>]",
    named="[when you hear <V>, it is <S>|<known> <S> says <V>|<V> is the sound of <S>]",
    ask="[what does <S> say|which sound does <S> make|what sound does <S> make]", wonder="[what <S> says|which sound <S> makes]",
    answer="<S> says <V>", check="does <S> say <V>", deny="<S> does not say <W>",
    back_ask="[which animal says <V>|who says <V>]", back_wonder="[which animal says <V>|who says <V>]",
    back_answer="<S> says <V>", back_pool="beast",
)  # fmt: skip
LIVES = Relation(
    "lives", "animal home",
    state="[<S> lives in <V>|the home of <S.him> is <V>|<S> sleeps in <V>|<S> feels safe in <V>]",
    named="[in <V> you may find <S>|<known> <S> lives in <V>]",
    ask="[where does <S> live|what is the home of <S>|where is the home of <S>]", wonder="[where <S> lives|what the home of <S> is]",
    answer="[<S> lives in <V>|the home of <S.him> is <V>]", check="does <S> live in <V>", deny="<S> does not live in <W>",
)  # fmt: skip
BABY = Relation(
    "baby", "young animal",
    state="[the child of <S.him> is called a <V>|the young one of <S.him> is a <V>]",
    named="[a <V> is the child of <S>|a <V> grows up to be <S>|<known> a <V> becomes <S>]",
    ask="[what is the child of <S> called|what do you call the child of <S>|what is a young one of <S> called]",
    wonder="[what the child of <S> is called|what you call the child of <S>]",
    answer="[the child of <S> is called a <V>|a <V> is the child of <S>]", check="is the child of <S> called a <V>",
    deny="the child of <S> is not called a <W>",
    back_ask="[what does a <V> grow up to be|what will a <V> become]", back_wonder="[what a <V> will become|what a <V> grows up to be]",
    back_answer="[a <V> grows up to be <S>|a <V> becomes <S>]", back_pool="beast",
)  # fmt: skip
GIVES = Relation(
    "gives", "gift",
    state="[<S> gives us <V>|we get <V> from <S.him>]",
    named="[<V> comes from <S>|<known> <S> gives us <V>]",
    ask="[what does <S> give us|what do we get from <S>]", wonder="[what <S> gives us|what we get from <S>]",
    answer="[<S> gives us <V>|we get <V> from <S>]", check="does <S> give us <V>", deny="<S> does not give us <W>",
    back_ask="[which animal gives us <V>|where does <V> come from]", back_wonder="[which animal gives us <V>|where <V> comes from]",
    back_answer="[<V> comes from <S>|<S> gives us <V>]", back_pool="beast",
)  # fmt: skip
NEXT_DAY = Relation(
    "next day", "day",
    state="[the day after <S> is <V>|<V> comes after <S>|<S> comes before <V>|after <S> comes <V>|if today is <S>, tomorrow is <V>]",
    ask="[which day comes after <S>|what is the day after <S>|what day follows <S>|if today is <S>, what day is tomorrow]",
    wonder="[which day comes after <S>|what the day after <S> is]",
    answer="[the day after <S> is <V>|<V> comes after <S>|after <S> comes <V>]", check="does <V> come after <S>",
    deny="<W> does not come after <S>",
    back_ask="[which day comes before <V>|what is the day before <V>|if today is <V>, what day was yesterday]",
    back_wonder="[which day comes before <V>|what the day before <V> is]",
    back_answer="[the day before <V> is <S>|<S> comes before <V>]", back_pool="day",
)  # fmt: skip
NEXT_SEASON = Relation(
    "next season", "season",
    state="[after <S> comes <V>|<V> comes after <S>|<S> comes before <V>|when <S> is over, <V> begins]",
    ask="[which season comes after <S>|what comes after <S>|what season follows <S>]",
    wonder="[which season comes after <S>|what comes after <S>]",
    answer="[after <S> comes <V>|<V> comes after <S>]", check="does <V> come after <S>", deny="<W> does not come after <S>",
    back_ask="[which season comes before <V>|what comes before <V>]", back_wonder="[which season comes before <V>|what comes before <V>]",
    back_answer="[<S> comes before <V>|before <V> comes <S>]", back_pool="season",
)  # fmt: skip
WEATHER = Relation(
    "weather", "weather",
    state="[in <S> <V>|when it is <S>, <V>|<S> is the time when <V>]",
    named="<known> in <S> <V>",
    ask="[what happens in <S>|what is it like in <S>]", wonder="[what happens in <S>|what it is like in <S>]",
    answer="in <S> <V>",
    back_ask="[when can we say that <V>|which season is it when <V>]", back_wonder="which season it is when <V>",
    back_answer="in <S> <V>", back_pool="season",
)  # fmt: skip
COUNT = Relation(
    "count", "number",
    state="[<S> has <V>|<S> always has <V>|<S> has exactly <V>]",
    named="[<known> <S> has <V>|count them: <S> has <V>]",
    ask="[how many <unit> does <S> have|do you know how many <unit> <S> has]", wonder="how many <unit> <S> has",
    answer="<S> has <V>", check="does <S> have <V>", deny="<S> does not have <W>",
)  # fmt: skip
OPPOSITE = Relation(
    "opposite", "adjective",
    state="[the opposite of <S> is <V>|<S> is the opposite of <V>|if something is not <S>, it may be <V>|<S> and <V> are opposites]",
    ask="[what is the opposite of <S>|which word is the opposite of <S>]",
    wonder="[what the opposite of <S> is|which word is the opposite of <S>]",
    answer="[the opposite of <S> is <V>|<V> is the opposite of <S>]", check="is <V> the opposite of <S>",
    deny="<W> is not the opposite of <S>",
)  # fmt: skip
USE = Relation(
    "use", "purpose",
    state="[you use <S.him> to <V>|people use <S.him> to <V>|<S> helps you to <V>|with <S.him> you can <V>]",
    named="[to <V> you need <S>|<known> you need <S> to <V>|if you want to <V>, take <S>]",
    ask="[what do you use <S> for|what can you do with <S>|what is <S> for]", wonder="[what you use <S> for|what <S> is for]",
    answer="[you use <S> to <V>|with <S> you can <V>]", check="do you use <S> to <V>", deny="you do not use <S> to <W>",
    back_ask="[what do you need to <V>|what helps you to <V>|what can I use to <V>]",
    back_wonder="[what you need to <V>|what I can use to <V>]",
    back_answer="[you need <S> to <V>|<S> helps you to <V>]", back_pool="tool",
)  # fmt: skip
MADE_OF = Relation(
    "made of", "material",
    state="[<S> is made of <V>|people make <S.him> of <V>|you need <V> to make <S.him>]",
    named="[<V> is what <S> is made of|<known> <S> is made of <V>]",
    ask="[what is <S> made of|what do you need to make <S>]", wonder="what <S> is made of",
    answer="<S> is made of <V>", check="is <S> made of <V>", deny="<S> is not made of <W>",
)  # fmt: skip
SENSE = Relation(
    "sense", "body",
    state="[we <S> with our <V>|people <S> with their <V>|you use your <V> to <S>]",
    named="[without our <V> we could not <S>|<known> we <S> with our <V>]",
    ask="[what do we <S> with|which part of the body do we use to <S>|what do you use to <S>]",
    wonder="[what we <S> with|which part of the body we use to <S>]",
    answer="we <S> with our <V>", check="do we <S> with our <V>", deny="we do not <S> with our <W>",
)  # fmt: skip
TASK = Relation(
    "task", "task",
    state="[<S> <V>|the work of <S.him> is hard: <S> <V>|every day <S> <V>|<S> often <V>]",
    named="[<known> <S> <V>|in every village <S> <V>]",
    ask="[what does <S> do|what is the work of <S>]", wonder="[what <S> does|what the work of <S> is]",
    answer="<S> <V>",
    back_ask="[who <V>|which person <V>]", back_wonder="[who <V>|which person <V>]",
    back_answer="<S> <V>", back_pool="worker",
)  # fmt: skip
MIX = Relation(
    "mix", "color",
    state="[if you mix <S>, you get <V>|<S> together make <V>|a painter mixes <S> and gets <V>]",
    named="[to get <V>, mix <S>|<known> <S> make <V>]",
    ask="[what color do you get if you mix <S>|which color do <S> make|what do you get from <S>]",
    wonder="[what color you get if you mix <S>|which color <S> make]",
    answer="[if you mix <S>, you get <V>|<S> together make <V>]", check="do <S> make <V>", deny="<S> do not make <W>",
    back_ask="[how do you get <V>|which colors make <V>|how can I make <V> paint]", back_wonder="[how you get <V>|which colors make <V>]",
    back_answer="[mix <S> and you get <V>|<S> together make <V>]", back_pool="two colors",
)  # fmt: skip

THING_TABLES = {
    COLOR: """snow = white; grass = green; the sky = blue; a lemon = yellow; coal = black; a carrot = orange; milk = white; a tomato = red;
        chocolate = brown; a rain cloud = gray; a strawberry = red; the night sky = black; a plum = purple; a pig = pink;
        a leaf in spring = green;
        the trunk of a tree = brown; corn = yellow; a mouse = gray""",
    FEEL: """ice = cold; fire = hot; a stone = hard; a pillow = soft; a feather = light; iron = heavy; water = wet; sand = dry;
        glass = smooth;
        a needle = sharp; the sun = warm; wool = soft; a snowflake = cold; a mountain of rocks = heavy""",
    TASTE: "a lemon = sour; honey = sweet; sugar = sweet; salt = salty; sea water = salty; chocolate = sweet; vinegar = sour; "
    "strong tea = bitter",
    COUNT: """a week = seven days; a year = twelve months; a day = twenty four hours; a hand = five fingers; a foot = five toes;
        a spider = eight legs;
        a dog = four legs; a bird = two legs; a bee = six legs; a car = four wheels; a bicycle = two wheels; a triangle = three sides;
        a square = four sides;
        a horse = four legs; a face = two eyes""",
    USE: """a key = open a door; a knife = cut bread; a spoon = eat soup; an umbrella = stay dry in the rain; a lamp = see in the dark;
        a clock = tell the time; a broom = sweep the floor; a thread = sew clothes; a hammer = hit nails; a bucket = carry water;
        a pen = write letters;
        a cup = drink tea; a bed = sleep well; a boat = cross the water; a ladder = climb on the roof; a net = catch fish;
        a brush = paint a picture;
        a map = find the way""",
    MADE_OF: """a window = glass; a book = paper; a table = wood; a nail = iron; a sweater = wool; bread = flour; cheese = milk;
        a candle = wax;
        a shoe = leather; a ring = gold; a snowman = snow; a wall = stone""",
    SENSE: "see = eyes; hear = ears; smell = nose; taste = tongue; walk = legs; wave = hands; bite = teeth",
    TASK: """a baker = bakes bread; a farmer = grows food; a teacher = teaches children; a fisher = catches fish;
        a doctor = helps sick people;
        a builder = builds houses; a painter = paints pictures; a gardener = grows flowers; a postman = brings letters;
        a librarian = lends books;
        a musician = plays music; a cook = makes hot meals; a pupil = learns new things""",
    MIX: "blue and yellow = green; red and yellow = orange; red and blue = purple; black and white = gray; red and white = pink",
    NEXT_DAY: "; ".join(f"{day} = {DAYS[(i + 1) % 7]}" for i, day in enumerate(DAYS)),
    NEXT_SEASON: "; ".join(f"{season} = {SEASONS[(i + 1) % 4]}" for i, season in enumerate(SEASONS)),
    WEATHER: """spring = the flowers begin to bloom; summer = the days are long and hot; autumn = the leaves fall from the trees;
        winter = it is cold and snow falls""",
}  # fmt: skip

OPPOSITES = """hot = cold; big = small; fast = slow; heavy = light; bright = dark; old = young; high = low; long = short; hard = soft;
        wet = dry;
    full = empty; open = closed; happy = sad; loud = quiet; early = late; clean = dirty; strong = weak; sweet = sour"""  # fmt: skip

# an animal | its plural | it eats | it says | it lives in | its young | it gives us
BEASTS = """
a cow    | cows    | grass   | moo    | a barn        | calf    | milk
a dog    | dogs    | meat    | woof   | a kennel      | puppy   |
a cat    | cats    | mice    | meow   | a house       | kitten  |
a horse  | horses  | hay     | neigh  | a stable      | foal    |
a sheep  | sheep   | grass   | baa    | a field       | lamb    | wool
a hen    | hens    | seeds   | cluck  | a hen house   | chick   | eggs
a duck   | ducks   | plants  | quack  | a pond        | duckling |
a bee    | bees    | nectar  | buzz   | a hive        |         | honey
a frog   | frogs   | flies   | croak  | a pond        | tadpole |
a mouse  | mice    | seeds   | squeak | a small hole  |         |
an owl   | owls    | mice    | hoot   | a hollow tree | owlet   |
a bear   | bears   | berries | growl  | a cave        | cub     |
a rabbit | rabbits | carrots |        | a burrow      |         |
a bird   | birds   | worms   | tweet  | a nest        |         |
a goat   | goats   | leaves  |        | a barn        | kid     |
a spider | spiders | flies   |        | a web         |         |
a fish   | fish    | plants  |        | the water     |         |
"""
MANY = {  # what is said of many animals at once
    EATS: "[<Ss> eat <V>|<Ss> like <V>|all <Ss> eat <V>]", SAYS: "[<Ss> say <V>|all <Ss> say <V>]",
    LIVES: "[<Ss> live in <V>|the home of <Ss> is <V>]", GIVES: "[<Ss> give us <V>|we get <V> from <Ss>]",
}  # fmt: skip
PLURALS = {row.split("|")[0].strip(): row.split("|")[1].strip() for row in BEASTS.strip().splitlines()}

# question / clause / what is stated and answered / the part of the answer that is the value, one of its kind in a pool
CAUSES = """
happens to ice when it gets warm / when ice gets warm, it melts / it melts
happens to water when it gets very cold / when water gets very cold, it turns into ice / it turns into ice
happens to the ground when it rains / when it rains, the ground gets wet / the ground gets wet
happens to a plant without water / without water, a plant dries up / a plant dries up
happens when the sun goes down / when the sun goes down, it gets dark / it gets dark
happens when the sun comes up / when the sun comes up, it gets light / it gets light
happens to wood in a fire / in a fire, wood burns / wood burns
happens to a glass when it falls / when a glass falls, it breaks / it breaks
happens to a seed with sun and water / with sun and water, a seed grows / a seed grows
happens to water when it boils / when water boils, it turns into steam / it turns into steam
happens to leaves when the wind blows / when the wind blows, the leaves move / the leaves move
happens to a stone in the water / in the water, a stone sinks / a stone sinks
happens to wood in the water / in the water, wood floats / wood floats
happens when you drop a ball / when you drop a ball, it falls down / it falls down
happens to a snowman in the sun / in the sun, a snowman melts / a snowman melts
should you do when you are tired / when you are tired, you should sleep / you should sleep
should you do when you are hungry / when you are hungry, you should eat / you should eat
should you do when you are thirsty / when you are thirsty, you should drink / you should drink
should you do when you are cold / when you are cold, you should put on a coat / you should put on a coat
should you do when you are sick / when you are sick, you should see a doctor / you should see a doctor
can you see after rain and sun / after rain and sun, you can see a rainbow / you can see a rainbow
"""
REASONS = """
do birds have wings / birds have wings because they fly / because they fly
do people wear coats in winter / people wear coats in winter because it is cold / because it is cold
do plants need rain / plants need rain because they drink water / because they drink water
do bees visit flowers / bees visit flowers because they look for nectar / because they look for nectar
do we sleep at night / we sleep at night because we are tired / because we are tired
do we brush our teeth / we brush our teeth because they must stay clean / because they must stay clean
do people light lamps in the evening / people light lamps in the evening because it gets dark / because it gets dark
do cats have soft feet / cats have soft feet because they walk quietly / because they walk quietly
do we read books / we read books because they tell us stories / because they tell us stories
do ships have sails / ships have sails because the wind moves them / because the wind moves them
"""


def _sentence_facts(table: str, word: str, pool: str) -> list[Fact]:
    """Facts that are one whole sentence: the question is `word` and the row's first column."""
    facts = []
    for row in table.strip().splitlines():
        question, sentence, value = (cell.strip() for cell in row.split("/"))
        clause = question.split(" ", 1)[1] if word == "why" else question
        assert sentence.endswith(value), row
        ask = f"[{word} {question}|{word} {question}]"
        wonder = f"{word} {clause}" if not question.startswith(("should", "can")) else f"{word} you {question.replace(' you', '', 1)}"
        relation = Relation(
            question,
            "advice" if question.startswith("should") else pool,
            state=f"[{sentence}|{sentence}]",
            named=f"<known> {sentence}",
            ask=ask,
            wonder=wonder,
            answer=sentence,
        )
        facts.append(Fact(relation, question, value, "", relation.pool))
    return facts


def nature_facts() -> list[Fact]:
    """Every fact that is not about the village."""
    nameless = (NEXT_DAY, NEXT_SEASON, WEATHER, SENSE, TASK, MIX)  # a pronoun cannot stand for their subjects
    facts = [Fact(r, s, v, "" if r in nameless else "it", r.name) for r, table in THING_TABLES.items() for s, v in _pairs(table)]
    for a, b in _pairs(OPPOSITES):
        facts += [Fact(OPPOSITE, a, b, "", "opposite"), Fact(OPPOSITE, b, a, "", "opposite")]
    for row in BEASTS.strip().splitlines():
        animal, _, *values = (cell.strip() for cell in row.split("|"))
        facts += [
            Fact(r, animal, v, "" if r is BABY else "it", animal)
            for r, v in zip((EATS, SAYS, LIVES, BABY, GIVES), values, strict=True)
            if v
        ]
    return facts + _sentence_facts(CAUSES, "what", "outcome") + _sentence_facts(REASONS, "why", "reason")
