"""Sentences of word problems about rates, lengths, ages and percentages; in the language of `problem_words.py`."""

from nanochat.data.problem_words import WHEN

# ---------------------------------------------------------------------------------------------------------------------
# Rates, times, lengths, ages

RATES = (  # `{p}` is the period
    "<A> [walks|runs|rides|drives|goes|cycles|hikes|swims|jogs] {} <km> [a|every|each|per] {p}.",
    "a [car|train|boat|bus|bicycle|plane|truck|ship] [goes|drives|travels|covers|moves] {} <km> [a|every|each|per|in a] {p}.",
    "<A> [earns|gets|is paid|makes|saves|receives|spends|pays] {} <u> [a|every|each|per|for every] {p}.",
    "a [machine|factory|workshop|printer] [makes|produces|packs|prints|fills] {} <t> [a|every|each|per] {p}.",
    "<A> [reads|writes|types|copies|learns|prints] {} [pages|words|lines|songs|poems] [a|every|each|per] {p}.",
    "a [tap|pump|well|pipe] [gives|fills in|pours out|moves] {} liters of water [a|every|each|per] {p}.",
    "<A> [writes|sends|answers|gets] {} [letters|messages|calls] [a|every|each|per] {p}.",
    "<A> can [paint|make|repair|wash|bake|clean|sell] {} [chairs|cakes|cups|windows|plates|bowls] [a|per|in every|each] {p}.",
    "[each|every] {p}, <A> [<makes>|uses|sells|needs|buys] {} <t>.",
    "[each|every] {p}, {} [visitors|guests|cars|trains|people|ships] [come|pass|arrive|leave].",
    "the [cow|hen|dog|horse|cat|baby] [eats|drinks|gets] {} [pounds|bowls|cups|grams] of food [a|every|each|per] {p}.",
    "a [plant|tree|child|candle] [grows|changes] by {} [inches|centimeters|millimeters] [a|every|each|per] {p}.",
    "[a bus|a ship|a lift|a plane] [carries|takes] {} [people|passengers] [a|every|each|per] {p}.",
    "at a [speed|rate] of {} [miles|pages|pieces|meters] per {p}, <A> [goes on|works|keeps going].",
    "the [room|car|ticket|boat|field] costs {} <u> [a|per|for each|for every] {p}.",
)
FOR_TIME = (
    "how [many|much] is that in {} {p}s?",
    "how many [is that|does that make] after {} {p}s?",
    "what does that make in {} {p}s?",
    "how many in {} {p}s?",
    "how [many|much] [will it be|is it|will that make|would that be] in {} {p}s?",
    "how [many|much] [after|during|within] {} {p}s?",
    "how [many|much] would that be after {} {p}s?",
    "what is the total [for|after|in] {} {p}s?",
    "[in|after|within] {} {p}s, how [many|much] is that?",
    "what will it be after {} {p}s?",
)
DOES_SO = (
    "<A.he> [does|did] this for {} {p}s.",
    "this goes on for {} {p}s.",
    "{} {p}s go by.",
    "it takes {} {p}s.",
    "[it|this] [goes on|went on|lasts|lasted|continues|continued] for {} {p}s.",
    "[after that|then] {} {p}s [have passed|have gone by|are over].",
    "it [takes|took|lasts|lasted] {} {p}s.",
    "[that|this] [is|was] done for {} {p}s.",
    "{} {p}s [pass|passed|went by|later it is done].",
    "<A> [watches|waits|stays] for {} {p}s.",
)
HOW_FAR = (
    "how many is that in all?",
    "how many [miles|meters|pages|pieces] is that in all?",
    "what is the total?",
    "how much is that altogether?",
    "what does that make [altogether|in all|in total]?",
    "how much [is it|is that|does it make] [altogether|in all|in total]?",
    "how many [does that make|are there|is it] <counted>?",
    "find the total.",
    "[calculate|work out] how much that is <counted>.",
    "what is the [total number|whole amount|result|sum]?",
)
LONGER = (("week", "day", 7), ("hour", "minute", 60), ("day", "hour", 24), ("year", "month", 12), ("year", "week", 52))
WHOLE_TIMES = (  # (question about a longer period, period of the rate, how many of them)
    *((question, period, many) for longer, period, many in LONGER for question in (
        f"how [many|much] [is that|does that make|would that be|will it be] in a {longer}?", f"what does that make in a {longer}?",
        f"in a {longer}, how [many|much] is that?", f"[find|work out|calculate] how [many|much] that is in a {longer}.",
        f"how [many|much] per {longer} is that?")),
)  # fmt: skip
MORE_OF_IT = (
    "then {} more are added.",
    "before that, there were {} already.",
    "on top of that come {} more.",
    "[later|after that|finally|in the end], {} more [are added|come on top].",
    "[besides|in addition|also], there are {} [others|more].",
    "{} [more|others] [were|are] there already.",
    "<A> adds {} more.",
)
LONG = (
    "[a rope|a ribbon|a board|a pipe|a wire] is {} <m> long.",
    "<A> has [a rope|a ribbon|a board|a wire] of {} <m>.",
    "[a string|a stick|a plank|a hose|a cable|a pole|a road|a fence|a scarf|a chain] is {} <m> long.",
    "<A> [buys|bought|finds|found|has|had] [a string|a plank|a cable|a hose|a pole|a piece of cloth] [that is|of] {} <m>.",
    "there is [a rope|a ribbon|a pipe|a cable|a chain] with a length of {} <m>.",
    "the length of [a rope|a ribbon|a board|a cable|a plank] is {} <m>.",
)
CUTS_OFF = (
    "<A> cuts off {}[ <m>| of them|].",
    "{} [<m>|of them] are cut off.",
    "<A> uses {} of them.",
    "<A> takes {} of it away.",
    "<A> [cuts|cut] off a piece of {}[ <m>|].",
    "a piece of {} is [cut off|missing|taken away|used|sold].",
    "{} [of them |][break off|broke off|are used|are lost|were cut away].",
    "<A> [shortens|shortened] it by {}.",
    "it [gets|becomes|is made] shorter by {}.",
    "<B> [takes|takes away|needs|uses|gets] {} of [them|it].",
)
ADDS_ON = (
    "<A> [ties|puts|glues] another {} to it.",
    "<A> makes it longer by {}.",
    "{} more are added.",
    "<A> [adds|added|joins|joined] [a piece of|another|a second piece of] {}[ to it|].",
    "it [gets|becomes|is made] longer by {}.",
    "a [second |new |]piece of {} is [added|tied to it|joined to it].",
    "another {} are [added|joined to it].",
)
LONG_NOW = (
    "how long is it[ now| in the end| then| after that|]?",
    "what is its [new |]length[ now| in the end|]?",
    "what is the [new length|length in the end|length now]?",
    "find the [new length|length now].",
    "[calculate|work out|tell me] how long it is now.",
    "what length [does it have|has it] now?",
    "how many <m> long is it now?",
)
LONG_REST = (
    *LONG_NOW,
    "how long is the rest?",
    "how long is [what|the piece that] is left?",
    "what is the length of the rest?",
    "what length is left?",
)
CUT_EQUAL = (
    "<A> cuts it into {} equal [pieces|parts].",
    "it is cut into {} [pieces|parts] of the same length.",
    "{} equal [pieces|parts] are made of it.",
    "<A> [cuts|divides|saws|splits] it [into|in] {} [pieces|parts] of [the same|equal] length.",
    "it is [divided|split|sawn] into {} equal [pieces|parts].",
    "{} [children|friends|workers] share it equally, a piece [for each|each].",
)
LONG_EACH = (
    "how long is each [piece|part]?",
    "how long are they?",
    "what is the length of each [piece|part]?",
    "how long is [each of them|every piece|every part|a piece|a part]?",
    "what length has each [piece|part]?",
    "find the length of each [piece|part].",
    "each [piece|part] is how long?",
)
AGE = (
    "<A> is {} years old.",
    "<A> is {} years of age.",
    "the age of <A> is {}.",
    "<A> turned {} today.",
    "<A> is {}[ years old| years of age|].",
    "[today|now|this year], <A> is {} years old.",
    "<A> [celebrates|is celebrating] <A.his> birthday and is {} years old[ now|].",
    "<A>, who is {} years old, [lives in <L>|lives near <L>|has a friend named <B>].",
    "<A>'s age is {}[ years|].",
)
OLDER = (
    "<B> is {} years older[ than <A>| than <A.him>|].",
    "<B> was born {} years before <A>.",
    "<B> is {} years [older than|ahead of] <A>.",
    "<A> is {} years younger than <B>.",
    "<B> is older than <A> by {} years.",
    "the age of <B> is {} years more than that of <A>.",
)
YOUNGER = (
    "<B> is {} years younger[ than <A>| than <A.him>|].",
    "<B> was born {} years after <A>.",
    "<A> is {} years older than <B>.",
    "<B> is younger than <A> by {} years.",
    "the age of <B> is {} years less than that of <A>.",
    "when <A> was {} years old, <B> was born.",
)
TIMES_OLD = (
    "<B> is {} times as old[ as <A>| as <A.him>|].",
    "the age of <B> is {} times that of <A>.",
    "<B>'s age is {} times <A>'s[ age|].",
)
PART_OLD = (
    "<B> is {} as old[ as <A>| as <A.him>|].",
    "[today|now], <B> is {} as old as <A>.",
)
AGE_OF_B = (
    "how old is <B>?",
    "what is the age of <B>?",
    "how many years old is <B>?",
    "how old is <B>[ now| today|]?",
    "how old does that make <B>?",
    "[find|calculate|work out] the age of <B>.",
    "what is <B>'s age?",
    "tell me how old <B> is.",
)
AGE_IN = (
    "how old will <A> be in {} years?",
    "how old is <A> in {} years?",
    "in {} years, how old will <A> be?",
    "how old will <A.he> be {} years from now?",
    "{} years from now, how old will <A> be?",
    "[find|calculate] the age of <A> in {} years.",
    "what will <A>'s age be in {} years?",
    "after {} years, how old will <A.he> be?",
)
AGE_AGO = (
    "how old was <A> {} years ago?",
    "{} years ago, how old was <A>?",
    "what was <A>'s age {} years ago?",
    "how old was <A.he> {} years [ago|earlier|before]?",
    "[find|calculate] the age of <A> {} years ago.",
)
AGE_B_IN = (
    "how old will <B> be in {} years?",
    "how old is <B> in {} years?",
    "in {} years, how old will <B> be?",
    "{} years from now, how old will <B> be?",
    "what will <B>'s age be in {} years?",
    "[find|calculate] the age of <B> in {} years.",
)

