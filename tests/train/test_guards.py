"""Bad steps never reach the weights; what happened is named; a run goes back once and stops the second time; processes agree."""

import json
import math
import os
import random
import re
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from nanochat import common
from nanochat.common import UserError
from nanochat.dag.expressions import ExpressionSettings
from nanochat.dag.stream import PlanBatches
from nanochat.data.loader import ConversationLoader, TokenLoader
from nanochat.data.shards import TokenShard, write_part
from nanochat.data.sources import Part
from nanochat.data.tokenizer import Tokenizer
from nanochat.model.gpt import GPT
from nanochat.model.presets import make_config
from nanochat.pipeline.stage import Run
from nanochat.train import checkpoint, guards, memory
from nanochat.train.guards import FEWEST, NEAR, WINDOW, Guard, Losses
from nanochat.train.loop import fit
from tests.train.conftest import VOCAB, Config, CountingBatches


class Without(CountingBatches):
    """CountingBatches without some of them."""

    def __init__(self, *left_out: int, **options):
        super().__init__(**options)
        self.left_out = left_out

    def __next__(self):
        while self.n in self.left_out:
            self.n += 1
        return super().__next__()


def poisoned(*numbers: int, with_: float = math.nan):
    """A loss function to which the third rows of the batches of these numbers, counted from 0, are poison."""
    batches = CountingBatches()
    rows = [next(batches)[0][2] for _ in range(max(numbers) + 1)]

    def loss(model, batch):
        bad = any(torch.equal(row, rows[n]) for row in batch[0] for n in numbers)
        return model(*batch).loss * (with_ if bad else 1.0), {}

    return loss


def watched(loss_fn, seen: list):
    """The same loss function; `seen` gets the weights before each step."""

    def loss(model, batch):
        if torch.is_grad_enabled():  # no row of a bad step that is looked at closer
            seen.append([p.detach().clone() for p in model.parameters()])
        return loss_fn(model, batch)

    return loss


def start(run, model, tokenizer, loss_fn, batches=None, **options):
    meta = checkpoint.describe(model, tokenizer)
    return fit(run, run.config, model=model, batches=batches or CountingBatches(), loss_fn=loss_fn, meta=meta, **options)


def losses(run) -> dict[int, float]:
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines}


def weights(source="base"):
    return list(checkpoint.load_model(source)[0].state_dict().values())


# -- what a spike is ----------------------------------------------------------------------------------------------------


def remembering(values, factor=6.0) -> Losses:
    found = Losses(factor)
    found.last.extend(values)
    return found


def test_nothing_is_a_spike_before_enough_is_known_or_without_a_factor():
    assert remembering([3.0] * (FEWEST - 1)).limit() == math.inf
    assert remembering([3.0] * FEWEST).limit() == pytest.approx(3 + 6 * 0.3)
    assert remembering([3.0] * FEWEST, factor=0).limit() == math.inf


def test_the_limit_follows_the_range_that_the_run_has_shown():
    assert remembering([0.01] * 100).limit() == pytest.approx(0.01 + 6 * 0.25)
    assert remembering([0.01] * 90 + [0.9] * 10).limit() == pytest.approx(0.01 + 6 * 0.89)


def spikes(curve, factor=6.0) -> list[int]:
    """Where a guard finds spikes in a curve, each left out as in training."""
    known, found = Losses(factor), []
    for i, loss in enumerate(curve):
        if loss > known.limit():
            found.append(i)
        else:
            known.last.append(loss)
    return found


CURVES = {
    "a language model": lambda i, draw: 9.0 * math.exp(-i / 60) + 3.0 + draw.gauss(0, 0.06),
    "a tower, whose hard batches are rare": lambda i, draw: 4.0 * math.exp(-i / 40) + (draw.random() < 0.02) * 0.5 + draw.expovariate(50),
    "long tails": lambda i, draw: 0.2 * draw.paretovariate(3),
    "another stage begins": lambda i, draw: (2.0 if i < 400 else 3.2) + draw.gauss(0, 0.05),
}


