"""The engine says what the model alone would say, row by row, with or without neighbours, and hands sums to the calculator."""

import re
from string import ascii_lowercase
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nanochat.dag.numbers import format_value
from nanochat.evaluate.arithmetic import Respondent
from nanochat.infer.calculator import calculate
from nanochat.infer.engine import Engine
from nanochat.infer.forced import ForcedTokens, Marks
from nanochat.infer.sampling import row_streams, sample
from tests.infer.conftest import tokens

PROMPTS = [[256, 5, 6, 7, 8, 9], [256], [256, 40, 41, 42], [256, *range(30, 50)]]  # each begins with BOS
NEVER = ()  # no stop tokens


def recomputed(model, prompt, steps, temperature=0.0, top_k=None, stream=None, stop=()):
    """The slow truth: a full forward of the row alone for every token."""
    said = []
    for _ in range(steps):
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *said]])).logits[:, -1]
        uniform = torch.tensor([stream.random()], dtype=torch.float64) if temperature else None
        token = int(sample(logits, uniform, temperature, top_k))
        if token in stop:
            break
        said.append(token)
    return said


@pytest.mark.parametrize("heads", [2, 1])
def test_ragged_batch_with_cache_says_what_full_recomputation_says(make_model, tokenizer, heads):
    model = make_model(n_kv_head=heads)
    expected = [recomputed(model, p, 12) for p in PROMPTS]
    assert Engine(model, tokenizer, None).generate(PROMPTS, 12, stop=NEVER) == expected


@pytest.mark.parametrize("top_k", [None, 20])
def test_sampled_ragged_batch_says_what_recomputation_with_the_same_streams_says(make_model, tokenizer, top_k):
    model = make_model()
    streams = row_streams(3, len(PROMPTS))
    expected = [recomputed(model, p, 12, 0.8, top_k, s) for p, s in zip(PROMPTS, streams, strict=True)]
    assert Engine(model, tokenizer, None).generate(PROMPTS, 12, 0.8, top_k, seed=3, stop=NEVER) == expected


@pytest.fixture
def arithmetic_model(make_model, tokenizer):
    """A tiny GPT with the arithmetic branch, random weights in both and the gate often open."""
    from nanochat.dag import attach_branch
    from nanochat.dag.predictor import PredictorOnlyModel, TowerConfig

    model = make_model()
    predictor = PredictorOnlyModel(TowerConfig(tokenizer.vocab_size, tokenizer.bos_id, width=32, layers=2), tokenizer)
    branch = attach_branch(model, predictor, tokenizer)
    with torch.no_grad():
        for p in branch.parameters():
            p.add_(torch.randn_like(p) * 0.2)
        branch.gate.bias.fill_(1.0)
    return model.eval()


SUMS = ("12+30*2=", "(7-3)/2 is ", "5", "what is 1+1? ")
DIGITS, BEGINS = {ord(c) for c in "0123456789"}, {ord(c) for c in "0123456789-."}


def recomputed_numbers(model, prompt, steps, temperature=0.0, top_k=None, stream=None):
    """`recomputed` for a model that prints numbers: (tokens, the numbers begun as (where, text)), both from full forwards alone."""
    said, begun, queue, ended = [], [], "", False
    for _ in range(steps):
        if queue:
            said.append(ord(queue[0]))
            queue = queue[1:]
            continue
        with torch.no_grad():
            output = model(torch.tensor([[*prompt, *said]]))
        logits, following, gate = output.logits[:, -1], int(output.side["following"][0, -1]), float(output.side["gate"][0, -1])
        offer = following if gate > 0 else -1
        barred = BEGINS - {offer} if offer >= 0 else DIGITS if ended else set()
        logits[:, list(barred)] = -torch.inf
        token = int(sample(logits, torch.tensor([stream.random()], dtype=torch.float64) if temperature else None, temperature, top_k))
        ended = ended and token in (ord("."), ord(","))
        if token == offer:
            at = output.side["speaks"][0].nonzero()[-1].item()  # before the last token where the prompt itself began the number
            number, ahead = format_value(*(output.side[name][0, at].item() for name in ("result", "decimals"))), len(prompt) + len(said) - 1
            begun.append((len(said), number))
            queue, ended = number[ahead - at + 1 :], True
        said.append(token)
    return said, begun


