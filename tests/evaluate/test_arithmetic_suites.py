"""The suites of dag_eval: an oracle gets everything right in each, every kind of error is counted as what it is, and the script."""

import json
import re
from fractions import Fraction

import numpy as np
import pytest
import torch

from nanochat.dag import attach_branch
from nanochat.dag.arithmetic import SPECIAL
from nanochat.dag.executor import ADD, NO_STEP, SUBTRACT
from nanochat.dag.labels import plan_tensors
from nanochat.dag.numbers import DECIMALS
from nanochat.dag.predictor import PlanLabels, PredictorOnlyModel, TowerConfig
from nanochat.data.conversations import render, render_prompt
from nanochat.data.corpus_problems import OPERATIONS
from nanochat.data.corpus_problems import steps as steps_of
from nanochat.data.split import held_out
from nanochat.evaluate import suites
from nanochat.evaluate.arithmetic import CAUSES, Answer, Question, Respondent, ask, labelled_result
from nanochat.evaluate.ordinary_text import SENTENCES, false_positives
from nanochat.evaluate.suites import SUITES, Asking
from nanochat.model.gpt import GPT, GPTConfig
from nanochat.pipeline.stage import read_status
from nanochat.train import checkpoint
from scripts import dag_eval
from tests.dag.reference import calculate, expression_in, full_brackets
from tests.evaluate.fakes import byte_tokenizer

TOKENIZER = byte_tokenizer()
IN_LABELS, IN_WORDS = ("operations", "styles", "chains", "rounding"), ("digits", "repeated", "templates", "distractors")
ITEMS = 25
COSTS = ("tokens_per_answer", "ms_per_answer")


def text_of(question: Question) -> str:
    return TOKENIZER.decode([t for t in question.prompt if t < 256])


def predictor(steps=2) -> PredictorOnlyModel:
    """A tower whose weights are all random."""
    torch.manual_seed(0)
    model = PredictorOnlyModel(TowerConfig(TOKENIZER.vocab_size, TOKENIZER.bos_id, width=16, layers=1, steps=steps), TOKENIZER)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.2)
    return model.eval()


def chat_model(steps=2, gate=8.0) -> GPT:
    """A tiny GPT with a tower in it, whose own words are only ever the end of the answer; `gate` is the gate's bias."""
    model = GPT(GPTConfig(sequence_len=512, vocab_size=TOKENIZER.vocab_size, n_layer=2, n_head=2, n_kv_head=2, n_embd=16))
    branch = attach_branch(model, predictor(steps), TOKENIZER)
    torch.nn.init.constant_(branch.gate.bias, gate)
    says = torch.zeros(TOKENIZER.vocab_size)
    says[TOKENIZER.special("<|assistant_end|>")] = 9.0
    model._logits = lambda x: says.expand(*x.shape[:-1], -1)
    return model.eval()


def follow(tower, gold: dict[tuple, tuple]) -> None:
    """Makes the tower follow the plans of the prompts it knows: prompt -> (operation, operand1, operand2), each (T, D)."""
    plain = tower.forward

    def forward(idx, hidden=None, labels=None, lengths=None, keep_words=False, busy_only=False):
        fill, columns = (NO_STEP, -(10**9), -(10**9)), [[], [], []]
        for row in idx.tolist():
            while row[-1] == TOKENIZER.bos_id:
                row.pop()
            for column, plan, empty in zip(columns, gold[tuple(row)], fill, strict=True):
                missing = idx.shape[1] - len(plan)
                column.append(np.pad(plan.astype(np.int64), [(0, missing), (0, 0)], constant_values=empty))
        return plain(idx, hidden, PlanLabels(*(torch.from_numpy(np.stack(c)) for c in columns)), lengths, keep_words, busy_only)

    tower.forward = forward


def labels_in(monkeypatch) -> dict:
    """The plans of all questions that are made from now on from generated batches."""
    gold, plain = {}, suites._of_batch

    def noted(batch, steps):
        for i, n in enumerate(batch.length):
            gold[tuple(batch.ids[i, :n].tolist())] = tuple(x[i, :n].copy() for x in (batch.operation, batch.operand1, batch.operand2))
        return plain(batch, steps)

    monkeypatch.setattr(suites, "_of_batch", noted)
    return gold


