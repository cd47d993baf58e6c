"""Words and sentences of which `problem_grammar.py` composes word problems, in the language of `corpus_grammar.py`.

`{}` is the number of the sentence. `<A>` and `<B>` are people, `<t>` things (in the plural), `<box>` and `<boxes>` what holds them, `<s>`
one thing to buy, `<day>` a day, `<u>` a unit of money. A sentence may assume what its table says and nothing else. No word here is a
numeral.
"""

WHEN = "[|||then |later, |after that, |the next day, |in the afternoon, |in the evening, |on <day>, |a little later, |soon |next, ]"

# ---------------------------------------------------------------------------------------------------------------------
# Things of a person: what <A> has at first, and what changes it

HAS = (
    "<A> [has|had] {} <t>.",
    "<A> has got {} <t>.",
    "<A> starts [the day |the week |]with {} <t>.",
    "<A> owns {} <t>.",
    "there [are|were] {} <t> in the <box> of <A>.",
    "<A> has a <box> with {} <t>[ in it|].",
    "<A> keeps {} <t> in a <box>.",
    "on <day>, <A> had {} <t>.",
    "<A> [picked|gathered|collected|found] {} <t>[ on <day>| in the morning|].",
    "at first, <A> [has|had] {} <t>.",
    "in the morning, <A> had {} <t>.",
    "<A> [bought|got|brought] {} <t>[ at the market|].",
    "<A> holds {} <t>.",
    "<A.his> <box> is full, for <A> has {} <t>.",
    "<A> carries {} <t> in a <box>.",
    "you see <A> with {} <t>.",
    "<A> [counted|had saved|had collected] {} <t>.",
    "<A> made {} <t>.",
    "a <box> of <A> holds {} <t>.",
    "<A> the [farmer|shopkeeper|teacher] has {} <t>.",
)
GAINS = (
    WHEN + "<A.he> [buys|gets|finds|picks|makes|wins|collects|gathers|takes home] {} more[ <t>|].",
    WHEN + "<A.he> [bought|got|found|picked|made|won|collected|gathered|received] {} more[ <t>|].",
    WHEN + "<A.he> [buys|gets|finds|bought|got|found|won|received] {} <t>[ from <B>| at the market| in a shop| in the garden|].",
    WHEN + "<B> [gives|gave|brings|brought|sends|sent|lends|lent] <A.him> {} [more|<t>|more <t>|of <B.his> <t>].",
    WHEN + "<A.he> [is|was] given {} [more|<t>|more <t>][ by <B>|].",
    WHEN + "<A.he> [puts|put] {} more[ <t>|] into the <box>.",
    WHEN + "<A.he> [adds|added] {} [more|<t>|more <t>].",
    WHEN + "<A.his> [mother|father|sister|brother|friend|uncle|aunt] [gives|gave|brings|brought] <A.him> {} [more|<t>|more <t>].",
    WHEN + "<B> [comes|came] and [gives|gave|hands|handed] {} <t> to <A>.",
    "for <A.his> birthday, <A.he> [gets|got] {} [more|<t>|more <t>].",
    "another {} <t> [come|came] from <B>.",
    WHEN + "{} more <t> [are|were] [added|brought by <B>|put into the <box>].",
    WHEN + "<A.he> [takes|took] {} <t> from <B>.",
    WHEN + "<A.he> [borrows|borrowed] {} [more|<t>] from <B>.",
    WHEN + "<A.he> [receives|received|earns|earned] {} [more|<t>|more <t>].",
)
LOSES = (
    WHEN + "<A.he> [gives|gave|hands|handed|sends|sent|lends|lent] {} [of them|<t>|of <A.his> <t>] to <B>.",
    WHEN + "<A.he> [gives|gave|lends|lent|sends|sent] <B> {} [of them|<t>|of <A.his> <t>].",
    WHEN + "<A.he> [sells|sold|loses|lost|breaks|broke|drops|dropped|uses|used|eats|ate] {}[ of them| of the <t>| <t>|].",
    WHEN + "<A.he> [gives|gave|throws|threw] away {}[ of them| of the <t>| <t>|].",
    WHEN + "<A.he> [sells|sold] {} [of them|<t>|of the <t>] [to <B>|at the market|on <day>|in the morning].",
    WHEN + "{} [of them|of the <t>|<t>] [are|were|get|got] [lost|broken|sold|stolen|eaten|given away|thrown away|used].",
    WHEN + "<B> [takes|took|borrows|borrowed|buys|bought|eats|ate] {} [of them|of the <t>|of <A.his> <t>].",
    WHEN + "<B> [takes|took|steals|stole] {} [<t>|of them] from <A.him>.",
    WHEN + "{} [of them|of the <t>|<t>] [fall|fell] [down|into the river|into the water] and [are|were] lost.",
    "on the way home, <A.he> [loses|lost|drops|dropped] {}[ of them| <t>|].",
    "but {} [of them|of the <t>] [are|were] [bad|broken|rotten], and <A.he> [throws|threw] them away.",
    WHEN + "<A.he> [takes|took] {} [of them|<t>] out of the <box> and [gives|gave] them [away|to <B>].",
    WHEN + "<A.he> [shares|shared] {} [of them|<t>] with <B>, who [keeps|kept] them.",
    WHEN + "<A.he> [leaves|left] {} [of them|of the <t>] [at school|on the bus|in the shop|with <B>].",
    WHEN + "<A.he> [needs|needed] {} [of them|of the <t>] for <B>, who [does|did] not give them back.",
    WHEN + "<A.he> [used|used] up {} [of them|of the <t>].",
)
HAS_NOW = (
    "how many <t> does <A> have[ now| in all| altogether| in the end| then| at the end|]?",
    "how many <t> does <A.he> have[ now| in all| altogether| in the end| then|]?",
    "how many does <A> have [now|in the end|altogether]?",
    "how many <t> are there[ now| in the end|]?",
    "what is the number of <t> that <A> has now?",
    "how many <t> [will <A> have|are in the <box>|has <A> got][ now| in the end|]?",
    "how many <t> has <A>[ now|]?",
    "with how many <t> does <A> end?",
    "now how many <t> does <A> have?",
    "in the end, how many <t> does <A> have?",
)
IS_LEFT = (
    *HAS_NOW,
    "how many <t> [are left|remain|does <A> have left|does <A> still have|are still there|has <A> left]?",
    "how many [are left|remain|does <A> still have]?",
    "how many <t> [is <A> left with|does <A.he> have left|remain with <A>|are left for <A>|does <A> keep]?",
    "how many of the <t> are left?",
)
HALVES = (
    "<A.he> [gives|gave] {} of them to <B>.",
    "<A.he> [sells|sold|loses|lost|eats|ate|gives away|gave away|uses|used] {} of them.",
    "<A.he> [sells|sold|loses|lost] {} of the <t>.",
    "{} of them [are|were|get|got] [sold|lost|broken|eaten|given away].",
    "<B> [takes|took|buys|bought|gets|got] {} of them.",
)
DOUBLES = (
    "then the number of [<t>|them] doubles.",
    "<B> doubles the number of <A.his> <t>.",
    "in a year, <A.he> doubles the number of <A.his> <t>.",
)
BEFORE = (
    "before that, <A.he> [had|owned] {}[ <t>| of them|].",
    "at first, <A.he> had {}[ <t>| of them|].",
    "in the beginning there were {}[ <t>|].",
)
GAINED_FIRST = (
    "<A> [buys|bought|gets|got|finds|found|receives|received|wins|won] {} <t>.",
    "<B> [gives|gave|brings|brought|sends|sent] <A> {} <t>.",
)
LOST_FIRST = (
    "<A> [sells|sold|loses|lost|gives away|gave away|breaks|broke|uses|used|eats|ate] {} <t>.",
    "<A> [gives|gave|lends|lent|sends|sent] {} <t> to <B>.",
)

