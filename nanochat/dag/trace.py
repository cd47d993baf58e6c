"""What the tower did with a text, in plain values: numbers read, steps planned and executed, where a result may be printed.

    trace = trace_text(model, tokenizer, ids)
    for thought in trace.thoughts: ...           # the tokens at which something was computed or could be printed

Nothing here decides anything: it reads the outcome of one forward pass, and works every step out again in exact fractions.
"""

from dataclasses import dataclass, field
from fractions import Fraction

import torch

from nanochat.dag.alternatives import NEVER
from nanochat.dag.executor import CONSTANTS, IDENTITY, OPERATIONS
from nanochat.dag.numbers import PRINTED_DECIMALS, format_value

SYMBOLS = dict(zip(OPERATIONS, "+−×÷=", strict=True))


@dataclass(frozen=True)
class Operand:
    """What a step points to. `name`: the number as written in the text, a constant, or the step (`s1`); `probability` of the choice;
    `slot` is its index among the values known in the text: equal slots are the same value."""

    name: str
    slot: int
    probability: float


@dataclass(frozen=True)
class Step:
    """One executed operation. `value` float64 (NaN if it cannot be computed), `exact` the same from exact fractions."""

    name: str
    slot: int
    operation: str
    probability: float
    operands: tuple[Operand, ...]
    value: float
    exact: Fraction | None


@dataclass(frozen=True)
class Thought:
    """A token at which steps were carried out, whose result would be printed, or the last that may plan: its position, text, steps,
    gate (None: the tower alone has none), the result it offers and its exact value. Without steps it offers what `takes` names."""

    position: int
    token: str
    steps: tuple[Step, ...]
    takes: str
    gate: float | None
    result: float
    exact: Fraction | None
    decimals: int = PRINTED_DECIMALS

    @property
    def printed(self) -> str | None:
        """The result as it would be printed, rounded to `decimals`; None if there is none that can be."""
        return format_value(self.result, self.decimals)


@dataclass(frozen=True)
class OtherPlan:
    """One of the most probable plans of the last token that may plan: as a formula, its probability, and the value it comes to."""

    formula: str
    probability: float
    value: float


@dataclass
class Trace:
    """A text's tokens, the numbers read in it as (position of the last digit, value, slot), and the thoughts in order; plans of the last
    thought, best first, if they were asked for."""

    tokens: list[str]
    numbers: list[tuple[int, float, int]]
    thoughts: list[Thought] = field(default_factory=list)
    plans: list[OtherPlan] = field(default_factory=list)


def exact_step(operation: str, x: Fraction | None, y: Fraction | None) -> Fraction | None:
    """The exact result; None for a division by zero or an operand that is None."""
    if x is None or (y is None and operation != "identity") or (operation == "divide" and y == 0):
        return None
    return {"add": lambda: x + y, "subtract": lambda: x - y, "multiply": lambda: x * y, "divide": lambda: x / y}.get(operation, lambda: x)()


def trace_text(model, tokenizer, ids: list[int], plans: int = 0) -> Trace:
    """Traces one text. `model`: a PredictorOnlyModel, or a GPT with a branch (ValueError without one); ids: its tokens; `plans`: how
    many plans of the last token that may plan are listed."""
    with torch.no_grad():
        tower, output, gate, decimals = _forward(model, torch.tensor([ids], device=next(model.parameters()).device))
        reader = _Reader(tower, tokenizer, output, ids)
        trace = reader.trace(gate, decimals)
        if plans:
            trace.plans = reader.plans(tower, plans)
        return trace


def _forward(model, idx: torch.Tensor):
    """The tower, its output, and at each token the gate and the decimals to print with (None for the tower alone)."""
    if hasattr(model, "tower"):
        return model.tower, model(idx), None, None
    if model.branch is None:
        raise ValueError("this model has no tower to trace")
    side = model(idx).side
    gate = torch.where(side["speaks"], side["gate_logit"].sigmoid(), 0.0)
    return model.branch.tower, side["output"], gate[0].tolist(), side["decimals"][0].tolist()


