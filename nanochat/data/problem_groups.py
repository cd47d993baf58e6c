"""Sentences of word problems about groups of equal size and about sharing; in the language of `problem_words.py`."""

from nanochat.data.problem_words import WHEN

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
    "<A> [carries|carried|brings|brought|stacks|stacked|orders|ordered|collects|collected] {} <boxes> [with|of] {} <t>[ each| in each|"
    " inside each|].",
    "<A> [has|had|received|ordered] {} [bags|packs|packages|sets|piles|bundles|bunches|groups|cases] of {} <t>[ each|].",
    "there [are|were] {} [piles|stacks|groups|bundles|trays|packets] of {} <t>[ each| on the table|].",
    "<A> [arranges|arranged|lays|laid|sets|set up] the <t> in {} rows [with|of] {}[ <t>|] [in each row|each|in every row].",
    "[a|the] [hall|room|shop|kitchen] has {} [shelves|tables] with {} <t> [on each|each].",
    "{} [children|people|friends|workers|girls|boys|students|teachers] [each|all] [bring|brought|have|had|make|<maked>] {} <t>[ each|].",
    "{} [children|people|friends|workers|students] [bring|brought|get|got|have|find|found|need|carry] {} <t> each.",
    "each of the {} [children|players|teams|guests|workers|rooms|tables|houses|classes] [has|gets|got|needs|needed] {} <t>.",
    "<A> [gives|gave|hands|handed|sends] each of <A.his> {} [friends|children|students|guests|neighbors|cousins] {} <t>.",
    "[on|at] each of the {} [tables|shelves|desks|stands] there are {} <t>.",
    "in each of {} <boxes> there are {} <t>.",
    "<A> [buys|bought|needs] {} <boxes>, and [each|every <box>|each of them] [has|contains|holds|comes with] {} <t>.",
    "<A> has {} <boxes>, each [with|holding|containing] {} <t>.",
    "<A> [fills|filled|packs|packed] {} <boxes>[,| and] [putting|puts] {} <t> [in each|into each].",
    "a [shop|farmer|teacher|school] [has|buys|orders] {} <boxes>. [every|each] <box> [has|holds] {} <t>.",
    "on {} [days|mornings|evenings], <A> [buys|finds|uses|sells|needs] {} <t> [a day|each time|per day].",
)
GAINS_GROUPS = (
    WHEN + "<A.he> [buys|bought|gets|got|finds|found] {} <boxes> with {} <t> in each.",
    WHEN + "<B> [gives|gave|brings|brought] <A.him> {} <boxes> of {} <t>[ each|].",
    WHEN + "<A.he> [buys|bought] {} packs of {} <t>.",
    WHEN + "{} [friends|children] [give|gave|bring|brought] <A.him> {} <t> each.",
    "then <A.he> [gets|got|buys] {} more <boxes>, each with {} <t>.",
    WHEN + "<A.he> <gains> {} [packs|bags|boxes|bundles|packages|sets] of {} <t>[ each|].",
    WHEN + "<A.he> <gains> {} <boxes>, each with {} <t>.",
    WHEN + "<A.he> [gets|got] {} <boxes>, and [each|every] <box> [has|holds] {} <t>.",
    WHEN + "{} [neighbors|friends|people|children|cousins] [each|all] [give|gave|bring|brought] <A.him> {} <t>[ each|].",
    WHEN + "<A.his> <relative> <gives> <A.him> {} [packs|bags|bundles] of {} <t>.",
    WHEN + "for {} days, <A.he> [finds|found|buys|bought|gets|got] {} more[ <t>|] [every day|each day|a day].",
    WHEN + "{} times, <A.he> [gets|got] another {}[ <t>|].",
)
SIZE_FIRST = (  # size of each, number of groups
    "there are {} <t> in [a|each|every] <box>, and <A> has {} <boxes>.",
    "[a|each|every] <box> holds {} <t>. <A> [has|buys|fills|needs] {} <boxes>.",
    "<A> [<makes>|picks|sells|uses|finds|needs] {} <t> [a|every|each] day for {} days.",
    "every day, <A> [<makes>|picks|sells|uses|finds|buys] {} <t>. <A.he> does this for {} days.",
    "<t> come in packs of {}. <A> buys {} packs.",
    "<A> puts {} <t> into each of {} <boxes>.",
    "<A> gives {} <t> to each of {} children.",
    "there are {} <t> in [a|each|every] [pack|package|packet|bag|bundle|set]. <A> [buys|has|bought|gets|opens|uses] {}[ packs| packages|"
    " of these|].",
    "a [pack|package|bundle|set|bag] of <t> [has|contains|holds] {}[ of them| <t>| pieces|]. <A> [buys|has|needs|orders] {} of [them"
    "|these].",
    "[each|every] [child|student|guest|player|worker] [gets|needs|has|brings|receives] {} <t>, and there are {} [of them|children|people].",
    "[each|every] [row|shelf|table|page|room] has {} <t>, and there are {} of them.",
    "<A> [gives|gave|sends|sent|hands|handed] {} <t> [each |]to {} [people|children|friends|students|neighbors|guests].",
    "<A> [needs|needed|uses|used|sells|sold|buys|bought] {} <t> [every|each] time. <A.he> does it {} times.",
    "[with|using] {} <t> [per|for each|for every] [table|guest|room|child], <A> [sets up|prepares|needs enough for] {} of them.",
    "{} <t> are in each <box>, and there are {} <boxes>.",
    "{} <t> fit into a <box>. <A> [fills|filled|packs|packed] {} <boxes>.",
)
DAILY = (  # number a day, for a week
    "<A> [<makes>|picks|sells|uses|finds|buys|needs] {} <t> [a|every|each] day for a week.",
    "every day of the week, <A> [<makes>|picks|sells|uses|finds|buys] {} <t>.",
    "<A> [<makes>|picks|sells|uses|finds|buys] {} <t> [a|every|each] day. <A.he> does this for a whole week.",
    "[every|each] day, <A> [gets|buys|finds|sells|needs|uses|<makes>] {} <t>. [a week goes by|a whole week goes by|this goes on for a"
    " week].",
    "for a week, <A> [gets|buys|finds|sells|needs|uses|<makes>] {} <t> [a|every|each|per] day.",
    "<A> <makes> {} <t> [a|every|each|per] day, [all week|the whole week|for a whole week|from Monday to Sunday].",
    "<A> <maked> {} <t> [a|every|each] day last week.",
)
IN_ALL = (
    "how many <t> [are there|are these|is that|does this make] [in all|altogether|in total|together]?",
    "how many <t> are there?",
    "what is the total number of <t>?",
    "how many <t> [is that|are there] [in all|altogether]?",
    "in all, how many <t> are there?",
    "how many <t> [is this|are these|does that give|do we have|can be counted|are there now|will there be] <counted>?",
    "find the [total |]number of <t>.",
    "[calculate|work out|tell me|compute] how many <t> there are[ <counted>|].",
    "what is the number of all the <t>?",
    "[altogether|in all|in total], how many <t> [are there|is that|are these]?",
    "what is the total?",
    "how many <t> [does that make|is that|would that be]?",
)
ALSO_HAS = (
    "<A.he> also [has|had] {} <t> [on the table|at home|in a bag|in the kitchen].",
    "{} more <t> [are|lie|were] [on the table|at home|on the floor].",
    "there [are|were] also {} <t> on the table.",
    "besides, <A.he> has {} <t>.",
    "another {} <t> [are|were] not in any <box>.",
    "<A.he> also [has|had|finds|found|sees|keeps] {} [loose <t>|other <t>|more <t>|more|<t>][ <around>| next to them|].",
    "[there are|there were] {} [more|other <t>|more <t>|loose <t>] [next to them|nearby|on the floor|on a chair|in the next room].",
    "[in addition|apart from that|also|besides that|moreover], [there are|<A.he> has|<A.he> got] {} [<t>|more|more <t>|loose <t>].",
    "<A.he> [keeps|kept] another {}[ <t>|] [at home|in a drawer|in the car|outside].",
    "{} [other|more|loose] <t> are [in the car|outside|in a drawer|nearby].",
)

