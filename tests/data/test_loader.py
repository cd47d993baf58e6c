"""Loaders: shapes and targets, exact resume, the same data for any number of processes, batches that always train something."""

import gc
import json
import threading

import pytest
import torch

from nanochat.common import UserError
from nanochat.data.conversations import Rendered, render
from nanochat.data.loader import IGNORE, ConversationLoader, TextItems, TokenLoader

T = 32


def talk(i: int, length: int = 6) -> dict:
    words = ["the", "baker", "bread", "morning", "window", "child", "home", "read", "rain", "shop"]
    answer = " ".join(words[(i + j) % 10] for j in range(1 + (i * 5) % length))
    return {
        "messages": [{"role": "user", "content": f"{i} and {i + 1}?"}, {"role": "assistant", "content": answer, "plan": [["add", 0, 1]]}]
    }


TALKS = [talk(i) for i in range(50)]


def take(loader, n):
    return [next(loader) for _ in range(n)]


# -- text ---------------------------------------------------------------------------------------------------------------


def test_text_batches_are_full_rows_shifted_by_one(make_shard, documents, tokenizer):
    loader = TokenLoader(make_shard(documents), batch=3, T=T)
    assert loader.tokens_per_step == 3 * T
    for inputs, targets in take(loader, 10):
        assert inputs.shape == targets.shape == (3, T) and inputs.dtype == targets.dtype == torch.int64
        assert (inputs[:, 0] == tokenizer.bos_id).all()
        assert (inputs[:, 1:] == targets[:, :-1]).all() and (targets != IGNORE).all()
        assert inputs.max() < tokenizer.vocab_size


def test_between_two_bos_stands_a_piece_of_one_document(make_shard, documents, tokenizer):
    loader, whole = TokenLoader(make_shard(documents[:20], documents[20:]), batch=2, T=400), set()
    for inputs, targets in take(loader, 10):
        for x, y in zip(inputs, targets, strict=True):
            pieces = tokenizer.decode([*x.tolist(), y.tolist()[-1]]).split("<|bos|>")[1:]
            assert all(any(piece in document for document in documents) for piece in pieces)
            whole.update(pieces)
    assert len(whole & set(documents)) > 0.8 * len(documents), "with a buffer to choose from, few documents are cut"


def test_text_resumes_exactly_through_json(make_shard, documents):
    shard = make_shard(documents)
    one = TokenLoader(shard, 2, T, seed=3)
    take(one, 7)
    two = TokenLoader(shard, 2, T, seed=3)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert two.epoch == one.epoch and two.progress == one.progress
    for a, b in zip(take(one, 40), take(two, 40), strict=True):
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


