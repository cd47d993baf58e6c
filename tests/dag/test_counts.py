"""A step of several passes has the gradient of one pass over all of their rows, for every part of every loss."""

from functools import partial

import pytest
import torch

from nanochat.dag import attach_branch
from nanochat.dag.arithmetic import ArithmeticTexts, tensors_of
from nanochat.dag.executor import NO_REFERENCE, NO_STEP
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.predictor import PlanLabels, PredictorOnlyModel, TowerConfig
from nanochat.dag.relaxed import relaxed_counts, relaxed_loss
from nanochat.dag.variants import VARIANTS
from nanochat.data import corpus
from nanochat.data.conversations import Rendered
from nanochat.data.loader import ConversationBatch, ConversationLoader
from nanochat.model.gpt import GPT, GPTConfig
from nanochat.train.chat import Joined, conversation_counts, conversation_loss
from nanochat.train.weighing import weights

STYLES = ("symbols", "let", "problems", "latex")


def gradient(model, loss, passes, told) -> torch.Tensor:
    """Of the mean loss of `passes`, and the loss as its last entry; `told`: their weights, None for a single pass without."""
    model.zero_grad()
    total = 0.0
    for i, batch in enumerate(passes):
        part = loss(model, batch, **({} if told is None else {"weights": told[i]}))[0] / len(passes)
        part.backward()
        total += part.item()
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return torch.cat([*(g.double().flatten() for g in found), torch.tensor([total], dtype=torch.float64)])


def assert_the_same(model, loss, counts, whole, passes):
    told = weights([counts(model, batch) for batch in passes])
    assert any(not torch.equal(own, torch.ones(())) for own in told[0].values()), "the passes must differ to show anything"
    expected, found = gradient(model, loss, [whole], None), gradient(model, loss, passes, told)
    assert (found - expected).norm() < 1e-5 * expected.norm() and abs(found[-1] - expected[-1]) < 1e-5 * abs(expected[-1])
    assert torch.equal(gradient(model, loss, [whole], weights([counts(model, whole)])), expected), "the only pass weighs exactly 1"


def rows_of(batch, here: slice):
    idx, labels, lengths = batch
    fields = (labels.operation, labels.operand1, labels.operand2)
    return idx[here], PlanLabels(*(x[here] for x in fields), decimals=labels.decimals[here]), lengths[here]


def examples(tokenizer, mode: str, steps: int):
    """13 + 3 examples: the last ones are rounded."""
    stream = ExpressionStream(tokenizer, ExpressionSettings(mode=mode, steps=steps, styles=STYLES, operations=(1, 3)), seed=5)
    parts = [tensors_of(stream.batch(13)), tensors_of(stream.rounded(3))]
    T = max(idx.shape[1] for idx, *_ in parts)

    def joined(tensors, fill):
        padded = [torch.nn.functional.pad(x, (0, 0) * (x.dim() - 2) + (0, T - x.shape[1]), value=fill) for x in tensors]
        return torch.cat(padded)

    idx, plans, lengths = zip(*parts, strict=True)
    fills = {"operation": NO_STEP, "operand1": NO_REFERENCE, "operand2": NO_REFERENCE}
    labels = {name: joined([getattr(plan, name) for plan in plans], fill) for name, fill in fills.items()}
    return joined(idx, 0), PlanLabels(**labels, decimals=torch.cat([plan.decimals for plan in plans])), torch.cat(lengths)


@pytest.mark.parametrize(
    ("variant", "mode", "reader"),
    [("tower", "tape", "exact"), ("tower", "isolated", "learned"), ("stack", "isolated", "exact"), ("pointer", "isolated", "exact")],
)
def test_of_the_systems_dag_train_trains(tokenizer, variant, mode, reader):
    steps = 2 if mode == "tape" else 3
    torch.manual_seed(0)
    kind = VARIANTS[variant]
    model = kind.model(TowerConfig(tokenizer.vocab_size, tokenizer.bos_id, 16, 1, 1, steps, mode, reader), tokenizer).train()
    whole = examples(tokenizer, mode, steps)
    passes = [rows_of(whole, slice(0, 8)), rows_of(whole, slice(8, 16))]
    assert_the_same(model, kind.loss, kind.counts, whole, passes)


@pytest.mark.parametrize("kind", ["soft", "relaxed"])
def test_of_those_with_bounded_gradients_the_losses(tokenizer, kind):
    torch.manual_seed(0)
    config = TowerConfig(tokenizer.vocab_size, tokenizer.bos_id, 16, 1, 1, 3, "isolated")
    model = (VARIANTS["soft"].model if kind == "soft" else PredictorOnlyModel)(config, tokenizer).train()
    loss, counts = (VARIANTS["soft"].loss, VARIANTS["soft"].counts) if kind == "soft" else (partial(relaxed_loss, "soft"), relaxed_counts)
    whole = examples(tokenizer, "isolated", 3)
    passes = [rows_of(whole, slice(0, 8)), rows_of(whole, slice(8, 16))]
    told = weights([counts(model, batch) for batch in passes])
    assert gradient(model, loss, passes, told)[-1].item() == pytest.approx(gradient(model, loss, [whole], None)[-1].item(), rel=1e-5)


@pytest.mark.parametrize(("plans", "plans_at"), [(1, "unlabelled"), (3, "unlabelled"), (3, "everywhere")])
def test_beside_a_gpt(tokenizer, make_predictor, plans, plans_at):
    torch.manual_seed(1)
    model = GPT(GPTConfig(sequence_len=160, vocab_size=tokenizer.vocab_size, n_layer=2, n_head=2, n_kv_head=2, n_embd=32))
    attach_branch(model, make_predictor(width=16, layers=1, heads=1), tokenizer, hindsight=True)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.02 * torch.randn_like(p))
    model.branch.config.plans, model.branch.config.plans_at = plans, plans_at
    model.train()
    chats = [*corpus.word_problems("train", count=24), *corpus.conversations("train", count=6)]
    text = [tokenizer.bos_id, *tokenizer.encode("Tom has 13 apples and buys 29 more. Now there are 42.")]
    texts = [Rendered(text, [0] + [1] * (len(text) - 1))] * 4
    arithmetic = list(ArithmeticTexts(tokenizer, ExpressionSettings(operations=(1, 3), styles=STYLES), 50, seed=0))
    arithmetic += 6 * arithmetic[-2:]  # those that are rounded
    whole = next(ConversationLoader(Joined([chats, arithmetic, texts]), tokenizer, 8, 160, 3))

    def passes():
        halves = slice(0, 4), slice(4, 8)
        return [ConversationBatch(whole.inputs[h], whole.targets[h], whole.documents[h]) for h in halves]

    found = conversation_counts(model, passes()[0])
    assert set(found) == {"targets", "operations", "idle", "operands", "open", "closed", "as_it_is", "rounded"}
    assert all(n > 0 for n in conversation_counts(model, whole).values())
    whole.labels = None
    assert_the_same(model, conversation_loss, conversation_counts, whole, passes())
