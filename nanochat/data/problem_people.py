"""Sentences of word problems about people or animals at a place, and about several people; in the language of `problem_words.py`."""

from nanochat.data.problem_words import WHEN

# ---------------------------------------------------------------------------------------------------------------------
# People or animals at a place

ARE_THERE = (
    "there [are|were] {} <who> <at> the <where>.",
    "{} <who> [are|were|sit|sat|wait|waited|stand|stood] <at> the <where>.",
    "<at> the <where> [are|were|there are|there were] {} <who>.",
    "in the morning, there [are|were] {} <who> <at> the <where>.",
    "you can see {} <who> <at> the <where>.",
    "a <where> has {} <who>.",
    "<A> counts {} <who> <at> the <where>.",
    "at first, {} <who> [are|were] <at> the <where>.",
    "{} <who> [were|are] [seen|found|counted|waiting|resting] <at> the <where>.",
    "[this morning|today|on <day>|at noon|at first|to begin with], there were {} <who> <at> the <where>.",
    "<A> [saw|sees|counted|watched|noticed] {} <who> <at> the <where>.",
    "the <where> [has|had|holds] {} <who>[ in it| this morning| at first|].",
    "a [big|small|quiet|busy] <where> [has|had] {} <who>.",
    "{} <who> [came|come|went|go] to the <where>[ together| in the morning| on <day>|].",
    "[near|<at>] the <where> there [are|were] {} <who>.",
    "a group of {} <who> [is|was] <at> the <where>.",
    "in [the|a] <where> <A> [saw|sees|counts] {} <who>.",
    "the <where> [began|opened|started] the day with {} <who>.",
)
COME = (
    WHEN + "{} more[ <who>|] [come|came|arrive|arrived|join|joined|join them|enter|entered].",
    WHEN + "{} <who> [come|came|arrive|arrived|get on|got on|enter|entered|walk in|walked in].",
    "then another {} [come|came|arrive|arrived].",
    WHEN + "{} other <who> [join|joined] them.",
    WHEN + "{} new <who> [come|came|arrive|arrived].",
    WHEN + "{} more[ <who>|] [are|were] [brought|let in|added|sent there|invited].",
    WHEN + "a group of {} more[ <who>|] [comes|came|arrives|arrived|joins|joined them].",
    WHEN + "another {}[ <who>|] [come|came|arrive|arrived|join|joined|turn up|turned up|show up|showed up|appear|appeared].",
    WHEN + "{} [more|other <who>|more <who>|new <who>] [turn up|turned up|show up|showed up|appear|appeared|came in|come in|get there|got"
    " there|return|returned].",
    WHEN + "the <where> [gets|got|receives|received] {} more[ <who>|].",
    WHEN + "they [are|were] joined by {} [more|others|more <who>|other <who>].",
    WHEN + "{} [more|more <who>|other <who>] [come|came|move|moved] to the <where>.",
    "[after|within] [an hour|a while|a few minutes], {} more[ <who>|] [come|came|arrive|arrived].",
)
GO = (
    WHEN + "{} of them [leave|left|go away|went away|go home|went home|get off|got off|walk away|ran away].",
    WHEN + "{} <who> [leave|left|go away|went away|go home|went home|get off|got off].",
    "but {} of the <who> [leave|left|go away|went away|must go|had to go].",
    WHEN + "{} of the <who> [disappear|disappeared|run away|ran away|leave|left].",
    WHEN
    + "{} [of them|of the <who>|<who>] [depart|departed|move away|moved away|go out|went out|vanish|vanished|set off|walk off|walked off].",
    WHEN + "{} [of them|of the <who>|<who>] [leave|left|quit|go away|went away] [the <where>|early|because of the rain|to eat].",
    WHEN + "{} [of them|of the <who>|<who>] [are|were] [taken away|sent home|sent away|brought home|moved to another <where>|called away].",
    WHEN + "{} [of them|of the <who>] [have|had] to [go|leave|go home].",
    "[however|but then|unfortunately|suddenly], {} [of them|of the <who>|<who>] [leave|left|go away|went away].",
    WHEN + "a group of {} [leaves|left|goes away|went away].",
    WHEN + "the <where> [loses|lost] {} [of them|of its <who>].",
    "[after|within] [an hour|a while|a few minutes], {} [of them|of the <who>|<who>] [leave|left|go home|went home].",
)
THERE_NOW = (
    "how many <who> are [there now|<at> the <where> now|there in the end|there]?",
    "how many <who> are <at> the <where>[ now| in the end|]?",
    "how many are there now?",
    "what is the number of <who> now?",
    "now how many <who> are there?",
    "how many <who> [does|will] the <where> have[ now| in the end|]?",
    "how many <who> [will be|would be|were] [there|<at> the <where>] [then|now|in the end|after that|at the end]?",
    "what is the [total |]number of <who> <at> the <where>[ now| in the end|]?",
    "find the number of <who> <at> the <where>[ now| in the end|].",
    "[calculate|work out] how many <who> are [there|<at> the <where>] now.",
    "how many <who> are there <counted>?",
    "how many[ <who>|] is that now?",
    "[in the end|now|after that], how many <who> are [there|<at> the <where>]?",
    "how many <who> can <A> see [there |<at> the <where> |]now?",
    "tell me how many <who> are there now.",
)
LEFT_THERE = (
    *THERE_NOW,
    "how many <who> [are left|remain|stay|are still there]?",
    "how many [are left|remain|stay]?",
    "how many <who> [are|were|will be] left[ there| <at> the <where>|]?",
    "how many <who> [remain|remained|stay|stayed] [there|<at> the <where>|behind]?",
    "what is the number of <who> [left|that remain|still there]?",
    "how many of the <who> [are left|remain|are still there|have stayed]?",
    "find the number of <who> that [are left|remain].",
)

