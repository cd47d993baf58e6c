"""What the tokenizer learns from: the run's training text, with a small share of chat and of arithmetic.

A pretraining text may hardly contain " plus", "What is" or the words of the conversations to come; without them their merges
would never be learnt and every question would be spelt out.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from nanochat.common import derive_seed
from nanochat.data.arithmetic_phrases import arithmetic_texts
from nanochat.data.sources import EMBEDDED, Source

ARITHMETIC_SHARE = 0.10  # of the text's characters: enough for "Calculate" to be a token among 2,048
CHAT_SHARE = 0.10  # of the text's characters, where the corpus has conversations of its own
MOST_EXTRA = 20_000_000  # characters of either: a large text needs no more


def tokenizer_texts(source: Source, seed: int, max_chars: int, document_cap: int) -> Iterator[str]:
    """Documents of the training split, each cropped to `document_cap` characters, until `max_chars`, and the shares beside it."""
    extras = [(ARITHMETIC_SHARE, arithmetic_texts(derive_seed(seed, "tokenizer arithmetic")))]
    if source.name == EMBEDDED:
        extras.append((CHAT_SHARE, chat_texts(seed)))
    written, extra_written = 0, [0] * len(extras)
    for document in source.documents("train"):
        document = document[: min(document_cap, max_chars - written)]
        yield document
        written += len(document)
        for i, (share, texts) in enumerate(extras):
            while extra_written[i] < min(share * written, MOST_EXTRA) and (text := next(texts, None)) is not None:
                extra_written[i] += len(text)
                yield text
        if written >= max_chars:
            return


def chat_texts(seed: int) -> Iterator[str]:
    """The embedded corpus's training conversations, questions and word problems in turn, as plain text."""
    from nanochat.data import corpus

    producers = [iter(f("train", seed=seed)) for f in (corpus.conversations, corpus.facts_questions, corpus.word_problems)]
    while producers:
        for producer in list(producers):
            item = next(producer, None)
            if item is None:
                producers.remove(producer)
            else:
                yield plain_text(item)


def plain_text(item: dict) -> str:
    """A conversation's messages, a paragraph each; or a multiple-choice question with its options, a line each."""
    if "options" in item:
        options = (f"- {option}={letter}" for letter, option in zip("ABCDEFGH", item["options"], strict=False))
        return "\n".join([item["question"], *options, "\nAnswer with one letter."])
    texts = []
    for message in item["messages"]:
        content = message["content"]
        texts.append(content if isinstance(content, str) else "".join(part["text"] for part in content))
    return "\n\n".join(texts)


def sample(documents: Iterable[str], characters: int) -> str:
    """The first documents, cropped to so many characters."""
    return "\n\n".join(_until(documents, characters))[:characters]


def _until(documents: Iterable[str], characters: int) -> Iterator[str]:
    for document in islice(documents, characters):  # a document has at least a character
        yield document
        characters -= len(document)
        if characters <= 0:
            return
