"""The checkpoints command: what there is, whether it is whole, how two differ, and what may go."""

import os

import pytest
import torch
import torch.nn as nn

from nanochat.train import checkpoint
from nanochat.train.loop import fit
from scripts import checkpoints
from tests.train.conftest import CountingBatches


def made(stage, step, *, parent=None, width=4, seed=0, **meta):
    torch.manual_seed(seed)
    model = nn.Linear(width, 3)
    checkpoint.save(stage, "", step, model, {"parent": parent, "metrics": {"val_bpb": 0.5 + step / 1000}, **meta}, {"step": step}, keep=9)
    return f"{stage}/default/step_{step:06d}"


def harm(base_dir, name):
    with open(base_dir / "checkpoints" / name / checkpoint.MODEL, "r+b") as f:
        f.seek(-1, 2)
        f.write(b"!")


@pytest.fixture
def two_stages(base_dir):
    first, second = made("base_train", 5), made("base_train", 10, seed=1)
    return first, second, made("mid_train", 3, parent=first, model_config={"n_layer": 2})


def said(capfd, *argv) -> tuple[int, str]:
    code = checkpoints.main(list(argv))
    told = capfd.readouterr()
    return code, told.out + told.err


def test_ls_names_each_with_its_parent_and_what_was_measured(two_stages, capfd):
    code, text = said(capfd, "ls")
    assert code == 0 and all(name in text for name in two_stages) and f"from {two_stages[0]}" in text and "val_bpb 0.51" in text


def test_verify_finds_the_damaged_one(two_stages, base_dir, capfd):
    assert said(capfd, "verify")[0] == 0
    harm(base_dir, two_stages[1])
    code, text = said(capfd, "verify")
    assert code == 1 and f"bad  {two_stages[1]}: model.safetensors" in text and f"ok   {two_stages[0]}" in text
    assert said(capfd, "verify", two_stages[0])[0] == 0


def test_diff_tells_settings_and_weights(two_stages, base_dir, capfd):
    wide = made("mid_train", 9, width=5, model_config={"n_layer": 3})
    code, text = said(capfd, "diff", two_stages[2], wide)
    assert code == 0 and "model_config.n_layer: 2 | 3" in text and "weight: (3, 4) | (3, 5)" in text
    assert "weight: differs by" in said(capfd, "diff", two_stages[0], "base_train")[1]  # the newest of the stage
    assert "2 of 2 tensors are equal" in said(capfd, "diff", two_stages[0], two_stages[2])[1]


def test_diff_tells_the_settings_of_training(base_dir, make_run, make_gpt, tokenizer, capfd):
    for stage, scale in (("base_train", 1.0), ("mid_train", 2.0)):
        run = make_run(stage, steps=1, lr_scale=scale)
        fit(run, run.config, model=make_gpt(), batches=CountingBatches(), loss_fn=lambda m, b: (m(*b).loss, {}), meta={})
    code, text = said(capfd, "diff", "base_train", "mid_train")
    assert code == 0 and [line for line in text.splitlines() if "settings" in line] == ["settings.lr_scale: 1.0 | 2.0"]
    made("chat_sft", 1)
    assert "settings: not noted in chat_sft/default/step_000001" in said(capfd, "diff", "chat_sft", "base_train")[1].splitlines()


def cut(base_dir, name):
    os.truncate(base_dir / "checkpoints" / name / checkpoint.MODEL, 40)


@pytest.mark.parametrize("spoil", [harm, cut])
def test_diff_looks_at_damage_first(two_stages, base_dir, capfd, spoil):
    spoil(base_dir, two_stages[1])
    for names in (two_stages[:2], two_stages[1::-1]):
        code, text = said(capfd, "diff", *names)
        assert code == 2 and f"{two_stages[1]} is damaged: model.safetensors is not as it was written" in text and "Traceback" not in text
        assert "tensors are equal" not in text


def test_lineage_goes_back_to_the_beginning_with_the_tower_that_was_plugged_in(two_stages, base_dir, capfd):
    tower = made("dag_train", 4)
    middle = made("mid_train", 4, parent=two_stages[0], tower=tower)
    last = made("chat_sft", 1, parent=middle)
    lost = made("chat_sft", 2, parent="mid_train/gone/step_000001")
    lines = [last, f"  {middle}", f"    {two_stages[0]}", f"    {tower}"]
    assert said(capfd, "lineage", last)[1].splitlines() == lines
    assert "mid_train/gone/step_000001 (no longer there)" in said(capfd, "lineage", lost)[1]