# ---------------------------------------------------------------------------------------------------------------------
# People or animals at a place

ARE_THERE = (
    "there [are|were] {} <who> [on|in|at] the <where>.",
    "{} <who> [are|were|sit|sat|wait|waited|stand|stood] [on|in|at] the <where>.",
    "[on|in|at] the <where> [are|were|there are|there were] {} <who>.",
    "in the morning, there [are|were] {} <who> at the <where>.",
    "you can see {} <who> at the <where>.",
    "a <where> has {} <who>.",
    "<A> counts {} <who> at the <where>.",
    "at first, {} <who> [are|were] [in|at] the <where>.",
)
COME = (
    WHEN + "{} more[ <who>|] [come|came|arrive|arrived|join|joined|join them|enter|entered].",
    WHEN + "{} <who> [come|came|arrive|arrived|get on|got on|enter|entered|walk in|walked in].",
    "then another {} [come|came|arrive|arrived].",
    WHEN + "{} other <who> [join|joined] them.",
    WHEN + "{} new <who> [come|came|arrive|arrived].",
)
GO = (
    WHEN + "{} of them [leave|left|go away|went away|go home|went home|get off|got off|walk away|ran away].",
    WHEN + "{} <who> [leave|left|go away|went away|go home|went home|get off|got off].",
    "but {} of the <who> [leave|left|go away|went away|must go|had to go].",
    WHEN + "{} of the <who> [disappear|disappeared|run away|ran away|leave|left].",
)
THERE_NOW = (
    "how many <who> are [there now|at the <where> now|there in the end|there]?",
    "how many <who> are [in|at|on] the <where>[ now| in the end|]?",
    "how many are there now?",
    "what is the number of <who> now?",
    "now how many <who> are there?",
)
LEFT_THERE = (*THERE_NOW, "how many <who> [are left|remain|stay|are still there]?", "how many [are left|remain|stay]?")
WHO = (
    "people",
    "children",
    "birds",
    "ducks",
    "students",
    "boys",
    "girls",
    "men",
    "women",
    "sheep",
    "cows",
    "horses",
    "cats",
    "dogs",
    "guests",
    "cars",
    "boats",
    "players",
    "fish",
    "chickens",
    "hens",
    "workers",
    "visitors",
)
WHERE = (
    "bus",
    "train",
    "lake",
    "park",
    "farm",
    "school",
    "station",
    "market",
    "beach",
    "river",
    "field",
    "garden",
    "ship",
    "hall",
    "square",
    "yard",
    "party",
    "zoo",
    "theater",
    "museum",
    "shop",
    "town",
    "village",
    "house",
)

