"""Sentences of word problems about money; in the language of `problem_words.py`."""

from nanochat.data.problem_words import WHEN

# ---------------------------------------------------------------------------------------------------------------------
# Money

COSTS = (
    "[a|each|every|the] <s> costs {} <u>.",
    "the price of a <s> is {} <u>.",
    "<A> [pays|paid] {} <u> for [a|each|every] <s>.",
    "for a <s> you pay {} <u>.",
    "a <s> is sold for {} <u>.",
    "[a|each|every|the] <s> [costs|is|sells for|is sold for|goes for] {} <u>.",
    "the [shop|store|seller|market] [sells|offers|has] [each|every|a] <s> for {} <u>.",
    "the price of [a|each|every] <s> is {} <u>.",
    "[in the shop|at the market|at the store], a <s> [costs|is] {} <u>.",
    "<A> [sees|saw|finds|found] a <s> [for|that costs|priced at] {} <u>.",
    "you [can buy|get] a <s> for {} <u>.",
    "{} <u> is the price of a <s>.",
)
COSTS_TOO = (
    "[a|each|every|the] <s2> costs {} <u>.",
    "the price of a <s2> is {} <u>.",
    "<A> [pays|paid] {} <u> for a <s2>.",
    "a <s2> is sold for {} <u>.",
    "and a <s2> costs {} <u>.",
    "a <s2> [costs|is|sells for|goes for|can be had for] {} <u>.",
    "[in the same shop|next to it|there], a <s2> [costs|is] {} <u>.",
    "the <s2> [costs|cost|is priced at] {} <u>.",
    "{} <u> is the price of a <s2>.",
    "for a <s2>, the [shop|seller] [asks|wants|charges] {} <u>.",
)
BUYS = (
    "<A> [buys|bought|orders|ordered|takes|needs|wants|gets|got] {} of them.",
    "<A.he> [buys|bought|orders|wants|gets] {}.",
    "<A> [buys|bought|sells|sold|needs|wants] {} <s>s.",
    "<A> [buys|bought|orders|ordered|picks|chooses|pays for|decides to buy|wants to buy] {} of [them|these].",
    "<A.he> [would like|is going|decides|plans|wants] to [buy|get|order] {}[ of them|].",
    "[today|on <day>|last week|for a party], <A> [bought|ordered|needed|got] {}[ of them| <s>s|].",
    "{} of them [are|were] [sold|bought by <A>|ordered|needed].",
    "<A> [buys|bought|takes|needs] {} for <A.his> [friends|class|family].",
)
BOUGHT_EACH = (
    "<A> [buys|bought|orders|ordered|gets|got] {} <s>s [for|at] {} <u> each.",
    "<A> [buys|bought] {} <s>s. [each|every <s>|each <s>|each of them] costs {} <u>.",
    "<A> pays for {} <s>s, {} <u> each.",
    "<A> takes {} <s>s at {} <u> each.",
    "<A> [bought|buys|got|ordered] {} <s>s [that cost|which cost|priced at|costing] {} <u> each.",
    "<A> [bought|buys] {} <s>s, and each[ of them|] [cost|costs] {} <u>.",
    "<A> [buys|bought|needs|wants] {} <s>s. the price [is|was] {} <u> [each|apiece|per piece].",
    "{} <s>s [cost|are sold for|go for] {} <u> each, and <A> buys them all.",
    "in a shop <A> [bought|chose|took] {} <s>s for {} <u> [each|apiece].",
)
PAYS = (
    "how many <u> does <A> [pay|spend|need|have to pay][ in all| altogether| in total|]?",
    "how many <u> [is that|does that cost|does it cost|are needed][ in all| altogether| in total|]?",
    "what is the [total price|price of all of them|total cost] in <u>?",
    "how much does <A> [pay|spend|have to pay][ in all| altogether|]?",
    "how much does [that|it|everything] cost[ in all| altogether|]?",
    "what does <A> have to pay?",
    "how much [money is that|is that together|is that in all]?",
    "how much [did|will|must|should|would] <A> [pay|spend|have to pay]?",
    "how many <u> [did|will|must|should] <A> [pay|spend][ <counted>|]?",
    "how much [money |][did|will|does] <A> [spend|need][ <counted>|]?",
    "what [is|was|will be] the [total|whole|full] [cost|price|amount|bill]?",
    "what [did|does|will] [it|this|that|everything|all of it] cost [<counted>]?",
    "how much [is|was] the [bill|total|purchase]?",
    "how much [are they|is it|is all of it|would this be] <counted>?",
    "find the [total cost|total price|amount that <A> pays].",
    "[calculate|work out|tell me] how much <A> [pays|has to pay|spends].",
    "how many <u> does [this|it all|everything] [cost|come to]?",
    "what does <A> pay[ <counted>| for everything| for it|]?",
)
HAS_MONEY = (
    "<A> [has|had] {} <u>.",
    "<A> [has saved|saved|has got|earned|got|owns] {} <u>.",
    "<A> has {} <u> in <A.his> pocket.",
    "<A> goes to the market with {} <u>.",
    "in the purse of <A> are {} <u>.",
    "<A> starts with {} <u>.",
    "<A> has a purse with {} <u>.",
    "<A> [has|had|owns|carries|took|brings|brought] {} <u>[ with <A.him>| in <A.his> wallet| in <A.his> purse| in a jar|].",
    "<A> [goes|went|came] [shopping|to town|to the mall|to the fair|to the store|to a shop] with {} <u>.",
    "[for <A.his> birthday|as pocket money|from <A.his> <relative>|as a gift], <A> [got|received|was given] {} <u>.",
    "<A> [has|had] [saved|earned|put aside|collected] {} <u>[ this year| so far|].",
    "[at first|in the beginning|on <day>|this morning], <A> [had|has] {} <u>.",
    "there [are|were] {} <u> in <A>'s [purse|wallet|pocket|piggy bank|bank account].",
    "<A>'s <relative> [gave|gives] <A.him> {} <u>.",
    "<A> [earns|earned] {} <u> [by washing cars|for <A.his> work|at the market|by helping <B>].",
)
SPENDS = (
    WHEN + "<A.he> [pays|paid|spends|spent] {} <u> [for|on] a <s>.",
    WHEN + "<A.he> [buys|bought] a <s> for {} <u>.",
    WHEN + "<A.he> [buys|bought] a <s> that [costs|cost] {} <u>.",
    WHEN + "<A.he> [gives|gave|lends|lent] {} <u> to <B>.",
    WHEN + "<A.he> [loses|lost|spends|spent] {} <u>.",
    WHEN + "<A.he> [pays|paid] <B> {} <u>.",
    WHEN + "<A.he> [spends|spent] {} <u> on [a <s>|lunch|food|books|gifts|a ticket|clothes|sweets|a present for <B>|snacks|groceries].",
    WHEN + "<A.he> [pays|paid] {} <u> for [a <s>|lunch|food|a ticket|a drink|a meal|the bus|a haircut|some bread|a taxi].",
    WHEN + "<A.he> [buys|bought] [a <s>|lunch|a ticket|a drink|some fruit|a gift] for {} <u>.",
    WHEN + "<A.he> [gives|gave|lends|lent|donates|donated] {} <u> to [a friend|<A.his> <relative>|charity|the school|a poor man].",
    WHEN + "<A.he> [needs|needed|uses|used] {} <u> for [a <s>|food|the rent|books|a trip].",
    WHEN + "a <s> [costs|cost] <A.him> {} <u>.",
    WHEN + "{} <u> [are|were] [spent|lost|stolen|given to <B>|used for food].",
    WHEN + "<B> [borrows|borrowed|takes|took] {} <u> from <A.him>.",
    WHEN + "<A.he> [has|had] to pay {} <u>[ for a repair| for parking| to the bank|].",
)
EARNS = (
    WHEN + "<A.he> [earns|earned|gets|got|finds|found|receives|received] {} <u>[ more| from <B>|].",
    WHEN + "<B> [gives|gave|pays|paid|lends|lent] <A.him> {} <u>.",
    WHEN + "<A.he> [sells|sold] a <s2> for {} <u>.",
    WHEN + "<A.he> [is|was] paid {} <u>[ for <A.his> work|].",
    WHEN + "<A.his> <relative> [gives|gave|sends|sent|pays|paid] <A.him> {} <u>[ more|].",
    WHEN
    + "<A.he> [earns|earned|makes|made|gets|got] {} <u>[ more|] [by cleaning|by helping <B>|for washing a car|in the garden|at work|from"
    " a neighbor|by singing].",
    WHEN + "<A.he> [finds|found] {} <u>[ more|] [in a coat|on the street|in a drawer|under the bed].",
    WHEN + "<A.he> [wins|won] {} <u>[ more|].",
    WHEN + "{} <u> [more |][are|were] [added|put into the purse|paid back by <B>|given to <A.him>].",
    WHEN + "<A.he> [gets|got] {} <u> [back from <B>|as a gift|as pocket money|for <A.his> birthday].",
    WHEN + "<A.he> [saves|saved|puts aside|adds] {} <u> more.",
    WHEN + "<A.he> [sells|sold] [a <s2>|an old <s2>|some eggs|<A.his> <s2>] [and gets|and got|for] {} <u>.",
)
MONEY_NOW = (
    "how many <u> does <A> have[ now| in the end| then|]?",
    "how much money does <A> have[ now| in the end|]?",
    "how much does <A> have[ now| in the end|]?",
    "how many <u> has <A> now?",
    "how much money [will|would|did] <A> have[ now| in the end| then| at the end|]?",
    "how many <u> [are there now|does <A> own now|are in the purse now|will <A> have then]?",
    "how much [money |]does <A.he> have[ now| in the end| after that|]?",
    "how much [money |]is [that now|in the purse now|there now]?",
    "find how [much money|many <u>] <A> has[ now| in the end|].",
    "[calculate|work out|tell me] how much money <A> has[ now| in the end|].",
    "[in the end|now|after all that], how much [money |]does <A> have?",
)
MONEY_LEFT = (
    *MONEY_NOW,
    "how many <u> [are left|remain|does <A> have left|does <A> still have|does <A> get back]?",
    "how much money [is left|remains|does <A> have left|does <A> still have]?",
    "how much [money |][did|will|would] <A> have left[ over|]?",
    "how many <u> [did|will|would|does] <A> [have left|still have|have left over|be left with]?",
    "how much [money |][is|was] left[ over| in the purse| for <A>|]?",
    "how much [change |]does <A> [get back|keep|have remaining]?",
    "[calculate|work out|find] how much [money |][is left|<A> has left|remains].",
    "what [is left|remains|amount is left] of the money?",
)
WANTS = (
    "<A> wants [to buy |]a <s> that costs {} <u>. <A.he> has {} <u>.",
    "a <s> costs {} <u>. <A> has only {} <u>.",
    "<A> needs {} <u> for a <s> and has saved {} <u>.",
    "<A> wants [to buy |]a <s>[, which| that] costs {} <u>, [but|and] <A.he> [only has|has only|has] {} <u>.",
    "a <s> [costs|is|sells for] {} <u>. so far, <A> has [saved|earned|got|only] {} <u>.",
    "<A> [is saving|saves|is collecting money] for a <s> [that costs|for|priced at] {} <u>. <A.he> [already has|has already|has so far"
    "|now has] {} <u>.",
    "<A> must pay {} <u>, but <A.he> has {} <u> [with <A.him>|only|in <A.his> purse].",
    "the <s> that <A> wants [costs|is] {} <u>. in <A.his> purse there are {} <u>.",
    "<A> [needs|wants to save] {} <u>. <A.he> [has saved|already has|has|has earned] {} <u>[ so far|].",
)
STILL_NEEDS = (
    "how many <u> does <A> [still need|need to save]?",
    "how much money does <A> still need?",
    "how many more <u> does <A> need?",
    "how many <u> are missing?",
    "how much [more |][money |][does|must|will] <A> [need|have to save|save|get]?",
    "how many <u> [is <A> short|does <A> lack|must <A> still save|are still needed|must <A> still find]?",
    "how much [is|was] [missing|still missing|still needed]?",
    "how much [is|was] <A> short?",
    "how much [money |]must <A> still [earn|get|save|find]?",
    "[calculate|work out|find] how many <u> <A> still needs.",
)
