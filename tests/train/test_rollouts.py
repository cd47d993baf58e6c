"""What is trained of sampled answers, that its gradient is the policy gradient, and that sampling has no state but its place."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch

from nanochat.common import Interrupted, UserError, all_reduce_sum, rank, world_size
from nanochat.dag import attach_branch
from nanochat.dag.predictor import PredictorOnlyModel, TowerConfig
from nanochat.data.loader import IGNORE
from nanochat.data.tokenizer import Tokenizer
from nanochat.infer.engine import Completion, Engine
from nanochat.model.gpt import GPT
from nanochat.model.presets import make_config
from nanochat.train import checkpoint
from nanochat.train.chat import trained_targets
from nanochat.train.loop import fit
from nanochat.train.rollouts import Rollout, RolloutBatch, RolloutOptions, Rollouts, policy_loss
from nanochat.train.settings import TrainSettings, make_optimizer
from nanochat.train.weighing import weights
from tests.processes import in_processes
from tests.train.conftest import VOCAB
from tests.train.test_loop import losses, stop_at

torch.set_num_threads(1)
SOME = frozenset(chr(i) for i in range(0, 128, 2))


class Questions(Sequence):
    """A mixture of one task: each answer is right if the first thing it says is among `right`."""

    def __init__(self, *questions: str, right=SOME):
        self.questions = questions
        self.tasks = {"toy": SimpleNamespace(evaluate=lambda conversation, completion: completion[:1] in right)}

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, index: int) -> dict:
        return {"messages": [{"role": "user", "content": self.questions[index]}, {"role": "assistant", "content": "a"}]}

    def source(self, index: int) -> tuple[str, int]:
        return "toy", index


QUESTIONS = Questions("1+2=", "What?", "9*8-7", "say a", "no")


def bytes_tokenizer() -> Tokenizer:
    return Tokenizer({bytes([i]): i for i in range(256)})


def noisy_gpt(seed: int = 0, noise: float = 0.2, **overrides) -> GPT:
    """A tiny GPT with random weights everywhere, as far as `noise` goes."""
    torch.manual_seed(seed)
    model = GPT(make_config("tiny", **{"vocab_size": VOCAB, "sequence_len": 48, **overrides}))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * noise)
    return model.train()


def with_tower(model: GPT, tokenizer) -> GPT:
    """A random tower whose gate is often open and as often nearly shut, which prints nothing."""
    torch.manual_seed(1)
    predictor = PredictorOnlyModel(TowerConfig(tokenizer.vocab_size, tokenizer.bos_id, width=32, layers=1), tokenizer)
    branch = attach_branch(model, predictor, tokenizer)
    with torch.no_grad():
        for p in branch.parameters():
            p.add_(torch.randn_like(p) * 0.2)
    torch.nn.init.zeros_(branch.gate.bias)
    return model.train()


def make_rollouts(model, mixture=QUESTIONS, device_batch: int = 4, seed: int = 3, rank: int = 0, world: int = 1, **options) -> Rollouts:
    settings = RolloutOptions(**{"questions": 2, "samples": 4, "max_tokens": 6, "top_k": 0, **options})
    return Rollouts(model, bytes_tokenizer(), mixture, settings, device_batch, seed, rank, world)


def a_step(batches: Rollouts) -> list[RolloutBatch]:
    return [next(batches) for _ in range(batches.passes)]


def same(a: RolloutBatch, b: RolloutBatch) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("inputs", "targets", "advantages")) and a.figures == b.figures


# ---------------------------------------------------------------------------------------------------------------------
# What is trained


def test_chosen_tokens_and_the_stop_token_are_trained_and_forced_ones_are_not():
    answer = Completion([10, 11, 12], [True, False, True], "stop", 256)
    rollout = Rollout(0, [1, 2], answer, 1.0, 0.5)
    assert rollout.ids == [1, 2, 10, 11, 12, 256] and rollout.targets == [IGNORE, IGNORE, 10, IGNORE, 12, 256]
    unfinished = Rollout(0, [1, 2], Completion([10], [True], "length"), 0.0, -0.5)
    assert unfinished.ids == [1, 2, 10] and unfinished.targets == [IGNORE, IGNORE, 10]
    batches = make_rollouts(noisy_gpt())
    batches.rollouts = [rollout, unfinished]
    batch = batches._as_tensors(batches.rollouts)
    bos = batches.tokenizer.bos_id
    assert batch.inputs.tolist() == [[1, 2, 10, 11, 12], [1, 2, bos, bos, bos]]
    assert batch.targets.tolist() == [[IGNORE, 10, IGNORE, 12, 256], [IGNORE, 10, *[IGNORE] * 3]]
    assert batch.advantages.tolist() == [0.5, -0.5]


@pytest.mark.parametrize("mark", ["assistant_end", "bos"])
def test_the_stop_token_that_the_model_chose_is_known(byte_tokenizer, mark):
    model, stop = noisy_gpt(), byte_tokenizer.special(f"<|{mark}|>")
    said = Engine(model, byte_tokenizer, None).complete([[256, 65]] * 64, 40, 1.0)
    assert {c.ended for c in said} == {"stop", "length"} and all((c.stop is not None) == (c.ended == "stop") for c in said)
    assert any(c.stop == stop for c in said) and all(stop not in c.tokens for c in said)


def test_advantages_are_rewards_less_the_mean_of_their_question():
    batches = make_rollouts(noisy_gpt(), questions=3, samples=8, device_batch=8)
    for batch in a_step(batches):  # a question each
        advantages = batch.advantages
        assert advantages.sum().abs() < 1e-6 and len(advantages.unique()) in (1, 2)
        firsts = [chr(row[row != IGNORE][0].clamp(max=255)) for row in batch.targets]
        right = torch.tensor([float(first in SOME) for first in firsts])
        assert torch.allclose(advantages, right - right.mean())
        assert 0 <= batch.figures["reward"] <= 1 and 0 <= batch.figures["advantage_share"] <= 1


# ---------------------------------------------------------------------------------------------------------------------
# The policy gradient


def test_the_gradient_is_the_policy_gradient():
    model = noisy_gpt()
    batch = next(make_rollouts(model, device_batch=8))
    assert batch.advantages.any()
    loss, figures = policy_loss(model, batch)
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    n = objective = 0
    for ids, targets, advantage in zip(batch.inputs, batch.targets, batch.advantages, strict=True):
        log_p = model(ids[None]).logits[0].log_softmax(-1)
        for t in (targets != IGNORE).nonzero().flatten():
            objective, n = objective + advantage * log_p[t, targets[t]], n + 1
    (objective / n).backward()  # to be made larger
    assert loss.item() == pytest.approx(-(objective / n).item(), rel=1e-4) and n == trained_targets(batch)["targets"]
    for name, p in model.named_parameters():
        assert torch.allclose(found[name], -p.grad, rtol=1e-3, atol=1e-6), name
    assert model.training and figures == batch.figures


@pytest.mark.parametrize("tower", [False, True])
def test_nats_are_those_of_the_distribution_that_was_sampled_from(byte_tokenizer, monkeypatch, tower):
    model, seen, choose = noisy_gpt(), [], Engine._choose
    model = with_tower(model, byte_tokenizer) if tower else model
    monkeypatch.setattr(Engine, "_choose", lambda self, rows, logits, *more: seen.append(logits) or choose(self, rows, logits, *more))
    batches = make_rollouts(model, Questions("12+30*2=", right="x"), questions=1, samples=48, max_tokens=12, device_batch=48)
    batch = next(batches)
    batch.advantages.fill_(0.0)
    with torch.no_grad():
        nats = model.eval()(batch.inputs, batch.targets, reduction="none").loss
        model.train()
    expected, (rows, columns) = torch.zeros_like(nats), (batch.targets != IGNORE).nonzero(as_tuple=True)
    first = int(columns.min())
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        expected[row, column] = -seen[column - first][row].log_softmax(-1)[batch.targets[row, column]]
    assert torch.allclose(nats, expected, atol=1e-4) and nats.sum() > 0
    one = RolloutBatch(batch.inputs, batch.targets, torch.ones(len(nats)), {})
    assert policy_loss(model, one)[0].item() == pytest.approx(float(expected.sum() / len(rows)), rel=1e-4)  # not as in training


def test_a_number_of_the_tower_is_trained_by_its_first_token_alone(byte_tokenizer):
    model = with_tower(noisy_gpt(), byte_tokenizer)
    torch.nn.init.constant_(model.branch.gate.bias, 3.0)
    batches = make_rollouts(model, Questions("12+30*2=", "125-4030="), questions=2, samples=24, max_tokens=12, device_batch=48)
    forced = [rollout for rollout in batches._sampled() if not all(rollout.answer.sampled)]
    assert forced
    for rollout in forced:
        at = rollout.answer.sampled.index(False)
        assert rollout.answer.sampled[at - 1] and rollout.targets[len(rollout.prompt) + at] == IGNORE
        assert rollout.targets[len(rollout.prompt) + at - 1] == rollout.answer.tokens[at - 1]


# ---------------------------------------------------------------------------------------------------------------------
# Places


def test_every_question_comes_once_an_epoch_in_another_order_each_time():
    batches = make_rollouts(noisy_gpt(), samples=2, questions=1, max_tokens=1)
    asked, epochs = [], []
    for _ in range(10):
        next(batches)
        asked.append(batches.sources[0][0])
        epochs.append(batches.epoch)
    assert sorted(asked[:5]) == sorted(asked[5:]) == list(range(5)) and asked[:5] != asked[5:]
    assert epochs == [0] * 4 + [1] * 5 + [2] and batches.examples == 10


def test_the_same_place_gives_the_same_answers_and_another_gives_others():
    model = noisy_gpt()
    whole = make_rollouts(model)
    first, second = a_step(whole), a_step(whole)
    assert not same(first[0], second[0])
    for taken in (0, 1):
        half = make_rollouts(model)
        for _ in range(taken):
            next(half)
        again = make_rollouts(model)
        again.load_state_dict(half.state_dict())
        found = [next(again) for _ in range(4 - taken)]
        assert all(same(a, b) for a, b in zip(found, [*first, *second][taken:], strict=True))
        assert again.state_dict() == whole.state_dict() and all(type(x) is int for x in whole.state_dict().values())
    other = make_rollouts(model, seed=4)
    assert not same(next(other), first[0])
    with pytest.raises(UserError, match="restore the tasks and the seed"):
        other.load_state_dict(whole.state_dict())


def test_the_rows_of_a_pass_are_the_most_that_divide_the_answers_of_a_process():
    model = noisy_gpt()
    assert [(b.batch, b.passes) for n in (1, 3, 5, 8, 100) for b in [make_rollouts(model, device_batch=n)]] == [
        (1, 8), (2, 4), (4, 2), (8, 1), (8, 1)]  # fmt: skip
    assert make_rollouts(model, device_batch=4).tokens_per_step == 4 * make_rollouts(model).length
    small, large = make_rollouts(model, device_batch=2), make_rollouts(model, device_batch=8)
    assert torch.equal(torch.cat([b.advantages for b in a_step(small)]), next(large).advantages)


def test_smaller_batches_hold_the_same_answers():
    whole, halves = make_rollouts(noisy_gpt(), device_batch=8), make_rollouts(noisy_gpt(), device_batch=8)
    halves.resize(4)
    (batch,), parts = a_step(whole), a_step(halves)
    assert len(parts) == 2 and torch.equal(batch.advantages, torch.cat([part.advantages for part in parts]))
    assert halves.state_dict() == whole.state_dict()


def test_answers_written_some_at_a_time_are_the_same():
    model = noisy_gpt()
    assert same(next(make_rollouts(model, batch=3)), next(make_rollouts(model)))


def train_in_a_process(questions: int, steps: int) -> dict:
    """This process's share of some steps: what was said, the mean losses over all processes, the weights at the end."""
    model = noisy_gpt()
    batches = make_rollouts(model, questions=questions, device_batch=8, rank=rank(), world=world_size())
    optimizer, said, means = make_optimizer(model, TrainSettings(lr_scale=0.1), 64), [], []
    for _ in range(steps):
        step = a_step(batches)
        said.append([trimmed(row) for batch in step for row in batch.inputs.tolist()])
        total = 0.0
        for i, (batch, own) in enumerate(zip(step, weights([trained_targets(batch) for batch in step]), strict=True)):
            loss = policy_loss(model, batch, own)[0] / len(step)
            if i + 1 == len(step):
                optimizer.last_pass()
            loss.backward()
            total += loss.item()
        optimizer.step(1.0, 0.9, 0.0)
        optimizer.zero_grad()
        means.append(all_reduce_sum([total])[0] / world_size())
    return {"said": said, "losses": means, "state": batches.state_dict(), "weights": {k: p.detach() for k, p in model.named_parameters()}}