@pytest.mark.parametrize("name", CURVES)
def test_the_ups_and_downs_of_training_are_no_spikes_and_a_real_one_is(name):
    for seed in range(5):
        draw = random.Random(seed)
        curve = [CURVES[name](i, draw) for i in range(1000)]
        assert spikes(curve) == []
        spiked = [*curve, curve[-1] + 6 * max(0.25, 2 * (max(curve[-WINDOW:]) - min(curve[-WINDOW:])))]
        assert spikes(spiked) == [1000]


def test_a_real_tiny_run_has_no_spikes_even_with_a_high_learning_rate(make_run, make_gpt, tokenizer):
    run = make_run(steps=80, on_spike="stop", lr_scale=8.0, warmup=0.0)
    start(run, make_gpt(), tokenizer, lambda model, batch: (model(*batch).loss, {}))
    assert spikes(list(losses(run).values()), factor=3.0) == []


# -- what happens then --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_run_goes_back_to_its_checkpoint_and_is_then_the_run_that_never_saw_the_batch(make_run, make_gpt, tokenizer, capsys, bad):
    clean = make_run("mid_train", steps=9)
    start(clean, make_gpt(), tokenizer, poisoned(99), Without(6))
    run = make_run(steps=9, save_every=4)
    start(run, make_gpt(), tokenizer, poisoned(6, with_=bad))
    assert losses(run) == losses(clean) and list(losses(run)) == list(range(1, 10))
    assert all(torch.equal(a, b) for a, b in zip(weights(), weights("mid"), strict=True))
    said = capsys.readouterr().err
    assert f"the loss became {bad} at step 7, worst in row 3 of 4 in process 0: " in said
    assert said.count("back to step_000004, and on without that batch") == 1


def test_a_run_without_a_checkpoint_goes_on_from_the_weights_of_the_step_before(make_run, make_gpt, tokenizer, capsys):
    run, seen = make_run(steps=5), []
    start(run, make_gpt(), tokenizer, watched(poisoned(2), seen))
    assert all(torch.equal(a, b) for a, b in zip(seen[2], seen[3], strict=True)), "the third batch was bad"
    assert not torch.equal(seen[3][0], seen[4][0])
    assert [step for step, loss in losses(run).items() if loss is None] == [3]
    assert "goes on without that batch" in capsys.readouterr().err


@pytest.mark.parametrize("lags", [False, True])
def test_weights_that_a_step_ruined_are_told_from_a_bad_batch(make_run, make_gpt, tokenizer, monkeypatch, lags):
    monkeypatch.setattr(guards, "lags", lambda device: lags)
    with pytest.raises(UserError) as error:
        start(make_run(steps=9, lr_scale=1e30), make_gpt(), tokenizer, poisoned(99))
    said = str(error.value)
    assert re.search(r"the loss became (nan|inf) at step 2, .* of the batch of step 1, which had been good, is no number any more", said)
    assert "the model is ruined" in said and "lower --lr_scale (now 1e+30) and start again" in said and "without that batch" not in said


def test_a_second_bad_step_at_the_same_place_stops_the_run(make_run, make_gpt, tokenizer):
    run = make_run(steps=12, save_every=4)
    with pytest.raises(UserError, match="at step 8, .*soon after a batch was left out at step 7; lower --lr_scale") as error:
        start(run, make_gpt(), tokenizer, poisoned(6, 8))
    assert "--on_spike" not in str(error.value) and checkpoint.latest("base_train").name == "step_000004"


def test_bad_steps_at_different_places_are_left_out_one_by_one(make_run, make_gpt, tokenizer):
    places = (6, 6 + NEAR + 3)
    clean = make_run("mid_train", steps=2 * NEAR)
    start(clean, make_gpt(), tokenizer, poisoned(99), Without(*places))
    run = make_run(steps=2 * NEAR, save_every=5)
    start(run, make_gpt(), tokenizer, poisoned(*places))
    assert losses(run) == losses(clean)