def plans_of(cells, steps: int) -> dict:
    """The plans of questions in words, found by an independent reader: everything is calculated at the answer token."""
    return {tuple(q.prompt): planned(text_of(q), steps) for questions in cells.values() for q in questions}


def planned(text: str, steps: int, plan=None) -> tuple:
    """Labels of an expression in words; `plan` replaces the one that is read off the text."""
    if plan is None:
        letters = iter("abcdefghijklmnopqrstuvwxyz")
        formula = re.sub(r"\d+(?:\.\d+)?", lambda m: next(letters), full_brackets(expression_in(text)))
        plan = [[OPERATIONS[o], *(x if x[0] == "s" else ord(x) - ord("a") for x in xy)] for o, *xy in steps_of(formula)]
    rendered = render(TOKENIZER, conversation(text, plan))
    idx = torch.tensor([rendered.ids])
    tensors = plan_tensors([[(0, rendered)]], idx, predictor().tower.table, TOKENIZER.bos_id, steps)
    end = rendered.plan.position + 1
    return tuple(x[0, :end].numpy() for x in (tensors.operation, tensors.operand1, tensors.operand2))


def conversation(text: str, plan) -> dict:
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "0", "plan": plan}]}


def problems_in(monkeypatch) -> list[dict]:
    """All word problems that are made from now on."""
    made, plain = [], suites.word_problem
    monkeypatch.setattr(suites, "word_problem", lambda *words: made.append(plain(*words)) or made[-1])
    return made


def oracle(monkeypatch, suite: str, model_of):
    """(cells of a suite, a model that follows their gold plans)."""
    asking = Asking(TOKENIZER, items=ITEMS, seed=1)
    if suite in IN_LABELS:
        gold, model = labels_in(monkeypatch), model_of(steps=2)
        cells = SUITES[suite](asking)
    else:
        made, model = problems_in(monkeypatch), model_of(steps=5)
        cells = SUITES[suite](asking)
        messages = [m["messages"] for m in made]
        gold = {tuple(render_prompt(TOKENIZER, {"messages": m})): planned(m[0]["content"], 5, m[1]["plan"]) for m in messages}
        gold = gold or plans_of(cells, 5)
    follow(model.tower if hasattr(model, "tower") else model.branch.tower, gold)
    return cells, model


@pytest.mark.parametrize("suite", IN_LABELS + IN_WORDS)
def test_an_oracle_alone_gets_every_suite_right(monkeypatch, suite):
    cells, model = oracle(monkeypatch, suite, predictor)
    for cell, questions in cells.items():
        result = ask(Respondent(model, TOKENIZER), questions)
        assert result.figures["exact_match"] == 1 and result.figures["n"] == ITEMS, cell
        assert len({tuple(q.prompt) for q in questions}) > 1 and result.causes == [None] * ITEMS


@pytest.mark.parametrize("suite", ["operations", "digits", "templates"])
def test_an_oracle_in_a_chat_model_writes_every_answer_and_with_a_closed_gate_none(monkeypatch, suite):
    cells, model = oracle(monkeypatch, suite, chat_model)
    cell, questions = list(cells.items())[-1]
    respondent = Respondent(model, TOKENIZER)
    assert ask(respondent, questions).figures["exact_match"] == 1, cell
    torch.nn.init.constant_(model.branch.gate.bias, -8.0)
    figures = ask(respondent, questions).figures
    assert figures["exact_match"] == 0 and figures["emission"] == figures["n"]


def test_an_oracle_in_a_chat_model_rounds_as_its_head_says_and_otherwise_errs_in_emission(monkeypatch):
    cells, model = oracle(monkeypatch, "rounding", chat_model)
    with torch.no_grad():
        model.branch.tower.rounding.weight.zero_()
        model.branch.tower.rounding.bias.copy_(torch.eye(len(DECIMALS))[DECIMALS.index(2)])
    respondent = Respondent(model, TOKENIZER)
    assert ask(respondent, cells["rounded_to_2"]).figures["exact_match"] == 1
    for other in ("rounded_to_4", "not_rounded"):
        figures = ask(respondent, cells[other]).figures
        assert figures["emission"] == figures["n"] - figures["right"] > 0.8 * figures["n"]