# ---------------------------------------------------------------------------------------------------------------------
# Several people

AND_HAS = (
    "<B> [has|had|owns|has got|holds|keeps] {}[ <t>|].",
    "<B> [found|picked|bought|made|collected|gathered|got] {}[ <t>|].",
    "<A.his> [friend|brother|sister|neighbor] <B> [has|had] {}[ <t>|].",
    "and <B> has {}[ <t>|].",
    "there [are|were] {} <t> in the <box> of <B>.",
)
HAS_MORE = (
    "<B> [has|had|owns|found|made|got] {} [more <t>|more] than <A>.",
    "<B> has {} <t> more than <A.him>.",
    "compared with <A>, <B> has {} more[ <t>|].",
)
HAS_FEWER = (
    "<B> [has|had|owns|found|made|got] {} [fewer <t>|fewer|less] than <A>.",
    "<B> has {} <t> [fewer|less] than <A.him>.",
    "compared with <A>, <B> has {} [fewer|less].",
)
HAS_TIMES = (
    "<B> [has|had|owns|found|made|got] {} times as many[ <t>|][ as <A>|].",
    "<B> has {} times the number of <t> that <A> has.",
    "<B> has {} times as many <t> as <A.him>.",
)
HAS_PART = ("<B> [has|had|owns|found|made|got] {} as many[ <t>|][ as <A>|].", "<B> has {} as many <t> as <A.him>.")
TOGETHER = (
    "how many <t> do they have[ together| in all| altogether|]?",
    "how many <t> do <A> and <B> have[ together| in all| altogether|]?",
    "how many <t> are there [in all|altogether|together|in total]?",
    "what is the total number of <t>?",
    "how many <t> is that [in all|altogether|together|in total]?",
    "together, how many <t> do they have?",
    "what do they have together?",
)
HOW_MANY_MORE = (
    "how many more <t> does <A> have than <B>?",
    "how many more <t> than <B> does <A> have?",
    "how many fewer <t> does <B> have than <A>?",
    "by how many does <A> have more <t> than <B>?",
    "what is the difference between the <t> of <A> and <B>?",
    "how many <t> must <B> get to have as many as <A>?",
)
HOW_MANY_HAS_B = (
    "how many <t> does <B> have?",
    "how many <t> has <B>[ got|]?",
    "what is the number of <t> that <B> has?",
    "how many does <B> have?",
)
THIRD_HAS = ("<C> [has|had|owns|has got|holds] {}[ <t>|].", "<C> [found|picked|bought|made|got] {}[ <t>|].", "and <C> has {}.")