def trimmed(row: list[int]) -> list[int]:
    """Without what fills a row up."""
    while row[-1] == 256 and len(row) > 1:
        row = row[:-1]
    return row


def test_two_processes_share_the_questions_of_one_and_learn_the_same(tmp_path):
    alone, two = train_in_a_process(2, 3), in_processes(2, train_in_a_process, tmp_path, 2, 3)
    assert sorted(alone["said"][0]) == sorted(two[0]["said"][0] + two[1]["said"][0]) and len(two[0]["said"][0]) == 4
    assert two[0]["losses"] == two[1]["losses"] == pytest.approx(alone["losses"], rel=1e-2, abs=1e-3) and any(alone["losses"])
    assert alone["state"] == two[0]["state"] == two[1]["state"]
    for name, p in alone["weights"].items():
        assert torch.equal(two[0]["weights"][name], two[1]["weights"][name]), name
        assert torch.allclose(two[0]["weights"][name], p, atol=1e-3), name


@pytest.mark.parametrize(("questions", "words"), [(3, "use 2 or 4"), (1, "use 2")])
def test_questions_that_processes_cannot_share_are_refused(questions, words):
    with pytest.raises(UserError, match=f"--questions={questions} cannot be shared by 2 processes; {words}"):
        make_rollouts(noisy_gpt(), questions=questions, world=2)


