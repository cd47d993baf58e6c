import torch

from nanochat.dag.arithmetic import ArithmeticTexts, answers_of, evaluation_batches, prompts_of
from nanochat.dag.expressions import ExpressionSettings
from nanochat.dag.stream import AT_ONCE, ExpressionBatches
from nanochat.data.split import held_out
from tests.dag.reference import expression_in, full_brackets


def make(tokenizer, **options):
    return ExpressionBatches(tokenizer, ExpressionSettings(), batch=4, seed=1, **options)


def test_resume_gives_the_same_batches_at_any_point(tokenizer):
    whole = make(tokenizer)
    expected = [next(whole)[0] for _ in range(AT_ONCE + 5)]
    for cut in (0, 3, AT_ONCE, AT_ONCE + 2):
        first = make(tokenizer)
        for _ in range(cut):
            next(first)
        resumed = make(tokenizer, rank=0)
        resumed.load_state_dict(first.state_dict())
        assert all(torch.equal(next(resumed)[0], e) for e in expected[cut:])


def test_processes_draw_different_expressions(tokenizer):
    a, b = (next(make(tokenizer, rank=r, world=2))[0] for r in range(2))
    assert a.shape != b.shape or not torch.equal(a, b)


def test_texts_train_the_printed_answer_and_nothing_of_the_question(tokenizer):
    texts = ArithmeticTexts(tokenizer, ExpressionSettings(), 200, seed=0)
    for item in texts:
        answer = [i for i, m in zip(item.ids, item.mask, strict=True) if m]
        assert item.mask[: item.answer + 1] == [0] * (item.answer + 1) and item.ids[item.answer + 1 :] == answer
        assert len(item.operation) == item.answer + 1
    assert texts[3].ids == texts[3].ids and texts[-1].ids == texts[199].ids


def test_evaluation_questions_are_unseen_and_end_where_the_assistant_speaks(tokenizer):
    batches = evaluation_batches(tokenizer, ExpressionSettings(operations=(1, 3)), 40, seed=0)
    assert sorted(batches) == [1, 2, 3]
    for batch in batches.values():
        for prompt, answer in zip(prompts_of(batch), answers_of(batch), strict=True):
            text = expression_in(tokenizer.decode([i for i in prompt if i < len(tokenizer.ranks)]))
            assert held_out(full_brackets(text)) and prompt[-1] == tokenizer.special("<|assistant_start|>") and answer