# ---------------------------------------------------------------------------------------------------------------------
# Groups of equal size

GROUPS = (  # number of groups, size of each
    "<A> [has|had|buys|bought|fills|filled|opens|opened|gets|got] {} <boxes>[, and there are| with| of] {} <t>"
    "[ in each| in every <box>| each].",
    "there [are|were] {} <boxes> with {} <t> in each[ of them| <box>|].",
    "<A> [has|had|sees|packs|packed] {} <boxes>. each[ <box>| of them|] [has|holds|contains] {} <t>.",
    "<A> [has|had] {} <boxes>. there are {} <t> in [each|every] <box>.",
    "<A> [puts|put] <t> into {} <boxes>, {} in each.",
    "<A> [has|made|planted|puts out] {} rows of {} <t>[ each|].",
    "there are {} rows, and [each|every] row has {} <t>.",
    "there are {} children, and each[ child|] [has|gets|brings|needs] {} <t>.",
    "<A> has {} friends, and [gives|gave] each of them {} <t>.",
    "{} friends have {} <t> each.",
    "<A> [buys|bought] {} packs of {} <t>.",
    "<A> has {} shelves with {} <t> on each.",
    "each of {} <boxes> holds {} <t>.",
)
GAINS_GROUPS = (
    WHEN + "<A.he> [buys|bought|gets|got|finds|found] {} <boxes> with {} <t> in each.",
    WHEN + "<B> [gives|gave|brings|brought] <A.him> {} <boxes> of {} <t>[ each|].",
    WHEN + "<A.he> [buys|bought] {} packs of {} <t>.",
    WHEN + "{} [friends|children] [give|gave|bring|brought] <A.him> {} <t> each.",
    "then <A.he> [gets|got|makes|made] {} more <boxes>, each with {} <t>.",
)
SIZE_FIRST = (  # size of each, number of groups
    "there are {} <t> in [a|each|every] <box>, and <A> has {} <boxes>.",
    "[a|each|every] <box> holds {} <t>. <A> [has|buys|fills|needs] {} <boxes>.",
    "<A> [makes|picks|sells|uses|eats|finds|needs] {} <t> [a|every|each] day for {} days.",
    "every day, <A> [makes|picks|sells|uses|finds|buys] {} <t>. <A.he> does this for {} days.",
    "<t> come in packs of {}. <A> buys {} packs.",
    "<A> puts {} <t> into each of {} <boxes>.",
    "<A> gives {} <t> to each of {} children.",
)
DAILY = (  # number a day, for a week
    "<A> [makes|picks|sells|uses|eats|finds|buys|reads|needs] {} <t> [a|every|each] day for a week.",
    "every day of the week, <A> [makes|picks|sells|uses|finds|buys] {} <t>.",
    "<A> [makes|picks|sells|uses|finds|buys] {} <t> [a|every|each] day. <A.he> does this for a whole week.",
)
IN_ALL = (
    "how many <t> [are there|are these|is that|does this make] [in all|altogether|in total|together]?",
    "how many <t> are there?",
    "what is the total number of <t>?",
    "how many <t> [is that|are there] [in all|altogether]?",
    "in all, how many <t> are there?",
)
ALSO_HAS = (
    "<A.he> also [has|had] {} <t> [on the table|at home|in a bag|in the kitchen].",
    "{} more <t> [are|lie|were] [on the table|at home|on the floor].",
    "there [are|were] also {} <t> on the table.",
    "besides, <A.he> has {} <t>.",
    "another {} <t> [are|were] not in any <box>.",
)