def test_what_no_number_can_say_must_be_said_in_words_and_a_tower_alone_must_have_no_number(monkeypatch):
    gold, plain = {}, suites.prompts_of

    def noted(batch):
        for i, n in enumerate(batch.length):
            gold[tuple(batch.ids[i, :n].tolist())] = tuple(x[i, :n].copy() for x in (batch.operation, batch.operand1, batch.operand2))
        return plain(batch)

    monkeypatch.setattr(suites, "prompts_of", noted)
    alone, chat = predictor(), chat_model()
    cells = SUITES["in_words"](Asking(TOKENIZER, items=ITEMS))
    assert list(cells) == ["divide_by_zero", "too_large"]
    for model in (alone.tower, chat.branch.tower):
        follow(model, gold)
    for kind, questions in cells.items():
        assert len(questions) == ITEMS and all(held_out(full_brackets(expression_in(text_of(q)))) for q in questions)
        assert ask(Respondent(alone, TOKENIZER), questions).figures["exact_match"] == 1
        respondent = Respondent(chat, TOKENIZER)
        silent = ask(respondent, questions).figures
        assert silent["emission"] == ITEMS and silent["exact_match"] == 0, "the gate must be shut, and nothing is no sentence"
        sentences = [Answer(SPECIAL[kind].answers[i % 3]) for i in range(ITEMS)]
        monkeypatch.setattr(respondent, "answers", lambda prompts, sentences=sentences: sentences)
        assert ask(respondent, questions).figures["exact_match"] == 1


def test_a_number_where_there_is_none_is_a_plan_error():
    text, model = "What is 4 / 0?", predictor()
    question = Question(suites._worded(TOKENIZER, text, "", "").prompt, "No.", sentences=("No.",))
    follow(model.tower, {tuple(question.prompt): planned(text, 2, [["add", 0, 1]])})
    result = ask(Respondent(model, TOKENIZER), [question])
    assert result.said == ["4"] and result.causes == ["plan"]


def test_what_is_written_instead_of_the_towers_number_is_emission(monkeypatch):
    cells, model = oracle(monkeypatch, "operations", chat_model)
    respondent, questions = Respondent(model, TOKENIZER), cells["2_ops"]
    monkeypatch.setattr(respondent, "answers", lambda prompts: [Answer("12345678")] * len(prompts))
    assert ask(respondent, questions).figures["emission"] == ITEMS


def test_wrong_operations_are_a_plan_error(monkeypatch):
    gold, model = labels_in(monkeypatch), predictor()
    questions = SUITES["operations"](Asking(TOKENIZER, items=ITEMS, operations=1))["1_op"]
    for operation, _, _ in gold.values():
        sums = operation == ADD
        operation[operation == SUBTRACT], operation[sums] = ADD, SUBTRACT
    follow(model.tower, gold)
    figures = ask(Respondent(model, TOKENIZER), questions).figures
    assert figures["plan"] == ITEMS - figures["right"] > 0 and figures["reading"] == figures["execution"] == figures["emission"] == 0


def test_a_number_that_was_not_read_is_a_reading_error_and_a_plan_error_where_no_expression_is_known():
    text, model = "What is XIV plus 4?", predictor()
    known = suites._worded(TOKENIZER, text, "(14+4)", "18")
    given = suites._worded(TOKENIZER, text, "(14+4)", "18", given=[14.0])
    follow(model.tower, {tuple(known.prompt): planned(text, 2, [["add", 0, 0]])})
    assert ask(Respondent(model, TOKENIZER), [known, given, Question(known.prompt, "18")]).causes == ["reading", "plan", "plan"]


def test_float64_that_prints_otherwise_than_exact_fractions_is_an_execution_error():
    text, model = "What is (0.1 + 0.2 - 0.3) * 1000000000000?", predictor(steps=3)
    question = suites._worded(TOKENIZER, text, "0.1 0.2 0.3 1000000000000", "0")
    follow(model.tower, {tuple(question.prompt): planned(text, 3)})
    result = ask(Respondent(model, TOKENIZER), [question])
    assert result.said == ["0.000056"] and result.causes == ["execution"]


