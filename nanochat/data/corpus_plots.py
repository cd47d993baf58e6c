"""The plots of the embedded corpus's stories: things lost and found, animals, weather, work. More in `corpus_adventures.py`.

A plot is a list of lines; each line is a template of one to three sentences (`corpus_grammar.py`), a line starting with `?` may be left
out, an indented line goes on with the one before. Slots: `<A>` the hero, `<B>` a friend, `<P>` the hero's pet, each with `.he .him .his
    .job .work .near .color .food ...`; `<T>` a small
thing, `<c>` a color, `<L>` a place and `<at>` its preposition, `<day>`, `<season>`, three places to look: `<spot>` (where it is),
    `<spot2>`, `<spot3>`. `<once>`, `<soon>`, ... are the rules below.
"""

import re
from dataclasses import dataclass, field

from nanochat.data.corpus_grammar import RULES


@dataclass(frozen=True, eq=False)
class Plot:
    """One plot. needs: who must be in the cast (`pet`: the hero has one, `child`: the hero is one, `grown`: the hero is not)."""

    name: str
    text: str
    needs: tuple[str, ...] = ()
    slots: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        return re.sub(r"\n +", " ", self.text.strip()).splitlines()


RULES |= {
    "once": "[one day|one morning|one <season> day|on <day>|early on <day>|on a quiet <day>|one fine <season> morning|last <season>|last "
    "<day>"
    "|one evening|on a <season> afternoon]",
    "soon": "[soon|after a while|a little later|some time later|before long]",
    "then": "[then|after that|next|a moment later]",
    "glad": "[happy|glad|happy|proud]",
    "sad": "[sad|unhappy|very sad|close to tears]",
    "thanks": "[thank you|thank you so much|many thanks|how kind of you|you are a true friend]",
    "quickly": "[quickly|at once|right away|without waiting]",
    "afraid": "[afraid|worried|a little afraid]",
    "nice": "[nice|lovely|beautiful|fine]",
    "A.intro": "[<A.title>|<A>, <A.role>,|<A>, who lived near <A.near>,|<A>|<A>|<A>, who loved the color <A.color>,"
    "|<A>, who enjoyed <A.hobby>,]",
    "B.intro": "[<B.title>|<B>|<B>, <B.role>,|<A.his> friend <B>|<B>, who lived near <B.near>,]",
    "P.intro": "[<P> the <P.kind>|<A.his> <P.color> <P.kind> <P>|<P>, <A.his> <P.size> <P.kind>,|<P>|<A.his> pet <P>]",
    "B.comes": "[<soon> <B.intro> came by|just then <B.intro> came along the road|at that moment <B.intro> walked past|<B.intro> heard "
    "<A.him> and came over]",
    "goodbye": "[that night <A> slept very well.|<A> smiled all the way home.|it was a day that <A> would never forget.|in the evening <A> "
    "told everyone about it."
    "|<A> went home tired but happy.|and so the day ended well.|from then on, <A> and <B> were even better friends.|<A> was still smiling "
    "the next morning.]",
    "eat": "[they sat down together and ate <A.food>, because that was what <A> liked best.|<B> had brought <B.food>, <B.his> favorite "
    "food, for both of them."
    "|at home <A> ate a big plate of <A.food>.|then they shared some <A.food> and laughed.]",
    "C.intro": "[<C.title>|<C>|<C>, who was on the way to <C.work>,]",
    "lesson": "[sometimes a small thing can make a big difference.|it is good to have friends.|it is always better to ask for help.|a kind "
    "word costs nothing."
    "|good things take time.|nobody has to do everything alone.|what you share with a friend is never lost.]",
}  # fmt: skip