# ---------------------------------------------------------------------------------------------------------------------
# Sharing equally

SHARES = (
    "<A> [shares|shared|divides|divided] [the <t>|them|all of them|all the <t>] equally among {} [children|friends|people|girls|boys].",
    "<A> [puts|put|packs|packed] [the <t>|them|all of them] into {} <boxes>, the same number in each.",
    "{} [children|friends|people|girls|boys] share [the <t>|them|all of them] equally.",
    "[the <t>|they] [are|were] shared equally among {} [children|friends|people].",
    "[the <t>|they] [are|were] put into {} <boxes>, as many in each.",
    "<A> [splits|split] [the <t>|them|all of them] equally between {} [children|friends|people|<boxes>].",
    "<A> makes {} equal groups of [the <t>|them].",
    "<A> gives [the <t>|them|all of them] to {} [children|friends|people], the same number to each.",
)
SHARE_OF_EACH = (
    "how many <t> [does each get|are in each|are for each|does each of them get]?",
    "how many <t> does each [child|person|friend] get?",
    "how many <t> are in each [<box>|group|part]?",
    "how many are in each?",
    "how many does each get?",
    "how many <t> is that for each?",
)
PACKS = (
    "<A> [puts|put|packs|packed] {} [of them|<t>] into each <box>.",
    "[each|every|a] <box> [holds|has room for] {}[ of them| <t>|].",
    "{} [of them|<t>] [fit|go] into [each|every|a] <box>.",
    "<A> [makes|made] groups of {}[ <t>|].",
    "<A> gives {} to each child.",
)
HOW_MANY_PACKS = (
    "how many <boxes> [does <A> need|does <A> fill|are needed|are filled|are there|is that]?",
    "how many <boxes> can <A> fill?",
    "how many groups [are there|does <A> make|can <A> make]?",
    "for how many <boxes> is that enough?",
    "how many children get some?",
)

# ---------------------------------------------------------------------------------------------------------------------
# Money