# ---------------------------------------------------------------------------------------------------------------------
# Percent

PERCENT_GONE = (
    "<A.he> [sells|sold|loses|lost|gives away|gave away|uses|used] {} % of them.",
    "{} percent of them [are|were] [lost|sold|broken].",
    "{} % of the <t> [are|were] [bad|broken|sold].",
    WHEN + "<A.he> <loses> {} [%|percent] of [them|the <t>].",
    WHEN + "<A.he> <gives> {} [%|percent] of [them|the <t>|<A.his> <t>] to [<B>|a friend].",
    WHEN + "{} [%|percent] of [them|the <t>] [are|were|have been] <gone>.",
    WHEN + "<B> [takes|took|buys|bought] {} [%|percent] of [them|the <t>].",
)
PERCENT_RED = (
    "{} % of them are <c>.",
    "{} percent of the <t> are <c>.",
    "of these, {} % are <c>.",
    "{} [%|percent] of [them|these|the <t>|all the <t>] are <c>.",
    "[it turns out that|<A> says that|we know that] {} [%|percent] of them are <c>.",
    "{} [%|percent] of [them|the <t>] have a <c> [color|mark|dot].",
)
HOW_MANY_RED = (
    "how many <t> are <c>?",
    "how many of them are <c>?",
    "how many <c> <t> does <A> have?",
    "how many[ of the|] <t> [are <c>|have this color|are of this color]?",
    "what is the number of <c> <t>?",
    "find the number of <c> <t>.",
    "[calculate|work out|tell me] how many are <c>.",
    "how many <c> <t> are there?",
)
CHEAPER = (
    "<A> gets it {} % cheaper.",
    "on <day> it costs {} percent less.",
    "the price falls by {} %.",
    "the shop takes {} % off.",
    "[in the sale|today|this week|in winter|on <day>], it is {} [%|percent] [cheaper|off].",
    "the [price|cost] [goes down|drops|is cut|is reduced|was lowered|falls] by {} [%|percent].",
    "<A> has a coupon for {} [%|percent] off.",
    "the [seller|shop|store] [gives|offers] a discount of {} [%|percent].",
    "<A> gets {} [%|percent] off.",
    "it is on sale with {} [%|percent] off.",
)
DEARER = (
    "the price rises by {} %.",
    "now it costs {} percent more.",
    "the shop adds {} %.",
    "the [price|cost] [goes up|increases|is raised|grows|has risen] by {} [%|percent].",
    "[next year|now|later|in summer], it is {} [%|percent] more expensive.",
    "[a tip of|a tax of|a fee of] {} [%|percent] is added.",
    "the [seller|shop] [raises|raised] the price by {} [%|percent].",
)
NEW_PRICE = (
    "how many <u> does it cost now?",
    "what is the new price?",
    "how much does <A> pay for it?",
    "what does it cost now?",
    "what does <A> [pay|have to pay][ for it| now|]?",
    "how much [must|will|does|did] <A> [pay|have to pay]?",
    "what [is|will be] the price [now|then|after that|in the end]?",
    "find the [new price|price now|price in the end].",
    "[calculate|work out] what it costs now.",
    "how much is it now?",
)
