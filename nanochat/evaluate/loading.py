"""How fast text is read for training, by one core from memory-mapped token files, and what packing makes of its documents.

Every process of a run plans the rows of all and fetches its own: what is counted are its own tokens, and only the time that this
process computed. Nothing is made ahead of time here.
"""

import time
from pathlib import Path

import numpy as np

from nanochat.data.loader import TokenLoader
from nanochat.data.packing import TextPacker
from nanochat.data.shards import TokenShard, write_tokens
from nanochat.evaluate.speed import RandomDocuments

CASES = ((256, 8, 1), (256, 32, 1), (256, 8, 8), (2048, 8, 1), (2048, 32, 1), (2048, 32, 8))  # context, rows, processes
COPIES = 8  # of the lengths of RandomDocuments: about twenty million tokens
SECONDS = 0.5  # a case is measured for at least so long


def random_shard(folder: Path, vocab_size: int) -> TokenShard:
    """Random documents with lengths as on the web, written to `folder`; token 0 begins each."""
    documents = RandomDocuments(vocab_size)
    write_tokens((documents[i] for _ in range(COPIES) for i in range(len(documents))), vocab_size, folder)
    return TokenShard([folder], documents.name, "train")


def loading(shard: TokenShard) -> dict:
    """`tokens_per_s` of the slowest case, and for each case its own and what packing does there; of the whole text its size."""
    packed = {T: packing(shard, T) for T in sorted({T for T, *_ in CASES})}
    found = [
        {"sequence_len": T, "device_batch": batch, "processes": world, "tokens_per_s": speed(shard, T, batch, world), **packed[T]}
        for T, batch, world in CASES
    ]
    slowest = min(case["tokens_per_s"] for case in found)
    return {"tokens_per_s": slowest, "tokens": shard.num_tokens, "documents": len(shard), "cases": found}


def speed(shard: TokenShard, T: int, batch: int, world: int) -> float:
    """Tokens per second of computing time that the last of `world` processes reads."""
    loader = TokenLoader(shard, batch, T, rank=world - 1, world=world, ahead=0)
    next(loader)
    given, began = 0, time.process_time()
    while (passed := time.process_time() - began) < SECONDS:
        next(loader)
        given += batch * T
    return given / passed


def packing(shard: TokenShard, T: int) -> dict[str, float]:
    """What an epoch's rows are made of: the shares of the text's tokens that are in no row (`dropped`; what waits for the next epoch's
    rows is not) and of the rows' that stand for nothing (`padded`) or are a further <|bos|> of a document that was cut (`repeated_bos`);
    of the documents that would fit into a row the share that was cut (`cut`); and `pieces_per_row`."""
    packer, pieces, rows = TextPacker(shard.lengths, T + 1, seed=0), [], 0
    while packer.documents_read < len(shard):
        pieces.append(packer.next_rows(1))
        rows += 1
    document, start, end = np.concatenate(pieces).T
    waits = np.array(packer.state_dict()["waiting"], dtype=np.int64).reshape(-1, 3)
    content = int((shard.lengths - 1).sum(dtype=np.int64))
    placed = int((end - start).sum()) + int((waits[:, 2] - waits[:, 1]).sum())
    parts = np.bincount(document, minlength=len(shard)) + np.bincount(waits[:, 0], minlength=len(shard))
    fits = shard.lengths <= T + 1
    return {
        "dropped": 1 - placed / content,
        "padded": 1 - int((end - start + 1).sum()) / (rows * (T + 1)),
        "repeated_bos": int((start > 1).sum()) / (rows * (T + 1)),
        "cut": float((parts[fits] > 1).mean()) if fits.any() else 0.0,
        "pieces_per_row": len(document) / rows,
    }