def with_open_gate(model):
    """The gate at 0.88 wherever a result could be printed: an eighth of what is drawn there is the model's own."""
    torch.nn.init.zeros_(model.branch.gate.weight)
    torch.nn.init.constant_(model.branch.gate.bias, 2.0)
    return model


@torch.no_grad()
def offered_after(model, prompt: list[int]) -> str:
    """The number that may be printed after the prompt."""
    side = model(torch.tensor([prompt])).side
    return format_value(*(side[name][0, -1].item() for name in ("result", "decimals"))) or ""


@pytest.mark.parametrize("settings", [(1.0, None), (1.0, 30), (0.0, None)])
def test_with_the_arithmetic_branch_cached_rows_say_what_recomputation_says(arithmetic_model, tokenizer, settings):
    prompts = [[256, *tokenizer.encode(text)] for text in SUMS]
    streams = row_streams(0, 4)
    expected = [recomputed_numbers(arithmetic_model, p, 12, *settings, s)[0] for p, s in zip(prompts, streams, strict=True)]
    assert Engine(arithmetic_model, tokenizer, None).generate(prompts, 12, *settings, stop=NEVER) == expected


@pytest.mark.parametrize("top_k", [None, 40])
def test_at_temperature_one_a_number_that_is_begun_is_the_computed_one_to_its_end(arithmetic_model, tokenizer, top_k):
    model, samples = with_open_gate(arithmetic_model), 60
    engine = Engine(model, tokenizer, None)
    prompts = ([256, *tokenizer.encode(f"{a}-4030=")] for a in range(125, 150))
    prompt, number = next((p, n) for p in prompts if len(n := offered_after(model, p)) > 2)
    texts = [tokenizer.decode(row) for row in engine.generate([prompt] * samples, len(number) + 3, 1.0, top_k, stop=NEVER)]
    printed = [text for text in texts if text.startswith(number)]
    assert samples / 2 < len(printed) < samples
    assert not any(re.match(r"[.,]?\d", text[len(number) :]) for text in printed)
    assert not any(text[0] in "0123456789-." for text in texts if text not in printed)


def test_several_samples_of_several_prompts_are_those_of_full_forwards(arithmetic_model, tokenizer):
    model = with_open_gate(arithmetic_model)
    prompts = [[256, *tokenizer.encode(text)] for text in ("3+4=", "125-4030=", "125-4030=", "9 / 4 = ")]
    together, whole = Engine(model, tokenizer, None).complete(prompts, 14, 1.0, 50, stop=NEVER), 0
    for prompt, said, stream in zip(prompts, together, row_streams(0, 4), strict=True):
        tokens, begun = recomputed_numbers(model, prompt, 14, 1.0, 50, stream)
        assert said.tokens == tokens
        for at, number in begun:
            text = tokenizer.decode(said.tokens[at : at + len(number)])
            assert number.startswith(text) and said.sampled[at] and not any(said.sampled[at + 1 : at + len(text)])
            whole += len(text) > 1
    assert whole, "choose other prompts"
    assert together[:1] == Engine(model, tokenizer, None).complete(prompts[:1], 14, 1.0, 50, stop=NEVER)


def test_digits_forced_inside_a_tool_call_are_part_of_the_expression(tokenizer):
    forced = ForcedTokens(Marks(tokenizer), calculate)
    for token in tokens(tokenizer, "{python_start}2*"):
        assert forced.take(token)
    offered = tokens(tokenizer, "107")
    assert forced.take(offered[0], offered) and list(forced.queue) == offered[1:]
    assert not forced.take(offered[1]) and not forced.take(offered[2]) and forced.barred([])[ord("8")]
    assert forced.take(*tokens(tokenizer, "{python_end}"))
    assert list(forced.queue) == tokens(tokenizer, "{output_start}214{output_end}") and forced.barred([]) is None


