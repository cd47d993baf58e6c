import itertools
import re

import numpy as np
import pytest
import torch

from nanochat.common import UserError
from nanochat.dag import stream
from nanochat.dag.arithmetic import SPECIAL, WRITTEN, ArithmeticTexts, answers_of, evaluation_batches, prompts_of
from nanochat.dag.expressions import ExpressionSettings
from nanochat.dag.labels import GATE_CLOSED, NOT_COMPUTED, PlannedText, plan_tensors
from nanochat.dag.numbers import NumberTable, format_value
from nanochat.dag.predictor import PredictorOnlyModel, TowerConfig
from nanochat.dag.stream import RUN, SHARED, PlanBatches, PlanBlocks, planned_questions
from nanochat.dag.surface import STYLES
from nanochat.data import corpus
from nanochat.data.conversations import render_prompt
from nanochat.data.split import held_out
from nanochat.infer import calculator
from tests.dag.reference import calculate, expression_in, full_brackets

NUMERAL = r"(?i)\b(one|two|three|four|five|six|seven|eight|nine|ten|\w+teen|eleven|twelve|hundred|thousand|\w+ty)\b"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(stream, "AT_ONCE", 8 * RUN)
    monkeypatch.setattr(stream, "FEWER", 2)


def make(tokenizer, batch=4, **options):
    return PlanBatches(tokenizer, ExpressionSettings(), batch=batch, seed=1, **options)


def word_problems(tokenizer, count=20, split="train"):
    return planned_questions(tokenizer, corpus.word_problems(split, count=count))


def rows_of(*batches) -> list[tuple]:
    """Every example of some batches with its labels, without padding."""
    rows = []
    for idx, plan, lengths in batches:
        for i, n in enumerate(lengths.tolist()):
            labels = (x[i, :n].flatten().tolist() for x in (plan.operation, plan.operand1, plan.operand2))
            rows.append((idx[i, :n].tolist(), *labels, int(plan.decimals[i])))
    return rows