def test_labels_are_worked_out_on_the_numbers_that_were_read_and_on_no_others():
    for questions in SUITES["operations"](Asking(TOKENIZER, items=5, operations=3)).values():
        for question in questions:
            numbers = {}
            for end in re.finditer(r"\d+(?:\.\d+)?", "".join(chr(t) if t < 256 else "|" for t in question.prompt)):
                numbers[end.end() - 1] = Fraction(end.group())
            assert question.readable(numbers) and not question.readable({})
            assert not question.readable({at: value + 1 for at, value in list(numbers.items())[:-1]})
    empty = np.full((2, 1), NO_STEP), np.zeros((2, 1), dtype=int), np.zeros((2, 1), dtype=int)
    assert labelled_result(empty, 1, {}, 1) is None


@pytest.mark.parametrize("suite", ["digits", "repeated"])
def test_expressions_have_the_numbers_they_promise_and_training_cannot_have_seen_them(suite):
    cells = SUITES[suite](Asking(TOKENIZER, items=60, seed=2))
    assert (
        list(cells)
        == {
            "digits": ["1_digit", *(f"{n}_digits" for n in range(2, 8))],
            "repeated": [f"repeated_{n}_times" for n in (2, 3, 4)],
        }[suite]
    )
    seen = set()
    for cell, questions in cells.items():
        many = int(re.search(r"\d", cell).group())
        for question in questions:
            expression = expression_in(text_of(question))
            numbers = re.findall(r"[\d.]+", expression)
            assert held_out(full_brackets(expression)) and calculate(expression) == Fraction(question.expected), expression
            if suite == "digits":
                assert {len(number) for number in numbers} == {many} and 2 <= len(numbers) <= 4
                seen |= {(many, symbol) for symbol in "+-*/" if symbol in expression}
            else:
                assert max(numbers.count(number) for number in numbers) >= many
    assert suite == "repeated" or len(seen) == 7 * 4  # every operation at every length


def test_templates_and_distractors_are_what_their_cells_say(monkeypatch):
    made = problems_in(monkeypatch)
    cells = {**SUITES["templates"](Asking(TOKENIZER, items=30)), **SUITES["distractors"](Asking(TOKENIZER, items=30))}
    by_text = {m["messages"][0]["content"]: m for m in made}
    for cell, questions in cells.items():
        found = [by_text[text_of(q)] for q in questions]
        assert {m["held_out"] for m in found} == {cell.startswith("new_")}
        composed = {re.fullmatch(r"[A-Z_]+\d+( [A-Z_]+\d+)*", m["template"]) is not None for m in found}
        assert {"new_combinations": {True}, "new_sentences": {False}}.get(cell, composed) == composed
        assert all(held_out(m["canonical"]) for m in found)
        if "distractor" in cell:
            assert {m["distracted"] for m in found} == {cell == "with_distractor"}


@pytest.fixture
def real(tmp_path):
    """A folder with a row or two of each real data set, as its files are."""
    folder = tmp_path / "data"
    for name in ("gsm8k", "svamp", "asdiv", "mawps", "bigbench_arithmetic/1_digit_addition"):
        (folder / name).mkdir(parents=True)
    answer = "It takes 2/2=<<2/2=1>>1 of white\nand 1,000+1=<<1000+1=1001>>1,001 in all.\n#### 1,001"
    (folder / "gsm8k/test.jsonl").write_text(json.dumps({"question": "1,000 and half of 2?", "answer": answer}))
    svamp = {"Body": "Jo has 8 pens", "Question": "He gives 3 away. How many?", "Answer": 5.0, "Equation": "( 8.0 - 3.0 )"}
    (folder / "svamp/test.json").write_text(json.dumps([svamp]))
    problem = "<Body>Seven and 2 more.</Body><Question>How many?</Question><Answer>9 (apples)</Answer><Formula>17-8=9</Formula>"
    (folder / "asdiv/ASDiv.xml").write_text(f"<Machine><ProblemSet><Problem>{problem}</Problem></ProblemSet></Machine>")
    mawps = {"original_text": "64 over 3 is ?", "equation": "x=(79.0-15.0)/(4.0-1.0)", "ans": 21.3333}
    (folder / "mawps/validset.json").write_text(json.dumps([mawps]))
    examples = {"name": "a", "keywords": ["arithmetic"], "examples": [{"input": "What is 6 plus 2?", "target": "8"}]}
    (folder / "bigbench_arithmetic/1_digit_addition/task.json").write_text(json.dumps(examples))
    return folder


