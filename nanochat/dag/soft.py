"""An earlier system as a variant: the vector DAG (DAGGPT, June 2025), soft from end to end.

    hidden E        trunk over the tokens                                                       (B, T, H)
    number nodes    snap block -> token attention -> one number a token, rounded, in all channels   T x (B, H)
    contexts        operand block and operation block over E, read at the last token            (B, H) each
    step s < D      q1, q2 = W1, W2 [mean of the nodes] + operand context + step embedding      (B, H)
                    x, y   = attention of q1, q2 over all nodes so far                          (B, H)
                    w      = softmax(W [attention of a third query]), of the five operations    (B, 5)
                    node   = sum_o w_o f_o(x, y), appended                                      (B, H)
    output          last node -> post-DAG block -> gate: (1 - g) E_last + g dag                 (B, H)
    answer          sign and 13 decimal digits from that, each a classification

What differs from the original, and why; without these it does not train at all:

- `round` has no gradient: it passes it straight through, and the read-out also learns the numbers of the text.
- Nodes and mixtures are held as asinh(value), and the operations are carried out on sinh of them: values go to 10^9, and in a sum
  of w_o f_o(x, y) a hundredth of a product would drown the rest. Quotients are x y / (y^2 + tiny), which is smooth at 0. Each node's
  gradient has a bounded length in every example.
- A node is a number in all channels, so a key made from it alone could only be told by its size. Keys also hold the hidden state
  of the token, or which step made the node. For the same reason the post-DAG block is given an affine map of the node and
  `mixer.value_features` of its value: the norm of a constant vector is the same for all numbers.
- The contexts are read at the last token and not averaged over time; all attention is over the tokens up to it, padding is not seen.
- The gated state was decoded to the next token. Here it gives all digits of the answer at once, from the token before it.

It learns from answers: -log p of the digits, and Huber's loss of asinh of the last node. It is told no plan.
"""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from nanochat.dag.answer_plan import AnswerPlan, answer_plans
from nanochat.dag.executor import OPERATIONS
from nanochat.dag.means import mean_where
from nanochat.dag.mixer import value_features
from nanochat.dag.numbers import NumberTable
from nanochat.dag.planner import norm
from nanochat.dag.predictor import PlanLabels, TowerConfig
from nanochat.dag.token_trunk import Attention, Block, TokenTrunk, parameter_kinds, reset_parameters

LARGEST = 30.0  # of asinh: values within about 5e12
TINY = 1e-6  # a divisor's square is never below
WHOLE_DIGITS, DECIMALS = 9, 4  # of an answer


@dataclass
class SoftOutput:
    """number (B, T): asinh of the number read at each token; value (B,): asinh of the last node; logits of the answer's sign (B, 2) and
    of its digits (B, 13, 10), most significant first; gate (B,)."""

    number: torch.Tensor
    value: torch.Tensor
    sign: torch.Tensor
    digits: torch.Tensor
    gate: torch.Tensor


