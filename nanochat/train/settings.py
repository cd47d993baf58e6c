"""How long, in what portions, and at which rates a model is trained: options that every training stage shares."""

from dataclasses import dataclass, replace

from nanochat.common import UserError
from nanochat.config import at_least, option
from nanochat.model.gpt import GPT
from nanochat.train import checkpoint
from nanochat.train.laws import batch_scale, width_scale
from nanochat.train.muon import ITERATIONS, Muon
from nanochat.train.optimizer import Group, MuonAdamW
from nanochat.train.schedule import Schedule


@dataclass
class TrainSettings:
    """Mixed into the configuration of a stage: `class Config(TrainSettings, StageConfig)`."""

    steps: int = option(0, "optimizer steps; 0: as the stage says, else one epoch", "steps")
    device_batch: int = option(8, "rows in one forward pass of one process", "rows")
    total_batch: int = option(0, "tokens in one optimizer step, over all processes; 0: one forward pass each", "tokens")
    lr_scale: float = option(1.0, "multiplies every learning rate below")
    matrix_lr: float = option(0.02, "learning rate of matrices (Muon)")
    embedding_lr: float = option(0.3, "learning rate of the token embedding; value embeddings have half of it")
    head_lr: float = option(0.008, "learning rate of the head")
    skip_lr: float = option(0.5, "learning rate of the skip scales; the residual scales have a hundredth of it")
    gate_lr: float = option(0.2, "learning rate of smear and backout; it does not follow the batch")
    scalar_lr: float = option(0.003, "learning rate of biases and whatever has no rate of its own")
    tower_lr: float = option(0.0003, "learning rate of a plugged-in tower, which was trained before")
    weight_decay: float = option(0.1, "cautious weight decay of matrices, falling to 0 over the run")
    warmup: float = option(0.02, "share of the run over which the learning rate rises from 0")
    decay: float = option(0.5, "share of the run, at its end, over which the learning rate falls")
    final_lr: float = option(0.0, "where the learning rate falls to, relative to its top")
    momentum_warmup: float = option(0.1, "share of the run over which Muon's momentum rises from 0.85")
    top_momentum: float = option(0.95, "to where it rises")
    final_momentum: float = option(0.95, "where it falls to while the learning rate falls")
    orthogonal: str = option(
        "polar_express",
        "Muon: how the nearest orthogonal matrix is found; off: AdamW trains matrices too, try a --matrix_lr of 0.003",
        choices=(*ITERATIONS, "off"),
    )
    equal_rows: bool = option(True, "Muon: gradients' rows of equal length (MuonEq)")
    unit_size: bool = option(True, "Muon: updates of the size of an orthogonal matrix (Muon+)")
    variance: float = option(0.9, "Muon: memory of the mean squares that updates are divided by (NorMuon); 0: they are not")
    cautious: bool = option(True, "Muon: weights decay only where that agrees with the update")
    log_every: int = option(10, "a line in metrics.jsonl every so many steps", "steps")
    eval_every: int = option(250, "evaluate every so many steps; 0: only at the end", "steps")
    save_every: int = option(0, "a checkpoint every so many steps; 0: see save_minutes", "steps")
    save_minutes: float = option(10.0, "a checkpoint every so many minutes; 0: none but the last", "minutes")
    keep: int = option(2, "checkpoints kept, the newest ones", "checkpoints")
    keep_best: int = option(1, "checkpoints kept beside them, the best evaluated; better ones are saved at once", "checkpoints")
    spike: float = option(6.0, "a loss this many times as far above the median of the last ones as their highest is a spike; 0: none is")
    on_spike: str = option(
        "rollback",
        "after a spike, or a loss or gradient that is no number: go back to the newest checkpoint and on without that batch, or stop",
        choices=("rollback", "stop"),
    )
    hang_minutes: float = option(30.0, "a process that got no further for so long shows where it stands and ends; 0: never", "minutes")


