"""The kernel is chosen by measurement on GPUs and by rule elsewhere, kept when a run goes on, and never silently slow or wrong."""

import shutil
import time

import pytest
import torch

from nanochat.common import Compute, Interrupted, UserError
from nanochat.model import window
from nanochat.model.presets import make_config
from nanochat.train import acceleration, checkpoint
from nanochat.train.acceleration import Acceleration, Trial, accelerate, choose, compiles
from tests.train.test_loop import lines, start, stop_at

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
CONFIG = make_config("tiny", depth=4, sequence_len=256, window_pattern="SSSL")


def chosen(device=CUDA, asked="auto", fresh=True, earlier=None, config=CONFIG):
    return choose(config, asked, 2, device, torch.float32, fresh, earlier)


@pytest.fixture
def gpu(monkeypatch):
    """`gpu(flash=1.0, flex="no compiler", ...)`: milliseconds of each kernel, or why it does not work."""

    def have(**found):
        monkeypatch.setattr(Trial, "reason", lambda self, name: found[name] if isinstance(found[name], str) else "")
        monkeypatch.setattr(Trial, "seconds", lambda self, name: found[name] / 1e3)

    return have


def test_a_cpu_has_one_kernel_and_times_none(monkeypatch):
    monkeypatch.setattr(Trial, "_call", lambda *_: pytest.fail("a kernel was tried"))
    assert chosen(CPU) == ("chunked", "chunked; 3 of 4 layers see 128 of 256 tokens")
    assert chosen(CPU, fresh=False)[0] == "chunked"


def test_without_windows_there_is_nothing_to_choose():
    assert chosen(CPU, config=make_config("tiny")) == chosen(CUDA, "flash", config=make_config("tiny")) == ("full", "")
    assert chosen(CUDA, "full") == ("full", "full, without the windows")


@pytest.mark.parametrize("asked", ["auto", "flex", "full"])
def test_windows_that_were_asked_for_and_are_not_there_are_said(asked):
    short = make_config("tiny", depth=4, sequence_len=128, window_pattern="SL")
    assert chosen(CPU, asked, config=short) == ("full", "full; contexts up to 128 tokens have no windows")
    last = make_config("tiny", depth=1, sequence_len=256, window_pattern="S")
    assert chosen(CPU, asked, config=last) == ("full", "full; no layer before the last one is an S")


def test_a_gpu_takes_the_fastest_and_says_what_it_found(gpu):
    gpu(full=2.0, flash="ImportError: no varlen", flex=1.25, chunked=1.5, masked=6.0)
    kernel, said = chosen()
    assert kernel == "flex"
    assert said == (
        "flex; 3 of 4 layers see 128 of 256 tokens (ms a layer, forward and backward: flex 1.25, chunked 1.50, full 2.00, masked 6.00); "
        "flash left out: ImportError: no varlen"
    )


def test_a_new_model_loses_windows_that_save_no_time_and_a_trained_one_keeps_them(gpu):
    gpu(full=1.0, flash="x", flex="y", chunked=1.5, masked=6.0)
    kernel, said = chosen()
    assert kernel == "full" and "they would save no time" in said
    kernel, said = chosen(fresh=False)
    assert kernel == "chunked" and "full 1.00" in said


def test_a_kernel_that_was_asked_for_is_taken_with_its_price_or_refused_with_the_reason(gpu):
    gpu(full=2.0, flash=1.0, flex="no compiler", chunked=1.5, masked=6.0)
    kernel, said = chosen(asked="masked")
    assert kernel == "masked" and "3.00 times as long as full attention" in said
    with pytest.raises(UserError, match="flex does not work here \\(no compiler\\); use one of auto, flash, chunked, masked, full"):
        chosen(asked="flex")


def test_a_run_that_goes_on_keeps_its_kernel_where_it_still_works(gpu):
    gpu(full=2.0, flash=1.0, flex="gone", chunked=1.5, masked=6.0)
    assert chosen(earlier="masked")[0] == "masked"
    kernel, said = chosen(earlier="flex", fresh=False)
    assert kernel == "flash" and "flex left out: gone" in said
    assert chosen(asked="chunked", earlier="masked")[0] == "chunked"


def test_without_any_kernel_the_way_out_is_told(gpu):
    gpu(full=1.0, flash="a", flex="b", chunked="c", masked="d")
    with pytest.raises(UserError, match="flash left out: a.*--window_pattern=L"):
        chosen(fresh=False)


def test_a_trial_names_what_raises_and_what_computes_something_else(monkeypatch):
    class OffByOne(window.Masked):
        def prepare(self, B, T, W, device):
            return super().prepare(B, T, W + 1, device)

    monkeypatch.setitem(window.KERNELS, "flex", OffByOne())
    trial = Trial(CONFIG, 128, 2, CPU, torch.float32)
    assert trial.reason("chunked") == trial.reason("masked") == trial.reason("full") == "" and trial.seconds("full") > 0
    assert "Error: " in trial.reason("flash")
    assert trial.reason("flex").startswith("its results differ by")


def test_a_trial_draws_no_random_numbers_of_the_run():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    Trial(CONFIG, 128, 1, CPU, torch.float32).reason("chunked")
    assert torch.equal(torch.get_rng_state(), before)