def test_a_checkpoint_of_an_earlier_run_is_nothing_to_go_back_to(make_run, make_gpt, tokenizer, capsys):
    start(make_run(steps=4), make_gpt(), tokenizer, poisoned(99))
    run = make_run(steps=4, resume="off")
    start(run, make_gpt(), tokenizer, poisoned(1))
    assert "goes on without that batch" in capsys.readouterr().err and losses(run)[2] is None


def test_a_spike_is_left_out_and_said(make_run, make_gpt, tokenizer, capsys):
    run = make_run(steps=FEWEST + 4, spike=3.0)
    start(run, make_gpt(), tokenizer, poisoned(FEWEST + 2, with_=100.0))
    assert re.search(rf"the loss rose to [\d.]+ from about \d\.\d+ at step {FEWEST + 3}, worst in row", capsys.readouterr().err)
    off = make_run("mid_train", steps=FEWEST + 4, spike=0.0)
    start(off, make_gpt(), tokenizer, poisoned(FEWEST + 2, with_=100.0))
    assert "rose" not in capsys.readouterr().err


def test_a_gradient_that_is_no_number_is_as_bad(make_run, make_gpt, tokenizer):
    def loss(model, batch, n=[0]):  # noqa: B006
        n[0] += 1
        loss = model(*batch).loss
        return loss + ((torch.zeros(()) * model.head.weight[0, 0]).sqrt() if n[0] == 3 else 0), {}  # sqrt has no slope at 0

    with pytest.raises(UserError, match="the gradient became nan at step 3, worst in row"):
        start(make_run(steps=5, on_spike="stop"), make_gpt(), tokenizer, loss)


def test_what_is_known_of_the_losses_survives_an_interruption(make_run, make_gpt, tokenizer):
    run = make_run(steps=6, save_every=3)
    start(run, make_gpt(), tokenizer, poisoned(99))
    state = checkpoint.load_train_state(checkpoint.folder_of("base_train") / "step_000003")
    assert state["losses"] == list(losses(run).values())[:3]


# -- where the device decides -------------------------------------------------------------------------------------------


@pytest.fixture
def on_device(monkeypatch):
    """As on a GPU: nobody waits for a verdict before the next step, and the optimizer is handed a tensor."""
    monkeypatch.setattr(guards, "lags", lambda device: True)


def test_a_verdict_that_nobody_waits_for_keeps_the_weights_all_the_same(on_device, make_run, make_gpt, tokenizer, capsys):
    run, seen = make_run(steps=6, log_every=100), []
    metrics = start(run, make_gpt(), tokenizer, watched(poisoned(2), seen))
    assert all(torch.equal(a, b) for a, b in zip(seen[2], seen[3], strict=True)), "the third batch was bad"
    assert not torch.equal(seen[3][0], seen[4][0])
    assert all(x.isfinite().all() for x in weights()) and math.isfinite(metrics["train_loss"])
    assert "nan at step 3" in capsys.readouterr().err


def test_a_good_run_is_the_same_wherever_it_is_decided(make_run, make_gpt, tokenizer, monkeypatch):
    here, there = make_run("mid_train", steps=8, log_every=3), make_run(steps=8, log_every=3)
    start(here, make_gpt(), tokenizer, poisoned(99))
    monkeypatch.setattr(guards, "lags", lambda device: True)
    start(there, make_gpt(), tokenizer, poisoned(99))
    assert list(losses(there)) == [1, 3, 6, 8] and list(losses(there).values()) == pytest.approx(list(losses(here).values()), rel=1e-6)


def test_a_run_goes_back_over_steps_that_were_taken_since(on_device, make_run, make_gpt, tokenizer, capsys):
    clean = make_run("mid_train", steps=9)
    start(clean, make_gpt(), tokenizer, poisoned(99), Without(6))
    run = make_run(steps=9, save_every=4, log_every=3)
    start(run, make_gpt(), tokenizer, poisoned(6))
    assert "nan at step 7" in capsys.readouterr().err
    assert {step: losses(clean)[step] for step in (1, 3, 6, 9)} == pytest.approx(losses(run), rel=1e-6)


