"""Laws of size: learning rates, batch and weight decay of a run of any size, from those of one at which they were tuned.

The reference is nanochat's model of depth 12, 768 wide, trained on 12 tokens for each of its 110 M weights that are multiplied, with
524,288 tokens a step; the exponents are nanochat's too, of depths 8 to 26. With w the width, B tokens a step and D tokens in all:

    AdamW's rates of embeddings and head   sqrt(768 / w)
    all learning rates                     sqrt(B / B_ref)                    (Malladi et al. 2022, arXiv:2205.10287)
    batch                                  B_ref (D / D_ref)^0.383, to a power of two
    weight decay                           0.28 sqrt(B / B_ref) D_ref / D

Followed down to a laptop's sizes they explode: steps too few to learn from, rates of a standstill, a decay that eats the weights. So
each has an end there; docs/recipe.md says which were measured.
"""

import math

REFERENCE_WIDTH = 768
REFERENCE_BATCH = 1 << 19  # tokens per step
REFERENCE_TOKENS = 12 * 110.1e6
REFERENCE_DECAY = 0.28  # also the most
FEWEST_STEPS = 400  # a smaller batch rather than fewer
LEAST_SCALE = 0.75  # of the learning rates


def width_scale(width: int) -> float:
    """What AdamW's learning rates of embeddings and head are multiplied by."""
    return (width / REFERENCE_WIDTH) ** -0.5


def batch_scale(tokens_per_step: int, least: float = LEAST_SCALE) -> float:
    """What learning rates are multiplied by, `least` at the least."""
    return max(least, math.sqrt(tokens_per_step / REFERENCE_BATCH))


def best_batch(tokens: float) -> int:
    """Tokens per step, a power of two, of a run on so many tokens."""
    law = round(math.log2(REFERENCE_BATCH * (tokens / REFERENCE_TOKENS) ** 0.383))
    return 2 ** max(0, min(law, math.floor(math.log2(tokens / FEWEST_STEPS))))


def best_decay(tokens: float, tokens_per_step: int) -> float:
    """Weight decay of matrices in a run on so many tokens."""
    return REFERENCE_DECAY * min(1.0, math.sqrt(tokens_per_step / REFERENCE_BATCH) * REFERENCE_TOKENS / tokens)
