"""Word problems written one by one, beside those that `problem_grammar.py` composes.

Those marked `held_out` are never trained on: nobody but the reader of their sentences can know their formula. Most of their words
occur in training, their sentences do not. Square brackets: see `problem_grammar`.
"""

from nanochat.data.problem_story import Problem

WRITTEN: tuple[Problem, ...] = (
    # one operation
    Problem(
        "<A> [has|had] {a} <t>[. <B> gives <A.him> {b} more|. <A.he> gets {b} more from <B>|. then <A.he> finds {b} more"
        "| and [buys|gets|finds|makes] {b} more|. <A.he> [buys|bought|gets|got|picks|wins] {b} more].",
        "how many <t> does <A> have[ now| in all| altogether|]?",
        "[a+b]",
    ),
    Problem("<A> has {a} <t>[ and| while|, and] <B> has {b}[| <t>].", "how many <t> do they have [together|in all|altogether]?", "(a+b)"),
    Problem(
        "there are {a} <t> in the <c> box and {b} <t> in the <c2> box.",
        "how many <t> are there [in all|in both boxes|altogether]?",
        "(a+b)",
    ),
    Problem("<A> read {a} pages on <day> and {b} pages on the next day.", "how many pages did <A> read [in all|altogether]?", "(a+b)"),
    Problem("a <s> costs {a$} coins and a <s2> costs {b$} coins. <A> buys both.", "how many coins does <A> pay[ in all|]?", "(a+b)"),
    Problem(
        "<A> [had|has] {a} <t>[. <A.he>| and] [gave {b} of them to <B>|gives {b} to <B>|lost {b} of them|loses {b}|sells {b}"
        "|broke {b} of them|sold {b} of them on <day>].",
        "how many <t> [are left|does <A> have left|does <A> still have|does <A> have now]?",
        "[a-b]",
    ),
    Problem("<A> baked {a} cakes[ for the market|]. people bought {b} of them.", "how many cakes are left?", "[a-b]"),
    Problem("<A> has {a} <t>, and <B> has {b}.", "how many more <t> does <A> have than <B>?", "(a-b)"),
    Problem(
        "a book has {a} pages. <A> has read {b} pages[ so far|].",
        "how many pages [are left|must <A> still read|has <A> not read yet]?",
        "(a-b)",
    ),
    Problem("<A> wants a <s> that costs {a$} coins. <A.he> has {b$} coins.", "how many coins does <A> still need?", "(a-b)"),
    Problem("a rope is {a$} meters long. <A> cuts off {b$} meters.", "how many meters [are left|is the rope long now]?", "[a-b]"),
    Problem("<A> has {a} <boxes>, and there are {b} <t> in each.", "how many <t> does <A> have[ in all|]?", "[a*b]"),
    Problem("a <s> costs {a$} coins. <A> buys {b~} of them.", "how many coins does <A> pay[ in all|]?", "[a*b]"),
    Problem("<A> walks {a~} miles every day.", "how many miles does <A> walk in {b} days?", "(a*b)"),
    Problem("<A> works {a~} hours a day and gets {b$} coins for every hour.", "how many coins does <A> get a day?", "[a*b]"),
    Problem("<A> puts {a} <t> into {b~} <boxes>, the same number in each.", "how many <t> are in each <box>?", "[a/b]"),
    Problem("<A> shares {a} <t> equally among {b~} children.", "how many <t> does each child get?", "[a/b]"),
    Problem("<A> has {a} <t> and puts {b~} of them into each <box>.", "how many <boxes> does <A> [need|fill]?", "[a/b]"),
    Problem("{b~} [cups|lamps|hats] of the same kind cost {a$} coins.", "how many coins does each of them cost?", "(a/b)"),
    Problem("a boat needs {b~} hours for {a} miles.", "how many miles does it go in an hour?", "(a/b)"),
    # two operations
    Problem(
        "<A> found {a} <t>, <B> found {b}, and <C> found {c}.", "how many <t> did they find [together|in all|altogether]?", "((a+b)+c)"
    ),
    Problem(
        "<A> had {a} <t>. <A.he> got {b} more from <B> and [gave {c} to|lost {c} on the way to] <C>.",
        "how many <t> does <A> have now?",
        "[[a+b]-c]",
    ),
    Problem(
        "there were {a} people on the train. at the station {b} people got off and {c} people got on.",
        "how many people are on the train now?",
        "[[a-b]+c]",
    ),
    Problem(
        "<A> had {a$} coins. <A.he> paid {b$} coins for a <s> and {c$} coins for a <s2>.", "how many coins does <A> have left?", "[[a-b]-c]"
    ),
    Problem(
        "<A> has {a~} <boxes> with {b} <t> in each and {c} <t> on the table.",
        "how many <t> does <A> have [in all|altogether]?",
        "([a*b]+c)",
    ),
    Problem("<A> had {c} <t>. then <A.he> bought {a~} bags with {b} <t> in each.", "how many <t> does <A> have now?", "[c+[a*b]]"),
    Problem("<A> had {a~} <boxes> with {b} <t> in each. <A.he> sold {c} <t>.", "how many <t> are left?", "[[a*b]-c]"),
    Problem("<A> had {a$} coins. <A.he> bought {b~} <t> for {c$} coins each.", "how many coins are left?", "[a-[b*c]]"),
    Problem("every day <A> sells {a} breads and {b} cakes.", "how many breads and cakes does <A> sell in {c~} days?", "((a+b)*c)"),
    Problem(
        "<A> and <B> picked {a} and {b} <t>. they put all of them into {c~} baskets, the same number in each.",
        "how many <t> are in each basket?",
        "[[a+b]/c]",
    ),
    Problem(
        "<A> had {a} eggs, but {b} of them broke. <A.he> put the rest into {c~} boxes, the same number in each.",
        "how many eggs are in each box?",
        "[[a-b]/c]",
    ),
    Problem(
        "<A> opens {a~} bags with {b} nuts in each and shares all the nuts equally among {c~} children.",
        "how many nuts does each child get?",
        "[[a*b]/c]",
    ),
    Problem(
        "{b~} friends share {a} <t> equally, and <A> is among them. then <A> finds {c} more.",
        "how many <t> does <A> have now?",
        "[[a/b]+c]",
    ),
    Problem("{b~} [cups|lamps|hats] cost {a$} coins.", "how many coins do {c~} of them cost?", "((a/b)*c)"),
    Problem(
        "a train ticket costs {a$} coins. {b~} women and {c~} men buy a ticket each.", "how many coins do they pay in all?", "(a*(b+c))"
    ),
    Problem(
        "in the inn there are {a~} floors with {b~} rooms on each floor, and every room has {c~} windows.",
        "how many windows are there in all?",
        "[[a*b]*c]",
    ),
    Problem(
        "<A> earns {a$} coins a day. <A.he> wanted to work {b~} days, but was sick for {c~} days.",
        "how many coins did <A> earn?",
        "(a*(b-c))",
    ),
    # only for evaluation
    Problem("<A> lost {b} <t>. before that, <A.he> had {a}.", "how many <t> does <A> have now?", "(a-b)", held_out=True),
    Problem(
        "in the theater there are {a} rows, and every row has {b} chairs.",
        "how many chairs are there in the theater?",
        "(a*b)",
        held_out=True,
    ),
    Problem("<A> picked {a} <t> in the morning and {b} in the evening.", "how many <t> did <A> pick that day?", "(a+b)", held_out=True),
    Problem(
        "<A> has {a} boxes with {c} <t> in each. <A.he> gives {b} boxes to <B>.",
        "how many <t> does <A> have left?",
        "((a-b)*c)",
        held_out=True,
    ),
    Problem(
        "<A> had {a} <t> and gave {b} to <B>. on <day>, <C> gave <A.him> {c}.",
        "how many <t> does <A> have now?",
        "((a-b)+c)",
        held_out=True,
    ),
    Problem("{a} <t> are shared equally among {b~} girls and {c~} boys.", "how many <t> does each child get?", "(a/(b+c))", held_out=True),
    Problem(
        "<A> paid {c$} coins for a <s> and bought {a~} cups for {b$} coins each.",
        "how many coins did <A> pay in all?",
        "(c+(a*b))",
        held_out=True,
    ),
    Problem("<A> and <B> have {a} <t> together. {b} of them belong to <B>.", "how many <t> belong to <A>?", "(a-b)", held_out=True),
    Problem("yesterday <A> sold {a} <t>, and today {b} more than yesterday.", "how many <t> did <A> sell today?", "(a+b)", held_out=True),
    Problem(
        "<A> buys {a} bags of <t>. every bag contains {b} <t>, but {c} <t> are bad.",
        "how many good <t> does <A> have?",
        "((a*b)-c)",
        held_out=True,
    ),
    Problem(
        "<A> needs {a} <t> for a party. <A.he> has {b} already, and <B> brings {c}.",
        "how many <t> must <A> still buy?",
        "((a-b)-c)",
        held_out=True,
    ),
    Problem(
        "a teacher has {a} pencils and {b} pens. she gives all of them to {c~} students, the same number to each.",
        "how many does every student get?",
        "((a+b)/c)",
        held_out=True,
    ),
    Problem(
        "<A> found {a} <t>. <B> found {t=twice} as many, but lost {b} of them.", "how many <t> does <B> have?", "((a*t)-b)", held_out=True
    ),
    Problem("<A> baked {a} cakes. {h=half} of them were eaten at the party.", "how many cakes were not eaten?", "(a*h)", held_out=True),
    Problem("a farmer has {d=a dozen} hens. every hen lays {a} eggs.", "how many eggs does the farmer get?", "(d*a)", held_out=True),
    Problem(
        "<A> rides {a} miles to the lake, {b} miles to the town and {c} miles home.",
        "how many miles does <A> ride in all?",
        "((a+b)+c)",
        held_out=True,
    ),
    Problem(
        "{a} birds sat in a tree. {b} flew away, and then {c} others came.",
        "how many birds sit in the tree now?",
        "((a-b)+c)",
        held_out=True,
    ),
    Problem(
        "<A> has {a$} dollars and earns {b$} dollars each day.",
        "how many dollars does <A> have after {c~} days?",
        "(a+(b*c))",
        held_out=True,
    ),
    Problem("there are {a} students in a school. {b} of them are girls.", "how many boys are in the school?", "(a-b)", held_out=True),
    Problem(
        "a ticket costs {a$} euros. a family buys {b~} tickets and pays with a note of {c$} euros.",
        "how many euros do they get back?",
        "(c-(a*b))",
        held_out=True,
    ),
)
