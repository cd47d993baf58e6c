"""Loss scaling for float16, whose smallest numbers are larger than many gradients (Micikevicius et al. 2018, arXiv 1710.03740).

The loss is multiplied by a power of two before the backward pass and the gradients, in float32, are divided by it: exactly, as long as
nothing left float16's range. When something did, the step is left out and the scale halved; after many good steps it doubles.
"""

from nanochat.common import UserError

FIRST, LEAST, MOST = 2.0**16, 2.0**-8, 2.0**24
PATIENCE = 2000  # good steps before a larger scale is tried


class LossScaler:
    """`scale`: what the loss is multiplied by."""

    def __init__(self):
        self.scale, self.good_steps = FIRST, 0

    def update(self, finite: bool) -> None:
        """Takes note of a step. UserError when no scale is small enough: then it is not float16 that is to blame."""
        self.good_steps = self.good_steps + 1 if finite else 0
        if not finite:
            self.scale /= 2
        elif self.good_steps == PATIENCE:
            self.scale, self.good_steps = min(MOST, 2 * self.scale), 0
        if self.scale < LEAST:
            raise UserError("the gradients are not finite in float16 at any loss scale; lower --lr_scale and run again")

    def state_dict(self) -> dict:
        return {"scale": self.scale, "good_steps": self.good_steps}

    def load_state_dict(self, saved: dict) -> None:
        self.scale, self.good_steps = float(saved["scale"]), int(saved["good_steps"])