@pytest.mark.parametrize("world", [2, 4])
def test_processes_get_disjoint_rows_that_together_are_those_of_one_process(make_shard, documents, world):
    shard = make_shard(documents[:10], documents[10:])
    alone = TokenLoader(shard, 4, T)
    ranks = [TokenLoader(shard, 4 // world, T, rank=r, world=world) for r in range(world)]
    assert ranks[0].tokens_per_step == alone.tokens_per_step == 4 * T
    for _ in range(12):
        for whole, *parts in zip(next(alone), *map(next, ranks), strict=True):
            assert torch.equal(whole, torch.cat(parts))
    assert all(loader.state_dict() == alone.state_dict() for loader in ranks)


def test_smaller_batches_are_the_same_rows_and_each_row_names_its_documents(make_shard, documents, tokenizer):
    shard = make_shard(documents)
    large, small = TokenLoader(shard, 6, T, world=2), [TokenLoader(shard, 6, T, rank=rank, world=2) for rank in range(2)]
    take(large, 3)
    for loader in small:
        take(loader, 3)
        loader.resize(2)
        assert loader.tokens_per_step == 2 * T * 2
    other = TokenLoader(shard, 6, T, rank=1, world=2)
    take(other, 3)
    for _ in range(4):
        whole = torch.cat([next(large)[0], next(other)[0]])
        parts = [next(loader)[0] for _ in range(3) for loader in small]
        assert torch.equal(whole, torch.cat(parts))
        assert small[0].state_dict() == large.state_dict()
        inputs, targets = next(large)
        for row, among in zip(torch.cat([inputs, targets[:, -1:]], dim=1), large.sources, strict=True):
            pieces = tokenizer.decode(row.tolist()).split("<|bos|>")[1:]
            assert len(pieces) == len(among) and all(piece in documents[i] for piece, i in zip(pieces, among, strict=True))
        next(other)
        for loader in small:
            take(loader, 3)


def test_conversations_in_smaller_batches_are_the_same_rows_and_each_row_names_them(tokenizer):
    large, small = (ConversationLoader(TALKS, tokenizer, 4, T) for _ in range(2))
    next(large), next(small)
    small.resize(2)
    for _ in range(5):
        whole, parts, rows = next(large), [], []
        for _ in range(2):
            parts.append(next(small))
            rows += small.sources
        assert torch.equal(whole.inputs, torch.cat([part.inputs for part in parts])) and large.sources == rows
        for among, documents in zip(large.sources, whole.documents, strict=True):
            assert [render(tokenizer, TALKS[i]).ids for i in among] == [item.ids for _, item in documents]


def test_a_run_may_go_on_with_another_number_of_processes(make_shard, documents):
    shard = make_shard(documents)
    alone = TokenLoader(shard, 4, T)
    take(alone, 5)
    second = TokenLoader(shard, 2, T, rank=1, world=2)
    second.load_state_dict(alone.state_dict())
    assert torch.equal(next(second)[0], next(alone)[0][2:])


def test_seeds_give_different_orders(make_shard, documents):
    shard = make_shard(documents)
    assert not torch.equal(next(TokenLoader(shard, 4, T, seed=0))[0], next(TokenLoader(shard, 4, T, seed=1))[0])


def test_a_checkpoint_of_other_data_is_refused(make_shard, documents):
    state = TokenLoader(make_shard(documents), 2, T).state_dict()
    with pytest.raises(UserError, match="--resume=off"):
        TokenLoader(make_shard(documents[:10]), 2, T).load_state_dict(state)


def test_a_checkpoint_of_another_version_is_refused(make_shard, documents):
    loader = TokenLoader(make_shard(documents), 2, T)
    with pytest.raises(UserError, match="another version.*--resume=off"):
        loader.load_state_dict({"epoch": 0, "cursor": 3, "waiting": [], "seed": 0, "items": len(documents)})


def test_every_document_is_read_in_every_epoch(make_shard, documents, tokenizer):
    loader, seen = TokenLoader(make_shard(documents), batch=1, T=60), []
    while loader.epoch == 0:
        assert 0 <= loader.progress < 1
        inputs, targets = next(loader)
        seen += [*inputs[0].tolist(), targets[0, -1].item()]
    waiting = sum(end - start for _, start, end in loader.state_dict()["waiting"])
    text = sum(i != tokenizer.bos_id for i in seen)
    assert text + waiting == sum(len(tokenizer.encode(document)) for document in documents) and waiting < 3 * 61


def test_what_is_made_ahead_changes_nothing(make_shard, documents):
    """Neither the batches nor what the loader says of itself: its state is that of the batches given out."""
    shard = make_shard(documents)
    ahead, plain = TokenLoader(shard, 2, T, ahead=3), TokenLoader(shard, 2, T, ahead=0)
    for _ in range(30):
        assert all(map(torch.equal, next(ahead), next(plain)))
        assert ahead.state_dict() == plain.state_dict()
        assert (ahead.epoch, ahead.progress) == (plain.epoch, plain.progress)


def test_a_loader_goes_back_while_more_is_under_way(make_shard, documents):
    loader = TokenLoader(make_shard(documents), 2, T, ahead=5)
    state, first = loader.state_dict(), take(loader, 4)
    loader.load_state_dict(state)
    assert loader.state_dict() == state
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, take(loader, 4), strict=True))