def operate(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(..., 5): asinh of add, subtract, multiply, divide, identity of sinh x and sinh y, element by element, within LARGEST."""
    a, b = x.sinh(), y.sinh()
    out = torch.stack([a + b, a - b, a * b, a * b / (b.square() + TINY), a], dim=-1)
    return out.asinh().clamp(-LARGEST, LARGEST)


def round_through(x: torch.Tensor) -> torch.Tensor:
    """asinh of the whole number nearest to sinh x; the gradient is that of x."""
    return x + (x.detach().sinh().round().asinh() - x.detach())


def bound_gradient(x: torch.Tensor) -> torch.Tensor:
    """x (B, H), whose gradient gets a length of at most 1 / B in each row, as far as it is longer."""
    if x.requires_grad:
        x.register_hook(lambda g: g * (1 / (len(g) * g.norm(dim=-1, keepdim=True).clamp(min=1e-12))).clamp(max=1))
    return x


def digits_of(value: torch.Tensor) -> torch.Tensor:
    """(B, 13) decimal digits of |value| (B,) float64, rounded to four decimals, most significant first."""
    scaled = (value.abs() * 10.0**DECIMALS).round()
    places = 10.0 ** torch.arange(WHOLE_DIGITS + DECIMALS - 1, -1, -1, device=value.device, dtype=torch.float64)
    return (scaled[:, None] / places).floor().remainder(10).long()


class SoftModel(nn.Module):
    """GPT trunk, vector DAG and gate, one DAG for each text."""

    def __init__(self, config: TowerConfig, tokenizer):
        super().__init__()
        self.config, self.table = config, NumberTable(tokenizer)
        d = config.width
        self.trunk, self.snap, self.token_attention = TokenTrunk(config), Block(config), Attention(d, config.heads)
        self.read = nn.Linear(d, 1)
        self.operand_context, self.operation_context = Block(config), Block(config)
        self.step_embedding, self.made_by = nn.Embedding(config.steps, d), nn.Embedding(config.steps, d)
        self.key, self.query1, self.query2, self.query3 = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.operation = nn.Linear(d, len(OPERATIONS), bias=False)
        self.lift, self.post = nn.Linear(d + 29, d), Block(config)
        self.gate = nn.Linear(2 * d, 1)
        self.answer = nn.Linear(d, 2 + 10 * (WHOLE_DIGITS + DECIMALS))
        reset_parameters(self)
        nn.init.zeros_(self.gate.weight)

    def parameter_kinds(self) -> dict[str, str]:
        """See token_trunk.parameter_kinds."""
        return parameter_kinds(self, ("read", "operation.", "lift", "gate", "answer"))

    def forward(self, idx, lengths=None, return_dag_info: bool = False):
        """idx (B, T), lengths (B,) if right-padded: a SoftOutput at each row's last token.

        With `return_dag_info` also a dictionary of probabilities: operand1, operand2 (B, D, T + D) over the tokens (at least two),
        then the steps, 0 for what was not there; operation (B, D, 5).
        """
        rows = torch.arange(len(idx), device=idx.device)
        lengths = torch.full_like(rows, idx.shape[1]) if lengths is None else lengths
        hidden = self.trunk(idx)
        snapped = self.snap(hidden)
        snapped = norm(snapped + self.token_attention(snapped, snapped))
        number = LARGEST * (self.read(snapped).float().squeeze(-1) / LARGEST).tanh()
        nodes, keys, there = self._seeds(snapped, round_through(number), lengths)
        contexts = (norm(block(hidden))[rows, lengths - 1] for block in (self.operand_context, self.operation_context))
        node, info = self._steps(nodes, keys, there, *contexts)
        last, value = hidden[rows, lengths - 1], node.mean(-1)
        features = value_features(value.detach().double().sinh())
        dag = norm(self.post(self.lift(torch.cat([node / 10, features], dim=-1))[:, None])[:, 0])
        gate = self.gate(torch.cat([last, dag], dim=-1)).sigmoid()
        logits = self.answer((1 - gate) * last + gate * dag).float()
        output = SoftOutput(number, value, logits[:, :2], logits[:, 2:].unflatten(-1, (-1, 10)), gate.squeeze(-1))
        return (output, info) if return_dag_info else output

    def _seeds(self, snapped, number, lengths):
        """Nodes and keys (B, N, H) of the tokens and which of them are there (B, N); a text of one token gets a second node, 0."""
        short = max(0, 2 - number.shape[1])
        number, snapped = F.pad(number, (0, short)), F.pad(snapped, (0, 0, 0, short))
        at = torch.arange(number.shape[1], device=number.device)
        number = torch.where(at < lengths[:, None], number, 0.0)
        nodes = number[..., None].expand(-1, -1, snapped.shape[-1])
        return nodes, self.key(nodes / 10) + snapped, at < lengths.clamp(min=2)[:, None]

    def _steps(self, nodes, keys, there, operand_context, operation_context):
        """The last node (B, H) after D steps, and the probabilities."""
        chosen = {"operand1": [], "operand2": [], "operation": []}
        for s in range(self.config.steps):
            summary, step = (nodes * there[..., None]).sum(1) / (10 * there.sum(1, keepdim=True)), self.step_embedding.weight[s]
            p1 = self._attend(self.query1(summary) + operand_context + step, keys, there)
            p2 = self._attend(self.query2(summary) + operand_context + step, keys, there)
            p3 = self._attend(self.query3(summary) + operation_context + step, keys, there)
            weight = self.operation((p3[..., None] * keys).sum(1) + operation_context + step).float().softmax(-1)
            x, y = ((p[..., None] * nodes).sum(1) for p in (p1, p2))
            node = bound_gradient((weight[:, None] * operate(x, y)).sum(-1))
            for name, p in (("operand1", p1), ("operand2", p2), ("operation", weight)):
                chosen[name].append(p)
            nodes = torch.cat([nodes, node[:, None]], dim=1)
            keys = torch.cat([keys, (self.key(node / 10) + self.made_by.weight[s])[:, None]], dim=1)
            there = F.pad(there, (0, 1), value=True)
        width = nodes.shape[1]
        return node, {name: torch.stack([F.pad(p, (0, width - p.shape[1] if name != "operation" else 0)) for p in ps], dim=1)
                      for name, ps in chosen.items()}  # fmt: skip

    def _attend(self, query, keys, there):
        """Probabilities (B, N) of the nodes that are there."""
        scores = (keys @ query[..., None]).squeeze(-1).float() / query.shape[-1] ** 0.5
        return scores.masked_fill(~there, -torch.inf).softmax(-1)

    @torch.no_grad()
    def answers(self, idx, lengths) -> list[float]:
        """The answer after each row's last token. idx (B, T) right-padded, lengths (B,)."""
        output = self(idx, lengths)
        places = 10 ** torch.arange(WHOLE_DIGITS + DECIMALS - 1, -1, -1, device=idx.device)
        value = (output.digits.argmax(-1) * places).sum(-1).double() / 10.0**DECIMALS
        return torch.where(output.sign.argmax(-1) == 1, -value, value).tolist()

    def counts(self, idx, labels: PlanLabels, lengths) -> dict[str, torch.Tensor]:
        """Over how many answers, and over how many numbers of the text, the parts of the loss are means."""
        plan = answer_plans(idx, labels, lengths, self.table, self.config.bos_id)
        return {"answers": _printable(plan).sum(), "numbers": (plan.has_leaf & (plan.leaf_at >= 0)).sum()}

    def loss(self, idx, labels: PlanLabels, lengths, weights=None) -> tuple[torch.Tensor, dict]:
        """-log p of the sign and, on average, of a digit; Huber's loss of asinh of the last node and of the numbers read. Weight 1 each.

        An answer with more than nine digits before the point or four behind it teaches nothing.
        """
        plan = answer_plans(idx, labels, lengths, self.table, self.config.bos_id)
        output, known = self(idx, lengths), _printable(plan)
        answer = torch.where(plan.known, plan.result, 0.0)
        digits = digits_of(torch.where(known, answer, 0.0))
        sign_loss = mean_where(F.cross_entropy(output.sign, (answer < 0).long(), reduction="none"), known, weights, "answers")
        digit_nll = F.cross_entropy(output.digits.flatten(0, 1), digits.flatten(), reduction="none").view_as(digits).mean(-1)
        digit_loss = mean_where(digit_nll, known, weights, "answers")
        value_loss = mean_where(F.huber_loss(output.value, answer.asinh().float(), reduction="none"), known, weights, "answers")
        read = output.number.gather(1, plan.leaf_at.clamp(min=0))
        in_text = plan.has_leaf & (plan.leaf_at >= 0)
        read_loss = mean_where(F.huber_loss(read, plan.leaf.asinh().float(), reduction="none"), in_text, weights, "numbers")
        right = (output.digits.argmax(-1) == digits).all(-1) & (output.sign.argmax(-1) == (answer < 0))
        metrics = {"digit_loss": digit_loss, "value_loss": value_loss, "read_loss": read_loss, "gate": output.gate.mean()}
        metrics["answer_right"] = mean_where(right.float(), known)
        return sign_loss + digit_loss + value_loss + read_loss, {name: x.detach() for name, x in metrics.items()}


def _printable(plan: AnswerPlan) -> torch.Tensor:
    """(B,) bool: the answer is known and fits into the digits."""
    answer = torch.where(plan.known, plan.result, 0.0)
    exact = (answer * 10.0**DECIMALS - (answer * 10.0**DECIMALS).round()).abs() < 1e-3
    return plan.known & exact & (answer.abs() < 10.0**WHOLE_DIGITS)
