import math

import pytest
import torch

from nanochat.dag.executor import ADD, DIVIDE, IDENTITY, MULTIPLY, SUBTRACT, apply, execute, shift_references


@pytest.mark.parametrize(("operation", "expected"), [(ADD, 8.0), (SUBTRACT, 4.0), (MULTIPLY, 12.0), (DIVIDE, 3.0), (IDENTITY, 6.0)])
def test_each_operation(operation, expected):
    x, y = torch.tensor([6.0], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
    assert apply(torch.tensor([operation]), x, y).item() == expected


@pytest.mark.parametrize(
    ("operation", "x", "y"),
    [(DIVIDE, 1.0, 0.0), (DIVIDE, 0.0, 0.0), (MULTIPLY, 1e12, 1e12), (ADD, math.nan, 1.0), (IDENTITY, math.inf, 0.0)],
)
def test_invalid_results_are_nan_and_stay_nan(operation, x, y):
    known = torch.tensor([[x, y]], dtype=torch.float64)
    first, second = [[operation, ADD]], [[0, 2]]
    values = execute(torch.tensor(first), torch.tensor(second), torch.tensor([[1, 1]]), known)
    assert values.isnan().all()


def test_division_by_zero_of_one_row_leaves_the_others_alone():
    x, y = torch.tensor([[1.0], [8.0]], dtype=torch.float64), torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    values = apply(torch.tensor([[DIVIDE], [DIVIDE]]), x, y)
    assert values[0].isnan() and values[1].item() == 4.0


def test_chains_resolve_whatever_the_order_of_the_steps():
    """((2 + 3) * 4) - 5 with the steps stored backwards."""
    known = torch.tensor([[2.0, 3.0, 4.0, 5.0]], dtype=torch.float64)
    operation = torch.tensor([[SUBTRACT, MULTIPLY, ADD]])
    values = execute(operation, torch.tensor([[5, 6, 0]]), torch.tensor([[3, 2, 1]]), known)
    assert values.tolist() == [[15.0, 20.0, 5.0]]


def test_a_step_that_depends_on_itself_is_not_valid_and_ends():
    values = execute(torch.tensor([[ADD]]), torch.tensor([[1]]), torch.tensor([[0]]), torch.ones(1, 1, dtype=torch.float64))
    assert values.isnan().all()


def test_shifted_references_keep_constants():
    assert shift_references(torch.tensor([-1, 0, 7]), 5, 2).tolist() == [-1, 15, 22]
