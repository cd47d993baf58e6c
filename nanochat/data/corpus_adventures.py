"""More plots for the embedded corpus's stories: seasons, visits, games, small adventures. The language is that of `corpus_plots.py`.

Also used here: `<W>` and `<W.where>`, `<W.there>`, `<W.door>` (a house of the village, where it is, what is there, the color of its door),
`<K>` a child of the village.
"""

from nanochat.data.corpus_plots import Plot

ADVENTURES = (
    Plot("letter", """
<once>, Felix the postman brought a letter to <A.intro>. "[A letter for you|This is for you|You have got a letter], <A>!" he said.
<A> [opened it with a knife|opened it <quickly>|turned it around in <A.his> hands]. who had written it? it was from <B>.
"Dear <A>," <A.he> read, "please come to <L> on <day>. [I have a surprise for you|I want to show you something|There is something you must
    see]. Your friend <B>."
[<A> read it again and again.|what could it be?] until <day> <A.he> [thought of nothing else|could not sleep well|asked everyone what it
    might be].
on <day>, <A.he> put on <A.his> <A.color> [coat|hat|shoes] and went to <L>.
<B> was already there. "[Close your eyes|Come with me|Look over there]!" <B.he> said. <A> [closed <A.his> eyes|held <A.his> breath|looked
    up].
there was [a long table with <A.food> and candles|a small <A.color> boat with the name <A> on it|a little tree with a ribbon, and it was
    for <A>].
"[It is for you|All this is for you|I made it for you], because you are my friend," said <B>. <A> did not know what to say. then <A.he>
    said, "<thanks>!"
? <goodbye>
"""),
    Plot("planting", """
in spring, <A.intro> [found a seed in <A.his> pocket|got a seed from Otis the gardener|bought one little seed at the market]. ["I will
    plant it," <A.he> said.|"What will it be?" <A.he> asked.]
<A.he> made a small hole in the ground, put in the seed, and gave it water. [plants need water and sun.|a seed needs sun and water to grow.]
every morning <A> went out to look. [on Monday there was nothing. on Tuesday there was nothing.|for many days there was nothing but earth.]
"Nothing happens," <A> said to <B>. "[You must wait|Good things take time|It is sleeping under the ground]," said <B>.
one day there was a tiny green [point|leaf]! <A> was so happy that <A.he> [called all the neighbors|ran to tell <B>|danced around it].
in summer the plant was as high as [a chair|the window|<A>]. it had [big <c> flowers|many leaves and <c> flowers], and the bees came to
    visit it.
[when it did not rain, <A> carried water in a bucket.|<P.intro> liked to lie in its shadow.]
in autumn the leaves fell, and <A> found new seeds in the flowers. <A.he> gave [half of them to <B>|some of them to all the neighbors], and
    kept the rest for the next spring.
? <lesson>
""", needs=("pet",), slots={"season": "spring"}),
    Plot("race", """
<once>, <A> and <B> wanted to know who was faster. "[Let us run to <L>|We will run to <L> and back]," said <A>.
<C.intro> said, "Ready, steady, go!" and [they ran|off they went].
[at first <A> was in front, and then <B>.|<A> was faster on the road, but <B> was faster on the grass.] people [stood at their doors and
    cheered|called their names].
then <B> [fell over a stone|fell into a puddle]. "Ouch, my [knee|foot]!" cried <B>.
<A> could have won. but <A.he> stopped, turned around and [helped <B> up|held out <A.his> hand].
"Why did you stop?" asked <B>. "[You could have won|You were in front]." "[A friend is more than a race|I do not want to win like that|A
    race without you is no fun]," said <A>.
so they walked [the rest of the way|to <L>] together, hand in hand, and came in at the same time.
"[Two winners|You both won|That is the best race I ever saw]!" said <C>. they both got [a <c> ribbon|<A.food> and <B.food>|a big cake].
"""),
    Plot("snow day", """
one winter morning, everything in <village> was white. it had snowed [all night|for hours].
<A.intro> [looked out of the window|opened the door] and called, "Snow! [Get up, <B>|Everybody, come out]!"
<A> put on a warm <c> sweater and boots, and <soon> <B> was there too. [the snow was cold and soft.|their breath looked like smoke.]
they built a snowman. it got a carrot for a nose, [coal for its eyes|two black stones for its eyes] and <A>'s <c> hat.
? <P.intro> [did not like the cold|looked at the snowman for a long time|did not know what to think of it].
"[He looks like <C>|He needs a name|He is as tall as you]!" said <B>, and they laughed.
[for a week|for some days] the snowman stood there. but then the sun grew warm, and the snowman grew [smaller and smaller|thin].
"[Where does he go|Why does he get so small]?" asked <K>. "[When snow gets warm, it melts and becomes water|The sun melts him, and the
    water goes into the ground]," said <A>.
in the end there was only a hat, a carrot and a puddle. "[See you next winter|Goodbye, snowman]," said <A>, and [took the hat home|gave the
    carrot to Dot the rabbit].
""", needs=("pet",), slots={"season": "winter"}),
    Plot("broken thing", """
<once>, <A.intro> visited <B>. [on the table|on a shelf] stood a beautiful <c> cup. "[My grandmother gave it to me|I got it from my
    grandmother]," said <B>.
when <B> went [to the kitchen|outside to fetch wood], <A> [took the cup to look at it|turned around too quickly]. crash! it fell to the
    ground and broke.
<A>'s face got hot. [<A.he> could hide the pieces.|<A.he> could say that the wind did it.] nobody had seen it.
but when <B> came back, <A> said, "[I broke your cup|Your cup is broken, and I did it]. I am so sorry."
<B> was quiet. then <B.he> said, "[I am sad about the cup, but I am glad that you told me the truth|It is only a cup. The truth is worth
    more]."
? "How can I make it good again?" asked <A>. "[Help me to put it together|Come and help me]," said <B>.
they put the pieces together with glue. it took [the whole evening|a long time]. [the cup was not perfect any more, but it could hold tea
    again.|you could still see the lines.]
"[Now I like it even better|It tells a story now]," said <B>, and they drank tea, <B> from the old cup and <A> from [a new one|a plain one].
"""),
    Plot("the visitor asks the way", """
<once>, a stranger with a [big bag|long coat|heavy box] came to <village>. he had come by [train|boat], and he was [looking for <W>|on his
    way to <W>].
he met <A.intro>. "Excuse me," he said, "where is <W>?" "<W> is <W.where>," said <A>. "[You cannot miss it|It is not far]."
"[How will I know it|What does it look like]?" asked the stranger. "It has a <W.door> door," said <A>. "[And you find <W.there> there|It is
    known for <W.there>]."
the man thanked <A.him> and went away. but [after an hour|in the afternoon] he was back. "[I went the wrong way|I am lost|All the doors
    were the wrong color]," he said.
so <A> went with him. on the way <A.he> showed him <L> and told him about the people. "[Mila bakes the bread|Oren has the farm behind the
    hill|Bruno catches the fish], and my friend <B> lives near <B.near>."
? they met <P.intro>. "[And this is <P>, my <P.kind>|This <P.color> <P.kind> is called <P>]," said <A>. "<P.He> sleeps <P.bed>."
at last they stood in front of the <W.door> door. "Here we are: <W>!" said <A>.
"[What a kind village|You are very kind]," said the stranger. "[I think I will stay|I will come back next <season>]." [and he did.|and he
    gave <A> a small <T> from a far country.]
""", needs=("pet",)),
    Plot("boat trip", """
<once>, Bruno the fisher took <A.intro> out on his boat. Pepper the parrot sat on the sail. Pepper is green and likes repeating words.
"Hold on!" said Bruno. "Hold on! Hold on!" said Pepper. [the boat moved over the water.|the wind filled the sail.]
<A> looked back. [<village> was small now.|the houses looked like toys.] <A.he> could see the bridge over the river and the tower on top of
    the hill.
they put out the net and waited. ["Fish need time," said Bruno.|it was very quiet on the water.|<A> ate some <A.food>.]
suddenly the net was heavy. "[Pull|Help me]!" cried Bruno. they pulled and pulled. "Pull! Pull!" said Pepper.
and what was in the net? [one tiny fish and an old shoe|an old boot full of water|a wooden box with a <c> <T> in it]! they laughed until
    [their stomachs hurt|the boat shook].
"[The sea gives what it likes|Not every day is a good day for fish]," said Bruno. [they threw the fish back, because it was so small.|"But
    the sun was warm, and that is enough."]
in the evening they came back to the harbor. <B> was waiting with [<B.food>|a lamp]. "What did you catch?" <B.he> asked. "[A shoe|Nothing]!
    Nothing!" said Pepper.
""", slots={"season": "summer"}, needs=("not Bruno",)),
    Plot("hide and seek", """
on <day> afternoon, the children played hide and seek [near the farm|around the school|in the garden]. Sam closed his eyes and [counted to
    twenty|waited].
Pia[ climbed into a tree, because she enjoys climbing|, who enjoys climbing, climbed into a tree]. <A.intro> [came by, played too|wanted to
    play too] and hid <spot>.
"I am coming!" called Sam. Hop the frog jumped beside him, from puddle to puddle.
first he found <A>. "[I saw your <A.color> coat|Your shoes are too big for this place|I heard you laugh]!" said Sam.
but Pia was not [under the cart|behind the door], and not [in the stable|under the bench]. "[She is too clever|She must be somewhere],"
    said Sam.
then Hop [sat down under a tree|looked up] and said "croak". Sam looked up too. something blue was between the leaves, and blue is Pia's
    favorite color.
"I see you!" called Sam. "[That is not fair, the frog helped you|Two against one]!" said Pia and came down. [then they all laughed.|"Next
    time Hop must be on my side," she said.]
? then it was Pia's turn to look, and Sam hid so well that [nobody found him before supper|they only found him when he was hungry]. [Honey
    was waiting for him at home.|he came out for bread with honey.]
""", needs=("grown",)),
    Plot("feast of lamps", """
in autumn, when the days get short, <village> has its feast of lamps. <A.intro> made a <A.color> lamp out of paper, because <A.color> was
    <A.his> favorite color.
<B> made a <B.color> one. [it looked like a fish.|it looked like a star.|it was as round as the moon.] "[Mine is smaller, but it is
    brighter|Both of them are beautiful]," said <B>.
when it got dark, everybody came to the bridge. Clara played music, and [Jonas had cooked a big pot of noodles|Mila had baked sweet
    bread|Jonas beat his drum].
then the wind blew out <A>'s lamp. <A> stood in the dark and was <sad>.
"[Take some of my light|Come here]," said <B>, and lit <A>'s lamp with the fire of <B.his> own. <B>'s lamp was not darker than before.
"[Light is like joy: you can share it, and nobody has less|How strange: you gave me light, and you have as much as before]," said <A>.
so they walked over the bridge, and the <A.color> light and the <B.color> light [danced on the water|shone on the river side by side].
""", slots={"season": "autumn"}),
    Plot("stubborn animal", """
<once>, <A.intro> wanted to go to <L> with <P.intro>. but <P> did not move. <P.he> stayed <P.bed> and [looked at the wall|closed <P.his>
    eyes|did nothing].
"Come, <P>!" said <A>. <P> did not move. <A> pushed. <P> did not move. <A> [sang a song|asked nicely]. <P> still did not move.
<B.comes>. "[Pull harder|Say please|Call it a game]," said <B>. nothing helped.
then <C.intro> came. "You must think like a <P.kind>," said <C>. "What does <P> like to eat?" "<P> likes <P.food>," said <A>.
"Then put some <P.food> on the road, and [wait|watch]." <A> put some <P.food> [on a stone|in front of the door].
at once <P> [opened one eye|got up], and <soon> <P.he> was on the way to <L>, faster than <A>!
"[Now I know who is the clever one here|So I must only ask in the right language]," said <A>, and everybody laughed.
? since that day, <A> never goes out without some <P.food> in <A.his> pocket.
""", needs=("pet",)),
    Plot("a lesson at school", """
<once>, Tessa the teacher asked the children a question. "<q1>" [Pia raised her hand.|Sam knew it at once.|It was quiet for a moment.]
[Pia|Sam] said, "<a1>" "[Very good|That is right|Well done]," said Tessa. "And who can tell me this? <q2>"
Sam [looked out of the window|thought about it]. "[That is a hard question|I knew it yesterday]," he said, and all the children laughed.
then <A.intro> came in with [a letter|a basket|some wood for the stove] and [heard the question|stopped at the door]. "I know that," said
    <A>. "<a2>"
"[Right|Yes, that is right]!" said Tessa. "[So you can learn at any age|You may sit down with us]." and so <A> sat on a very small chair
    and [listened|stayed for an hour].
"The last question for today," said Tessa. "<q3>" [Sam jumped up|Pia and Sam spoke together|The children called together]: "<a3>"
[Tessa was proud of them.|"You have all earned your free day," said Tessa.|"I could not say it better," said Tessa.]
? [on the way home they asked each other more questions.|in the afternoon they went swimming in the lake.]
""", needs=("grown", "not Tessa")),
    Plot("painting the door", """
<once>, <A.intro> stopped in front of <W>. the door was old, and its color was almost gone. "[It needs new paint|We must paint it again],"
    said <A>.
<B> brought a ladder, and <A> brought brushes. "Which color do we need?" asked <B>. "<W.door>, of course," said <A>. "<W> has always had a
    <W.door> door."
they went to Lena the painter in the tower. "[I have no <W.door> paint today|I have red, blue, yellow, black and white]," said Lena, "<mix>"
? [she mixed it with a long stick.|"It is a little like cooking," she said.]
<soon> they had a full pot of paint. they painted [all morning|until noon], and [<A> got paint on <A.his> nose|<B> got paint on <B.his>
    shoes|<P.intro> got a <W.door> spot].
when the door was dry, people stopped to look. "[It shines|It looks like new|Now we can find <W> again]!" they said.
"And now," said <A>, "[we should paint the windows too|let us eat <A.food>]." "<thanks>," said <B>, "[but I need to sleep first|but
    tomorrow is also a day]."
""", needs=("pet",)),
    Plot("lost in the forest", """
<once>, <K> went into the forest to look for [berries|nuts]. [one bush led to the next.|there were more and more of them.] when <K> looked
    up, the path was gone.
[the trees were tall and dark.|it was getting late.|an owl said hoot.] <K> was <afraid>, but did not cry.
"[When you are lost, stay where you are|Sit down and think], Tessa always says," said <K>, and sat down under a big tree.
in the village <A.intro> saw that <K> was not home. <A.he> told <B>, and [both took lamps|the whole village took lamps], because it was
    already dark.
"<K>! <K>!" they called. at first there was no answer. then, far away, somebody was [singing|calling "Here I am"].
"[That is <K>|I know that voice]!" said <A>. they followed the sound, and there sat <K>, [with a basket full of berries|with leaves in the
    hair|cold but well].
"[You did the right thing|It was clever to stay in one place]," said <A>, and put a warm <A.color> blanket around <K>.
at home there was hot soup.
? "Tomorrow I will go again," said <K>, "but [with a map|with you|with a friend]." [everybody laughed.|<lesson>]
""", needs=("grown",)),
    Plot("baking", """
<once>, <A.intro> wanted to bake a cake. "How hard can it be?" <A.he> said. you need flour, eggs, butter and sugar.
<A> fetched flour from the mill and eggs from the farm behind the hill. [then <A.he> began.|then <A.he> put everything in a big pot.]
but <A.he> took salt, because salt is white, and sugar is white too! [the cake looked very good.|it came out of the stove brown and warm.]
<B> took the first bite. <B.he> [made a strange face|drank three cups of water|was silent]. "[It is salty|It tastes like the
    sea|Interesting]," <B.he> said.
<A> tried it and [had to laugh|made a face too]. "Salty cake! [Sugar is sweet, and salt is salty, and now I know it|Next time I will taste
    it first]."
they asked Mila, the baker, and she showed them how to do it. the second cake was [sweet and soft|wonderful]. [<P.intro> ate the salty
    one.|they gave a piece to everyone at <A.work>.]
<lesson>
""", needs=("pet", "not Mila")),
    Plot("the quiet night", """
one summer night, <A> could not sleep, because it was too hot. <A.he> went outside and sat down [by the river|on a bench|in front of the
    house].
the sky was black and full of stars. [a frog said croak, and an owl said hoot.|the moon stood over the hill.|the water was silver in the
    light of the moon.]
<soon> <B> came too. "[Can you not sleep either|You are still awake]?" asked <A>. "[I cannot sleep|It is too hot in my house too]," said
    <B>, and sat down.
they talked about [old times|the next feast of lamps|<B.hobby> and <A.hobby>|their work]. "[Why is the sky dark at night|Where does the sun
    go at night]?" asked <A>. "[When the sun goes down, it gets dark|It shines for other people]," said <B>.
? <P.intro> came out of the house and lay down between them.
the air got cooler. <A> [closed <A.his> eyes|felt a soft wind]. the next thing <A.he> heard was a bird. it was morning, and they had slept
    on the bench!
"[Good morning|You talk in your sleep]," said <B>. they went to Mila's bakery and bought the first warm bread of the day.
""", slots={"season": "summer"}, needs=("pet",)),
)  # fmt: skip