@pytest.mark.parametrize("problems", [0, 20])
@pytest.mark.parametrize(("batch", "world", "passes"), [(48, 1, 1), (16, 3, 1), (12, 4, 1), (24, 1, 2), (6, 2, 4), (1, 1, 48)])
def test_a_step_is_the_same_examples_however_they_are_shared_out(tokenizer, problems, batch, world, passes):
    questions = word_problems(tokenizer, problems)
    whole = make(tokenizer, 48, problems=questions)
    shares = [make(tokenizer, batch, rank=rank, world=world, problems=questions) for rank in range(world)]
    assert batch * world * passes == 48 and all(share.tokens_per_step * passes == whole.tokens_per_step for share in shares)
    for _ in range(2 * 8 * RUN // 48 + 1):  # more than two blocks
        assert rows_of(next(whole)) == rows_of(*(next(share) for _ in range(passes) for share in shares))
    assert all(share.state_dict() == whole.state_dict() for share in shares)
    assert sum(share.examples for share in shares) == whole.examples


def test_a_run_goes_on_with_any_number_of_processes(tokenizer):
    whole = make(tokenizer, 600)
    one, two = make(tokenizer, 600), [make(tokenizer, 300, rank=rank, world=2) for rank in range(2)]
    assert rows_of(next(one)) == rows_of(next(whole))
    for share in two:
        share.load_state_dict(one.state_dict())
    assert rows_of(*map(next, two)) == rows_of(next(whole))
    one.load_state_dict(two[1].state_dict())
    assert rows_of(next(one)) == rows_of(next(whole))


def test_a_place_in_the_sequence_of_another_version_is_refused(tokenizer):
    with pytest.raises(UserError, match="--resume=off"):
        make(tokenizer).load_state_dict({"block": 0, "given": 3})


@pytest.mark.parametrize("problems", [0, 20])
def test_resume_gives_the_same_batches_at_any_point(tokenizer, problems):
    options = {"problems": word_problems(tokenizer, problems)}
    whole = make(tokenizer, 100, **options)
    expected = [next(whole) for _ in range(20)]
    for cut in (3, 6, 11):
        first = make(tokenizer, 100, **options)
        for _ in range(cut):
            next(first)
        resumed = make(tokenizer, 100, **options)
        resumed.load_state_dict(first.state_dict())
        assert all(same(next(resumed), e) for e in expected[cut:])


def test_batches_may_be_larger_than_blocks(tokenizer):
    batches = make(tokenizer, 3000)
    assert next(batches)[0].shape[0] == 3000 and batches.examples == 3000 and batches.state_dict() == {"example": 3000}


def same(a, b) -> bool:
    """Whether two batches of PlanBatches are equal."""
    tensors = ([idx, plan.operation, plan.operand1, plan.operand2, plan.decimals, lengths] for idx, plan, lengths in (a, b))
    return all(torch.equal(x, y) and x.dtype == y.dtype == torch.long for x, y in zip(*tensors, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_made_ahead_by_other_processes_are_the_same_and_resume_the_same(tokenizer, workers):
    options = {"problems": word_problems(tokenizer), "share": 0.1}
    here, ahead = make(tokenizer, 100, **options), make(tokenizer, 100, **options, workers=workers)
    assert all(same(next(here), next(ahead)) for _ in range(12))
    assert here.state_dict() == ahead.state_dict() == {"example": 1200}  # of what is given out, not of what is made
    resumed = make(tokenizer, 100, **options, workers=workers)
    resumed.load_state_dict(here.state_dict())
    assert all(same(next(here), next(resumed)) for _ in range(6))


def test_batches_made_smaller_go_on_where_they_were(tokenizer):
    whole, small = make(tokenizer, 96), make(tokenizer, 96)
    next(whole), next(small)
    small.resize(16)
    assert 6 * small.tokens_per_step == whole.tokens_per_step
    for _ in range(2 * 8 * RUN // 96):
        assert rows_of(next(whole)) == rows_of(*(next(small) for _ in range(6)))
    assert small.state_dict() == whole.state_dict() and small.examples == whole.examples


def test_going_back_within_a_block_makes_nothing_anew(tokenizer, monkeypatch):
    batches = make(tokenizer)
    cursor, first = batches.state_dict(), next(batches)
    monkeypatch.setattr(batches, "ahead", None)
    batches.load_state_dict(cursor)
    assert same(first, next(batches))


def blocks_of(tokenizer, *styles: str, size: int = 8) -> PlanBlocks:
    return PlanBlocks(tokenizer, ExpressionSettings(styles=styles), (1, "expressions"), at_once=size * RUN)


def test_blocks_are_functions_of_their_number_whoever_makes_them_and_in_any_order(tokenizer):
    known = {}
    for order in ((0, 1, SHARED, SHARED + 1), (SHARED, 1, SHARED + 1, 0), (1,)):
        blocks = blocks_of(tokenizer, "symbols", "let", "problems")
        for number in order:
            made = blocks.make(number)
            for run, before in zip(made, known.setdefault(number, made), strict=True):
                assert all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(run, before, strict=True))
    assert len({made[0][0].tobytes() for made in known.values()}) == 4


def test_neighbouring_blocks_share_the_texts_of_word_problems_but_not_their_numbers(tokenizer):
    blocks = blocks_of(tokenizer, "problems", size=16)
    texts = [
        {tokenizer.decode(row[:n]) for ids, *_, length in blocks.make(i) for row, n in zip(ids, length, strict=True)}
        for i in (0, 1, SHARED)
    ]
    worded = [{re.sub(r"[\d.]+", "#", text) for text in here if not re.search(NUMERAL, text)} for here in texts]
    assert len(worded[0] & worded[1]) > 100 > 10 * len(worded[0] & worded[2])
    assert len(texts[0] & texts[1]) < 40


def test_rows_of_like_length_go_together_and_none_is_lost(tokenizer):
    runs = blocks_of(tokenizer, "symbols", "let", size=64).make(0)
    assert len(runs) == 64 and all(run[0].shape == (RUN, run[-1].max()) for run in runs)
    padding = 1 - sum(run[-1].sum() for run in runs) / sum(run[0].size for run in runs)
    assert padding < 0.03
    questions = {tuple(row[:n].tolist()) for ids, *_, length in runs for row, n in zip(ids, length, strict=True)}
    assert len(questions) > 0.99 * 64 * RUN


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.01, 1), (0.25, 4), (0.99, 16)])
def test_a_share_of_the_runs_are_word_problems(tokenizer, monkeypatch, share, expected):
    monkeypatch.setattr(stream, "AT_ONCE", (8 if share == 0 else 32) * RUN)
    problems = word_problems(tokenizer)
    known = {tuple(item.ids) for item in problems}
    batches = list(itertools.islice(make(tokenizer, RUN, problems=problems, share=share), 8 if share == 0 else 16))
    from_problems = [all(tuple(row[:n].tolist()) in known for row, n in zip(idx, lengths, strict=True)) for idx, _, lengths in batches]
    assert sum(from_problems) == expected


