"""The loop: an interrupted run is the run that never stopped; what goes wrong has one sentence; figures add up."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from nanochat.common import Interrupted, UserError
from nanochat.train import checkpoint, loop
from nanochat.train.loop import fit
from tests.train.conftest import CountingBatches


def gpt_loss(model, batch, weights=None):
    return model(*batch, weight=weights["targets"] if weights else 1.0).loss, {}


def lines(run) -> list[dict]:
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def losses(run) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in lines(run) if "loss" in line}


def start(run, model, tokenizer, batches=None, loss_fn=gpt_loss, **more):
    meta = checkpoint.describe(model, tokenizer)
    return fit(run, run.config, model=model, batches=batches or CountingBatches(), loss_fn=loss_fn, meta=meta, **more)


def stop_at(run, step):
    """Requests a stop as soon as `step` steps are done."""
    seen = []
    run.stop_noted = lambda: seen.append(1) or len(seen) == step


def test_training_lowers_the_loss_and_leaves_a_checkpoint_and_figures(make_run, make_gpt, tokenizer):
    run = make_run(steps=30, total_batch=128)
    metrics = start(run, make_gpt(), tokenizer, evaluate=lambda model: {"val": 2.5})
    found = losses(run)
    assert list(found) == list(range(1, 31)) and found[30] < found[1] - 0.5
    assert metrics["steps"] == 30 and metrics["tokens"] == 30 * 128 and metrics["val"] == 2.5
    weights = [0.95 ** (30 - step) for step in found]
    mean = sum(w * loss for w, loss in zip(weights, found.values(), strict=True)) / sum(weights)
    assert metrics["train_loss"] == pytest.approx(mean)
    assert metrics["flops"] == metrics["tokens"] * make_gpt().flops_per_token()
    path = checkpoint.latest("base_train")
    assert run.outputs == [path] and path.name == "step_000030"
    assert json.loads((path / "meta.json").read_text())["metrics"]["val"] == 2.5


@pytest.mark.parametrize("stop", [1, 7, 19])
def test_an_interrupted_run_has_the_same_loss_at_every_step_and_the_same_weights(make_run, make_gpt, tokenizer, stop):
    settings = {"steps": 20, "total_batch": 128, "warmup": 0.1, "weight_decay": 0.1, "lr_scale": 2.0}
    whole = make_run("mid_train", **settings)
    start(whole, make_gpt(), tokenizer)
    first = make_run(**settings)
    stop_at(first, stop)
    with pytest.raises(Interrupted, match=f"saved at step {stop}"):
        start(first, make_gpt(), tokenizer)
    assert checkpoint.latest("base_train").name == f"step_{stop:06d}" and not first.outputs
    second = make_run(**settings)
    start(second, make_gpt(seed=99), tokenizer)  # other weights: what counts is the checkpoint
    assert losses(second) == losses(whole)
    for a, b in zip(checkpoint.load_model("base")[0].parameters(), checkpoint.load_model("mid")[0].parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_end_of_an_epoch_is_said_once(make_run, make_gpt, tokenizer, capsys):
    start(make_run(steps=8), make_gpt(), tokenizer, CountingBatches(epoch_length=5))
    assert capsys.readouterr().err.count("epoch 1 ended: all of the data has been read") == 1


def test_a_killed_run_goes_on_from_its_newest_checkpoint_and_its_later_lines_go(make_run, make_gpt, tokenizer):
    settings = {"steps": 20, "save_every": 5}
    whole = make_run("mid_train", **settings)
    start(whole, make_gpt(), tokenizer)

    class Killed(BaseException):
        pass

    def dies_at_13(model, batch, n=[0]):  # noqa: B006
        n[0] += 1
        if n[0] == 14:
            raise Killed
        return gpt_loss(model, batch)

    first = make_run(**settings)
    with pytest.raises(Killed):
        start(first, make_gpt(), tokenizer, loss_fn=dies_at_13)
    assert max(losses(first)) == 13
    second = make_run(**settings)
    start(second, make_gpt(), tokenizer)
    assert [line["step"] for line in lines(second)] == list(range(1, 21))
    assert losses(second) == losses(whole)


def test_a_damaged_newest_checkpoint_costs_only_the_steps_since_the_one_before(make_run, make_gpt, tokenizer):
    settings = {"steps": 20, "save_every": 5}
    whole, first = make_run("mid_train", **settings), make_run(**settings)
    start(whole, make_gpt(), tokenizer)
    stop_at(first, 12)
    with pytest.raises(Interrupted):
        start(first, make_gpt(), tokenizer)
    (checkpoint.latest("base_train") / "train_state.pt").write_bytes(b"")
    second = make_run(**settings)
    start(second, make_gpt(), tokenizer)
    assert losses(second) == losses(whole)
    assert [name.split("_")[-1] for name in checkpoint.existing() if "base" in name] == ["000020", "000015"]


def test_random_numbers_drawn_in_training_go_on_where_they_stopped(make_run, make_gpt, tokenizer):
    def noisy(model, batch):
        loss = model(*batch).loss
        return loss * (1 + 0.1 * torch.rand(())), {}

    whole = make_run(steps=12, resume="off")
    start(whole, make_gpt(), tokenizer, loss_fn=noisy)
    expected = losses(whole)
    first = make_run(steps=12, resume="off")
    stop_at(first, 6)
    with pytest.raises(Interrupted):
        start(first, make_gpt(), tokenizer, loss_fn=noisy)
    torch.rand(3)  # somebody else draws in between
    start(make_run(steps=12), make_gpt(), tokenizer, loss_fn=noisy)
    assert losses(first) == expected


def test_another_identity_or_resume_off_starts_anew_and_replaces_the_old(make_run, make_gpt, tokenizer):
    start(make_run(steps=6, save_every=2), make_gpt(), tokenizer)
    assert checkpoint.latest("base_train").name == "step_000006"
    for options in ({"identity": "run 2"}, {"resume": "off"}):
        run = make_run(steps=3, **options)
        start(run, make_gpt(), tokenizer)
        assert min(losses(run)) == 1 and checkpoint.existing() == ["base_train/default/step_000003"]


class Split(CountingBatches):
    """The rows of CountingBatches, half a batch at a time."""

    def __init__(self):
        super().__init__()
        self.tokens_per_step = 32

    def __next__(self):
        n = self.n
        self.n = n // 2
        inputs, targets = super().__next__()
        self.n = n + 1
        half = slice(0, 2) if n % 2 == 0 else slice(2, 4)
        return inputs[half], targets[half]


class Sparse:
    """The last row has few targets."""

    def __next__(self):
        inputs, targets = super().__next__()
        if len(inputs) == 4 or self.n % 2 == 0:
            targets = torch.cat([targets[:-1], targets[-1:].clone().index_fill_(1, torch.arange(13), -1)])
        return inputs, targets


class SparseWhole(Sparse, CountingBatches):
    pass


class SparseSplit(Sparse, Split):
    pass


@pytest.mark.parametrize("whole, split, targets", [
    (CountingBatches, Split, None), (SparseWhole, SparseSplit, lambda batch: {"targets": (batch[1] >= 0).sum()}),
])  # fmt: skip
def test_passes_are_accumulated_to_the_gradient_of_the_whole_batch(make_run, make_gpt, tokenizer, whole, split, targets):
    one, two = make_run("base_train", steps=5), make_run("mid_train", steps=5, total_batch=64)
    start(one, make_gpt(), tokenizer, whole(), targets=targets)
    start(two, make_gpt(), tokenizer, split(), targets=targets)
    assert list(losses(two).values()) == pytest.approx(list(losses(one).values()), rel=1e-3)


def test_evaluations_happen_when_due_and_change_no_training(make_run, make_gpt, tokenizer):
    modes = []

    def evaluate(model):
        modes.append(model.training)
        torch.rand(100)
        return {"val": float(len(modes))}

    plain, measured = make_run("mid_train", steps=10), make_run(steps=10, eval_every=4)
    start(plain, make_gpt(), tokenizer)
    metrics = start(measured, make_gpt(), tokenizer, evaluate=evaluate)
    assert {line["step"]: line["val"] for line in lines(measured) if "val" in line} == {4: 1.0, 8: 2.0, 10: 3.0}
    assert metrics["val"] == 3.0 and modes == [False] * 3
    assert losses(measured) == losses(plain)


def test_without_steps_the_run_is_one_epoch(make_run, make_gpt, tokenizer):
    run = make_run(steps=0, decay=1.0)
    metrics = start(run, make_gpt(), tokenizer, batches=CountingBatches(epoch_length=8))
    rates = [line["lr"] for line in lines(run) if "lr" in line]
    assert metrics["steps"] == 8 and rates == sorted(rates, reverse=True) and rates[-1] < 0.2


def test_no_step_has_a_learning_rate_of_zero(make_run, make_gpt, tokenizer):
    run = make_run(steps=4, warmup=0.5, decay=0.5, final_lr=0.0)
    start(run, make_gpt(), tokenizer)
    assert [line["lr"] for line in lines(run) if "lr" in line] == pytest.approx([0.25, 0.75, 0.75, 0.25])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(make_run, make_gpt, tokenizer, bad):
    def explodes(model, batch, n=[0]):  # noqa: B006
        n[0] += 1
        return model(*batch).loss * (bad if n[0] == 4 else 1), {}

    run = make_run(steps=10, save_every=2, on_spike="stop")
    with pytest.raises(UserError, match="at step 4.*lr_scale"):
        start(run, make_gpt(), tokenizer, loss_fn=explodes)
    assert checkpoint.latest("base_train").name == "step_000002"


def test_a_run_killed_after_its_last_save_only_finishes(make_run, make_gpt, tokenizer):
    start(make_run(steps=5), make_gpt(), tokenizer)
    again = make_run(steps=5)

    def never(model, batch):
        raise AssertionError("nothing is left to train")

    metrics = start(again, make_gpt(), tokenizer, loss_fn=never)
    assert metrics["steps"] == 5 and again.outputs


def test_what_the_loss_has_to_say_is_logged(make_run, make_gpt, tokenizer):
    run = make_run(steps=3)
    start(run, make_gpt(), tokenizer, loss_fn=lambda model, batch: (model(*batch).loss, {"dag/gate": torch.tensor(0.25)}))
    assert [line["dag/gate"] for line in lines(run)] == [0.25] * 3


def test_models_that_are_no_gpt_train_too(make_run, tokenizer):
    model = torch.nn.Linear(4, 1)

    class Points(CountingBatches):
        def __next__(self):
            self.n += 1
            return torch.randn(8, 4, generator=torch.Generator().manual_seed(self.n))

    def loss(model, x):
        return (model(x) - x.sum(1, keepdim=True)).square().mean(), {}

    run = make_run("dag_train", steps=60, matrix_lr=0.1, scalar_lr=0.1)
    metrics = fit(run, run.config, model=model, batches=Points(), loss_fn=loss, meta={"model_config": {}})
    assert losses(run)[60] < 0.1 * losses(run)[1] and "flops" not in metrics


def test_a_batch_that_cannot_be_reached_is_refused_before_anything_is_written(make_run, make_gpt, tokenizer):
    run = make_run(steps=3, total_batch=100)
    with pytest.raises(UserError, match="use 64 or 128"):
        start(run, make_gpt(), tokenizer)
    assert checkpoint.existing() == []


def test_float16_scales_its_loss_leaves_out_what_overflows_and_goes_on_with_the_same_scale(make_run, make_gpt, tokenizer):
    own = {}

    def train(run):
        run.compute.dtype, batches = torch.float16, CountingBatches()

        def loss_fn(model, batch):
            loss, some = model(*batch).loss, model.head.weight[0, 0]
            assert model.compute_dtype == torch.float16
            own[batches.n] = loss.item()
            return (loss + 1e36 * (some - some.detach()) if batches.n in (3, 9) else loss), {}  # infinite, once it is scaled

        start(run, make_gpt(), tokenizer, batches, loss_fn)

    settings = {"steps": 20, "total_batch": 64, "lr_scale": 0.67}
    whole, first = make_run("mid_train", **settings), make_run(**settings)
    train(whole)
    assert losses(whole) == own, "those of the steps left out too"
    scales = [line["loss_scale"] for line in lines(whole) if "loss" in line]
    assert scales == [2.0**16] * 2 + [2.0**15] * 6 + [2.0**14] * 12 and losses(whole)[20] < losses(whole)[1] - 0.3
    stop_at(first, 5)
    with pytest.raises(Interrupted):
        train(first)
    train(make_run(**settings))
    assert losses(first) == losses(whole)
    saved = checkpoint.load_train_state(checkpoint.latest("base_train"))["optimizer"]
    assert saved["scaler"] == {"scale": 2.0**14, "good_steps": 11} and saved["steps"] == 18


class Seen:
    """An observer that notes when it is asked, and whether gradients are there."""

    def __init__(self, model):
        self.model, self.begun = model, []

    def begin(self, passes):
        self.begun.append(passes)
        earlier = self.model.head.weight.grad
        assert (earlier is not None and bool(earlier.any())) == (passes > 1)  # only those of the step's own passes

    def get_wandb_logging_dict(self):
        return {"dag/norm": float(self.model.head.weight.grad.norm())}

    def console_line(self):
        return "1 + 1 = 2"


@pytest.mark.parametrize("total_batch, passes", [(0, 1), (128, 2)])
def test_an_observer_sees_the_logged_steps_with_their_gradients_and_no_others(make_run, make_gpt, tokenizer, capsys, total_batch, passes):
    run, model = make_run(steps=11, log_every=4, eval_every=4, total_batch=total_batch), make_gpt()
    seen = Seen(model)
    meta = checkpoint.describe(model, tokenizer)
    fit(run, run.config, model=model, batches=CountingBatches(), loss_fn=gpt_loss, evaluate=lambda m: {"v": 1.0}, observer=seen, meta=meta)
    found = {line["step"]: line["dag/norm"] for line in lines(run) if "dag/norm" in line}
    assert list(found) == [1, 4, 8, 11] and all(v > 0 for v in found.values()) and seen.begun == [passes] * 4
    said = capsys.readouterr().err
    assert said.count("1 + 1 = 2") == 2 and "dag/norm" not in said


def test_the_share_of_time_waited_for_data_and_examples_per_second_are_logged(make_run, make_gpt, tokenizer, monkeypatch):
    clock = SimpleNamespace(seconds=0.0, monotonic=lambda: clock.seconds)  # stands still but where a test says so
    monkeypatch.setattr(loop, "time", clock)

    class Slow(CountingBatches):
        examples = 0

        def __next__(self):
            clock.seconds += 3
            self.examples += self.rows
            return super().__next__()

    def slow_loss(model, batch):
        clock.seconds += 1
        return gpt_loss(model, batch)

    run = make_run(steps=4)
    start(run, make_gpt(), tokenizer, batches=Slow(), loss_fn=slow_loss)
    line = lines(run)[3]
    assert line["data_wait"] == 0.75 and line["examples_per_s"] == 1.0 and line["tokens_per_s"] == 16.0 and line["dt"] == 4.0
    quick = make_run("mid_train", steps=4)
    start(quick, make_gpt(), tokenizer, loss_fn=slow_loss)
    assert lines(quick)[3]["data_wait"] == 0 and "examples_per_s" not in lines(quick)[3]