def test_only_steps_that_matter_are_waited_for(on_device, make_run, make_gpt, tokenizer, monkeypatch):
    waited = []
    read = Guard.read

    def counted(self, at_once):
        before = len(self.pending)
        heard = read(self, at_once)
        waited.append(before - len(self.pending) if not at_once else f"all {before}")
        return heard

    monkeypatch.setattr(Guard, "read", counted)
    start(make_run(steps=7, log_every=4), make_gpt(), tokenizer, poisoned(99))
    assert waited == ["all 1", 0, 1, "all 2", 0, 1, "all 2"]


def test_a_stop_and_a_late_checkpoint_are_heard_of_a_step_later_and_what_is_saved_was_judged(on_device, make_run, make_gpt, tokenizer):
    run = make_run(steps=30, log_every=100)
    asked = []
    run.stop_noted = lambda: asked.append(1) or len(asked) == 5
    with pytest.raises(common.Interrupted, match="saved at step 6"):
        start(run, make_gpt(), tokenizer, poisoned(99))
    assert len(checkpoint.load_train_state(checkpoint.latest("base_train"))["losses"]) == 6


# -- what is said -------------------------------------------------------------------------------------------------------


def stopped(run, model, tokenizer, batches, bad_text: str, column) -> str:
    """What a run says that stops where a row holds a text; `column(batch)`: the tokens of a batch, (B, T)."""

    def loss(model, batch):
        tokens = column(batch)
        bad = any(bad_text in tokenizer.decode(row.tolist()) for row in tokens)
        return model(torch.tensor([[1.0]])).sum() * (math.nan if bad else 1.0), {}

    with pytest.raises(UserError) as error:
        fit(run, run.config, model=model, batches=batches, loss_fn=loss, meta={"model_config": {}})
    return str(error.value)


@pytest.fixture
def anything(make_run):
    torch.manual_seed(0)
    return make_run(steps=50, total_batch=0, on_spike="stop"), torch.nn.Linear(1, 1)


def test_of_text_the_row_its_documents_and_its_beginning_are_named(anything, tokenizer, tmp_path):
    documents = [f"document {i} tells of nothing" for i in range(12)]
    documents[7] = "here the poison is"
    write_part(Part("part", "0", lambda: iter(documents)), tokenizer, tmp_path / "part")
    batches = TokenLoader(TokenShard([tmp_path / "part"], "text", "train"), batch=3, T=40)
    said = stopped(*anything, tokenizer, batches, "the poison", lambda batch: batch[0])
    assert re.search(r"nan at step \d, worst in row \d of 3 in process 0, documents? [\d, ]*\b7\b[\d, ]*: '<\|bos\|>", said)
    assert "the poison" in said and "lower --lr_scale (now 1), or leave the batch out with --on_spike=rollback, and run again" in said


def test_of_conversations_those_in_the_row(anything, tokenizer):
    talks = [[{"role": "user", "content": f"say {i}"}, {"role": "assistant", "content": f"{i}!"}] for i in range(12)]
    talks[5][1]["content"] = "poison"
    batches = ConversationLoader([{"messages": talk} for talk in talks], tokenizer, batch=2, T=24)
    said = stopped(*anything, tokenizer, batches, "poison", lambda batch: batch.inputs)
    assert re.search(r"row \d of 2 in process 0, conversations? [\d, ]*\b5\b", said) and "<|assistant_start|>poison" in said


def test_of_generated_expressions_their_text(anything, tokenizer):
    batches = PlanBatches(tokenizer, ExpressionSettings(styles=("symbols",)), batch=4, seed=1)
    said = stopped(*anything, tokenizer, batches, "9", lambda batch: batch[0])
    assert re.search(r"worst in row \d of 4 in process 0: '<\|bos\|>[^']*9[^']*'; lower", said) and "\\x00" not in said