class _Reader:
    """Turns the tensors of one row into values: slots are constants, then numbers, then D results for each planning token."""

    def __init__(self, tower, tokenizer, output, ids):
        self.tokens = [tokenizer.decode([i]) for i in ids]
        self.output, self.plan, self.depth = output, output.plan, tower.config.steps
        reading = output.reading
        ends = (reading.number & ~reading.absorbed)[0].nonzero().flatten().tolist()
        self.first_result = self.plan.slot_values.shape[1] - output.at.shape[1] * self.depth
        self.value = self.plan.slot_values[0].tolist()
        self.numbers = [(p, float(reading.value[0, p]), len(CONSTANTS) + i) for i, p in enumerate(ends)]
        self.names = {c: f"{constant:g}" for c, constant in enumerate(CONSTANTS)}
        self.names |= {slot: format_value(value) or f"{value}" for _, value, slot in self.numbers}
        self.exact = {c: Fraction(repr(constant)) for c, constant in enumerate(CONSTANTS)}
        self.exact |= {slot: Fraction(format_value(value)) for _, value, slot in self.numbers if format_value(value)}

    def trace(self, gate: list[float] | None, decimals: list[int] | None = None) -> Trace:
        plan, count, thoughts, anchors = self.plan, 0, [], int(self.output.present[0].sum())
        for a in range(anchors):
            steps, position = [], int(self.output.at[0, a])
            for s in range(self.depth):
                operation = OPERATIONS[int(plan.operation[0, a, s])]
                if operation == "identity" and s:
                    break
                slot = self.first_result + a * self.depth + s
                step = self._step(a, s, slot, operation, f"s{count + 1}")
                self.names[slot], self.exact[slot] = step.name, step.exact
                if operation == "identity":
                    self.names[slot] = step.operands[0].name
                    break
                steps.append(step)
                count += 1
            speaks = self.output.of_token[0] == a
            gates = {p: gate[p] for p in speaks.nonzero().flatten().tolist()} if gate else {}
            opened = max(gates, key=gates.get, default=position)
            printed_with = decimals[opened] if decimals else PRINTED_DECIMALS
            last = steps[-1] if steps else step
            if steps or gates.get(opened, 0) >= 0.5 or a == anchors - 1:
                gate_here, result = gates.get(opened), float(plan.result[0, a])
                takes = "" if steps else step.operands[0].name
                thoughts.append(Thought(position, self.tokens[position], tuple(steps), takes, gate_here, result, last.exact, printed_with))
        return Trace(self.tokens, self.numbers, thoughts)

    def plans(self, tower, k: int) -> list[OtherPlan]:
        """The k best plans of the last token that may plan; to be asked for after `trace`, which names the steps before it."""
        last = int(self.output.present[0].sum()) - 1
        found = tower.plans(self.output, k, torch.tensor([[last]], device=self.output.at.device))
        own, listed = self.first_result + last * self.depth, []
        for i in (found.log_p[0, 0] > NEVER).nonzero().flatten().tolist():
            names, formula = dict(self.names), ""
            for s, operation in enumerate(found.operation[0, 0, i].tolist()):
                if operation == IDENTITY and s:
                    break
                first, second = (names.get(int(chosen[0, 0, i, s]), "?") for chosen in (found.operand1, found.operand2))
                formula = first if operation == IDENTITY else f"{first} {SYMBOLS[OPERATIONS[operation]]} {second}"
                names[own + s] = f"({formula})"
            listed.append(OtherPlan(formula, float(found.log_p[0, 0, i].exp()), float(found.value[0, 0, i])))
        return listed

    def _step(self, a: int, s: int, slot: int, operation: str, name: str) -> Step:
        operands = []
        for choice, logits in ((self.plan.operand1, self.plan.operand1_logits), (self.plan.operand2, self.plan.operand2_logits)):
            chosen = int(choice[0, a, s])
            probability = float(logits[0, a, s].softmax(-1)[chosen])
            operands.append(Operand(self.names.get(chosen, "?"), chosen, probability))
        if operation == OPERATIONS[IDENTITY]:
            operands = operands[:1]
        probability = float(self.plan.operation_logits[0, a, s].softmax(-1)[OPERATIONS.index(operation)])
        exact = exact_step(operation, self.exact.get(operands[0].slot), self.exact.get(operands[-1].slot))
        return Step(name, slot, operation, probability, tuple(operands), self.value[slot], exact)


def layout(trace: Trace) -> tuple[list[tuple[float, int, tuple[str, ...], str]], list[tuple[int, int]]]:
    """The plan as a graph: nodes (column, level, lines of text, kind: number, constant or step) and edges between their indices.

    Numbers stand below in the order of the text, every step above what it uses, near the middle of it.
    """
    steps = [step for thought in trace.thoughts for step in thought.steps]
    made = {step.slot for step in steps}
    names = {operand.slot: operand.name for step in steps for operand in step.operands if operand.slot not in made}
    names |= {slot: format_value(value) or f"{value:g}" for _, value, slot in trace.numbers}
    order = sorted(names, key=lambda slot: (slot < len(CONSTANTS), slot))  # constants to the right of the numbers
    place = {slot: (float(column), 0) for column, slot in enumerate(order)}
    nodes = [(*place[slot], (names[slot],), "constant" if slot < len(CONSTANTS) else "number") for slot in order]
    index, edges = {slot: i for i, slot in enumerate(order)}, []
    for step in steps:
        below = [operand.slot for operand in step.operands]
        level = 1 + max(place[slot][1] for slot in below)
        column = sum(place[slot][0] for slot in below) / len(below)
        while any(y == level and abs(x - column) < 1 for x, y in place.values()):
            column += 0.25
        place[step.slot], index[step.slot] = (column, level), len(nodes)
        shown = format_value(step.value) or "not computed"
        nodes.append((column, level, (f"{step.name}: {SYMBOLS[step.operation]}", shown), "step"))
        edges += [(index[slot], index[step.slot]) for slot in below]
    return nodes, edges