def test_real_suites_compare_numbers_and_know_the_numbers_of_the_right_expression(real):
    asking = Asking(TOKENIZER, items=10, data_dir=real)
    cells = {name: cell for suite in suites.REAL for name, cell in SUITES[suite](asking).items()}
    assert {name: [q.expected for q in cell] for name, cell in cells.items()} == {
        "gsm8k": ["1001"], "svamp": ["5"], "asdiv": ["9"], "mawps": ["21.3333"], "bigbench_arithmetic": ["8"]
    }  # fmt: skip
    gsm8k, svamp, asdiv, mawps = (cells[name][0] for name in ("gsm8k", "svamp", "asdiv", "mawps"))
    assert gsm8k.is_right("The answer is 1,001.") and not gsm8k.is_right("1001 or 2") and not gsm8k.is_right("")
    assert mawps.is_right("21.333333") and mawps.is_right("21.3333") and not mawps.is_right("21.33")
    assert svamp.is_right("5.0") and not svamp.is_right("5.01")
    read = {3: Fraction(8)}
    assert svamp.readable(read) and asdiv.readable({1: Fraction(17), **read}) and not asdiv.readable(read)  # 3 is a constant
    assert gsm8k.readable({}) and not mawps.readable({1: Fraction(64)})  # 1, 2 and 1000 are constants


def test_a_suite_without_its_file_has_no_cells(tmp_path):
    assert [SUITES[name](Asking(TOKENIZER, data_dir=tmp_path)) for name in suites.REAL] == [{}] * len(suites.REAL)


def test_the_gate_is_counted_where_it_is_open():
    texts = SENTENCES["dates"]
    positions = sum(1 + len(TOKENIZER.encode(text)) for text in texts)
    shut, wide = (false_positives(chat_model(gate=gate), TOKENIZER, texts, 512) for gate in (-8.0, 8.0))
    assert (shut.tokens, shut.fired, shut.per_thousand) == (positions, [], 0)
    assert wide.tokens == positions and 0 < len(wide.fired) < positions
    assert all(re.fullmatch(r"-?[\d.]+", said) and any(t.startswith(text) for t in texts) for text, said in wide.fired)


def test_ordinary_sentences_are_many_different_and_hold_numbers():
    sentences = sum(SENTENCES.values(), ())
    assert len(SENTENCES) == 6 and len(sentences) == len(set(sentences)) == 60 and all(re.search(r"\d", s) for s in sentences)


# ---------------------------------------------------------------------------------------------------------------------
# The script


@pytest.fixture
def trained(base_dir, monkeypatch):
    """A tokenizer, an untrained tower, and an untrained chat model with it (sft) and without it (mid); of the corpus, two texts."""
    monkeypatch.setattr(dag_eval.corpus, "documents", lambda split, seed: iter(["Mila lives near the mill.", "Horses eat hay."]))
    TOKENIZER.save(base_dir / "tokenizer")
    tower, chat = predictor(), chat_model()
    meta = {"model_config": tower.tower.config.to_dict(), "branch_config": None, "tokenizer_hash": TOKENIZER.hash}
    checkpoint.save("dag_train", "", 1, tower, meta, {})
    checkpoint.save("chat_sft", "", 1, chat, checkpoint.describe(chat, TOKENIZER), {})
    chat.branch = None
    checkpoint.save("mid_train", "", 1, chat, checkpoint.describe(chat, TOKENIZER), {})


def call(capsys, *words):
    """Runs dag_eval: its exit code, the JSON it prints last, and what it says."""
    code = dag_eval.main(["--profile=embedded", "--device=cpu", "--items=4", "--max_tokens=4", *words])
    out, err = capsys.readouterr()
    return code, json.loads(out.splitlines()[-1]) if out else None, err


def test_the_default_is_the_operations_and_a_repetition_is_skipped(trained, base_dir, capsys):
    code, figures, _ = call(capsys)
    cells = ["1_op", *(f"{k}_ops" for k in range(2, 7))]
    assert code == 0 and list(figures["cells"]) == cells and figures["n"] == 24
    assert set(figures["cells"]["1_op"]) == {"exact_match", "n", "low", "high", *COSTS, *CAUSES}
    rows = [json.loads(line) for line in (base_dir / "stages/dag_eval.dag/wrong.jsonl").read_text().splitlines()]
    assert len(rows) == sum(f[cause] for f in figures["cells"].values() for cause in CAUSES) > 0
    assert all(set(row) == {"cell", "question", "answer", "said", "cause"} and row["answer"] != row["said"] for row in rows)
    code, again, err = call(capsys)
    assert code == 0 and again == figures and "skipped" in err