def test_of_several_passes_the_one_that_was_bad_is_shown(make_run, make_gpt, tokenizer):
    bad = CountingBatches()
    bad.n = 4
    text = tokenizer.decode(next(bad)[0][2].tolist())
    with pytest.raises(UserError, match="at step 2, worst in row 3 of 4") as error:
        start(make_run(steps=5, total_batch=3 * 64, on_spike="stop"), make_gpt(), tokenizer, poisoned(4))
    assert repr(text) in str(error.value)


# -- several processes --------------------------------------------------------------------------------------------------


class OfRank(CountingBatches):
    """CountingBatches of another process, which can be made smaller."""

    def __init__(self, rank: int, world: int):
        super().__init__()
        self.rank, self.batch = rank, 4
        self.tokens_per_step *= world

    def __next__(self):
        inputs, targets = super().__next__()
        return inputs[: self.batch] + 10 * self.rank, targets[: self.batch] + 10 * self.rank

    def resize(self, batch: int) -> None:
        self.batch = batch


def without_room(model, batch):
    """A loss function for three rows at most, in the second process."""
    if dist.get_rank() == 1 and len(batch[0]) > 3:
        raise torch.OutOfMemoryError("no room")
    return model(*batch).loss, {}


BAD_STEPS = (("base_train", "rollback", False), ("mid_train", "rollback", True), ("chat_sft", "stop", True))


def worker(rank: int, port: int, base: str, tokenizer):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2", NANOCHAT_BASE_DIR=base)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    compute = common.Compute(torch.device("cpu"), torch.float32, rank, 2)
    for stage, on_spike, lags in (*BAD_STEPS, ("dag_train", "stop", False)):
        guards.lags = lambda device, lags=lags: lags
        memory.is_tried = lambda device, stage=stage: stage == "dag_train"
        config = Config(log_every=3, eval_every=0, save_minutes=0.0, save_every=2, steps=8, on_spike=on_spike)
        folder = common.base_dir() / "stages" / stage
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(stage, "", folder, config, identity="run 1", compute=compute)
        torch.manual_seed(0)
        model = GPT(make_config("tiny", vocab_size=VOCAB, sequence_len=16))
        batches, poison = OfRank(rank, 2), poisoned(4)
        loss = poison if rank == 0 else lambda model, batch, poison=poison: poison(model, tuple(x - 10 for x in batch))
        loss = loss if rank == 1 else lambda model, batch: (model(*batch).loss, {})  # poison for the second process alone
        loss = without_room if stage == "dag_train" else loss
        try:
            start(run, model, tokenizer, loss, batches)
            told = "done"
        except UserError as error:
            told = str(error)
        with open(f"{base}/{stage}.{rank}", "w") as f:
            json.dump(
                {
                    "told": told,
                    "sum": [float(p.detach().double().sum()) for p in model.parameters()],
                    "n": batches.n,
                    "batch": batches.batch,
                },
                f,
            )
    dist.destroy_process_group()


def test_processes_decide_alike_and_name_the_one_that_was_in_trouble(tmp_path, byte_tokenizer: Tokenizer, monkeypatch):
    base = tmp_path / "two"
    monkeypatch.setenv("NANOCHAT_BASE_DIR", str(base))
    byte_tokenizer.save(base / "tokenizer")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(worker, args=(port, str(base), byte_tokenizer), nprocs=2)
    told = {}
    for stage in ("base_train", "mid_train", "chat_sft", "dag_train"):
        told[stage], second = (json.loads((base / f"{stage}.{rank}").read_text()) for rank in (0, 1))
        assert told[stage] == second
    assert "nan at step 5, worst in row 3 of 4 in process 1: " in told["chat_sft"]["told"]
    assert all(told[stage]["told"] == "done" for stage in told if stage != "chat_sft")
    assert (told["base_train"]["batch"], told["dag_train"]["batch"], told["dag_train"]["n"]) == (4, 2, 16)