# ---------------------------------------------------------------------------------------------------------------------
# Learning


def learn(run, model, mixture=QUESTIONS, loss_fn=policy_loss, **options) -> dict:
    batches = make_rollouts(model, mixture, **options)
    run.config.total_batch = batches.passes * batches.tokens_per_step
    meta = {"model_config": model.config.to_dict(), "tokenizer_hash": None}
    return fit(run, run.config, model=model, batches=batches, loss_fn=loss_fn, targets=trained_targets, meta=meta)


def test_what_is_rewarded_is_said_more_and_more_often(make_run, tokenizer):
    run, options = make_run(steps=25, lr_scale=0.3, decay=1.0), {"questions": 5, "samples": 16, "max_tokens": 1, "device_batch": 40}
    model = noisy_gpt(noise=0.05)
    before = next(make_rollouts(model, **options)).figures["reward"]
    learn(run, model, **options)
    after = next(make_rollouts(model, **options)).figures["reward"]
    assert before < 0.3 and after > 0.7


def test_nothing_is_learnt_where_all_answers_are_equally_good(make_run, tokenizer):
    model = noisy_gpt()
    before, kinds = {name: p.detach().clone() for name, p in model.named_parameters()}, model.parameter_kinds()
    run = make_run(steps=2, weight_decay=0.0, lr_scale=0.05)
    metrics = learn(run, model, Questions("a", "b", right=""))
    assert list(losses(run).values()) == [0.0, 0.0] and metrics["train_loss"] == 0
    for name, p in model.named_parameters():  # AdamW has a little weight decay of its own
        assert torch.equal(p, before[name]) if kinds[name] == "matrix" else torch.allclose(p, before[name], rtol=2e-3), name