def check(settings: TrainSettings) -> None:
    """UserError for settings that cannot work."""
    at_least(settings, 1, "device_batch", "log_every", "keep")
    at_least(settings, 0, "steps", "total_batch", "eval_every", "save_every", "save_minutes", "lr_scale", "weight_decay")
    at_least(settings, 0, "keep_best", "spike", "hang_minutes")
    at_least(settings, 0, "matrix_lr", "embedding_lr", "head_lr", "skip_lr", "gate_lr", "scalar_lr", "tower_lr")
    for name in ("warmup", "decay", "final_lr", "momentum_warmup"):
        if not 0 <= getattr(settings, name) <= 1:
            raise UserError(f"--{name} is a share and must lie between 0 and 1, not {getattr(settings, name)}")
    for name in ("top_momentum", "final_momentum", "variance"):  # a memory of 1 takes up nothing new
        if not 0 <= getattr(settings, name) < 1:
            raise UserError(f"--{name} must be at least 0 and below 1, not {getattr(settings, name)}")


def accumulation(total_batch: int, tokens_per_pass: int) -> int:
    """Forward passes in one optimizer step; UserError naming the nearest legal values if it is not a whole number."""
    if total_batch == 0:
        return 1
    if total_batch % tokens_per_pass:
        below = total_batch // tokens_per_pass * tokens_per_pass
        near = " or ".join(f"{n}" for n in (below, below + tokens_per_pass) if n)
        raise UserError(
            f"--total_batch={total_batch} cannot be reached: one forward pass of all processes is {tokens_per_pass} tokens and the total "
            f"must be a multiple of it; use {near}, or change --device_batch"
        )
    return total_batch // tokens_per_pass


def as_before(run, settings: TrainSettings, batches) -> TrainSettings:
    """The settings of a run, with `total_batch` as large as its steps have been so far if it goes on from a checkpoint: as many tokens with
    another number of processes. Where a pass of these is too large for that, `batches` (memory.py) are made smaller. UserError if no
    number of rows fits. Call it in every process."""
    total = checkpoint.earlier(run).get("tokens_per_step")
    if not total:
        return settings
    if total % batches.tokens_per_step:
        rows = getattr(batches, "batch", 1)
        a_row = batches.tokens_per_step // rows
        fewer = [n for n in range(1, rows) if rows % n == 0 and total % (n * a_row) == 0]
        if not fewer:
            raise UserError(
                f"the run that is to go on takes {total:,} tokens a step, which {run.compute.world} processes with {a_row:,} tokens a row "
                "of each cannot share evenly; use another number of processes, or start again with --resume=off"
            )
        batches.resize(fewer[-1])
        run.say(f"{fewer[-1]} rows in a pass instead of {rows}: a step of all processes has {total:,} tokens as before")
    return replace(settings, total_batch=total)


def make_schedule(settings: TrainSettings) -> Schedule:
    s = settings
    return Schedule(s.warmup, s.decay, s.final_lr, s.momentum_warmup, s.top_momentum, s.final_momentum)


def make_optimizer(model, settings: TrainSettings, tokens_per_step: int) -> MuonAdamW:
    """Optimizer of a model. For a GPT the rates follow batch and width (laws.py), for other models they are as given."""
    batch, law, width = 1.0, 1.0, 1.0
    if isinstance(model, GPT):
        batch, law = batch_scale(tokens_per_step), batch_scale(tokens_per_step, least=0.0)
        width = width_scale(model.config.n_embd)
    own = settings.lr_scale
    rate = own * batch
    # Betas and decay are nanochat's. The scales of the stream follow the law to its end: at higher rates a few steps of theirs throw a
    # small run back (docs/recipe.md). They and backout have no true gradient as long as all blocks give 0, as they do at first: their
    # epsilon is large enough to keep AdamW from following rounding errors.
    groups = {
        "matrix": Group(settings.matrix_lr * rate, settings.weight_decay),
        "embedding": Group(settings.embedding_lr * rate * width, 0.001, (0.8, 0.995)),
        "value_embedding": Group(settings.embedding_lr / 2 * rate * width, 0.01, (0.8, 0.995)),
        "head": Group(settings.head_lr * rate * width, 0.01, (0.8, 0.96)),
        "residual": Group(settings.skip_lr / 100 * own * law, 0.05, (0.8, 0.95), 1e-7),
        "skip": Group(settings.skip_lr * own * law, 0.0, (0.96, 0.95), 1e-7),
        "gate": Group(settings.gate_lr * own, 0.0, (0.8, 0.95), 1e-5),
        "scalar": Group(settings.scalar_lr * own, 0.0, (0.9, 0.99)),
        "tower": Group(settings.tower_lr * own, 0.0, (0.9, 0.99)),
    }
    muon = Muon(settings.orthogonal, settings.equal_rows, settings.unit_size, settings.variance, settings.cautious)
    return MuonAdamW(model, groups, muon)
