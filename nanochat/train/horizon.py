"""How long a pretraining run is, in what batches, and how often a run reads its data: said before the first step where it is more than
once, refused where it is more than was allowed.

Text read up to four times teaches almost as much as so much new text; more often, less and less (Muennighoff et al. 2023, "Scaling
Data-Constrained Language Models", arXiv:2305.16264).
"""

import math
from dataclasses import replace

from nanochat.common import UserError
from nanochat.train.laws import best_batch, best_decay
from nanochat.train.settings import TrainSettings, accumulation

MOST = 4.0
BY_LAW = -1.0  # a weight decay that follows size


def planned(config, weights: int, tokens_per_pass: int):
    """The configuration of base_train with the steps, batch and weight decay of a run that trains `weights` multiplied weights, where
    one forward pass of all processes is `tokens_per_pass`: what was not asked for follows the laws of size."""
    tokens = config.tokens or config.tokens_per_param * weights
    if not config.steps and not config.total_batch:
        config = replace(config, total_batch=tokens_per_pass * max(1, round(best_batch(tokens) / tokens_per_pass)))
    per_step = tokens_per_pass * accumulation(config.total_batch, tokens_per_pass)
    steps = config.steps or max(1, round(tokens / per_step))
    decay = best_decay(steps * per_step, per_step) if config.weight_decay == BY_LAW else config.weight_decay
    return replace(config, steps=steps, weight_decay=decay)


def tokens_of(settings: TrainSettings, tokens_per_pass: int) -> int:
    """Tokens that the steps of a run train on; 0 if one epoch is the run."""
    return settings.steps * tokens_per_pass * accumulation(settings.total_batch, tokens_per_pass)


def tell_epochs(run, what: str, tokens: float, there: float, most: float = math.inf) -> float:
    """How often a run on `tokens` tokens reads the `there` tokens of `what`: said if more than once, a UserError if more than `most`."""
    epochs = tokens / max(there, 1)
    if epochs > most:
        raise UserError(
            f"{what} has {there:,.0f} tokens and training on {tokens:,.0f} would read it {_told(epochs)} times, more than "
            f"--max_epochs={most:g}; give it more text (--text) or train on less (--tokens), or allow it with "
            f"--max_epochs={math.ceil(epochs)}"
        )
    if epochs > 1:
        run.say(f"{what} is read {_told(epochs)} times: training takes {tokens:,.0f} tokens and it has {there:,.0f}")
    return epochs


def _told(epochs: float) -> str:
    """To the next hundredth: what is more than a limit is told as more."""
    return f"{math.ceil(round(100 * epochs, 6)) / 100:.10g}"