def test_prune_leaves_the_newest_and_what_they_came_from_and_removes_only_when_told(two_stages, base_dir, capfd):
    extra = made("base_train", 7, seed=2)
    code, text = said(capfd, "prune")
    assert code == 0 and extra in text and two_stages[0] not in text and "nothing was removed" in text
    assert (base_dir / "checkpoints" / extra).exists()
    assert "removed 1 checkpoints" in said(capfd, "prune", "--yes")[1]
    assert sorted(checkpoint.existing()) == sorted(two_stages)
    assert "nothing to remove" in said(capfd, "prune", "--yes")[1]


def test_prune_never_leaves_a_damaged_one_in_place_of_a_whole_one(base_dir, capfd):
    score = {"metric": "answer_match", "better": "higher", "value": 0.9}
    names = [made("dag_train", step, score=score if step == 3 else None) for step in (1, 2, 3)]
    only = made("mid_train", 1)
    for name in (names[2], only):
        harm(base_dir, name)
    code, text = said(capfd, "prune", "--yes")
    assert code == 0 and f"{names[0]}  " in text and names[1] not in text and "damaged: model.safetensors is not as it was written" in text
    assert sorted(checkpoint.existing()) == [names[1], only]


def test_of_several_tags_the_newest_checkpoint_is_meant(base_dir, capfd):
    for tag, step in (("plain", 5), ("default", 100)):
        checkpoint.save("mid_train", tag, step, nn.Linear(2, 2), {}, {"step": step}, keep=9)
    for file in (base_dir / "checkpoints/mid_train/plain/step_000005").iterdir():
        os.utime(file, (1e9, 1e9))
    assert said(capfd, "verify", "mid_train")[1].split() == ["ok", "mid_train/default/step_000100"]
    assert said(capfd, "verify", "mid_train/plain")[1].split() == ["ok", "mid_train/plain/step_000005"]


def test_steps_are_counted_not_spelled(base_dir, capfd):
    made("base_train", 999_999)
    made("base_train", 1_000_000)
    assert said(capfd, "prune", "--yes")[0] == 0 and checkpoint.existing() == ["base_train/default/step_1000000"]


def test_the_best_is_named_stays_and_can_be_meant(base_dir, capfd):
    for step, value in ((1, 0.5), (2, 0.7), (3, 0.6), (4, None)):
        made("dag_train", step, score=value and {"metric": "answer_match", "better": "higher", "value": value})
    told = {line.split()[0]: line for line in said(capfd, "ls")[1].splitlines()}
    assert [name for name, line in told.items() if "best" in line.split()] == ["dag_train/default/step_000002"]
    assert said(capfd, "verify", "dag_train/best")[1].split() == ["ok", "dag_train/default/step_000002"]
    assert said(capfd, "prune", "--keep_best=2", "--yes")[0] == 0
    assert [name[-1] for name in checkpoint.existing()] == ["4", "3", "2"]
    assert said(capfd, "prune", "--keep_best=0", "--yes")[0] == 0 and [name[-1] for name in checkpoint.existing()] == ["4"]
    assert "no checkpoint 'dag_train/best'" in said(capfd, "verify", "dag_train/best")[1]


MISTAKES = {
    "": "say what to do", "lss": "did you mean 'ls'", "diff a": "takes 2 checkpoint ids", "verify nosuch": "no checkpoint 'nosuch'",
    "prune --keep=0": "keep", "prune --keep_best=-1": "keep_best",
}  # fmt: skip


@pytest.mark.parametrize(("words", "told"), MISTAKES.items())
def test_a_mistake_is_one_sentence(two_stages, capfd, words, told):
    code, text = said(capfd, *words.split())
    assert code == 2 and told in text and "Traceback" not in text


def test_an_empty_base_directory_is_no_error(base_dir, capfd):
    code, text = said(capfd, "ls")
    assert code == 0 and "there is no checkpoint" in text
