"""The straightforward way to generate arithmetic, one example at a time with sympy: what the vectorised generator is compared with.

A random tree of unevaluated sympy objects is drawn, printed by sympy, put into a question, encoded by the tokenizer, and evaluated
by sympy; its labels are the operations in post-order with the indices of their operands. Examples that divide by zero, or whose
values do not end within a few decimals, are drawn anew, as the vectorised generator does.
"""

import random
from dataclasses import dataclass

import sympy
from sympy.printing.str import StrPrinter

from nanochat.dag.executor import ADD, DIVIDE, MULTIPLY, SUBTRACT
from nanochat.dag.surface import QUESTIONS, WORDS
from nanochat.dag.trees import DECIMALS, LARGEST_VALUE

SYMBOLS = {ADD: "+", SUBTRACT: "-", MULTIPLY: "*", DIVIDE: "/"}
SHARES = (0.3, 0.3, 0.25, 0.15)  # of the four operations, as in trees.draw_trees


@dataclass
class Example:
    """ids: token ids up to the answer token; steps: (operation, operand1, operand2) with operands counted leaves first, in the order
    of the text, then steps; value: the answer."""

    ids: list[int]
    text: str
    steps: list[tuple[int, int, int]]
    value: float


class SympyExpressions:
    """Draws examples of `operations` (min, max) with integers of at most `max_digits`, in symbols and English words."""

    def __init__(self, tokenizer, operations: tuple[int, int] = (1, 6), max_digits: int = 4, seed: int = 0):
        self.tokenizer, self.operations, self.max_digits = tokenizer, operations, max_digits
        self.random, self.printer = random.Random(seed), StrPrinter({"order": "none"})
        self.before = [tokenizer.bos_id, tokenizer.special("<|user_start|>")]
        self.after = [tokenizer.special("<|user_end|>"), tokenizer.special("<|assistant_start|>")]

    def example(self) -> Example:
        """The next one."""
        while True:
            self.leaves, self.steps = 0, []
            count = self.random.randint(*self.operations)
            tree, root = self._tree(count)
            value = self._value(tree)
            if value is None:
                continue
            steps = [(operation, *(self._index(x, count) for x in operands)) for operation, *operands in self.steps]
            text = self.random.choice(QUESTIONS).format(self._written(tree))
            assert root == ("step", count - 1)
            return Example([*self.before, *self.tokenizer.encode(text), *self.after], text, steps, value)

    def _tree(self, operations: int):
        """(a sympy expression that is not evaluated, ("leaf" or "step", its number))."""
        if operations == 0:
            self.leaves += 1
            digits = self.random.randint(1, self.max_digits)
            number = self.random.randrange(max(2, 10 ** (digits - 1)), 10**digits)  # sympy leaves a factor of 1 out of the text
            return sympy.Integer(number), ("leaf", self.leaves - 1)
        operation = self.random.choices((ADD, SUBTRACT, MULTIPLY, DIVIDE), SHARES)[0]
        left_size = self.random.randrange(operations)
        left, one = self._tree(left_size)
        right, two = self._tree(operations - 1 - left_size)
        if operation == DIVIDE and right.is_Integer:
            right = sympy.Integer(self.random.choice((2, 4, 5, 8, 10)))
        self.steps.append((operation, one, two))
        return _joined(operation, left, right), ("step", len(self.steps) - 1)

    def _value(self, tree) -> float | None:
        """The answer; None where a part of the tree is not a number that ends within DECIMALS and stays in bounds."""
        exact = None
        for node in sympy.postorder_traversal(tree):
            exact = node.doit()
            if not exact.is_Rational or abs(exact) >= LARGEST_VALUE:
                return None
        return float(exact) if (exact * 10**DECIMALS).is_Integer else None

    def _written(self, tree) -> str:
        text = self.printer.doprint(tree)
        if self.random.random() < 0.5:
            for operation, symbol in SYMBOLS.items():
                words = f" {self.random.choice(WORDS[operation])} "
                text = text.replace(f" {symbol} ", words) if operation in (ADD, SUBTRACT) else text.replace(symbol, words)
        return text

    @staticmethod
    def _index(operand: tuple[str, int], count: int) -> int:
        kind, number = operand
        return number if kind == "leaf" else count + 1 + number


def _joined(operation: int, left, right):
    if operation == ADD:
        return sympy.Add(left, right, evaluate=False)
    if operation == SUBTRACT:
        minus = -right if right.is_Integer else sympy.Mul(-1, right, evaluate=False)  # else it is printed as - 1*4
        return sympy.Add(left, minus, evaluate=False)
    if operation == MULTIPLY:
        return sympy.Mul(left, right, evaluate=False)
    return sympy.Mul(left, sympy.Pow(right, -1, evaluate=False), evaluate=False)