def test_suites_are_added_and_only_the_operations_are_the_overall_figure(trained, real, capsys):
    (real / "svamp/test.json").unlink()
    suites = "--suites=digits,operations,asdiv,svamp,gate"
    code, figures, err = call(capsys, "-i", "sft", suites, "--operations=2", f"--data_dir={real}")
    assert code == 0 and {"1_op", "2_ops", "7_digits", "asdiv", "gate_dates", "gate_corpus"} < set(figures["cells"])
    metrics = read_status("dag_eval", "sft.suites")["metrics"]
    assert figures["n"] == 8 and figures["exact_match"] == (metrics["exact_match/1_op"] + metrics["exact_match/2_ops"]) / 2
    assert metrics["n/asdiv"] == 1 and "exact_match/gate_dates" not in metrics and metrics["tokens/gate_corpus"] == 42
    assert f"svamp: not present under {real}" in err


def test_a_suite_alone_has_its_own_folder_and_a_model_without_a_tower_no_causes(trained, capsys):
    code, figures, err = call(capsys, "-i", "mid", "--suites=repeated,gate")
    assert code == 0 and list(figures["cells"]) == [f"repeated_{n}_times" for n in (2, 3, 4)] and "gate: this model has none" in err
    assert set(figures["cells"]["repeated_2_times"]) == {"exact_match", "n", "low", "high", *COSTS} and figures["n"] == 12
    assert call(capsys, "--suites=templates")[0] == 0 and read_status("dag_eval", "dag.templates")["state"] == "done"


def test_a_file_is_a_suite_of_its_own(trained, tmp_path, capsys):
    (tmp_path / "mine.jsonl").write_text('{"question": "What is 3 plus 4?", "answer": "7"}\n\n')
    code, figures, _ = call(capsys, f"--suite={tmp_path / 'mine.jsonl'}")
    assert code == 0 and list(figures["cells"]) == ["mine"] and figures["n"] == 1
    assert read_status("dag_eval", "dag.mine")["state"] == "done"


@pytest.mark.parametrize(("written", "longest"), [("answer", 24), ("tool", 160)])
def test_a_model_that_calls_the_calculator_may_say_more(trained, capsys, written, longest):
    endless = GPT(GPTConfig(sequence_len=256, vocab_size=TOKENIZER.vocab_size, n_layer=1, n_head=1, n_kv_head=1, n_embd=8))
    torch.nn.init.zeros_(endless.head.weight)  # all tokens are alike: it says the first one for ever
    checkpoint.save("mid_train", "endless", 1, endless, {**checkpoint.describe(endless, TOKENIZER), "arithmetic_as": written}, {})
    words = ["--profile=embedded", "--device=cpu", "--items=2", "--operations=1", "-i", "mid", "--model_tag=endless"]
    assert dag_eval.main(words) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["cells"]["1_op"]
    assert figures["tokens_per_answer"] == longest and figures["ms_per_answer"] > 0


def test_only_the_gate_can_be_measured(trained, capsys):
    code, figures, _ = call(capsys, "-i", "sft", "--suites=gate")
    assert code == 0 and figures["exact_match"] is None and figures["n"] == 0
    assert set(figures["cells"]["gate_years"]) == {"false_positives", "tokens", "low", "high"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--suites=operatons"], "did you mean 'operations'"),
        (["--items=0"], "items"),
        (["--operations=21"], "--operations=20"),
        (["--suites=svamp,gate"], "none of the suites svamp, gate"),
        (["--suite=nowhere.jsonl"], "nowhere.jsonl is missing"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(trained, capsys, words, said):
    code, _, err = call(capsys, *words)
    assert code != 0 and said in err and "Traceback" not in err


def test_a_damaged_file_names_its_line(trained, tmp_path, capsys):
    (tmp_path / "mine.jsonl").write_text('{"question": "What is 3 plus 4?", "answer": "7"}\n{"question": 1}\n')
    code, _, err = call(capsys, f"--suite={tmp_path / 'mine.jsonl'}")
    assert code == 1 and "line 2" in err
