"""Forecasts: sizes equal those of the real models, times rest on what was measured where it was."""

import json
import math
from dataclasses import replace

import pytest
import torch

from nanochat.common import UserError
from nanochat.model.gpt import GPT
from nanochat.model.presets import make_config
from nanochat.pipeline import footprint, forecast, plan, preflight, throughput, workload
from nanochat.pipeline.footprint import measure
from nanochat.pipeline.throughput import Machine, Measured, Range, calibrated, sure
from nanochat.pipeline.verdicts import OK, WARN
from nanochat.pipeline.workload import Workloads
from scripts import base_train, mid_train, tok_train
from scripts import forecast as script
from tests.test_end_to_end import PROFILE

TWO_CORES = Machine("", 2, 2)
EIGHT_A100 = Machine("A100", 8, 16, 312e12)


def works(profile, machine=TWO_CORES) -> dict:
    return {work.label: work for work in Workloads(profile, plan.make_plan(profile, processes=1), machine).all()}


# ---------------------------------------------------------------------------------------------------------------------
# Work


@pytest.mark.parametrize(("vocabulary", "depth"), [(500, 2), (500, 8), (3000, 6)])  # below and above what is measured
def test_what_a_forward_pass_keeps_is_counted_as_it_is(vocabulary, depth):
    config, kept = make_config("tiny", depth=depth, vocab_size=vocabulary), {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    idx = torch.zeros(3, config.sequence_len, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model = GPT(config)
        output = model(idx, idx)
    found, weights = measure(config, bfloat16=False), {p.untyped_storage().data_ptr() for p in model.parameters()}
    assert found.memory(3) - found.state == sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights)
    assert found.memory(3) - found.memory(3, 4) == 0.75 * (found.state - 8 * found.params), "several processes share the optimizer's state"
    assert (found.params, found.flops_per_token) == (model.num_params()["total"], model.flops_per_token()) and output.loss is not None


def test_a_gpu_keeps_the_input_of_a_norm_and_slopes_up_to_a_limit():
    config = make_config("tiny", depth=4, vocab_size=500, sequence_len=1024)
    few, more = (measure(replace(config, n_layer=layers), bfloat16=True) for layers in (4, 6))
    numbers = (more.per_row - few.per_row) / 2 / (1024 * 2 * config.n_embd)  # of a layer, in widths of a token
    assert 18 < numbers < 22, "of what is normalised no copies in float32"
    large = measure(make_config("tiny", depth=4, vocab_size=1 << 17, sequence_len=1024), bfloat16=True)
    rows = large.slopes_kept // int(large.slopes_per_row)
    assert rows == 2 and large.memory(3) - large.memory(2) < large.piece + large.per_row
    assert large.memory(30) - large.memory(3) == 27 * large.per_row


def test_nothing_is_left_behind_by_looking_at_a_model(base_dir):
    footprint._measured.clear()
    measure(make_config("tiny"), bfloat16=True)
    assert not base_dir.exists()


def test_the_cluster_profile_is_the_one_that_is_published():
    base = works("d20_a100x8", EIGHT_A100)["base_train"]
    assert base.weights == 896_533_746 and base.steps.mid == 4980 and base.tokens.mid == 4980 * 2**20
    assert base.flops.mid == pytest.approx(1.51e19, rel=0.01)
    assert 35e9 < base.memory.low < base.memory.high < 80e9, "it fits a card of 80 GB"


def test_an_epoch_of_the_cluster_s_mixture_is_about_that_of_nanochat():
    mid = works("d20_a100x8", EIGHT_A100)["mid_train"]
    assert mid.tokens.low < 424e6 * 1.1 < mid.tokens.high and mid.steps.low < mid.steps.high


def test_shards_are_counted_for_the_tokens_that_training_needs():
    text = Workloads("d20_a100x8", plan.make_plan("d20_a100x8", processes=1), EIGHT_A100).text()
    assert text.downloaded == 240 and text.shards.low < text.needed.mid / 55e6 < text.shards.high
    assert Workloads("embedded", plan.make_plan("embedded", processes=1), TWO_CORES).text().shards is None


def test_a_batch_that_so_many_devices_cannot_reach_is_refused():
    with pytest.raises(UserError, match="--total_batch=1048576 cannot be reached"):
        works("d20_a100x8", Machine("A100", 7, 14, 312e12))


def test_a_tower_makes_midtraining_more_work():
    found = works("embedded")
    assert found["mid_train"].work["flops"].mid > 1.5 * found["mid_train.plain"].work["flops"].mid
    assert found["mid_train"].tokens == found["mid_train.plain"].tokens


def test_learning_from_rewards_is_answers_and_training(tmp_path, repository):
    profile = tmp_path / "rewarded.toml"
    embedded = (repository / "config/embedded.toml").read_text()
    profile.write_text(embedded.replace('  "report",', '  "chat_rl", "chat_eval.rl",\n  "report",') + "\n[chat_rl]\nsteps = 30\n")
    found = works(str(profile))
    few, sft = found["chat_rl"], found["chat_sft"]
    assert few.steps == sure(30) and few.work["answers"] == sure(30 * 16 * 16 + 200) and few.weights == sft.weights
    assert 0 < few.flops.low < few.flops.mid < few.tokens.mid * sft.flops.mid / sft.tokens.mid < few.flops.high
    assert 0 < few.memory.low < few.memory.mid < few.memory.high and few.disk == sft.disk
    assert forecast.by_rates(found["chat_eval.rl"], TWO_CORES).mid > 0
    profile.write_text(profile.read_text().replace("steps = 30\n", ""))
    assert works(str(profile))["chat_rl"].steps == sure(12_000 / 16)


@pytest.mark.slow
def test_steps_tokens_weights_and_operations_are_those_of_a_real_run(tmp_path, base_dir):
    profile = tmp_path / "toy.toml"
    profile.write_text(PROFILE)
    for stage, *options in ((tok_train,), (base_train,), (mid_train, "--tag=plain")):
        assert stage.main([f"--profile={profile}", *options]) == 0
    for label, expected in works(str(profile), Machine("", 1, 1)).items():
        status = base_dir / "stages" / label / "status.json"
        if label in ("base_train", "mid_train.plain"):
            metrics = json.loads(status.read_text())["metrics"]
            said = (expected.steps.mid, expected.tokens.mid, expected.weights, expected.flops.mid)
            assert said == tuple(metrics[name] for name in ("steps", "tokens", "params", "flops"))
    facts = forecast.learn(str(profile), plan.make_plan(str(profile), processes=1))
    assert [fact.work.label for fact in facts] == ["tok_train", "base_train", "mid_train.plain"]
    assert {entry.stage for entry in throughput.measured()} == {"tok_train", "base_train", "mid_train"}


# ---------------------------------------------------------------------------------------------------------------------
# Time


def test_the_embedded_profile_takes_what_it_took_when_it_was_measured():
    """131.8, 143.6 and 69.5 s on two quiet cores; dag_train, since it learns all ways of writing, 288.9 s."""
    found = {label: forecast.by_rates(work, TWO_CORES) for label, work in works("embedded").items()}
    for label, seconds in (("base_train", 131.8), ("mid_train", 143.6), ("mid_train.plain", 69.5), ("dag_train", 288.9)):
        assert found[label].low < seconds < found[label].high and found[label].mid == pytest.approx(seconds, rel=0.15)


def test_where_nothing_was_measured_the_interval_is_wide():
    base = forecast.by_rates(works("d20_a100x8", EIGHT_A100)["base_train"], EIGHT_A100)
    assert base.high > 3 * base.low and base.low > 1.69e19 / (0.65 * 8 * 312e12), "no faster than the best that is published"


def test_work_at_a_rate_combines_both_uncertainties():
    assert sure(100.0).by(sure(20.0)) == Range(5, 5, 5)
    found = Range(50, 100, 200).by(Range(10, 20, 40))
    assert found.mid == 5 and found.high == pytest.approx(5 * 2 ** math.sqrt(2)) and found.low == pytest.approx(5 / 2 ** math.sqrt(2))


def test_a_measurement_of_the_same_stage_replaces_the_rates():
    known = [Measured("base_train", "2 cores", 1e6, 100.0, 300.0)]
    seconds, basis = calibrated(Range(100, 200, 800), "base_train", "2 cores", 1e6, known)
    assert basis == "measured" and seconds.mid == 600 and seconds.high / seconds.low == pytest.approx(1.2**2)


def test_the_further_the_size_the_wider_the_interval():
    known = [Measured("base_train", "2 cores", 1e6, 100.0, 300.0)]
    near, far = (calibrated(sure(100.0), "base_train", "2 cores", size, known)[0] for size in (2e6, 64e6))
    assert near.mid == far.mid and far.high > near.high


def test_other_stages_of_the_machine_count_less_and_other_machines_not_at_all():
    known = [Measured("base_train", "2 cores", 1e6, 100.0, 200.0)]
    seconds, basis = calibrated(sure(50.0), "chat_sft", "2 cores", 1e6, known)
    assert (basis, seconds.mid) == ("other stages", 100) and seconds.high == pytest.approx(180)
    assert calibrated(sure(50.0), "chat_sft", "8 x A100", 1e6, known) == (sure(50.0), "rates")


def test_of_several_measurements_the_newest_of_the_nearest_size_counts():
    known = [Measured("a", "2 cores", 1e6, 10.0, seconds, when) for seconds, when in ((20.0, 1.0), (30.0, 3.0), (25.0, 2.0))]
    known += [Measured("a", "2 cores", 9e6, 10.0, 99.0, 4.0)]
    assert calibrated(sure(10.0), "a", "2 cores", 1e6, known)[0].mid == 30


def test_the_local_table_takes_each_measurement_once_and_survives_damage(base_dir, monkeypatch):
    entries = [Measured("a", "2 cores", 1, 10.0, 20.0, 1.0), Measured("a", "2 cores", 1, 10.0, 30.0, 2.0), Measured("b", "x", 1, 1.0, 0.0)]
    throughput.remember(entries)
    throughput.remember(entries[:2])
    assert throughput.measured() == entries[:2]
    monkeypatch.setattr(throughput, "MOST", 1)
    throughput.remember([Measured("c", "2 cores", 1, 1.0, 1.0, 3.0)])
    assert [entry.stage for entry in throughput.measured()] == ["c"]
    throughput.path().write_text('[{"stage": "a"}]')
    assert throughput.measured() == []
    throughput.path().write_text("[")
    assert throughput.measured() == []


@pytest.mark.parametrize(
    "left, limit, words",
    [
        (Range(10, 20, 30), 200, "3 min 20 s: it fits"),
        (Range(10, 20, 30), 100, "it may not fit; 1 to 2 jobs"),  # a minute to start, a quarter to save: 15 s are left
        (Range(170, 190, 209), 200, "it does not fit; 2 to 3 jobs"),
        (Range(6000, 7000, 8000), 8000, "it may not fit; 1 to 2 jobs"),
        (Range(6000, 7000, 7340), 8000, "it fits"),  # ten minutes to save are enough
        (Range(10, 20, 30), 60, "too short: nothing is left of it"),
    ],
)
def test_a_limit_is_compared_with_the_interval(left, limit, words):
    assert words in forecast.fits(left, limit)


def test_finished_stages_are_not_counted_again(base_dir):
    steps = plan.make_plan("embedded", processes=1)
    before = forecast.forecast("embedded", steps, TWO_CORES)
    (base_dir / "stages/base_train").mkdir(parents=True)
    (base_dir / "stages/base_train/status.json").write_text('{"state": "done"}')
    after = forecast.forecast("embedded", steps, TWO_CORES)
    took = next(stage.seconds for stage in after.stages if stage.work.label == "base_train")
    assert after.left.mid == pytest.approx(before.left.mid - took.mid)


@pytest.mark.parametrize(
    "name, card", [("", ""), ("A100", "A100"), ("h100", "H100"), ("nvidia_a100-sxm4-80gb", "A100"), ("H100 NVL", "H100 NVL")]
)
def test_a_card_is_known_by_the_name_in_the_table(name, card):
    assert forecast.card(name) == card


@pytest.mark.parametrize("name, words", [("A10O", "did you mean 'A100'"), ("a4000", "A40"), ("V100", "known are H200"), (" ", "known are")])
def test_a_card_that_nobody_measured_is_refused(name, words, capsys):
    assert script.main(["--profile=d20_a100x8", f"--gpu={name}"]) == 2
    said = capsys.readouterr()
    assert words in said.err and f"'{name}'" in said.err and not said.out


def test_the_script_prints_stages_and_totals(capsys):
    assert script.main(["--profile=d20_a100x8", "--time_limit=12:00:00"]) == 0
    out = capsys.readouterr().out
    assert "profile d20_a100x8 on 8 x A100" in out and "5.22 B" in out and "1.51e19" in out
    for word in ("time ", "GPU hours", "kWh", "GB on each GPU", "GB of downloads", "shards", "limit     12 h"):
        assert word in out, word
    assert script.main(["--profile=d20_a100x8", "--gpus=7"]) == 2
    assert script.main(["--profile=embedded", "--time_limit=soon"]) == 2


# ---------------------------------------------------------------------------------------------------------------------
# In preflight


def test_preflight_compares_the_limit_with_the_forecast(monkeypatch):
    monkeypatch.setattr(forecast.os, "sched_getaffinity", lambda pid: {0, 1})
    steps = plan.make_plan("embedded", processes=1)
    assert [v.level for v in preflight.resources("embedded", steps, 86400.0)] == [OK, OK]
    warned = list(preflight.resources("embedded", steps, 60.0))
    assert [v.level for v in warned] == [OK, WARN] and "too short" in warned[1].text and "SITE_TIME" in warned[1].text
    (only,) = [v for v in preflight.resources("embedded", plan.choose(steps, only="report"), 300.0) if "of work left" in v.text]
    assert only.level == OK


def test_preflight_warns_of_a_full_disk_and_of_too_little_text(monkeypatch):
    steps = plan.make_plan("d20_a100x8", processes=1)
    monkeypatch.setitem(workload.__dict__, "SHARD_CHARACTERS", 50e6)
    found = list(preflight.resources("d20_a100x8", steps, None))
    assert any(v.level == WARN and "it will be read" in v.text for v in found)
    monkeypatch.setitem(workload.__dict__, "SHARD_CHARACTERS", 20e6)
    found = list(preflight.resources("d20_a100x8", steps, None))
    assert any(v.level == "bad" and "more than 4 times is refused" in v.text for v in found)
    monkeypatch.setattr(preflight, "_free", lambda folder: (1e9, 100, 200))
    texts = {v.text: v.level for v in preflight.resources("d20_a100x8", steps, None)}
    assert any("where 1.0 GB are free" in text and level == "bad" for text, level in texts.items())
    assert any("has room for 100" in text and level == "bad" for text, level in texts.items())
