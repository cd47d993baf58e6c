"""Schedules over the progress of a run.

learning rate    1 ┌──────────────┐            linear warm-up, flat, then linear to `final`
                  /                 ╲
Muon momentum    0.85 -> `momentum` over its warm-up, flat, then linear to `final_momentum` while the learning rate falls
weight decay     from full to 0 along half a cosine
"""

import math
from dataclasses import dataclass

FIRST_MOMENTUM = 0.85


@dataclass(frozen=True)
class Schedule:
    """Multipliers as functions of progress in [0, 1]. `warmup` and `decay` are shares of the run."""

    warmup: float = 0.0
    decay: float = 0.5
    final: float = 0.0
    momentum_warmup: float = 0.1
    top_momentum: float = 0.95
    final_momentum: float = 0.95

    def lr(self, progress: float) -> float:
        """Multiplier of every learning rate."""
        if progress < self.warmup:
            return progress / self.warmup
        if progress <= 1 - self.decay:
            return 1.0
        left = max(0.0, 1 - progress) / self.decay
        return self.final + (1 - self.final) * left

    def momentum(self, progress: float) -> float:
        """Muon's momentum: low while directions still turn quickly."""
        if progress < self.momentum_warmup:
            return FIRST_MOMENTUM + (self.top_momentum - FIRST_MOMENTUM) * progress / self.momentum_warmup
        if progress <= 1 - self.decay:
            return self.top_momentum
        return self.final_momentum + (self.top_momentum - self.final_momentum) * max(0.0, 1 - progress) / self.decay

    def weight_decay(self, progress: float) -> float:
        """Multiplier of Muon's weight decay."""
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