def test_what_may_stand_behind_a_number(tokenizer):
    forced = ForcedTokens(Marks(tokenizer), None)
    assert forced.barred([]) is None
    forced.take(ord("7"), [ord("7")])
    assert [chr(i) for i in forced.barred([]).nonzero().flatten() if i < 128] == list("0123456789")
    forced.take(ord("."))
    assert forced.barred([])[ord("0")]
    forced.take(ord(" "))
    assert forced.barred([]) is None
    assert [chr(i) for i in forced.barred([ord("7")]).nonzero().flatten() if i < 128] == list("-.012345689")


def test_a_long_row_that_ends_at_once_leaves_the_branch_in_order_for_a_short_one(arithmetic_model, tokenizer):
    def said(text: str, n: int) -> list[int]:
        return recomputed_numbers(arithmetic_model, [256, *tokenizer.encode(text)], n)[0]

    texts = [("some words " * 4 + "x" * i, short) for short in ("7", *ascii_lowercase) for i in range(12)]
    long, short = next((long, short) for long, short in texts if said(long, 1)[0] not in said(short, 40))
    prompts, ended, runs_on = [[256, *tokenizer.encode(text)] for text in (long, short)], said(long, 1), said(short, 40)
    assert Engine(arithmetic_model, tokenizer, None).generate(prompts, 40, stop=ended) == [[], runs_on]


def test_a_row_alone_says_what_it_says_in_a_batch(make_model, tokenizer):
    engine = Engine(make_model(), tokenizer, None)
    together = engine.generate(PROMPTS, 10, 1.0, seed=1)
    assert engine.generate(PROMPTS[:1], 10, 1.0, seed=1) == together[:1]
    others = [[256, 99], [256, 98, 97], PROMPTS[2], [256, 1]]
    assert engine.generate(others, 10, 1.0, seed=1)[2] == together[2]


def test_rows_that_end_early_do_not_disturb_the_others(make_model, tokenizer):
    model = make_model()
    free = [recomputed(model, p, 20) for p in PROMPTS]
    stop = {free[0][2], free[2][5]}
    expected = [recomputed(model, p, 20, stop=stop) for p in PROMPTS]
    assert len({len(e) for e in expected}) > 1
    assert Engine(model, tokenizer, None).generate(PROMPTS, 20, stop=tuple(stop)) == expected


def test_batches_split_for_memory_say_the_same(make_model, tokenizer, monkeypatch):
    engine = Engine(make_model(), tokenizer, None)
    whole = engine.generate(PROMPTS, 8, 1.0, seed=5)
    monkeypatch.setattr("nanochat.infer.engine.PREFILL_LOGITS", {"cpu": tokenizer.vocab_size * 7})
    assert [len(b) for b in engine._batches(engine._rows(PROMPTS, 8, 1.0, None, 5, None))] == [1, 1, 1, 1]
    assert engine.generate(PROMPTS, 8, 1.0, seed=5) == whole


def test_equal_prompts_differ_from_the_first_sampled_token_on(make_model, tokenizer):
    rows = Engine(make_model(), tokenizer, None).generate([[256, 65]] * 32, 1, temperature=1.0, stop=NEVER)
    assert len({row[0] for row in rows}) > 8


def test_the_same_seed_repeats_and_another_does_not(make_model, tokenizer):
    engine = Engine(make_model(), tokenizer, None)
    first, again, other = (engine.generate(PROMPTS, 10, 1.0, seed=s) for s in (1, 1, 2))
    assert first == again != other


def test_streaming_says_what_generate_says(make_model, tokenizer):
    engine = Engine(make_model(), tokenizer)
    for temperature in (0.0, 1.0):
        stream = engine.stream(PROMPTS[3], 15, temperature, 30, seed=4)
        assert list(stream) == engine.generate([PROMPTS[3]], 15, temperature, 30, seed=4)[0]


# ---------------------------------------------------------------------------------------------------------------------
# Where a row ends


