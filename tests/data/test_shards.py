"""Token files: the text comes back, parts are made once, broken or interrupted ones are made again, empty text is refused."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from nanochat.common import Interrupted, UserError
from nanochat.data.shards import TokenShard, open_shard, open_tokens
from nanochat.data.sources import open_source
from nanochat.data.tokenizer import Tokenizer


@pytest.fixture
def source(tmp_path):
    for i in range(4):
        rows = [json.dumps({"text": f"The baker {i} put bread {j} into the window. Ça va?"}) for j in range(i + 1)]
        (tmp_path / f"{i}.jsonl").write_text("\n".join(rows))
    return open_source("*.jsonl", str(tmp_path), val_files=1)


@pytest.fixture
def one_cpu(monkeypatch):
    """What is tokenised is tokenised in this process."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})


def parts(base_dir):
    return sorted(p for p in (base_dir / "tokens").iterdir() if p.is_dir())


def test_every_document_comes_back_after_its_bos(source, tokenizer):
    for split in ("train", "val"):
        shard, texts = open_shard(source, tokenizer, split), list(source.documents(split))
        assert len(shard) == len(texts)
        for i, text in enumerate(texts):
            assert shard[i][0] == tokenizer.bos_id and tokenizer.decode(shard[i][1:].tolist()) == text
            assert shard.lengths[i] == len(shard[i])
        assert shard.num_tokens == shard.lengths.sum()
        with pytest.raises(IndexError):
            shard[len(texts)]


def test_text_is_tokenised_once_for_a_tokenizer(source, tokenizer, base_dir, one_cpu, monkeypatch):
    open_shard(source, tokenizer, "train")
    assert len(parts(base_dir)) == 3
    with monkeypatch.context() as patch:
        patch.setattr(Tokenizer, "encode_batch", lambda *a: pytest.fail("tokenised again"))
        open_shard(source, tokenizer, "train")
    open_shard(source, Tokenizer.train(["other text " * 20], 300), "train")
    assert len(parts(base_dir)) == 6


def test_a_new_file_costs_only_itself(source, tokenizer, base_dir, tmp_path):
    open_shard(source, tokenizer, "train")
    (tmp_path / "9.jsonl").write_text('{"text": "new"}')
    shard = open_shard(open_source("*.jsonl", str(tmp_path), val_files=1), tokenizer, "train")
    assert len(parts(base_dir)) == 4 and len(shard) == 1 + 2 + 3 + 4


@pytest.mark.parametrize("file", ["tokens.bin", "offsets.npy", "meta.json", "COMPLETE"])
@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_a_damaged_part_is_made_again(source, tokenizer, base_dir, capsys, file, damage):
    before = [shard.tolist() for shard in open_shard(source, tokenizer, "train")]
    path = parts(base_dir)[1] / file
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-3])
    assert [shard.tolist() for shard in open_shard(source, tokenizer, "train")] == before
    if file != "COMPLETE":
        assert "is damaged: tokenising" in capsys.readouterr().err


def test_a_part_that_fails_leaves_nothing_behind(tmp_path, tokenizer, base_dir):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' * 2000 + '{"text"')
    (tmp_path / "b.jsonl").write_text('{"text": "fine"}')
    with pytest.raises(UserError, match="a.jsonl is damaged.*line 2001"):
        open_shard(open_source("*.jsonl", str(tmp_path)), tokenizer, "train")
    assert list((base_dir / "tokens").iterdir()) == []


def test_a_stop_between_parts_keeps_what_is_done(source, tokenizer, base_dir, one_cpu):
    class Run:
        asked = 0

        def stop_requested(self):
            self.asked += 1
            return self.asked > 2

    with pytest.raises(Interrupted, match="2 of 3"):
        open_shard(source, tokenizer, "train", Run())
    assert len(parts(base_dir)) == 2
    assert len(open_shard(source, tokenizer, "train")) == 6


KILLED = """
import os, sys, time
from nanochat.data.shards import open_shard
from nanochat.data.sources import open_source
from nanochat.data.tokenizer import Tokenizer

encode = Tokenizer.encode_batch

def slowly(self, texts, *rest):
    if len(texts) == 3:
        print("in the middle", flush=True)
        time.sleep(60)
    return encode(self, texts, *rest)

Tokenizer.encode_batch = slowly
os.sched_getaffinity = lambda pid: range(int(sys.argv[3]))
open_shard(open_source("*.jsonl", sys.argv[1], val_files=1), Tokenizer.load(sys.argv[2]), "train")
"""


@pytest.mark.parametrize("cpus", [1, 2])
def test_killed_in_the_middle_it_goes_on_with_the_part_that_is_missing(source, tokenizer, base_dir, tmp_path, repository, one_cpu,
                                                                       monkeypatch, cpus):  # fmt: skip
    tokenizer.save(tmp_path / "tokenizer")
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(tmp_path / "tokenizer"), str(cpus)]
    child = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "in the middle\n"
    until = time.monotonic() + 30
    while len(list((base_dir / "tokens").glob("[!.]*/COMPLETE"))) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    child.kill()
    assert child.stdout.read() == "", "at its end no process of it is left"
    child.communicate()
    done = {path.parent.name: path.stat().st_mtime_ns for path in (base_dir / "tokens").glob("[!.]*/COMPLETE")}
    assert len(done) == 2
    asked, encode = [], Tokenizer.encode_batch
    monkeypatch.setattr(Tokenizer, "encode_batch", lambda self, texts, *rest: asked.extend(texts) or encode(self, texts, *rest))
    shard = open_shard(source, tokenizer, "train")
    assert len(asked) == 3 and [tokenizer.decode(ids[1:].tolist()) for ids in shard] == list(source.documents("train"))
    assert all((base_dir / "tokens" / name / "COMPLETE").stat().st_mtime_ns == written for name, written in done.items())


