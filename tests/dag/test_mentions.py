"""Names of values: which words they look at, and that the same word on both sides counts before anything is learned."""

import torch

from nanochat.dag.mentions import WINDOW, Mentions

WIDTH, NAMES = 16, 3


def setup(words=40):
    torch.manual_seed(0)
    mentions = Mentions(WIDTH, NAMES)
    torch.nn.init.normal_(mentions.place, std=0.1)
    x, embedded = torch.randn(2, words, WIDTH), torch.randn(2, words, WIDTH)
    return mentions, x, embedded, torch.zeros(2, words, dtype=torch.long)


def test_a_name_depends_on_the_last_words_of_its_document_only():
    mentions, x, embedded, document = setup()
    before = mentions(x, embedded, document)
    assert before.shape == (2, 40, NAMES, WIDTH)
    changed = embedded.clone()
    changed[:, 10] = torch.randn(2, WIDTH)
    differs = (mentions(x, changed, document) != before).flatten(2).any(-1).all(0)
    assert differs.tolist() == [10 <= w < 10 + WINDOW for w in range(40)]
    document[:, 12:] = 1
    differs = (mentions(x, changed, document) != mentions(x, embedded, document)).flatten(2).any(-1).all(0)
    assert differs.tolist() == [10 <= w < 12 for w in range(40)]


def test_one_word_at_a_time_gives_the_same_names():
    mentions, x, embedded, document = setup()
    at_once = mentions(x, embedded, document)
    for w in range(40):
        at = torch.arange(w - WINDOW + 1, w + 1)
        near = embedded[:, at.clamp(min=0)][:, None]
        one = mentions.read(x[:, None, w : w + 1], near, mentions.key(near), (at >= 0).expand(2, 1, 1, -1))
        torch.testing.assert_close(one[:, 0, 0], at_once[:, w])


def test_the_same_word_on_both_sides_counts_from_the_start():
    mentions, x, _, document = setup(words=12)
    vocabulary = torch.nn.functional.rms_norm(torch.randn(5, WIDTH), (WIDTH,))
    words = torch.tensor([[0, 1, 4, 0, 2, 4, 0, 3, 4, 0, 1, 4], [0, 3, 4, 0, 1, 4, 0, 2, 4, 0, 2, 4]])
    torch.nn.init.zeros_(mentions.place)
    mentions.place.data[:, WINDOW - 2] = 2.0  # the word before
    names = mentions(x, vocabulary[words], document)
    logits = mentions.compare(names[:, -1:, 1], names[:, 2:11:3, 0])  # which of three values has the name that is asked for last
    assert logits.argmax(-1).flatten().tolist() == [0, 2]