# ---------------------------------------------------------------------------------------------------------------------
# Several people

AND_HAS = (
    "<B> [has|had|owns|has got|holds|keeps] {}[ <t>|].",
    "<B> [found|picked|bought|<maked>|collected|gathered|got] {}[ <t>|].",
    "<A.his> [friend|neighbor] <B> [has|had] {}[ <t>|].",
    "and <B> has {}[ <t>|].",
    "there [are|were] {} <t> in the <box> of <B>.",
    "<B> [has|had|also has|brings|brought|sees|saw|buys] {}[ <t>|].",
    "<B> <gains> {}[ <t>|].",
    "<B> <makes> {}[ <t>|].",
    "<B> <maked> {}[ <t>|].",
    "<A.his> [friend|neighbor|classmate|cousin], <B>, [has|had|found|got|counted] {}[ <t>|].",
    "in <B>'s <box> there are {}[ <t>|].",
    "<B>'s <box> [has|had|holds|contains] {}[ <t>|].",
    "[meanwhile|at the same time|on the same day|the same day], <B> <gains> {}[ <t>|].",
    "<B> [is carrying|was given|is holding|has collected|has counted|came with] {}[ <t>|].",
    "{} <t> [belong|belonged] to <B>.",
)
HAS_MORE = (
    "<B> [has|had|owns|found|<maked>|got] {} [more <t>|more] than <A>.",
    "<B> has {} <t> more than <A.him>.",
    "compared with <A>, <B> has {} more[ <t>|].",
    "<B> [has|had|counted|collected|needs|sold|bought|picked|wants] {} [more <t>|more] than <A>[ has| did|].",
    "<B> [has|had|gets] {} [extra <t>|more] compared [with|to] <A>.",
    "[than <A>, |]<B> has {} more <t>[ than <A>| than <A> has|].",
    "<B>'s <box> has {} more <t> than <A>'s[ <box>|].",
    "<B> [has|had] as many as <A> and {} more.",
    "<A> has {} [fewer|fewer <t>|less] than <B>.",
    "<A> [has|had] {} <t> [fewer|less] than <B>.",
)
HAS_FEWER = (
    "<B> [has|had|owns|found|<maked>|got] {} [fewer <t>|fewer|less] than <A>.",
    "<B> has {} <t> [fewer|less] than <A.him>.",
    "compared with <A>, <B> has {} [fewer|less].",
    "<B> [has|had|counted|collected|needs|sold|bought|picked] {} [fewer <t>|fewer|less] than <A>[ has| did|].",
    "<B> has {} [fewer|less] compared [with|to] <A>.",
    "<B>'s <box> has {} fewer <t> than <A>'s[ <box>|].",
    "<A> has {} [more|more <t>] than <B>.",
    "<A> [has|had] {} <t> more than <B>.",
    "<B> would have as many as <A> if <B.he> had {} more.",
)
HAS_TIMES = (
    "<B> [has|had|owns|found|<maked>|got] {} times as many[ <t>|][ as <A>|].",
    "<B> has {} times the number of <t> that <A> has.",
    "<B> has {} times as many <t> as <A.him>.",
    "<B> [has|had|counted|collected|needs|sold|bought|picked] {} times as many[ <t>|] as <A>[ has| did|].",
    "<B>'s <box> has {} times as many <t> as <A>'s[ <box>|].",
    "the number of <B>'s <t> is {} times the number of <A>'s.",
)
HAS_PART = (
    "<B> [has|had|owns|found|<maked>|got] {} as many[ <t>|][ as <A>|].",
    "<B> has {} as many <t> as <A.him>.",
    "<B> [has|had|counted|collected|needs|sold|bought|picked] {} as many[ <t>|] as <A>[ has| did|].",
    "<B>'s <box> has {} as many <t> as <A>'s[ <box>|].",
)
TOGETHER = (
    "how many <t> do they have[ together| in all| altogether|]?",
    "how many <t> do <A> and <B> have[ together| in all| altogether|]?",
    "how many <t> are there [in all|altogether|together|in total]?",
    "what is the total number of <t>?",
    "how many <t> is that [in all|altogether|together|in total]?",
    "together, how many <t> do they have?",
    "what do they have together?",
    "how many <t> [do both of them|do both|do both children] have[ together| in all|]?",
    "how many <t> do they [own|have combined|hold|have to share|count][ <counted>|]?",
    "how many <t> [were there|are these|does that make|would that be] <counted>?",
    "what is the [total|sum] of their <t>?",
    "what is the total number of <t> that [they|<A> and <B>] have?",
    "find the total number of <t>.",
    "[calculate|work out] how many <t> they have <counted>.",
    "[in all|altogether|in total], how many <t> [are there|do they have|do <A> and <B> have]?",
    "if they put them all together, how many <t> [do they have|are there]?",
    "how many <t> do <A> and <B> have <counted>?",
)
HOW_MANY_MORE = (
    "how many more <t> does <A> have than <B>?",
    "how many more <t> than <B> does <A> have?",
    "how many fewer <t> does <B> have than <A>?",
    "by how many does <A> have more <t> than <B>?",
    "what is the difference between the <t> of <A> and <B>?",
    "how many <t> must <B> get to have as many as <A>?",
    "how many <t> does <A> have more than <B>?",
    "by how many <t> does <A> [beat|lead|exceed] <B>?",
    "how many more[ <t>|] [has <A>|does <A> own] than <B>?",
    "how many fewer[ <t>|] [has <B>|does <B> have] than <A>?",
    "what is the difference [between them|in the number of <t>|between their numbers of <t>]?",
    "find [the difference|how many more <t> <A> has than <B>].",
    "[compared with|compared to] <B>, how many more <t> does <A> have?",
    "how many more <t> does <B> need to have as many as <A>?",
)
HOW_MANY_HAS_B = (
    "how many <t> does <B> have?",
    "how many <t> has <B>[ got|]?",
    "what is the number of <t> that <B> has?",
    "how many does <B> have?",
    "how many <t> [did|will] <B> have?",
    "how many[ <t>|] [are there for <B>|belong to <B>|does <B> own|are with <B>|are <B>'s]?",
    "find the number of <t> that <B> has.",
    "[calculate|work out|tell me] how many <t> <B> has.",
    "how many <t> are in <B>'s <box>?",
    "then how many <t> does <B> have?",
    "what number of <t> does <B> have?",
)
THIRD_HAS = (
    "<C> [has|had|owns|has got|holds] {}[ <t>|].",
    "<C> [found|picked|bought|<maked>|got] {}[ <t>|].",
    "and <C> has {}.",
    "<C> <gains> {}[ <t>|].",
    "<C> <makes> {}[ <t>|].",
    "[finally|meanwhile|also], <C> [has|had|found|got] {}[ <t>|].",
    "a friend, <C>, [has|had] {}[ <t>|].",
    "<C>'s <box> [holds|has] {}[ <t>|].",
)