def test_no_thread_outlives_its_loader(make_shard, documents):
    before = set(threading.enumerate())
    loader = TokenLoader(make_shard(documents), 2, T)
    assert set(threading.enumerate()) <= before, "it begins with the first batch"
    next(loader)
    (thread,) = set(threading.enumerate()) - before
    del loader
    gc.collect()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_rows_for_a_gpu_are_made_in_pinned_memory_on_its_own_device(make_shard, documents, monkeypatch):
    made, chosen, empty = [], [], torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory=False, **rest: made.append(pin_memory) or empty(*size, **rest))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    loader = TokenLoader(make_shard(documents), 2, T, device="cuda:1", ahead=0)
    rows, *_ = loader._maker.make()
    assert made[-1] and chosen == [torch.device("cuda", 1)] and rows.shape == (2, T + 1)


def test_one_short_document_is_enough(make_shard):
    inputs, _ = next(TokenLoader(make_shard(["hi"]), 2, T))
    assert inputs.shape == (2, T)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"T": 0}, {"rank": 2, "world": 2}])
def test_impossible_sizes_are_refused(make_shard, documents, wrong):
    with pytest.raises(UserError):
        TokenLoader(make_shard(documents), **{"batch": 2, "T": T, **wrong})


# -- conversations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("train_on", ["all", "assistant"])
def test_targets_are_the_next_token_exactly_where_it_is_trained(tokenizer, train_on):
    loader = ConversationLoader(TALKS, tokenizer, batch=3, T=64, train_on=train_on)
    for batch in take(loader, 12):
        assert batch.inputs.shape == batch.targets.shape == (3, 64)
        for b, documents in enumerate(batch.documents):
            expected, tokens = [IGNORE] * 65, [tokenizer.bos_id] * 65
            for at, rendered in documents:
                tokens[at : at + len(rendered)] = rendered.ids
                trained = rendered.mask if train_on == "assistant" else [1] * len(rendered)
                expected[at : at + len(rendered)] = [i if m else IGNORE for i, m in zip(rendered.ids, trained, strict=True)]
            assert batch.inputs[b].tolist() == tokens[:-1] and batch.targets[b].tolist() == expected[1:]


def test_assistant_targets_are_only_the_assistants_words(tokenizer):
    loader = ConversationLoader(TALKS, tokenizer, batch=2, T=64)
    answers = {tuple(tokenizer.encode(c["messages"][1]["content"])) for c in TALKS}
    end = tokenizer.special("<|assistant_end|>")
    for batch in take(loader, 10):
        for row in batch.targets.tolist():
            said = [i for i in row if i != IGNORE]
            while said:
                at = said.index(end)
                assert tuple(said[:at]) in answers
                said = said[at + 1 :]


def test_every_row_trains_something(tokenizer):
    silent = {"messages": [{"role": "user", "content": "anyone there? " * 40}]}
    loader = ConversationLoader([silent, *TALKS[:5], silent], tokenizer, batch=4, T=24)
    for batch in take(loader, 20):
        assert (batch.targets != IGNORE).any(dim=1).all()
        assert all(documents for documents in batch.documents)


def test_conversations_longer_than_a_row_are_cropped_not_fatal(tokenizer):
    """The row is shorter than every conversation: packing must neither loop for ever nor give rows without targets."""
    long = [{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "bread " * 100}]}] * 3
    loader = ConversationLoader(long, tokenizer, batch=2, T=16)
    for batch in take(loader, 5):
        assert (batch.targets != IGNORE).any(dim=1).all()
        assert all(len(rendered) == 17 for documents in batch.documents for _, rendered in documents)


def test_nothing_to_train_within_a_row_is_one_sentence(tokenizer):
    long = [{"messages": [{"role": "user", "content": "bread " * 100}, {"role": "assistant", "content": "yes"}]}] * 3
    with pytest.raises(UserError, match="none of the 3 conversations"):
        next(ConversationLoader(long, tokenizer, batch=1, T=16))
    with pytest.raises(UserError, match="no conversations"):
        ConversationLoader([], tokenizer, batch=1, T=16)