# -- in a run ---------------------------------------------------------------------------------------------------------


def settings(run, **values):
    for name, value in {"attention": "auto", "compile": "auto", "fp8": False, **values}.items():
        setattr(run.config, name, value)
    return run


@pytest.fixture
def windowed(make_gpt, monkeypatch):
    monkeypatch.setattr(window, "MULTIPLE", 4)
    return lambda: make_gpt(window_pattern="S", depth=3)


@pytest.mark.parametrize("kernel", ["masked", "full"])
def test_a_resumed_run_computes_as_before_whatever_would_be_chosen_now(make_run, windowed, tokenizer, kernel, capsys):
    first, model = settings(make_run(steps=4)), windowed()
    model.use_attention(kernel)  # as a GPU might have chosen
    stop_at(first, 2)
    with pytest.raises(Interrupted):
        start(first, model, tokenizer)
    assert checkpoint.latest("base_train", "", "run 1") is not None
    second, again = settings(make_run(steps=4)), windowed()
    accelerate(again, second.config, second, fresh=True)
    assert again.attention_kernel == kernel and again.config == model.config
    other = windowed()
    accelerate(other, second.config, settings(make_run(steps=4, identity="run 2")), fresh=True)
    assert other.attention_kernel == "chunked" and "attention: chunked; 2 of 3 layers see 4 of 16 tokens" in capsys.readouterr().err


def test_a_model_with_windows_trains_evaluates_and_loads_as_it_was(make_run, windowed, tokenizer):
    run, model = settings(make_run(steps=30)), windowed()
    accelerate(model, run.config, run, fresh=True)
    start(run, model, tokenizer)
    found = [line["loss"] for line in lines(run)]
    assert found[-1] < found[0] - 0.5
    loaded = checkpoint.load_model("base")[0]
    ids = torch.arange(14)[None]
    with torch.no_grad():
        assert loaded.config.window_pattern == "S" and torch.equal(loaded(ids).logits, model.eval()(ids).logits)


def test_the_time_to_the_first_step_is_said_and_kept(make_run, make_gpt, tokenizer, capsys):
    def slow_at_first(model, batch, n=[0]):  # noqa: B006
        n[0] += 1
        time.sleep(0.1 * (n[0] == 1))
        return model(*batch).loss, {}

    run = make_run(steps=3)
    start(run, make_gpt(), tokenizer, loss_fn=slow_at_first)
    assert 0.1 <= run.metrics["first_step_seconds"] < 30 and "first step after" in capsys.readouterr().err


# -- 8 bits ----------------------------------------------------------------------------------------------------------


def test_8_bits_are_refused_where_there_are_none(make_run, make_gpt):
    run = settings(make_run(steps=4), fp8=True)
    with pytest.raises(UserError, match="--fp8 cannot be: there is no GPU; leave it out"):
        accelerate(make_gpt(), run.config, run, fresh=True)


def test_8_bits_are_said_and_compiled_however_short_the_run(make_run, make_gpt, monkeypatch, capsys):
    monkeypatch.setattr(acceleration, "lacking", lambda *_: "")
    monkeypatch.setattr(acceleration, "compiles", lambda asked, device, operations: operations == float("inf"))
    calls, run, model = [], settings(make_run(steps=4), fp8=True), make_gpt()
    monkeypatch.setattr(model, "compile_blocks", lambda: calls.append("compiled"))
    accelerate(model, run.config, run, fresh=True)
    said = capsys.readouterr().err
    assert "linear maps of the blocks multiply in 8 bits" in said and calls == ["compiled"]


# -- compiling --------------------------------------------------------------------------------------------------------


def test_blocks_are_compiled_on_gpus_for_long_runs_or_when_asked(monkeypatch):
    monkeypatch.setattr(acceleration, "_cannot_compile", lambda device: "")
    assert compiles("auto", CUDA, 1e18) and not compiles("auto", CUDA, 1e15) and not compiles("auto", CPU, 1e18)
    assert compiles("on", CPU, 1.0) and not compiles("off", CUDA, 1e18)


def test_what_cannot_be_compiled_is_refused_if_asked_for_and_else_said(monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="no C\\+\\+ compiler \\(g\\+\\+\\); use --compile=off"):
        compiles("on", CPU, 1.0)
    assert not compiles("auto", CUDA, 1e18) and "not compiled for training" in capsys.readouterr().err


def test_an_epoch_counts_as_long_and_processes_share_the_work(make_run, make_gpt):
    run, model = make_run(steps=0), make_gpt()
    assert acceleration._operations(model, run.config, run) == float("inf")
    run = make_run(steps=10, total_batch=4096, device_batch=8)
    run.compute = Compute(CPU, torch.float32, 0, 4)
    assert acceleration._operations(model, run.config, run) == 10 * 1024 * model.flops_per_token()


def test_the_options_are_those_of_every_stage_that_trains_a_gpt():
    from scripts import base_train, bench, chat_sft, mid_train

    assert all(issubclass(script.Config, Acceleration) for script in (base_train, mid_train, chat_sft, bench))