COSTS = (
    "[a|each|every|the] <s> costs {} <u>.",
    "the price of a <s> is {} <u>.",
    "<A> [pays|paid] {} <u> for [a|each|every] <s>.",
    "for a <s> you pay {} <u>.",
    "a <s> is sold for {} <u>.",
)
COSTS_TOO = (
    "[a|each|every|the] <s2> costs {} <u>.",
    "the price of a <s2> is {} <u>.",
    "<A> [pays|paid] {} <u> for a <s2>.",
    "a <s2> is sold for {} <u>.",
    "and a <s2> costs {} <u>.",
)
BUYS = (
    "<A> [buys|bought|orders|ordered|takes|needs|wants|gets|got] {} of them.",
    "<A.he> [buys|bought|orders|wants|gets] {}.",
    "<A> [buys|bought|sells|sold|needs|wants] {} <s>s.",
)
BOUGHT_EACH = (
    "<A> [buys|bought|orders|ordered|gets|got] {} <s>s [for|at] {} <u> each.",
    "<A> [buys|bought] {} <s>s. [each|every <s>|each <s>|each of them] costs {} <u>.",
    "<A> pays for {} <s>s, {} <u> each.",
    "<A> takes {} <s>s at {} <u> each.",
)
PAYS = (
    "how many <u> does <A> [pay|spend|need|have to pay][ in all| altogether| in total|]?",
    "how many <u> [is that|does that cost|does it cost|are needed][ in all| altogether| in total|]?",
    "what is the [total price|price of all of them|total cost] in <u>?",
    "how much does <A> [pay|spend|have to pay][ in all| altogether|]?",
    "how much does [that|it|everything] cost[ in all| altogether|]?",
    "what does <A> have to pay?",
    "how much [money is that|is that together|is that in all]?",
)
HAS_MONEY = (
    "<A> [has|had] {} <u>.",
    "<A> [has saved|saved|has got|earned|got|owns] {} <u>.",
    "<A> has {} <u> in <A.his> pocket.",
    "<A> goes to the market with {} <u>.",
    "in the purse of <A> are {} <u>.",
    "<A> starts with {} <u>.",
    "<A> has a purse with {} <u>.",
)
SPENDS = (
    WHEN + "<A.he> [pays|paid|spends|spent] {} <u> [for|on] a <s>.",
    WHEN + "<A.he> [buys|bought] a <s> for {} <u>.",
    WHEN + "<A.he> [buys|bought] a <s> that [costs|cost] {} <u>.",
    WHEN + "<A.he> [gives|gave|lends|lent] {} <u> to <B>.",
    WHEN + "<A.he> [loses|lost|spends|spent] {} <u>.",
    WHEN + "<A.he> [pays|paid] <B> {} <u>.",
)
EARNS = (
    WHEN + "<A.he> [earns|earned|gets|got|finds|found|receives|received] {} <u>[ more| from <B>|].",
    WHEN + "<B> [gives|gave|pays|paid|lends|lent] <A.him> {} <u>.",
    WHEN + "<A.he> [sells|sold] a <s2> for {} <u>.",
    WHEN + "<A.he> [is|was] paid {} <u>[ for <A.his> work|].",
)
MONEY_NOW = (
    "how many <u> does <A> have[ now| in the end| then|]?",
    "how much money does <A> have[ now| in the end|]?",
    "how much does <A> have[ now| in the end|]?",
    "how many <u> has <A> now?",
)
MONEY_LEFT = (
    *MONEY_NOW,
    "how many <u> [are left|remain|does <A> have left|does <A> still have|does <A> get back]?",
    "how much money [is left|remains|does <A> have left|does <A> still have]?",
)
WANTS = (
    "<A> wants [to buy |]a <s> that costs {} <u>. <A.he> has {} <u>.",
    "a <s> costs {} <u>. <A> has only {} <u>.",
    "<A> needs {} <u> for a <s> and has saved {} <u>.",
)
STILL_NEEDS = (
    "how many <u> does <A> [still need|need to save]?",
    "how much money does <A> still need?",
    "how many more <u> does <A> need?",
    "how many <u> are missing?",
)
UNITS_OF_MONEY = ("coins", "dollars", "euros", "pounds", "francs")

# ---------------------------------------------------------------------------------------------------------------------
# Rates, times, lengths, ages