def test_a_bad_step_names_its_question(make_run, tokenizer):
    with pytest.raises(UserError, match=r"the loss became nan at step 1, worst in row 1 of 4 in process 0, question \d: '<\|bos\|>"):
        learn(make_run(steps=2, on_spike="stop"), noisy_gpt(), loss_fn=lambda *given, **told: (policy_loss(*given)[0] * torch.nan, {}))


def test_a_run_that_was_interrupted_goes_on_bit_for_bit(make_run, tokenizer, base_dir, monkeypatch):
    settings = {"steps": 5, "lr_scale": 0.3}
    whole = make_run(**settings)
    learn(whole, noisy_gpt())
    expected, last = losses(whole), checkpoint.latest("base_train")
    assert any(expected.values())
    monkeypatch.setenv("NANOCHAT_BASE_DIR", str(base_dir.with_name("killed")))
    tokenizer.save(base_dir.with_name("killed") / "tokenizer")
    for seed, stop in enumerate((1, 2, 1)):  # later models come from the checkpoint
        run = make_run(**settings)
        stop_at(run, stop)
        with pytest.raises(Interrupted):
            learn(run, noisy_gpt(seed))
    run = make_run(**settings)
    learn(run, noisy_gpt(seed=9))
    assert losses(run) == expected
    models = [noisy_gpt() for _ in range(2)]
    for model, path in zip(models, (last, checkpoint.latest("base_train")), strict=True):
        checkpoint.load_weights(model, path)
    assert all(torch.equal(a, b) for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True))
