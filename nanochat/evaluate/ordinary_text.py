"""Ordinary text in which numbers stand that nobody wants calculated, and how often a model's gate opens in it.

A gate at 0.5 or more prints a computed number as the next tokens. In a text that asks for no computation that is a false positive,
counted per 1,000 tokens: of the sentences below, kind by kind, and of the embedded corpus' validation text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from nanochat.evaluate.batches import buckets, device_of, inference, pad_right

SENTENCES: dict[str, tuple[str, ...]] = {
    "dates": (
        "The meeting was moved from 14 March to 2 April because the hall was not free.",
        "She was born on 29 February 1992 and has had few real birthdays since.",
        "Please send the form back by 30/06/2023, or the place goes to somebody else.",
        "The letter is dated 1887-11-05, but the stamp says the 9th.",
        "From Monday, May 6 to Friday, May 10, the library stays closed.",
        "On the 21st of June the sun rises before most people do.",
        "Our lease ends on 12/31/2026 and is renewed a year at a time.",
        "The old bridge was opened on 8 September 1903 by the mayor's wife.",
        "Nobody wrote anything down between 3 and 17 January, so we do not know.",
        "The show runs until Sunday, 25 October; tickets for the 26th are not valid.",
    ),
    "years": (
        "The war of 1866 lasted seven weeks, the one of 1870 half a year.",
        "Between 1995 and 2004 the town lost half of its shops.",
        "In 1969 people walked on the moon; by 1973 they had stopped.",
        "He studied in Lyon (1931-1935) and taught in Turin until 1958.",
        "The harvest of 2018 was poor, that of 2019 a little better.",
        "A film from 1927 was found in an attic and shown again in 2008.",
        "Most of these houses were built in the 1880s and rebuilt after 1945.",
        "Wine of 1982 is dear, wine of 1984 is not.",
        "By 2050 the lake may be gone, says a report from 2021.",
        "The law of 1794 was changed in 1850 and forgotten in 1900.",
    ),
    "versions": (
        "Version 3.11.4 fixes the crash that came with 3.11.2.",
        "You need at least release 2.6 of the library; 2.5.1 is too old.",
        "The update from 10.15 to 11.0 takes about an hour and a cup of tea.",
        "Chapter 4.2 says the same as section 7.1.3, only longer.",
        "We tested it with kernel 5.15.0-91 and saw no difference.",
        "The file says v0.9.8-rc1, which was never published.",
        "Use port 8080 on 192.168.1.20 if 443 is blocked.",
        "Firmware 1.04 draws less power than 1.03 did.",
        "Between 6.0 and 6.1 the menu moved to the left.",
        "The specification, edition 12.3.0, has 840 pages and no index.",
    ),
    "phone_numbers": (
        "Call 555-0142 before noon or leave a message on 555-0187.",
        "The office can be reached at +49 30 5550 7712, extension 14.",
        "Her new number is 020 7946 0991; the old one still rings.",
        "In an emergency dial 112, and in the hotel dial 9 first.",
        "Fax (yes, fax) goes to 01632 960 118.",
        "If 800-555-0199 is busy, try 800-555-0110 after 6.",
        "He wrote 0151 555 30 41 on the back of his hand.",
        "My number ends in 77, his ends in 78, and people mix them up.",
        "Parcel 4471-9920-3384 is waiting; call 1-888-555-0164 about it.",
        "Room 318 has no telephone, so ask for 320 next door.",
    ),
    "prices": (
        "A coffee is $3.50 here, and $4.25 with oat milk.",
        "The ring was sold for 12,500 euros, far above the 9,000 expected.",
        "Tickets cost 18 at the door, 15 in advance, and nothing for children under 6.",
        "Last winter a litre was 1.79, now it is 1.64.",
        "She paid £240 for the chair and never once sat in it.",
        "The shop asks $1,299 for the phone and $89 for its case.",
        "Bread went from 2.10 to 2.40, and people noticed.",
        "Our rent is 950 a month, heating not included.",
        "He offered 300, she wanted 450, and they parted as friends.",
        "A share closed at 67.31 on Tuesday and opened at 65.90.",
    ),
    "times": (
        "The train leaves at 7:42 from platform 3, not at 7:24.",
        "We open at 9 and close at 17:30, on Saturdays at 13:00.",
        "The race was won in 2:09:41, eleven seconds before the second.",
        "Wake me at 6:15; if I do not move, again at 6:30.",
        "Bake it for 45 minutes at 180 degrees and let it rest for 10.",
        "The film starts at 20:15 and is 118 minutes long.",
        "Flight 2281 was due at 23:55 and landed at 00:40.",
        "Between 2 and 4 in the morning the street is quiet.",
        "He ran 400 meters in 52.8 seconds on his 50th birthday.",
        "The bell rang 12 times, though it was only 11:56.",
    ),
}


@dataclass
class FalsePositives:
    """How many tokens were read, and (text up to the token, what would have been printed) of each at which the gate was open."""

    tokens: int = 0
    fired: list[tuple[str, str]] = field(default_factory=list)

    @property
    def per_thousand(self) -> float:
        return 1000 * len(self.fired) / self.tokens


def false_positives(model, tokenizer, texts: Sequence[str], context: int, budget: int = 8192) -> FalsePositives:
    """Reads each text as a document. `model`: a GPT with a branch; `context`: tokens of a text that are read at most."""
    from nanochat.dag.mixer import OPEN_AT
    from nanochat.dag.numbers import format_value

    rows = [[tokenizer.bos_id, *tokenizer.encode(text)][:context] for text in texts]
    found = FalsePositives()
    with inference(model):
        for batch in buckets([len(row) for row in rows], budget):
            idx = pad_right([rows[i] for i in batch], tokenizer.bos_id, device_of(model))  # (B, T)
            side = model(idx, targets=torch.full_like(idx, -1)).side  # with targets no logits of vocabulary size are made
            opened = side["speaks"] & (side["gate_logit"].sigmoid() >= OPEN_AT)
            for row, i in enumerate(batch):
                found.tokens += len(rows[i])
                for at in opened[row, : len(rows[i])].nonzero().flatten().tolist():
                    printed = format_value(float(side["result"][row, at]), int(side["decimals"][row, at])) or ""
                    found.fired.append((tokenizer.decode(rows[i][1 : at + 1]), printed))
    return found