def test_a_malformed_conversation_is_named_by_its_number(tokenizer):
    with pytest.raises(UserError, match="conversation 1 cannot be used"):
        next(ConversationLoader([TALKS[0], {"messages": []}], tokenizer, batch=1, T=64))


def test_plans_point_into_the_row(tokenizer):
    loader = ConversationLoader(TALKS, tokenizer, batch=3, T=40)
    start = tokenizer.special("<|assistant_start|>")
    for batch in take(loader, 10):
        for row, documents in zip(batch.inputs, batch.documents, strict=True):
            for at, rendered in documents:
                for plan in rendered.plans:
                    assert row[at + plan.position] == start
                    assert tokenizer.decode(row[at + plan.text[0] : at + plan.text[1]].tolist()).endswith("?")


def test_an_epoch_is_every_conversation_once(tokenizer):
    loader = ConversationLoader(TALKS, tokenizer, batch=1, T=64)
    seen, progress = [], [0.0]
    while loader.epoch == 0:
        seen += [tuple(rendered.ids) for _, rendered in next(loader).documents[0]]
        progress.append(loader.progress)
    assert sorted(seen) == sorted(tuple(render(tokenizer, c).ids) for c in TALKS)
    assert progress[:-1] == sorted(progress[:-1]) and progress[-1] == 0.0


def test_conversations_resume_exactly_through_json(tokenizer):
    one = ConversationLoader(TALKS, tokenizer, 2, 64, seed=4)
    take(one, 3)
    two = ConversationLoader(TALKS, tokenizer, 2, 64, seed=4)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for a, b in zip(take(one, 20), take(two, 20), strict=True):
        assert torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets) and a.documents == b.documents
    assert one.state_dict() == two.state_dict()


def test_processes_share_the_conversations_of_one(tokenizer):
    alone = ConversationLoader(TALKS, tokenizer, 4, 64)
    ranks = [ConversationLoader(TALKS, tokenizer, 2, 64, rank=r, world=2) for r in range(2)]
    for _ in range(12):
        assert torch.equal(next(alone).inputs, torch.cat([next(loader).inputs for loader in ranks]))


def test_items_may_be_rendered_already_and_made_when_asked_for(tokenizer):
    class Lazy:
        def __len__(self):
            return 10

        def __getitem__(self, i):
            return render(tokenizer, TALKS[i])

    lazy, plain = ConversationLoader(Lazy(), tokenizer, 2, 64), ConversationLoader(TALKS[:10], tokenizer, 2, 64)
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(take(lazy, 5), take(plain, 5), strict=True))


def test_text_can_stand_among_conversations(make_shard, documents, tokenizer):
    items = TextItems(make_shard(documents), limit=12)
    assert len(items) == 12 and isinstance(items[0], Rendered) and items[0].ids[0] == tokenizer.bos_id
    batch = next(ConversationLoader([*items, *TALKS], tokenizer, 2, 64, train_on="all"))
    assert (batch.targets != IGNORE).any(dim=1).all()


def _share(rank, world, port, talks, folder):
    import os

    import torch.distributed as dist

    from nanochat.data.tokenizer import Tokenizer

    os.environ.update({"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
    dist.init_process_group("gloo", rank=rank, world_size=world)
    loader = ConversationLoader(talks, Tokenizer.load(folder / "tokenizer"), 2, 64, rank=rank, world=world)
    torch.save([next(loader).inputs for _ in range(6)], folder / f"rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_real_processes_share_the_rendering_and_agree_on_the_rows(tokenizer, tmp_path):
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    tokenizer.save(tmp_path / "tokenizer")
    torch.multiprocessing.spawn(_share, (2, port, TALKS, tmp_path), nprocs=2)
    alone = ConversationLoader(TALKS, tokenizer, 4, 64)
    parts = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    for a, b in zip(*parts, strict=True):
        assert torch.equal(next(alone).inputs, torch.cat([a, b]))