RATES = (  # (sentence, unit counted, per what)
    ("<A> [walks|runs|rides|drives|goes] {} [miles|kilometers|meters] [a|every|each|per] {p}.", "{p}"),
    ("a [car|train|boat|bus|bicycle] [goes|drives|travels] {} [miles|kilometers] [a|every|each|per|in an] {p}.", "{p}"),
    ("<A> [earns|gets|is paid] {} <u> [a|every|each|per|for every] {p}.", "{p}"),
    ("a machine makes {} <t> [a|every|each|per] {p}.", "{p}"),
    ("<A> reads {} pages [a|every|each|per] {p}.", "{p}"),
    ("a tap gives {} liters of water [a|every|each|per] {p}.", "{p}"),
    ("<A> writes {} letters [a|every|each|per] {p}.", "{p}"),
    ("<A> can [paint|make|repair|wash|bake] {} [chairs|cakes|cups|windows|plates] [a|per|in every] {p}.", "{p}"),
)
PERIODS = ("hour", "day", "week", "month", "minute", "year")
FOR_TIME = (
    "how [many|much] is that in {} {p}s?",
    "how many [is that|does that make] after {} {p}s?",
    "what does that make in {} {p}s?",
    "how many in {} {p}s?",
)
DOES_SO = ("<A.he> [does|did] this for {} {p}s.", "this goes on for {} {p}s.", "{} {p}s go by.", "it takes {} {p}s.")
HOW_FAR = (
    "how many is that in all?",
    "how many [miles|meters|pages|pieces] is that in all?",
    "what is the total?",
    "how much is that altogether?",
)
WHOLE_TIMES = (  # (question about a longer period, period of the rate, how many of them)
    ("how many is that in a week?", "day", 7),
    ("how much is that in a week?", "day", 7),
    ("what does that make in a week?", "day", 7),
    ("how many is that in an hour?", "minute", 60),
    ("how much is that in an hour?", "minute", 60),
    ("how many is that in a day?", "hour", 24),
    ("how many is that in a year?", "month", 12),
    ("how much is that in a year?", "month", 12),
    ("how much is that in a year?", "week", 52),
)
MORE_OF_IT = ("then {} more are added.", "before that, there were {} already.", "on top of that come {} more.")
LONG = (
    "[a rope|a ribbon|a board|a pipe|a wire] is {} [meters|inches|feet] long.",
    "<A> has [a rope|a ribbon|a board|a wire] of {} [meters|inches|feet].",
)
CUTS_OFF = ("<A> cuts off {}[ meters| of them|].", "{} [meters|of them] are cut off.", "<A> uses {} of them.", "<A> takes {} of it away.")
ADDS_ON = ("<A> [ties|puts|glues] another {} to it.", "<A> makes it longer by {}.", "{} more are added.")
LONG_NOW = ("how long is it now?", "how long is the rest?", "what is its length now?", "how long is what is left?")
CUT_EQUAL = (
    "<A> cuts it into {} equal [pieces|parts].",
    "it is cut into {} [pieces|parts] of the same length.",
    "{} equal [pieces|parts] are made of it.",
)
LONG_EACH = ("how long is each [piece|part]?", "how long are they?", "what is the length of each [piece|part]?")
AGE = ("<A> is {} years old.", "<A> is {} years of age.", "the age of <A> is {}.", "<A> turned {} today.")
OLDER = ("<B> is {} years older[ than <A>| than <A.him>|].", "<B> was born {} years before <A>.")
YOUNGER = ("<B> is {} years younger[ than <A>| than <A.him>|].", "<B> was born {} years after <A>.")
TIMES_OLD = ("<B> is {} times as old[ as <A>| as <A.him>|].",)
PART_OLD = ("<B> is {} as old[ as <A>| as <A.him>|].",)
AGE_OF_B = ("how old is <B>?", "what is the age of <B>?", "how many years old is <B>?")
AGE_IN = ("how old will <A> be in {} years?", "how old is <A> in {} years?", "in {} years, how old will <A> be?")
AGE_AGO = ("how old was <A> {} years ago?", "{} years ago, how old was <A>?")
AGE_B_IN = ("how old will <B> be in {} years?", "how old is <B> in {} years?", "in {} years, how old will <B> be?")

# ---------------------------------------------------------------------------------------------------------------------
# Percent

