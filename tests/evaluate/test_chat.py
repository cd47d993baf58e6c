"""Chat tasks: letters from logits, writing through an engine, oracle answers 100 %, wrong ones 0 %, and the figures beside them."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nanochat.common import UserError
from nanochat.data.conversations import render, render_prompt
from nanochat.evaluate.batches import buckets, crop_left
from nanochat.evaluate.chat import ChatResult, Settings, answer_by_letters, chatcore, evaluate, wilson, write_rows
from tasks.common import TASKS, MultipleChoice, Task, load_task, multiple_choice, present, question_answer
from tests.evaluate.fakes import Recurrent, ScriptedEngine, byte_tokenizer

TOKENIZER = byte_tokenizer()


class Letters(MultipleChoice):
    """Questions with 2 to 5 options; the right one is the last."""

    name = "letters"

    def load(self):
        return list(range(40))

    def choice(self, item):
        options = 2 + item % 4
        return f"Question {item}{'?' * (item % 7)}", [f"option {i}" for i in range(options)], options - 1


class Numbers(Task):
    """Questions whose answer is written out, some with a call of the calculator."""

    name = "numbers"

    def load(self):
        return list(range(20))

    def conversation(self, item):
        call = [{"type": "python", "text": "1+1"}, {"type": "python_output", "text": "2"}] if item % 2 else []
        return question_answer("What comes after " + "x" * item + "?", [*call, {"type": "text", "text": f"{item} é"}])


class Favourite(torch.nn.Module):
    """Prefers tokens in the order of `likes` at every place; all others come after."""

    def __init__(self, likes):
        super().__init__()
        self.scores = torch.zeros(TOKENIZER.vocab_size)
        for i, character in enumerate(reversed(likes)):
            self.scores[ord(character)] = i + 1

    def forward(self, idx, **more):
        from types import SimpleNamespace

        return SimpleNamespace(logits=self.scores.expand(*idx.shape, -1))


def answers_of(task, change=lambda ids: ids):
    """Prompt -> the tokens of the right answer, changed."""
    return {tuple(render_prompt(TOKENIZER, c)): change(render(TOKENIZER, c).ids[len(render_prompt(TOKENIZER, c)) :]) for c in task}


def test_only_the_letters_of_the_question_can_be_chosen():
    conversations = [multiple_choice("?", ["x"] * n, 0) for n in (2, 3, 5)]
    assert answer_by_letters(Favourite("ZECBA"), TOKENIZER, conversations, Settings()) == ["B", "C", "E"]


def test_a_model_that_likes_the_last_letter_is_always_right_and_one_that_likes_the_first_never():
    good, bad = (evaluate(Letters(), Favourite(likes), TOKENIZER) for likes in ("EDCBA", "ABCDE"))
    assert (good.accuracy, good.n, good.centered) == (1.0, 40, 1.0)
    assert bad.accuracy == 0 and bad.centered < 0
    assert good.chance == bad.chance == pytest.approx((1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4)
    assert good.rows[0] == {"index": 0, "question": Letters()[0]["messages"][0]["content"], "answer": "B", "completion": "B", "right": True}


def test_letters_in_batches_are_those_of_one_question_at_a_time():
    model, conversations = Recurrent(), list(Letters())
    together = answer_by_letters(model, TOKENIZER, conversations, Settings(budget=700))
    forwards = len(model.calls)
    alone = [answer_by_letters(model, TOKENIZER, [c], Settings())[0] for c in conversations]
    assert together == alone and forwards < len(conversations)


def test_a_letter_of_several_tokens_is_refused():
    conversation = {**multiple_choice("?", ["x", "y"], 0), "letters": ["A", "BB"]}
    with pytest.raises(UserError, match="single letters"):
        answer_by_letters(Favourite("A"), TOKENIZER, [conversation], Settings())


def test_written_answers_go_through_the_engine_in_batches_and_are_judged():
    engine = ScriptedEngine(answers_of(Numbers()))
    result = evaluate(Numbers(), None, TOKENIZER, engine, settings=Settings(batch=8))
    assert (result.accuracy, result.n, result.chance) == (1.0, 20, 0.0)
    assert [len(prompts) for prompts, _ in engine.batches] == [8, 8, 4]
    assert [row["index"] for row in result.rows] == list(range(20)) and result.rows[3]["completion"] == "3 é"


def test_answers_that_stop_early_are_wrong():
    engine = ScriptedEngine(answers_of(Numbers(), lambda ids: ids[:-4]))
    assert evaluate(Numbers(), None, TOKENIZER, engine).accuracy == 0


def test_a_prompt_too_long_for_the_context_loses_its_beginning_and_leaves_room():
    class Long(Task):
        name = "long"

        def load(self):
            return [0]

        def conversation(self, item):
            return question_answer("x" * 300, "a")

    prompts = []

    class Watcher:
        def generate(self, batch, max_tokens, **more):
            prompts.extend([(batch[0], max_tokens)])
            return [[ord("a")]]

    evaluate(Long(), None, TOKENIZER, Watcher(), settings=Settings(context=64, max_tokens=100))
    (prompt, most), *_ = prompts
    assert len(prompt) == 32 and most == 32 and prompt[0] == TOKENIZER.bos_id and prompt[-1] == TOKENIZER.special("<|assistant_start|>")


def test_a_limit_takes_the_same_questions_every_time():
    runs = [evaluate(Letters(), Favourite("A"), TOKENIZER, limit=7).rows for _ in range(2)]
    assert runs[0] == runs[1] and len(runs[0]) == 7


def test_ranks_share_the_questions(monkeypatch):
    indices = []
    for rank in range(3):
        monkeypatch.setattr("nanochat.evaluate.chat.rank", lambda rank=rank: rank)
        monkeypatch.setattr("nanochat.evaluate.chat.world_size", lambda: 3)
        indices += [row["index"] for row in evaluate(Letters(), Favourite("A"), TOKENIZER).rows]
    assert sorted(indices) == list(range(40))


def test_a_task_without_right_answers_is_refused():
    class Chat(Numbers):
        kind = "chat"

    with pytest.raises(UserError, match="for training only"):
        evaluate(Chat(), None, TOKENIZER)


def result(right, n, chance):
    return ChatResult("x", chance, [{"right": i < right} for i in range(n)])


def test_chatcore_is_the_mean_of_the_centered_accuracies():
    assert chatcore([result(5, 10, 0.25), result(1, 10, 0.0)]) == pytest.approx(((0.5 - 0.25) / 0.75 + 0.1) / 2)


def test_the_interval_is_wilsons():
    assert wilson(5, 10) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert wilson(0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4))


@given(st.integers(1, 1000), st.data())
def test_the_interval_lies_within_0_and_1_and_holds_the_share(n, data):
    right = data.draw(st.integers(0, n))
    low, high = wilson(right, n)
    assert 0 <= low <= right / n + 1e-12 and right / n - 1e-12 <= high <= 1


def test_rows_are_written_one_object_a_line(tmp_path):
    outcome = evaluate(Letters(), Favourite("B"), TOKENIZER, limit=3)
    write_rows(tmp_path / "letters.jsonl", outcome)
    assert [json.loads(line) for line in (tmp_path / "letters.jsonl").read_text().splitlines()] == outcome.rows


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_buckets_hold_every_row_once_within_the_budget(lengths, budget):
    batches = list(buckets(lengths, budget))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= budget for b in batches)


def test_cropping_keeps_bos_and_the_end():
    assert crop_left([0, 1, 2, 3, 4], 3) == [0, 3, 4] and crop_left([0, 1], 3) == [0, 1]


# ---------------------------------------------------------------------------------------------------------------------
# Every task in the table


class Oracle(torch.nn.Module):
    """Likes the right letter of each prompt best, or with `wrong` least."""

    def __init__(self, task, conversations, wrong):
        super().__init__()
        self.right = {tuple(render_prompt(TOKENIZER, c)): TOKENIZER.encode(c["messages"][-1]["content"])[0] for c in conversations}
        self.sign = -1.0 if wrong else 1.0

    def forward(self, idx, **more):
        from types import SimpleNamespace

        logits = torch.zeros(*idx.shape, TOKENIZER.vocab_size)
        for b, row in enumerate(idx.tolist()):
            for end in range(len(row), 0, -1):
                if tuple(row[:end]) in self.right:
                    logits[b, end - 1, self.right[tuple(row[:end])]] = self.sign
                    break
        return SimpleNamespace(logits=logits)


@pytest.mark.parametrize("name", TASKS)
def test_right_answers_score_everything_and_wrong_ones_nothing(name, request):
    entry = TASKS[name].type()
    if entry.kind == "chat":
        pytest.skip("for training only, there is no right answer")
    split = "test" if "test" in entry.splits else "val"
    data = request.getfixturevalue("real_data") if entry.assets else None
    if not present(name, data, split):
        pytest.skip(f"no {split} file of {name} in the real data")
    task = load_task(name, data, split)
    limit = 8 if name == "humaneval" else 30
    from tasks.common import sample_indices

    chosen = [task[i] for i in sample_indices(len(task), limit)]
    settings = Settings(context=100_000, max_tokens=5_000)
    if task.kind == "categorical":
        good, bad = (evaluate(task, Oracle(task, chosen, wrong), TOKENIZER, None, limit, settings) for wrong in (False, True))
        assert all(c["messages"][-1]["content"] in c["letters"] for c in chosen) and 0 < task.chance < 1
    else:
        engines = [ScriptedEngine(answers_of(chosen, change)) for change in (lambda ids: ids, lambda ids: list(b"I do not know"))]
        good, bad = (evaluate(task, None, TOKENIZER, engine, limit, settings) for engine in engines)
    assert good.n == bad.n == min(limit, len(task))
    assert good.accuracy == 1.0, [row for row in good.rows if not row["right"]][0]
    assert bad.accuracy == 0.0, [row for row in bad.rows if row["right"]][0]