PLOTS = (
    Plot("lost thing with a pet", """
<once>, <A.intro> could not find <A.his> <c> <T>.
[It had been on the table only yesterday.|<A.He> had used it only the day before.|it was a gift from <B>, so <A> was <sad>.]
<A.he> looked [under the bed|behind the door|in the kitchen|in every box] and [under the chairs|in the garden|on every shelf|behind the
    stove], but the <T> was not there.
? "Where can it be?" <A> asked. [Nobody knew the answer.|"I do not know," said <B>.|The house was silent.]
then <A.he> remembered [the walk to|the visit to|the long morning at] <L>. ["Perhaps I lost it there," <A.he> said.|"It must be there!"
    <A.he> said.]
<A.he> took <P.intro> and went to <L>. <P> [looked here and there|looked at every stone|was curious and went ahead].
<soon> <P> stopped. <spot>, there was the <c> <T>!
"Clever <P>!" said <A>. <A.he> was so <glad> that <A.he> gave <P.him> [some <P.food>|<P.food>, <P.his> favorite food].
? after that, <A> always kept the <T> [in the same place|in a safe place|near the door].
<goodbye>
""", needs=("pet",)),
    Plot("lost thing", """
<once>, <A.intro> lost <A.his> <c> <T> <at> <L>.
<A.he> looked everywhere, but [it was gone|it was nowhere to be seen|could not find it]. <A> was <sad>.
<B.comes>. "What is wrong?" asked <B>. "[I lost my <T>|My <T> is gone|I cannot find my <T>]," said <A>.
"Do not worry," said <B>. "[We will look together|Two people see more than one|I will help you]."
? they asked [the <job>|an old man|a child with a kite|a woman with a basket], but [nobody had seen a <c> <T>|the answer was no].
first they looked <spot2>, then <spot3>. [the sun was already going down.|it was getting late.|a cold wind was blowing.]
at last <B> saw something <c> <spot>. "Is that your <T>?" [<B.he> asked|asked <B>].
"Yes! <thanks>!" said <A>. [<A.he> was very happy.|<A.he> put <A.his> arms around <B>.]
? <eat>
<lesson>
"""),
    Plot("pet gone", """
<once>, <A.intro> could not find <A.his> [<P.color> |<P.size> |]<P.kind> <P>. <A> looked <P.bed>, because <P> always slept there, but [the
    place was empty|there was no <P.kind>].
"<P>! <P>!" called <A>. [there was no answer.|only the wind answered.|everything was quiet.]
[<A> was <afraid>.|<A.his> heart was heavy.|<A> could not eat or sleep.] <P> was a <P.size> <P.color> <P.kind>, and the [night was
    cold|forest was dark|road was long].
<A.he> ran to <B.intro> and asked, "Have you seen a <P.color> <P.kind>?" "[No|I am sorry, no]," said <B>, "but I will help you to look for
    <P.him>."
? they went to <L> and asked everyone. [a boy pointed down the road.|nobody had seen <P>.|an old woman said, "Try the river."]
"<P> likes <P.likes>," said <A>. "[So let us look where <P.he> can do that|Perhaps <P.he> is doing that now]."
<soon> they heard a sound. there was <P>, busy <P.likes>!
"[You bad <P.kind>|Silly <P>|There you are, <P>]!" said <A>, but <A.he> was not angry at all. <A.he> was <glad>.
at home <P> got <P.food>, <P.his> favorite food, and [fell asleep <P.bed>|then <P.he> slept <P.bed>].
? <goodbye>
""", needs=("pet",)),
    Plot("noise at night", """
one dark night, <A.intro> woke up. there was a [strange|loud|soft] noise [in the house|behind the door|on the stairs|near the window].
<A> was <afraid>. "Who is there?" <A.he> asked. [nobody answered.|the noise went on.|the noise stopped, and then it began again.]
<A> [took a lamp and|lit a candle and|found <A.his> shoes and] went [slowly down the stairs|to the door|into the kitchen].
? the floor was cold, and the wind blew outside. [it sounded like a bear.|"Perhaps it is a thief," thought <A>.|<A.his> hands were shaking.]
<A.he> held up the light, and what did <A.he> see? it was <P.intro>! <P.he> was not [asleep <P.bed>|in <P.his> bed]. [<P.he> was looking
    for <P.food>.|<P.he> wanted to eat <P.food>.]
<A> began to laugh. "[So it was you|You are a very noisy <P.kind>|I was afraid of a <P.size> <P.kind>]!" <A.he> said.
<A> gave <P.him> some <P.food>, and <P> was quiet at last. <then> they both went back to bed.
? the next day <A> told <B> about the noise in the night, and [<B> laughed too|<B> laughed until <B.his> eyes were wet].
""", needs=("pet",)),
    Plot("storm", """
<once>, <A.intro> was on the way to <L>. the sky was [gray|dark|full of black clouds], and the wind [grew stronger|blew hard].
suddenly it began to rain. [<A.he> had no umbrella.|<A.his> coat was soon wet.|the water ran down the road like a river.]
<A.he> ran [to the nearest house|under a big tree|as fast as <A.he> could]. there stood <B>, who was also wet.
"Come in!" [said <B>|called <B>]. "It is [warm|dry] in here. The rain will stop soon."
they sat [by the fire|at the window|on an old bench] and [drank hot tea|told each other stories|listened to the rain].
? "When I was small, I was afraid of storms," said <A>. [<B> nodded.|"So was I," said <B>.]
<soon> the rain stopped, and the sun came out. because there was sun after the rain, they could see a rainbow over [<river>|the hill|the
    lake|the village].
"[Look|Look at the colors|How beautiful]!" said <A>. "[The <A.color> part is the best|I like the <A.color> part]," because <A.color> was
    <A.his> favorite color.
<goodbye>
"""),
    Plot("too much work", """
<once>, <B> had too much work at <B.work>. [<B.he> had worked since the early morning.|There was no time to rest.|Everything had to be
    ready before <day>.]
<A.intro> saw that <B> was tired. "[Can I help you|May I help you|What can I do for you]?" asked <A>.
"[That would be wonderful|Yes, please]," said <B>. "[I cannot do it alone|It is too much for one person]."
so <A> and <B> worked side by side. <A> [carried the heavy boxes|cleaned the floor|brought water|fetched the tools], and <B> did the rest.
? <A> did not know the work well, so <A.he> made some mistakes. [<B> only laughed and showed <A.him> how to do it.|"That does not matter,"
    said <B>.]
[the hours went by quickly.|they sang while they worked.|they worked until the sun went down.] in the evening everything was done.
"<thanks>," said <B>. "[Without you I would still be working|You work like a horse|Now I can rest]."
<eat> <lesson>
"""),
    Plot("gift", """
it was <B>'s birthday, and <A.intro> wanted to give <B.him> something <nice>.
but what? <A> thought about it for [a long time|two days|the whole morning]. <B> liked <B.hobby>, and <B.his> favorite color was <B.color>.
"I know," said <A>. "I will make a <B.color> [scarf|bag|lamp|kite|hat|cup]!" [<A.He> began <quickly>.|<A.He> went to the market and bought
    everything.]
? it was not easy. [the first try was too small.|the paint was still wet.|twice <A.he> had to start again.] but <A> did not give up.
on the birthday, <A> hid the gift [behind <A.his> back|in a basket|under <A.his> coat] and walked to <B>'s house near <B.near>.
"Happy birthday, <B>!" [said|called] <A>. <B> opened the gift and [could not believe it|began to smile|was quiet for a moment].
"It is <B.color>, my favorite color! <thanks>!" said <B>.
then they ate <B.food>, because <B> liked that best. [<P.intro> got some too.|everyone sang a song.|it was a wonderful birthday.]
""", needs=("pet",)),
    Plot("market day", """
on Saturday the market of <village> is open, so <A.intro> [took a basket and went there|got up early to go there|walked there with a
    basket].
there were [apples and pears|bread and cheese|flowers and honey|eggs and nuts] and many people. [it was loud and colorful.|everybody wanted
    to buy something.]
<A> wanted to buy <A.food>, <A.his> favorite food. but [when <A.he> looked into <A.his> pocket, there was no money|<A.his> money was at
    home, on the table|<A.he> had forgotten the money].
"[Oh no|What a pity|How silly of me]!" said <A>. [<A.he> turned around to go home.|<A.he> was <sad>.]
<B.comes>. "[I have enough for both of us|I can give you some of mine|I will pay today]," said <B>, "and [next time you can pay|you can
    give it back on Monday]."
so they bought <A.food> for <A> and <B.food> for <B>.
? [the woman at the market gave them a plum each.|a musician was playing a drum, and they listened.]
they sat down [on the bridge|by the river|under a tree] and ate everything.
? on Monday <A> brought the money back, and [a flower too|some <B.food> too]. <B> was <glad>.
<lesson>
"""),
    Plot("kite", """
<once>, <A.intro> and <B.intro> wanted to build [a kite|a big kite]. they needed paper, wood and a long string.
<A> cut the paper, and <B> painted it <c>. [it was beautiful.|it looked like a bird.|it was the biggest kite in <village>.]
they carried it to the hill, because [there is always wind on the hill|the wind is strong there].
the kite went up, but then [it turned around and fell into a tree|it fell down like a stone|the string broke]. "Oh no!" [cried|said] <B>.
<A> looked at the kite. "It is too heavy," <A.he> said. "[We must make it lighter|A lighter kite will fly better]."
they worked on it [all afternoon|until the evening].
? <B> wanted to stop, but <A> said, "[One more try|Let us try again]."
<then> they ran down the hill, and this time the kite flew! it was so high that it looked [as small as a bird|tiny].
everybody came out to see it. "[Well done|How high it flies|What a kite]!" said [the <job>|a man|the children].
<goodbye>
"""),
    Plot("wild animal", """
one cold <season> morning, <A.intro> found a <beast> <spot> near the forest. [it was hurt.|it was very weak.|it could not move its leg.|it
    was alone and afraid.]
"You poor little <beast>," said <A>. [<A.he> put it in a basket.|<A.he> carried it home in <A.his> coat.]
<A> asked <B.intro> for help. "What does a <beast> eat?" [asked <A>|<A.he> asked]. "A <beast> eats <beast.food>," said <B>.
so <A> [gave it <beast.food>|fetched <beast.food>] and fresh water every day. [the <beast> slept in a box near the stove.|it slept a lot.]
? at first it was afraid of <A>. but <soon> it [ate from <A.his> hand|came when <A> called].
after some days the <beast> was strong again. <A> knew that [a wild animal must be free|its home was not a house].
so <A> took it back to the forest. "Go home," <A.he> said. [the <beast> looked back one last time, and then it was gone.|the <beast> turned
    around once and was gone.]
<A> was a little sad, but also <glad>.
? sometimes, early in the morning, <A> still sees a <beast> near <L>.
""", slots={"season": "spring"}),
    Plot("learning", """
<A.intro> saw how <B> enjoyed <B.hobby>. "I want to learn that too," said <A>. "[Can you teach me|Will you teach me|Will you show me]?"
"[Of course|With pleasure|Yes]," said <B>. "[But you need time|But it is not easy|Come to me every <day>]."
the first try [was bad|went wrong]. <A> was [angry|ready to give up|<sad>]. "[I will never learn it|I cannot do it]," <A.he> said.
"[Nobody can do it on the first day|I was just like you|Try again]," said <B>. "[Learning is like a tree: it grows slowly|A little every
    day is enough]."
so <A> tried again [the next day and the day after|every morning|every evening after work].
? some days were good and some were bad. [once <A> fell and hurt <A.his> knee.|once it rained all day, but <A> came anyway.]
when <season> came, <A> was good at <B.hobby>. <B> watched and [smiled|was proud].
"Now you can teach me something," said <B>. "I would like to try <A.hobby>." [and they both laughed.|and so they began again.]
"""),
    Plot("two want one", """
<once>, <A.intro> and <B.intro> found a <c> <T> <at> <L>. "[It is mine|I saw it first]!" said <A>. "No, [it is mine|I saw it first]!" said
    <B>.
they pulled and pulled. [the <T> almost broke.|soon both were angry.|nobody wanted to let go.]
<C.intro> heard them. "What is going on here?" asked <C>. both began to talk at the same time.
<C> [thought for a moment|smiled] and said, "[Use it one day each|You can share it|First ask whose it is]. [A friend is worth more than a
    <T>|A <T> cannot laugh with you, but a friend can]."
<A> looked at <B>, and <B> looked at <A>. "I am sorry," said <A>. "[Me too|I am sorry too]," said <B>.
from then on, <A> had the <T> on <day>, and <B> had it the day after. [it worked very well.|nobody was angry any more.]
? <eat>
<lesson>
"""),
    Plot("picnic", """
<once>, <A.intro> and <B.intro> went to <L> for a picnic. <A> brought <A.food>, and <B> brought <B.food>.
the weather was <nice>. they put a <c> blanket on the grass and [sat down|lay in the sun|looked at the clouds].
? "That cloud looks like a <beast>," said <A>. "And that one looks like a <T>," said <B>.
but when they wanted to eat, the basket was [empty|open, and half of the food was gone]! "Who did that?" asked <A>.
they looked around. <spot>, they saw <P.intro>. <P.he> looked [very happy|a little guilty] and very full.
"<P>!" said <A>. "You do not even like <B.food>. You like <P.food>!" [<P> looked the other way.|<P> only looked at the sky.]
<B> began to laugh, and then <A> laughed too. [they ate what was left.|luckily there was still some bread and cheese.|they went home and
    cooked soup.]
? next time they will bring <P.food> for <P>, so that [everyone is happy|nobody has to steal].
""", needs=("pet",), slots={"season": "summer"}),
    Plot("sick friend", """
<once>, <A.intro> was sick. <A.his> head was hot, and <A.he> had to stay in bed [all day|for two days].
<P.intro> [stayed beside <A.him> the whole time|did not leave the room|was worried and did not eat <P.his> <P.food>].
<soon> Nina the doctor came from the clinic. she looked at <A> and said, "[You need rest and warm tea|You must sleep a lot and drink a
    lot]."
when <B> heard about it, <B.he> came <quickly>. <B.he> brought <A.food>, because <A> liked that best, and [a <A.color> flower|a good book|a
    warm blanket].
"[How are you|How do you feel], <A>?" asked <B>. "[A little better, because you are here|I feel weak]," said <A>.
<B> [read a story to <A.him>|told <A.him> funny stories|sat at <A.his> bed], until <A> fell asleep.
after [two|three|four] days <A> was well again. <A.he> went outside and [felt the warm sun|took a deep breath].
? "Now you look sick," <A> said to <B>, "but I know how to help: [tea and stories|sleep and soup]."
<lesson>
""", needs=("pet", "not Nina")),
)  # fmt: skip
