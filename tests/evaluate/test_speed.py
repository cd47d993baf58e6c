"""scripts.bench: its figures are there and mean what their names say; two settings take turns; mistakes are sentences."""

import json
import weakref

import pytest
import torch

from nanochat.evaluate import speed
from nanochat.evaluate.speed import Measured, RandomDocuments, compare
from nanochat.train.hardware import Energy
from scripts import bench

TINY = ["--depth=1", "--aspect_ratio=16", "--head_dim=16", "--sequence_len=32", "--device_batch=2", "--vocab_size=64", "--device=cpu",
        "--steps=2", "--rounds=2"]  # fmt: skip


def last_line(capfd) -> dict:
    return json.loads(capfd.readouterr().out.splitlines()[-1])


def test_a_step_is_timed_and_its_figures_agree(capfd):
    assert bench.main([*TINY, "--total_batch=128"]) == 0
    found = last_line(capfd)
    assert found["tokens_per_step"] == 128 and found["mfu"] is None and found["peak_rss_mb"] > 1
    assert found["tokens_per_s"] == pytest.approx(128 / (found["step_ms"] / 1e3))
    assert 0 <= found["data_wait"] < 1 and found["first_step_s"] > 0 and found["flops_per_token"] > 0


def test_two_configurations_take_turns_and_differ_in_what_was_said(capfd):
    assert bench.main([*TINY, "--against=smear=false --device_batch=4"]) == 0
    found = last_line(capfd)
    assert len(found["ratios"]) == 2 and found["other"]["tokens_per_step"] == 2 * found["tokens_per_step"]
    assert found["other"]["params"] == found["params"] - 16 - 1  # the gate and the scale of smear


def test_of_two_configurations_neither_lives_while_the_others_memory_is_measured(monkeypatch):
    alive, measured = weakref.WeakSet(), []
    make = speed.GPT

    def counted(config):
        alive.add(model := make(config))
        return model

    monkeypatch.setattr(speed, "GPT", counted)
    monkeypatch.setattr(speed, "peak_megabytes", lambda *_: measured.append([m.config.n_layer for m in alive]) or 10.0 * len(measured))
    small, large = (bench.parse(bench.Config, "bench", [*TINY, f"--depth={depth}"]) for depth in (1, 2))
    found = speed.in_turns(small, large, torch.device("cpu"))
    assert [2] in measured and [1] in measured
    assert [training.memory for training in found] == [10.0 * (measured.index([n]) + 1) for n in (1, 2)]


def test_the_median_of_the_rounds_ratios_is_told_and_every_other_round_goes_backwards():
    order = []

    class Fake:
        tokens = 10

        def __init__(self, name, seconds):
            self.name, self.seconds = name, iter(seconds)

        def round(self, steps):
            order.append(self.name)
            return Measured(seconds=[next(self.seconds)])

    ratios = compare([Fake("a", [1, 2, 1]), Fake("b", [2, 2, 4])], rounds=3, steps=1)
    assert ratios == [0.5, 1.0, 0.25] and order == ["a", "b", "b", "a", "a", "b"]


def test_decoding_and_the_generator_are_timed(capfd, monkeypatch):
    assert bench.main([*TINY, "--infer", "--prompt=8", "--new=4", "--rows=2"]) == 0
    found = last_line(capfd)
    assert found["first_token_ms"] > 0 and found["tokens_per_s"] > 0
    monkeypatch.setattr("nanochat.evaluate.benchmark.generator", lambda *_, **__: {"all": {"examples_per_s": 5.0, "faster": 2.0}})
    assert bench.main(["--generator"]) == 0 and last_line(capfd)["examples_per_s"] == 5.0


def test_a_trace_is_written_where_it_was_asked_for(tmp_path, capfd):
    assert bench.main([*TINY, "--rounds=1", "--steps=1", "--profile", f"--out={tmp_path / 'steps.json'}"]) == 0
    names = {event.get("name", "") for event in json.loads((tmp_path / "steps.json").read_text())["traceEvents"]}
    assert any("aten::mm" in name for name in names) and str(tmp_path / "steps.json") in capfd.readouterr().err


@pytest.mark.parametrize(("arguments", "said"), [
    (["--against=smaer=false"], "did you mean '--smear'?"),
    (["--against=smear=false", "--infer"], "leave out --infer"),
    (["--infer", "--prompt=30", "--new=30"], "--sequence_len is 32"),
    (["--rounds=0"], "--rounds"),
    (["--against=device_batch=0"], "--device_batch"),
    (["--infer", "--generator"], "one of --infer and --generator"),
    (["--loader", "--profile"], "a trace is of training; leave out --loader"),
    (["--profile", "--out=/dev/null/trace.json"], "--out=/dev/null/trace.json cannot be written"),
    (["--profile", "--out=/"], "--out=/ is a folder"),
])  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_code_2(capfd, arguments, said):
    assert bench.main([*TINY, *arguments]) == 2
    told = capfd.readouterr().err
    assert said in told and "Traceback" not in told


def test_random_documents_are_like_a_shard_and_always_the_same():
    a, b = RandomDocuments(64), RandomDocuments(64)
    assert len(a) == len(a.lengths) and all(len(a[i]) == a.lengths[i] and a[i][0] == 0 for i in range(20))
    assert (a[3] == b[3]).all() and (a[3][1:] > 0).all() and 400 < a.lengths.mean() < 800


def test_energy_is_counted_where_there_are_counters_and_unknown_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(Energy, "COUNTERS", str(tmp_path / "*/energy_uj"))
    assert Energy(torch.device("cpu")).joules() is None
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "energy_uj").write_text("1000000")
    energy = Energy(torch.device("cpu"))
    (tmp_path / "package" / "energy_uj").write_text("3500000")
    assert energy.joules() == pytest.approx(2.5)


def test_windows_are_compared_with_full_attention_and_their_kernel_is_told(capfd):
    windows = "--against=window_pattern=SL attention=masked"
    assert bench.main([*TINY, "--depth=2", "--sequence_len=256", windows]) == 0
    shown = capfd.readouterr()
    found = json.loads(shown.out.splitlines()[-1])
    assert (found["attention"], found["window_pattern"]) == ("full", "L")
    assert (found["other"]["attention"], found["other"]["window_pattern"]) == ("masked", "SL")
    assert found["flops_per_token"] - found["other"]["flops_per_token"] == 12 * 32 * 128
    assert "attention: masked; 1 of 2 layers see 128 of 256 tokens" in shown.err


def test_compiled_blocks_are_compiled(monkeypatch):
    called = []
    monkeypatch.setattr(speed.GPT, "compile_blocks", lambda self: called.append(True))
    assert bench.main([*TINY, "--compile=on", "--rounds=1", "--steps=1"]) == 0 and called == [True]