# ---------------------------------------------------------------------------------------------------------------------
# Sharing equally

SHARES = (
    "<A> [shares|shared|divides|divided] [the <t>|them|all of them|all the <t>] equally among {} [children|friends|people|girls|boys].",
    "{} [children|friends|people|girls|boys] share [the <t>|them|all of them] equally.",
    "[the <t>|they] [are|were] shared equally among {} [children|friends|people].",
    "<A> [splits|split] [the <t>|them|all of them] equally between {} [children|friends|people].",
    "<A> gives [the <t>|them|all of them] to {} [children|friends|people], the same number to each.",
    "<A> [shares|shared|splits|split|divides|divided|distributes|distributed] [the <t>|them|all of them|all the <t>] [equally|evenly]"
    " [among|between] {} [children|friends|people|students|neighbors|guests|teams|cousins].",
    "<A> [hands|handed|gives|gave] [the <t>|them|all of them] out to {} [children|people|friends|students], the same number to each.",
    "<A> [wants|decides|decided|has] to [share|split|divide] [the <t>|them|all of them] [equally|evenly] among {} [children|friends"
    "|people|students|guests].",
    "{} [children|friends|people|students|workers|guests] [get|got|divide|split] [the <t>|them|all of them] [in equal parts|evenly among"
    " themselves|fairly].",
    "[the <t>|they|all the <t>] [are|were] [divided|split|distributed|handed out] [equally|evenly] [among|between] {} [children|friends"
    "|people|students|teams].",
    "there are {} [children|friends|people|guests], and [each|each of them|every guest] [gets|is to get|should get] the same number[ of"
    " <t>|].",
)
DIVIDES = (
    "<A> [puts|put|packs|packed] [the <t>|them|all of them] into {} <boxes>, the same number in each.",
    "[the <t>|they] [are|were] put into {} <boxes>, as many in each.",
    "<A> makes {} equal groups of [the <t>|them].",
    "<A> [arranges|arranged|sorts|sorted|lays|laid] [the <t>|them|all of them] [out in|into|in] {} equal [rows|groups|piles|parts|stacks].",
    "[the <t>|they|all of them] [go|went|are put|were put] into {} <boxes>, equally many in each.",
    "<A> [fills|filled] {} <boxes> with [the <t>|them|all of them], all <boxes> equally full.",
    "<A> [spreads|spread|places|placed] [the <t>|them|all of them] [equally|evenly] over {} [shelves|tables|days|trays|pages|plates].",
)
SHARE_OF_EACH = (
    "how many <t> [does each get|are for each|does each of them get|is that for each]?",
    "how many does each get?",
    "how many[ <t>|] [will|would|should|can] each [get|have|receive]?",
    "how many <t> [does|will|did] each of them [get|have|receive]?",
    "how many[ <t>|] are there for each[ of them|]?",
    "how many <t> is that per head?",
    "what is the [share of each|number of <t> for each|number that each gets]?",
    "find [the share of each|the number of <t> for each|how many <t> each gets].",
    "[calculate|work out|tell me] how many each [gets|receives|has].",
    "each [gets|has|will get] how many[ <t>|]?",
)
IN_EACH_PART = (
    "how many[ <t>|] are in each[ of them|]?",
    "how many <t> [will there be|are there|go|are put] in each[ of them|]?",
    "how many[ <t>|] [does|will|did] each [hold|have|get]?",
    "how many[ <t>|] [is that|are there] for each?",
    "what is the number of <t> in each?",
    "find [the number of <t> in each|how many <t> are in each].",
    "[calculate|work out|tell me] how many are in each.",
    "each [has|holds] how many[ <t>|]?",
)
PACKS = (
    "<A> [puts|put|packs|packed] {} [of them|<t>] into each <box>.",
    "[each|every|a] <box> [holds|has room for] {}[ of them| <t>|].",
    "{} [of them|<t>] [fit|go] into [each|every|a] <box>.",
    "<A> [wants|decides|has|plans] to [put|place|pack] {} [of them|<t>] [in|into] [each|every] <box>.",
    "there is room for {}[ of them| <t>|] in each <box>.",
    "[with|using] {} [of them|<t>], <A> can [fill|pack] a <box>.",
    "<A> [packs|packed|sorts|sorted|puts|put] [them|the <t>|all of them] [in|into] <boxes> of {}[ each|].",
)
PORTIONS = (
    "<A> gives {} to each child.",
    "<A> [gives|gave|hands|handed] {}[ of them| <t>|] to [each|every] [child|friend|guest|student|person].",
    "[each|every] [child|friend|guest|student|person] [gets|needs|is given|receives] {}[ of them| <t>|].",
)
BUNDLES = (
    "<A> [makes|made] groups of {}[ <t>|].",
    "<A> [packs|packed|sorts|sorted|bundles|bundled|puts|put|arranges|arranged] [them|the <t>|all of them] [in|into] [bags|packs|groups"
    "|rows|piles|stacks|sets|bundles] of {}[ each|].",
    "[each|every|a] [bag|pack|row|shelf|table|tray|page|bundle] [holds|has room for|takes|can hold|fits|needs] {}[ of them| <t>|].",
    "<A> [uses|sells] {}[ of them| <t>|] at a time.",
    "<A> [can carry|carries|takes] {}[ of them| <t>|] at a time.",
    "{}[ of them| <t>|] make [a pack|a set|a row|a pile|a bundle].",
)
HOW_MANY_PACKS = (
    "how many <boxes> [does <A> need|does <A> fill|are needed|are filled|are there|is that]?",
    "how many <boxes> can <A> fill?",
    "for how many <boxes> is that enough?",
    "how many <boxes> [will|can|did|could] <A> [fill|pack|use|need]?",
    "[to hold|for] all of them, how many <boxes> [are needed|does <A> need]?",
    "find the number of <boxes>.",
    "[calculate|work out|tell me] how many <boxes> that makes.",
    "how many [full |]<boxes> [is that|are there|will there be|does that give]?",
    "what is the number of <boxes>?",
)
HOW_MANY_PEOPLE = (
    "how many [children|people] [get|got|can get] some?",
    "for how many is that enough?",
    "how many of them [get|can get|receive] [some|their share]?",
    "how many people is that?",
    "find how many get some.",
    "to how many can <A> give them?",
)
HOW_MANY_BUNDLES = (
    "how many [of these |][are there|will there be|can be made|does that make|can <A> make]?",
    "how many times [is that|can <A> do this|does that go]?",
    "how many is that?",
    "what is the number of these?",
    "[calculate|work out] how many that makes.",
)
