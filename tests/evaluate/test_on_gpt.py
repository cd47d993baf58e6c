"""The evaluations on the real model: what is scored in batches is what is scored one at a time."""

import pytest
import torch

from nanochat.evaluate.bpb import bits_per_byte
from nanochat.evaluate.chat import Settings, answer_by_letters, answer_in_writing, evaluate
from nanochat.evaluate.core import Row, score
from nanochat.infer.engine import Engine
from nanochat.model.gpt import GPT, GPTConfig
from tests.evaluate.fakes import byte_tokenizer
from tests.evaluate.test_chat import Letters, Numbers

TOKENIZER = byte_tokenizer()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = GPT(GPTConfig(sequence_len=256, vocab_size=TOKENIZER.vocab_size, n_layer=2, n_head=2, n_kv_head=1, n_embd=32))
    torch.nn.init.normal_(model.head.weight, std=0.2)
    for name, p in model.named_parameters():
        if p.ndim == 2 and "head" not in name:
            torch.nn.init.normal_(p, std=0.2)
    return model.eval()


@pytest.mark.parametrize("guesses", [False, True])
def test_core_scores(model, guesses):
    generator = torch.Generator().manual_seed(1)
    rows = []
    for length in (5, 40, 17, 40, 80, 3):
        ids = [TOKENIZER.bos_id, *torch.randint(0, 256, (length,), generator=generator).tolist()]
        if guesses and length % 2:  # one of the rows that continue as the model would
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
            rows.append(Row(ids, len(ids) - 1, len(ids)))
        else:
            rows.append(Row(ids, length // 2 + 1, len(ids)))
    together, alone = score(model, rows, TOKENIZER.bos_id, 120, guesses), [score(model, [r], TOKENIZER.bos_id, 1, guesses)[0] for r in rows]
    assert together == pytest.approx(alone, rel=1e-4)
    assert not guesses or together == [float(len(r.ids) - r.start == 1) for r in rows]


def test_letters(model):
    questions = list(Letters())
    alone = [answer_by_letters(model, TOKENIZER, [q], Settings(context=256))[0] for q in questions]
    assert answer_by_letters(model, TOKENIZER, questions, Settings(context=256, budget=900)) == alone
    assert len(set(alone)) > 1


def test_written_answers(model):
    engine, questions = Engine(model, TOKENIZER), list(Numbers())
    settings = Settings(context=256, max_tokens=12, batch=7)
    alone = [answer_in_writing(engine, TOKENIZER, [q], settings)[0] for q in questions]
    assert answer_in_writing(engine, TOKENIZER, questions, settings) == alone and any(alone)


def test_a_task_from_end_to_end_and_the_models_mode(model):
    model.train()
    result = evaluate(Numbers(), model, TOKENIZER, Engine(model, TOKENIZER), limit=3, settings=Settings(context=256, max_tokens=4))
    assert result.n == 3 and model.training
    model.eval()


def test_bits_per_byte_of_one_batch_is_that_of_its_rows(model):
    ids = torch.randint(0, 256, (4, 33), generator=torch.Generator().manual_seed(2))
    whole = bits_per_byte(model, [(ids[:, :-1], ids[:, 1:])], TOKENIZER.token_bytes, 1)
    rows = bits_per_byte(model, [(row[None, :-1], row[None, 1:]) for row in ids], TOKENIZER.token_bytes, 4)
    assert whole == pytest.approx(rows, rel=1e-5)
