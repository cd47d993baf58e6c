"""Checkpoints are written beside the training: the same bytes as without a thread, one at a time, and no failure is lost."""

import errno
import threading
import time

import pytest
import torch

from nanochat.common import Interrupted, UserError, read_json, sha256
from nanochat.train import checkpoint, saving
from nanochat.train.checkpoint import Criterion
from nanochat.train.loop import fit
from nanochat.train.saving import Saving, Writer, snapshot
from nanochat.train.settings import make_optimizer
from tests.train.conftest import CountingBatches
from tests.train.test_loop import gpt_loss, start, stop_at

PATIENCE = 20  # seconds; nothing here takes one


def test_a_snapshot_does_not_change_any_more():
    weights, rows, cursor = torch.arange(6.0).view(2, 3), [1, 2], {"at": 3}
    copy = snapshot({"w": weights, "t": weights.T, "more": [rows, (cursor, "name", None)]}, {})
    weights.zero_()
    rows.append(3)
    cursor["at"] = 0
    assert copy["w"].tolist() == [[0, 1, 2], [3, 4, 5]] and copy["t"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert copy["t"].is_contiguous() and copy["more"] == [[1, 2], ({"at": 3}, "name", None)]


@pytest.fixture
def held(monkeypatch):
    """Writers wait, after the folder beside was begun, until `set` is called; `entered` is set once one does."""
    gate, whole, gate.entered = threading.Event(), torch.save, threading.Event()

    def save(*arguments):
        gate.entered.set()
        assert gate.wait(PATIENCE)
        whole(*arguments)

    monkeypatch.setattr(checkpoint.torch, "save", save)
    yield gate
    gate.set()


def trained(model, settings):
    """The optimizer of a model after a step."""
    optimizer = make_optimizer(model, settings, 64)
    model(*next(CountingBatches())).loss.backward()
    optimizer.step()
    return optimizer


def test_what_is_written_is_what_there_was_at_the_save_byte_for_byte(make_run, make_gpt, held):
    run, model, batches = make_run(), make_gpt(), CountingBatches()
    optimizer = trained(model, run.config)
    saved = Saving(run, run.config, model, optimizer, batches, {"parent": None})
    counters = {"step": 1, "seconds": 0.5, "loss_sum": 1.5, "loss_weight": 0.5}
    there = {"random": [{"cpu": torch.get_rng_state()}], "batches": [batches.state_dict()], "optimizer": optimizer.state_dict()}
    state = snapshot({**counters, **there}, {})
    path = saved.save(counters, {})
    assert held.entered.wait(PATIENCE) and not path.exists()
    next(batches), torch.rand(9), optimizer.step()  # the training goes on
    held.set()
    saved.wait()
    again = make_gpt()
    trained(again, run.config)
    expected = checkpoint.save("mid_train", "", 1, again, {}, state)
    for name in (checkpoint.MODEL, checkpoint.STATE):
        assert sha256(path / name) == sha256(expected / name), name
    assert checkpoint.damage(path) == "" and read_json(path / checkpoint.META)["identity"] == "run 1"


def test_steps_are_taken_while_a_checkpoint_is_written(make_run, make_gpt, tokenizer, held):
    def released_at_step_5(model, batch, n=[0]):  # noqa: B006
        n[0] += 1
        if n[0] == 5:
            assert held.entered.wait(PATIENCE)
            held.set()
        return gpt_loss(model, batch)

    run = make_run(steps=8, save_every=3)
    start(run, make_gpt(), tokenizer, loss_fn=released_at_step_5)
    assert [name[-1] for name in checkpoint.existing()] == ["8", "6"]
    assert run.metrics["save_seconds"] >= run.metrics["save_pause_seconds"] > 0


def test_one_write_at_a_time_in_the_order_of_the_calls():
    writer, gate, begun = Writer(), threading.Event(), []

    def publish(name):
        begun.append(name)
        assert gate.wait(PATIENCE)

    writer.write(publish, "first")
    second = threading.Thread(target=lambda: writer.write(publish, "second"))
    second.start()
    time.sleep(0.05)
    assert begun == ["first"] and second.is_alive()
    gate.set()
    second.join(PATIENCE)
    writer.wait()
    assert begun == ["first", "second"] and writer.seconds >= 0.05


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def refused(*_):  # what torch says, and what it says when it then cannot close the file either
    raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")


def refused_at_the_end(*_):
    raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 768 vs 662")


@pytest.mark.parametrize("refuse", [full, refused, refused_at_the_end])
def test_a_full_disk_ends_the_run_in_a_sentence_at_the_next_save_and_leaves_nothing_half_written(
    make_run, make_gpt, tokenizer, monkeypatch, refuse
):
    monkeypatch.setattr("nanochat.pipeline.explain._is_full", lambda folder: any(folder.rglob("*.tmp")))  # until that is removed
    whole, steps = torch.save, []

    def save(state, path):
        whole(state, path) if state["step"] < 4 else refuse()

    def counted(model, batch):
        steps.append(1)
        return gpt_loss(model, batch)

    monkeypatch.setattr(checkpoint.torch, "save", save)
    with pytest.raises(UserError, match="is full; free some space"):
        start(make_run(steps=9, save_every=2), make_gpt(), tokenizer, loss_fn=counted)
    assert len(steps) == 6
    folder = checkpoint.folder_of("base_train")
    assert [p.name for p in folder.iterdir()] == ["step_000002"] and checkpoint.latest("base_train").name == "step_000002"


@pytest.mark.parametrize("steps, save_every", [(4, 0), (4, 3)])
def test_a_writer_that_fails_at_the_end_or_at_a_stop_is_heard(make_run, make_gpt, tokenizer, monkeypatch, steps, save_every):
    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(UserError, match="is full"):
        start(make_run(steps=steps, save_every=save_every), make_gpt(), tokenizer)
    stopped = make_run(steps=9)
    stop_at(stopped, 2)
    with pytest.raises(UserError, match="is full"):
        start(stopped, make_gpt(), tokenizer)
    assert not stopped.outputs


def test_a_mistake_in_the_program_keeps_its_own_words(make_run, make_gpt, tokenizer, monkeypatch):
    monkeypatch.setattr(checkpoint, "save_file", lambda *_: [][1])
    with pytest.raises(IndexError):
        start(make_run(steps=2), make_gpt(), tokenizer)


def test_a_stop_and_an_error_wait_for_what_is_being_written(make_run, make_gpt, tokenizer, monkeypatch):
    whole = torch.save
    monkeypatch.setattr(checkpoint.torch, "save", lambda *a: time.sleep(0.1) or whole(*a))
    run = make_run(steps=9)
    stop_at(run, 3)
    with pytest.raises(Interrupted):
        start(run, make_gpt(), tokenizer)
    assert checkpoint.latest("base_train").name == "step_000003"

    def fails(model, batch, n=[0]):  # noqa: B006
        n[0] += 1
        if n[0] == 3:
            raise ValueError("a mistake")
        return gpt_loss(model, batch)

    with pytest.raises(ValueError, match="a mistake"):
        start(make_run("mid_train", steps=9, save_every=2), make_gpt(), tokenizer, loss_fn=fails)
    assert checkpoint.latest("mid_train").name == "step_000002"


# ---------------------------------------------------------------------------------------------------------------------
# The best


def measured(*values):
    """An evaluation that gives these values one after the other."""
    coming = iter(values)
    return lambda model: {"val": next(coming)}


def run_with(run, model, tokenizer, evaluate, best):
    meta = checkpoint.describe(model, tokenizer)
    return fit(run, run.config, model=model, batches=CountingBatches(), loss_fn=gpt_loss, evaluate=evaluate, meta=meta, best=best)


def steps_kept() -> list[int]:
    return [int(name[-6:]) for name in checkpoint.existing()]


@pytest.mark.parametrize("better, expected", [("lower", 4), ("higher", 6)])
def test_the_best_stays_beside_the_newest_and_can_be_asked_for(make_run, make_gpt, tokenizer, better, expected):
    run = make_run(steps=12, eval_every=2, keep=2, keep_best=1, save_every=5)
    run_with(run, make_gpt(), tokenizer, measured(3.0, 1.0, 4.0, 2.0, 3.5, 3.0), Criterion("val", better))
    assert steps_kept() == [12, 10, expected]
    path = checkpoint.find("base", step="best")
    assert path.name == f"step_{expected:06d}" and checkpoint.load_model("base", step="best")[2]["step"] == expected
    assert read_json(path / checkpoint.META)["score"] == {"metric": "val", "better": better, "value": {4: 1.0, 6: 4.0}[expected]}
    assert checkpoint.find("base").name == "step_000012"


def test_only_what_was_measured_at_a_checkpoints_own_step_counts(make_run, make_gpt, tokenizer):
    run = make_run(steps=9, eval_every=4, keep=3, keep_best=0, save_every=3)
    run_with(run, make_gpt(), tokenizer, measured(1.0, 2.0, 3.0), Criterion("val"))
    metas = {p.name: read_json(p / checkpoint.META) for p in checkpoint.complete("base_train")}
    assert {name: meta["metrics"].get("val") for name, meta in metas.items()} == {
        "step_000009": 3.0, "step_000006": None, "step_000003": None}  # fmt: skip
    assert checkpoint.find("base", step="best").name == "step_000009"


def test_a_run_that_goes_on_remembers_the_best(make_run, make_gpt, tokenizer):
    settings = {"steps": 10, "eval_every": 2, "keep": 1, "keep_best": 1}
    first = make_run(**settings)
    stop_at(first, 5)
    with pytest.raises(Interrupted):
        run_with(first, make_gpt(), tokenizer, measured(1.0, 2.0), Criterion("val"))
    assert steps_kept() == [5, 2]
    run_with(make_run(**settings), make_gpt(), tokenizer, measured(1.5, 1.2, 3.0), Criterion("val"))
    assert steps_kept() == [10, 2]


def test_several_best_are_kept_and_a_figure_that_is_no_number_is_none_of_them(make_run, make_gpt, tokenizer):
    run = make_run(steps=7, eval_every=1, keep=1, keep_best=2)
    run_with(run, make_gpt(), tokenizer, measured(5.0, 2.0, float("nan"), 3.0, 1.0, 9.0, 8.0), Criterion("val"))
    assert steps_kept() == [7, 5, 2]


def test_without_a_criterion_or_a_place_for_the_best_an_evaluation_saves_nothing(make_run, make_gpt, tokenizer):
    for options, best in (({}, None), ({"keep_best": 0}, Criterion("val"))):
        run = make_run(steps=5, eval_every=1, resume="off", **options)
        run_with(run, make_gpt(), tokenizer, measured(5.0, 4.0, 3.0, 2.0, 1.0), best)
        assert steps_kept() == [5]


def test_a_best_that_is_damaged_is_walked_past_and_none_is_said(make_run, make_gpt, tokenizer, capfd):
    run_with(make_run(steps=4, eval_every=1, keep=3), make_gpt(), tokenizer, measured(2.0, 1.0, 3.0, 4.0), Criterion("val"))
    assert steps_kept() == [4, 2, 1]
    (checkpoint.find("base", step="best") / checkpoint.STATE).write_bytes(b"")
    assert checkpoint.find("base", step="best").name == "step_000001" and "looking for another one" in capfd.readouterr().err
    start(make_run("mid_train", steps=2), make_gpt(), tokenizer)
    with pytest.raises(UserError, match="no checkpoint of 'mid' .* was evaluated; leave --step=best out"):
        checkpoint.find("mid", step="best")
    with pytest.raises(UserError, match="there is no checkpoint of 'sft'"):
        checkpoint.find("sft", step="best")


# ---------------------------------------------------------------------------------------------------------------------
# GPUs


def test_what_lies_on_a_gpu_goes_to_the_same_pinned_buffers_each_time(monkeypatch):
    class OnGpu(torch.Tensor):
        is_cuda = True

    def empty(shape, dtype, pin_memory):
        assert pin_memory
        return torch.zeros(shape, dtype=dtype)

    monkeypatch.setattr(saving.torch, "empty", empty)
    pinned, weights = {}, torch.ones(2, 3).as_subclass(OnGpu)
    first = snapshot({"w": [weights]}, pinned)["w"][0]
    assert first.tolist() == [[1] * 3] * 2 and list(pinned) == [("w", 0)]
    weights.mul_(2)
    again = snapshot({"w": [weights]}, pinned)["w"][0]
    assert again.data_ptr() == first.data_ptr() == pinned["w", 0].data_ptr() and again.tolist() == [[2] * 3] * 2
    assert snapshot({"w": [torch.ones(4).as_subclass(OnGpu)]}, pinned)["w"][0].tolist() == [1] * 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_copy_from_a_gpu_is_that_of_its_moment():
    weights, seen = torch.ones(1 << 22, device="cuda"), []
    writer = Writer()
    for value in (1.0, 2.0):
        weights.fill_(value)
        writer.write(lambda copy: seen.append(copy["w"].unique().tolist()), {"w": weights})
        weights.fill_(-1.0)
    writer.wait()
    assert seen == [[1.0], [2.0]]