def test_following_the_plans_of_word_problems_gives_their_answers(tokenizer):
    items = list(corpus.word_problems("val", count=60))
    batches = make(tokenizer, problems=planned_questions(tokenizer, items), share=1.0)
    model = PredictorOnlyModel(TowerConfig(tokenizer.vocab_size, tokenizer.bos_id, width=16, layers=1, heads=1), tokenizer)
    printed = {tuple(render_prompt(tokenizer, item)): item["messages"][1]["content"] for item in items}
    for idx, labels, lengths in itertools.islice(batches, 8):
        output = model(idx, labels=labels, lengths=lengths)
        of_last = output.of_token.gather(1, (lengths - 1)[:, None])
        results = output.plan.result.gather(1, of_last).squeeze(1)
        for row, n, result in zip(idx, lengths, results, strict=True):
            assert format_value(float(result)) == printed[tuple(row[:n].tolist())]


def test_conversations_without_plans_are_left_out(tokenizer):
    plain = {"messages": [{"role": "user", "content": "Hello 3"}, {"role": "assistant", "content": "4"}]}
    assert planned_questions(tokenizer, [plain, *corpus.word_problems("train", count=3), plain]) == word_problems(tokenizer, 3)


def test_texts_train_the_printed_answer_and_nothing_of_the_question(tokenizer):
    texts = ArithmeticTexts(tokenizer, ExpressionSettings(), 200, seed=0)
    for item in list(texts)[: len(texts.batch)]:
        answer = [i for i, m in zip(item.ids, item.mask, strict=True) if m]
        assert item.mask[: item.answer + 1] == [0] * (item.answer + 1) and item.ids[item.answer + 1 :] == answer
        assert len(item.operation) == item.answer + 1
    assert texts[3].ids == texts[3].ids and texts[-1].ids == texts[199].ids


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_no_number_can_say_is_answered_in_words(tokenizer, make_predictor, kind):
    texts = ArithmeticTexts(tokenizer, ExpressionSettings(), 2000, seed=0)
    found = [texts._find(i) for i in range(len(texts))]
    items = [item for item, (here, *_) in zip(texts, found, strict=True) if here == kind]
    assert len(items) == int(2000 * SPECIAL[kind].share) > 0
    predictor, table = make_predictor(), NumberTable(tokenizer)
    for item in items:
        said = tokenizer.decode([i for i, m in zip(item.ids, item.mask, strict=True) if m][:-1])
        assert said in SPECIAL[kind].answers and item.answer == NOT_COMPUTED
        expression = expression_in(tokenizer.decode([i for i in item.ids if i < len(tokenizer.ranks)]).replace(said, ""))
        assert not held_out(full_brackets(expression))
        if kind == "divide_by_zero":
            with pytest.raises(ZeroDivisionError):
                calculate(expression)
        else:
            assert abs(calculate(expression)) >= 2**53
        prompt = torch.tensor([item.ids[: len(item.operation)]])
        labels = plan_tensors([[(0, item)]], prompt, table, tokenizer.bos_id, 2)
        assert (labels.gate == GATE_CLOSED).all()
        output = predictor(prompt, labels=labels)
        assert output.plan.result[0, output.of_token[0, -1]].isnan()