@pytest.mark.parametrize("mark", ["assistant_end", "bos"])
def test_a_row_ends_at_a_stop_token_which_is_not_part_of_it(say, tokenizer, mark):
    said = Engine(say(f"abc{{{mark}}}"), tokenizer).complete([[256, ord("a")]], 50)[0]
    assert (tokenizer.decode(said.tokens), said.ended) == ("bc", "stop")


def test_max_tokens_bounds_every_row(make_model, tokenizer):
    for most in (1, 2, 7):
        completions = Engine(make_model(), tokenizer, None).complete(PROMPTS, most, stop=NEVER)
        assert [(len(c.tokens), c.ended) for c in completions] == [(most, "length")] * len(PROMPTS)


def test_a_row_ends_where_the_context_ends(make_model, tokenizer):
    completions = Engine(make_model(sequence_len=24), tokenizer, None).complete(PROMPTS, 100, stop=NEVER)
    assert [len(p) + len(c.tokens) for p, c in zip(PROMPTS, completions, strict=True)] == [24] * len(PROMPTS)
    assert {c.ended for c in completions} == {"context"}


@pytest.mark.parametrize("length", [23, 24, 25, 100])
def test_a_prompt_that_fills_the_context_keeps_its_beginning_and_end(make_model, tokenizer, length):
    engine = Engine(make_model(sequence_len=24), tokenizer, None)
    prompt = [256, *(i % 200 for i in range(length - 1))]
    fitted = engine.fit(prompt, 100)
    assert fitted == prompt if length < 24 else (fitted[0], fitted[1:]) == (256, prompt[-17:])
    assert 1 <= len(engine.generate([prompt, [256]], 100, stop=NEVER)[0]) == 24 - len(fitted)


def test_senseless_requests_are_refused_in_a_sentence(make_model, tokenizer):
    engine = Engine(make_model(), tokenizer)
    assert engine.generate([]) == []
    for wrong in ({"max_tokens": 0}, {"temperature": -1.0}, {"temperature": float("nan")}, {"top_k": -1}):
        with pytest.raises(ValueError, match="must be"):
            engine.generate(PROMPTS, **wrong)
    with pytest.raises(ValueError, match="at least one token"):
        engine.generate([[]])


def test_the_models_mode_is_left_as_it_was(make_model, tokenizer):
    model = make_model().train()
    Engine(model, tokenizer).generate(PROMPTS, 2)
    assert model.training and all(not p.grad_fn for p in model.parameters())


# ---------------------------------------------------------------------------------------------------------------------
# The branch and the calculator


class Listener(torch.nn.Module):
    """A branch that changes nothing and writes down how many new tokens its state is told of."""

    layer = 0

    def __init__(self):
        super().__init__()
        self.heard = []

    def init_state(self, batch: int, max_len: int):
        return SimpleNamespace(new_lengths=None)

    def forward(self, x, idx, *, cache=None, plan=None):
        self.heard.append(cache.new_lengths.tolist())
        return x, {}

    def mix(self, logits, idx, side):
        return logits


def test_the_branch_is_told_how_many_new_tokens_each_row_has(say, tokenizer):
    model = say("abc{assistant_end}", "xyzw{assistant_end}")
    model.attach(Listener())
    Engine(model, tokenizer).generate([[256, 1, 2, ord("a")], [256, ord("x")]], 50)
    assert model.branch.heard == [[4, 2], [1, 1], [1, 1], [0, 1]]


def test_a_tool_call_is_answered_with_forced_tokens(say, tokenizer):
    model = say("a{python_start}1+{python_end}?", "+2{python_end}", "{output_end}!{assistant_end}")
    said = Engine(model, tokenizer).complete([[256, ord("a")]], 50)[0]
    assert said.tokens == tokens(tokenizer, "{python_start}1+2{python_end}{output_start}3{output_end}!")
    assert said.sampled == [True] * 5 + [False] * 3 + [True] and said.ended == "stop"


