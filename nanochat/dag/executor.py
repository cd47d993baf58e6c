"""Operations, references and exact execution.

A plan is a list of steps; a step names an operation and two references. A reference is one integer that says where a value
comes from, relative to the start of its document (packing adds `offset * (D + 1)`, see `shift_references`):

    constant c                  -1 - c
    number ending at token p    p * (D + 1)
    result of step s at token p p * (D + 1) + 1 + s

Values are float64 and never see a gradient. A result is valid if it is finite, within +-2^53, and was not divided by zero; an
invalid operand makes an invalid result.
"""

import torch

ADD, SUBTRACT, MULTIPLY, DIVIDE, IDENTITY = range(5)
OPERATIONS = ("add", "subtract", "multiply", "divide", "identity")
CONSTANTS = (0, 1, 2, 3, 4, 5, 7, 10, 12, 24, 30, 52, 60, 100, 365, 1000, 0.5, 0.01)
NO_STEP = -1  # no label for this step
NO_REFERENCE = -(10**9)
LARGEST = 2.0**53


def constant_reference(c: int) -> int:
    """Reference to CONSTANTS[c]."""
    return -1 - c


def number_reference(position, steps: int):
    """Reference to the number whose last digit stands at token `position`."""
    return position * (steps + 1)


def tape_reference(position, step, steps: int):
    """Reference to the result of `step` at token `position`."""
    return position * (steps + 1) + 1 + step


def shift_references(reference, offset: int, steps: int):
    """The references of a document that begins at token `offset` of its row; works on arrays and tensors."""
    return reference + (reference >= 0) * (offset * (steps + 1))


def apply(operation: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Element-wise result in float64, NaN where it is not valid (division by zero, overflow, invalid operand)."""
    zero = y == 0
    results = torch.stack([x + y, x - y, x * y, x / torch.where(zero, 1.0, y), x])
    result = results.gather(0, operation[None]).squeeze(0)
    valid = result.isfinite() & (result.abs() < LARGEST) & ~((operation == DIVIDE) & zero)
    return torch.where(valid, result, torch.nan)


@torch.no_grad()
def execute(operation: torch.Tensor, operand1: torch.Tensor, operand2: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Values (B, M) of M plan steps per row.

    `operation` (B, M); `operand1`, `operand2` (B, M) index the row's values: first the known ones (B, K) float64, then the steps
    themselves. References point backwards, so sweeping over all steps until nothing changes ends after as many sweeps as the
    longest chain; a step that depends on itself stays NaN.
    """
    steps = operation.shape[1]
    result = known.new_full((len(known), steps), torch.nan)
    for _ in range(steps):
        values = torch.cat([known, result], dim=1)
        new = apply(operation, values.gather(1, operand1), values.gather(1, operand2))
        if torch.equal(new.nan_to_num(nan=LARGEST), result.nan_to_num(nan=LARGEST)):
            break
        result = new
    return result