PERCENT_GONE = (
    "<A.he> [sells|sold|loses|lost|gives away|gave away|uses|used] {} % of them.",
    "{} percent of them [are|were] [lost|sold|broken].",
    "{} % of the <t> [are|were] [bad|broken|sold].",
)
PERCENT_RED = ("{} % of them are <c>.", "{} percent of the <t> are <c>.", "of these, {} % are <c>.")
HOW_MANY_RED = ("how many <t> are <c>?", "how many of them are <c>?", "how many <c> <t> does <A> have?")
CHEAPER = ("<A> gets it {} % cheaper.", "on <day> it costs {} percent less.", "the price falls by {} %.", "the shop takes {} % off.")
DEARER = ("the price rises by {} %.", "now it costs {} percent more.", "the shop adds {} %.")
NEW_PRICE = ("how many <u> does it cost now?", "what is the new price?", "how much does <A> pay for it?", "what does it cost now?")

# ---------------------------------------------------------------------------------------------------------------------
# What is not known at first

UNKNOWN_BEFORE_GAIN = (
    "<A> [had|has] some <t>.",
    "<A> had a few <t>.",
    "<A> has a <box> of <t>.",
)
NOW_HAS = (
    "now <A.he> has {}[ <t>|].",
    "now there are {}[ <t>|].",
    "in the end, <A.he> has {}[ <t>|].",
    "<A.he> has {} now.",
    "<A> now has {} <t>.",
)
LEFT_WITH = ("now <A.he> has {} left.", "{} are left.", "<A.he> has {} <t> left.", "in the end {} remain.", "<A> now has {} <t>.")
AT_FIRST = (
    "how many <t> did <A> have [at first|before|in the beginning|to begin with]?",
    "how many <t> did <A.he> have before?",
    "with how many <t> did <A> start?",
    "how many did <A> have at first?",
)
GAINED_SOME = (
    "<B> [gives|gave] <A.him> some more.",
    "<A.he> [buys|bought|finds|found|gets|got] some more.",
    "then <A.he> gets a few more.",
)
LOST_SOME = ("<A.he> [gives|gave] some of them to <B>.", "<A.he> [loses|lost|sells|sold|eats|ate] some of them.", "some of them are lost.")
HOW_MANY_CAME = ("how many [<t> |]did <A> get?", "how many <t> are new?", "how many more did <A.he> get?", "how many <t> came?")
HOW_MANY_WENT = (
    "how many [<t> |]are gone?",
    "how many <t> did <A> lose?",
    "how many [<t> |]did <A.he> give away?",
    "how many <t> are missing?",
)

# ---------------------------------------------------------------------------------------------------------------------
# Numbers that do not matter

DISTRACTIONS = (  # (sentence, words that must not stand in the problem)
    ("<D> is {x@} years old.", "years"),
    ("<A> is {x@} years old.", "years"),
    ("the road to <L> is {x} miles long.", "miles"),
    ("<D> has a book with {x} pages.", "pages"),
    ("there are {x} ducks on the lake.", "ducks"),
    ("<D> has {x@} sheep.", "sheep"),
    ("the house of <D> has {x~} windows.", "windows"),
    ("{x} people live near <L>.", "people"),
    ("<D> waited for {x~} days.", "days"),
    ("<D> has {x} <t2>.", "<t2>"),
    ("<A> also has {x} <t2>.", "<t2>"),
    ("<A.his> [brother|sister|neighbor] has {x} <t2>.", "<t2>"),
    ("<A> lives in house number {x}.", "house"),
    ("it is {x~} degrees warm.", "degrees"),
    ("the bus comes every {x@} minutes.", "minute"),
    ("the <box> weighs {x~} kilograms.", "kilogram"),
    ("<A> walks {x} kilometers to <L>.", "kilometer"),
    ("this happens in the year {x}.", "year"),
    ("there are {x} <t2> on the table.", "table"),
    ("<A> has {x~} cousins.", "cousin"),
    ("the market opens at {x~}.", "market"),
    ("<D> paid {x} coins for a hat.", "coins"),
)