def test_each_row_has_a_queue_of_its_own(say, tokenizer):
    model = say("a{python_start}9*{python_end}", "*8{python_end}", "{output_end}!{assistant_end}", "xyz{assistant_end}")
    prompts = [[256, ord("x")], [256, ord("a")], [256, 7, 7, ord("a")]]
    texts = [tokenizer.decode(row) for row in Engine(model, tokenizer).generate(prompts, 50)]
    call = "<|python_start|>9*8<|python_end|><|output_start|>72<|output_end|>!"
    assert texts == ["yz", call, call]


@pytest.mark.parametrize("calculator", [None, lambda expression: None])
def test_a_call_without_a_result_is_left_to_the_model(say, tokenizer, calculator):
    model = say("a{python_start}1/0{python_end}?{assistant_end}")
    said = Engine(model, tokenizer, calculator).complete([[256, ord("a")]], 50)[0]
    assert tokenizer.decode(said.tokens).endswith("<|python_end|>?") and all(said.sampled)


def test_an_evaluation_reads_what_is_printed_after_the_calculators_output(say, tokenizer):
    model = say("a{python_start}1+{python_end}", "+2{python_end}", "{output_end}3{assistant_end}", "b7{output_start}9{assistant_end}")
    answered, unanswered = Respondent(model, tokenizer).answers([[256, ord("a")], [256, ord("b")]])
    assert (answered.text, answered.tokens) == ("3", 9) and answered.milliseconds == unanswered.milliseconds > 0
    assert (unanswered.text, unanswered.tokens) == ("7", 3)


def test_max_tokens_also_bounds_forced_tokens(say, tokenizer):
    model = say("a{python_start}1+{python_end}", "+2{python_end}", "{output_end}!{assistant_end}")
    said = Engine(model, tokenizer).complete([[256, ord("a")]], 6)[0]
    assert len(said.tokens) == 6 and said.ended == "length"


def test_a_result_of_several_digits_is_forced_digit_by_digit_and_the_cache_follows(make_model, tokenizer):
    """After forced tokens the row goes on as if they had been in its prompt."""
    model, opening, closing = make_model(), tokenizer.special("<|python_start|>"), tokenizer.special("<|python_end|>")
    prompt = [256, 65]
    engine = Engine(model, tokenizer, lambda expression: "12345")
    row = engine._rows([prompt], 20, 0.0, None, 0, NEVER)
    row[0].forced.call = []  # as if <|python_start|> had been said
    row[0].take(opening), row[0].take(closing)
    row[0].prompt = [*prompt, opening, closing]
    for _ in engine._decode(row, 0.0, None):
        pass
    forced = tokens(tokenizer, "{output_start}12345{output_end}")
    said = row[0].said
    assert said.tokens[2 : 2 + len(forced)] == forced
    free = recomputed(model, [*prompt, opening, closing, *forced], 20 - 2 - len(forced))
    assert said.tokens[2 + len(forced) :] == free


# ---------------------------------------------------------------------------------------------------------------------
# Sampling


def test_frequencies_follow_the_softmax_and_only_the_likeliest_k_are_drawn():
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
    uniform = torch.from_numpy(np.random.default_rng(0).random(20000))
    for temperature, top_k in ((1.0, None), (0.5, None), (1.0, 2), (2.0, 3)):
        drawn = sample(logits.expand(20000, -1), uniform, temperature, top_k)
        kept = logits.masked_fill(logits < logits.topk(top_k or 4).values.min(), -torch.inf)
        expected = torch.softmax(kept / temperature, dim=-1)[0]
        assert torch.allclose(drawn.bincount(minlength=4) / 20000, expected, atol=0.015)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8), st.floats(0, 1, exclude_max=True), st.floats(0.01, 10))
def test_a_token_of_probability_zero_is_never_drawn(logits, uniform, temperature):
    row = torch.tensor([[-torch.inf, *logits, -torch.inf]])
    assert 1 <= int(sample(row, torch.tensor([uniform], dtype=torch.float64), temperature)) <= len(logits)


def test_top_k_one_is_the_likeliest():
    logits = torch.randn(5, 11, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sample(logits, torch.rand(5), 1.0, 1), logits.argmax(-1))