@pytest.mark.parametrize("cpus", [2, 5])
def test_several_parts_are_tokenised_at_a_time_and_are_the_same(source, tokenizer, base_dir, tmp_path, monkeypatch, cpus):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(1))
    expected = [ids.tolist() for ids in open_shard(source, tokenizer, "train")]
    shutil.rmtree(base_dir / "tokens")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(cpus))
    encode = Tokenizer.encode_batch

    def noting(self, texts, *rest):
        (tmp_path / f"{os.getpid()}.made").touch()
        return encode(self, texts, *rest)

    monkeypatch.setattr(Tokenizer, "encode_batch", noting)
    assert [ids.tolist() for ids in open_shard(source, tokenizer, "train")] == expected
    assert not (tmp_path / f"{os.getpid()}.made").exists() and list(tmp_path.glob("*.made"))
    (tmp_path / "9.jsonl").write_text('{"text"')
    (tmp_path / "99.jsonl").write_text('{"text": "fine"}')
    with pytest.raises(UserError, match="9.jsonl is damaged"):
        open_shard(open_source("*.jsonl", str(tmp_path), val_files=1), tokenizer, "train")


def test_all_that_was_tokenised_can_be_opened(source, tokenizer, base_dir, tmp_path):
    train, val = (open_shard(source, tokenizer, split) for split in ("train", "val"))
    shard = open_tokens(base_dir / "tokens")
    assert shard.num_tokens == train.num_tokens + val.num_tokens and len(open_tokens(parts(base_dir)[0])) < len(shard)
    with pytest.raises(UserError, match="no tokenised text in"):
        open_tokens(tmp_path)


def test_large_vocabularies_use_wider_integers(source, base_dir):
    ranks = {bytes([b]): b for b in range(256)} | {n.to_bytes(3, "big"): n + 256 for n in range(1 << 16)}
    shard = open_shard(source, Tokenizer(ranks), "val")
    assert shard[0].dtype == np.uint32 and shard[0][0] == 256 + (1 << 16)


def test_no_text_at_all_is_one_sentence(tmp_path, tokenizer):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(" \n")
    with pytest.raises(UserError, match="too little text"):
        open_shard(open_source("*.txt", str(tmp_path)), tokenizer, "train")
    with pytest.raises(UserError, match="too little text"):
        TokenShard([], "nothing", "train")


def test_processes_share_the_parts_and_wait_for_each_other(source, tokenizer, base_dir, one_cpu, monkeypatch):
    """Each of two processes makes its own parts; the second finds the first's already there."""
    import threading

    from nanochat.data import shards

    monkeypatch.setattr(shards, "POLL", 0.01)
    monkeypatch.setattr(shards.common, "world_size", lambda: 2)
    ranks = threading.local()
    monkeypatch.setattr(shards.common, "rank", lambda: ranks.here)
    lengths = {}

    def process(rank):
        ranks.here = rank
        lengths[rank] = open_shard(source, tokenizer, "train").lengths.tolist()

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert lengths[0] == lengths[1] and len(parts(base_dir)) == 3


@pytest.fixture
def second_of_two(source, tokenizer, base_dir, one_cpu, monkeypatch):
    """Text whose first part only another process makes, which is not there; and a stage's run for which 0.6 s without progress are long."""
    from nanochat.data import shards

    monkeypatch.setattr(shards, "POLL", 0.01)
    monkeypatch.setattr(shards.common, "world_size", lambda: 2)
    monkeypatch.setattr(shards.common, "rank", lambda: 1)
    return source, tokenizer, "train", SimpleNamespace(config=SimpleNamespace(hang_minutes=0.01))


def test_a_process_does_not_wait_for_ever_for_one_that_is_gone(second_of_two):
    with pytest.raises(UserError, match="waits in vain for 2 of 3 parts .* nothing was written for 0.6 s; .* run it again"):
        open_shard(*second_of_two)


def test_a_process_waits_as_long_as_the_other_one_writes(second_of_two, base_dir):
    def write():
        aside = base_dir / "tokens" / ".other.1.tmp"
        aside.mkdir(parents=True)
        with open(aside / "tokens.bin", "wb", buffering=0) as f:
            for _ in range(10):
                time.sleep(0.1)
                f.write(b"12")

    began = time.monotonic()
    threading.Thread(target=write).start()
    with pytest.raises(UserError, match="waits in vain"):
        open_shard(*second_of_two)
    assert time.monotonic() - began > 1.4


def test_runs_that_need_the_same_text_at_the_same_time_tokenise_it_once(source, tokenizer, base_dir, one_cpu, monkeypatch):
    made, begin = [], threading.Barrier(3)
    encode = Tokenizer.encode_batch

    def slowly(self, texts, *rest):
        made.extend(texts)
        time.sleep(0.1)
        return encode(self, texts, *rest)

    def run():
        begin.wait()
        return open_shard(source, tokenizer, "train")

    monkeypatch.setattr(Tokenizer, "encode_batch", slowly)
    with ThreadPoolExecutor(3) as pool:
        shards = [future.result() for future in [pool.submit(run) for _ in range(3)]]
    assert len(made) == len(set(made)) == len(shards[0]) and len({shard.num_tokens for shard in shards}) == 1