def test_as_calls_of_the_calculator_the_same_questions_have_the_same_answers(tokenizer):
    settings = ExpressionSettings(styles=STYLES)
    planned, called = (list(ArithmeticTexts(tokenizer, settings, 600, seed=1, written=written)) for written in WRITTEN)
    calls = 0
    for plan, call in zip(planned, called, strict=True):
        question, answer = plan.ids[: len(plan.operation)], plan.ids[len(plan.operation) :]
        between = call.ids[len(question) : len(call.ids) - len(answer)]
        assert call.ids == question + between + answer and not isinstance(call, PlannedText)
        trained = [i for i, m in zip(call.ids, call.mask, strict=True) if m]
        if plan.answer == NOT_COMPUTED:
            assert not between and trained == answer
            continue
        printed = tokenizer.decode([i for i in answer if i < len(tokenizer.ranks)])
        mark = tokenizer.special("<|output_start|>")
        expression = tokenizer.decode(between[1 : between.index(mark) - 1])
        output = calculator.calculate(expression)
        assert tokenizer.decode(between) == f"<|python_start|>{expression}<|python_end|><|output_start|>{output}<|output_end|>"
        assert trained == between[: between.index(mark)] + answer
        rounded = any(word in tokenizer.decode(question).lower() for word in ("round", "decimal", "nearest", "whole number"))
        assert rounded or output == printed
        calls += 1
    assert calls == 600 - sum(int(600 * special.share) for special in SPECIAL.values())
    with pytest.raises(ValueError, match="answer, tool"):
        ArithmeticTexts(tokenizer, settings, 1, seed=1, written="python")


def test_every_sentence_of_a_special_kind_is_taught(tokenizer):
    texts = list(ArithmeticTexts(tokenizer, ExpressionSettings(), 600, seed=0))
    said = {tokenizer.decode([i for i, m in zip(item.ids, item.mask, strict=True) if m][:-1]) for item in texts}
    assert {sentence for special in SPECIAL.values() for sentence in special.answers} < said


def test_evaluation_questions_are_unseen_and_end_where_the_assistant_speaks(tokenizer):
    batches = evaluation_batches(tokenizer, ExpressionSettings(operations=(1, 3)), 40, seed=0)
    assert sorted(batches) == [1, 2, 3]
    for batch in batches.values():
        for prompt, answer in zip(prompts_of(batch), answers_of(batch), strict=True):
            text = expression_in(tokenizer.decode([i for i in prompt if i < len(tokenizer.ranks)]))
            assert held_out(full_brackets(text)) and prompt[-1] == tokenizer.special("<|assistant_start|>") and answer


@pytest.mark.parametrize(("styles", "some"), [(("symbols",), True), (("let",), False)])
def test_some_batches_ask_for_a_rounded_number_where_there_is_infix(tokenizer, styles, some):
    batches = PlanBatches(tokenizer, ExpressionSettings(styles=styles), batch=RUN, seed=1)
    texts = [tokenizer.decode(row.tolist()) for _ in range(32) for row in next(batches)[0]]
    asking = sum("decimal" in text or "nearest" in text or "whole" in text for text in texts) / len(texts)
    assert (0.04 < asking < 0.09) == some and (asking == 0) != some
