"""What goes on inside the DAG while it trains, as flat figures for metrics.jsonl and Weights & Biases.

    logger = DAGLogger(model)                      # a PredictorOnlyModel, or a GPT with a DagBranch
    fit(..., loss_fn=functools.partial(loss, logger=logger), observer=logger)

`fit` calls `begin` before the forward pass of a step that will be logged, and `get_wandb_logging_dict` after its backward pass; in
between the loss function shows what the model returned (`see`). On all other steps nothing is kept and nothing is computed, and the
model never knows that it is watched. What does not have the shape it must have raises ValueError.
"""

import math

import torch
from torch import Tensor

from nanochat.dag.executor import IDENTITY, NO_STEP, OPERATIONS
from nanochat.dag.numbers import documents_of, format_value

NODES = 6  # values of one example that are logged; the console shows all
GATE_OPEN_AT = 0.5
SIGNS = dict(zip(OPERATIONS, "+-*/=", strict=True))


class DAGLogger:
    """The figures of one forward and backward pass, all under `dag/`.

    gate/mean, gate/max, gate/open            the copy gate where something could be printed, and how often it is above one half
    norm/hidden, norm/contribution, norm/mixed, norm/ratio      mean lengths of the GPT's hidden state before the DAG, of what the
                                              DAG adds to it (where it adds something), of their sum, and contribution / hidden
    usage/<operation>                         share of each operation among the decisions; identity says "done"
    operation_diversity                       H(mean p) / log 5: are all operations used?
    operation_sharpness                       1 - mean H(p) / log 5: is each decision certain?
    operation_information                     H(mean p) - mean H(p) in nats: what a token tells about the operation
    pointer_entropy/operand1, ../operand2     mean entropy in nats of the choice of an operand, in steps that are carried out
    gradient/<operation>                      mean absolute gradient of the operation's logit over the decisions
    gradient_norm/<part>                      of the tower's final hidden states, of the gate's and the model's hidden states, and of
                                              the weights of each part; 0 where no gradient came, so that curves have no holes
    node/1 .. node/6, nodes                   signed values of one example's steps in order (NaN: none), and how many it has

    A decision is a step of a planning token up to the first identity of the plan that is followed: in training the labelled one.
    """

    def __init__(self, model):
        self.branch = getattr(model, "branch", None)
        self.tower = model.tower if self.branch is None else self.branch.tower
        self.watching = False
        self._values: dict[str, float] = {}
        self._grown: dict[str, Tensor] = {}  # activations whose gradient is wanted
        self._decisions: Tensor | None = None
        self._passes = 1
        self._timeline = ""

    # -- what fit and the loss function call ----------------------------------------------------------------------------

    def begin(self, passes: float = 1) -> None:
        """The next forward pass is to be looked at; its loss is divided by `passes` before the backward pass."""
        self.watching, self._passes = True, passes
        self._values, self._grown, self._decisions = {}, {}, None

    def see(self, output, idx: Tensor) -> None:
        """Takes what the forward pass returned for idx (B, T): a TowerOutput, or the side dictionary of a branch."""
        if not self.watching:
            return
        side = output if isinstance(output, dict) else None
        tower = side["output"] if side else output
        if tower is None:
            raise ValueError("a branch that decodes with a cache has no plans to look at; log full forward passes")
        self._check(tower, side, idx)
        with torch.no_grad():
            self._read_plan(tower)
            self._read_example(tower, idx)
            if side is not None:
                self._read_branch(side)
        self._want("final_hidden", tower.hidden)
        self._want("operation_logits", tower.plan.operation_logits)
        if side is not None:
            self._want("gate_logit", side["gate_logit"])
            self._want("hidden", side["hidden"])
            self._want("mixed", side["mixed"])

    def get_wandb_logging_dict(self) -> dict[str, float]:
        """{"dag/...": float} of the pass that was watched, for metrics.jsonl and Weights & Biases; then the watch is over.

        RuntimeError if nothing was seen since `begin`.
        """
        if not self._values:
            raise RuntimeError("nothing was seen since begin(): the loss function must call see() while the logger is watching")
        values = {**self._values, **self._gradients()}
        self.watching, self._values, self._grown, self._decisions = False, {}, {}, None
        return {f"dag/{name}": float(value) for name, value in values.items()}

    def console_line(self) -> str:
        """The steps of the example seen last with their values: `12 + 30 = 42; 42 * 2 = 84`; "" if it has none."""
        return self._timeline

    # -- the forward pass -----------------------------------------------------------------------------------------------

    def _check(self, tower, side, idx) -> None:
        B, T = idx.shape
        A, D, S = tower.at.shape[1], self.tower.config.steps, tower.plan.slot_values.shape[1]
        plan, d = tower.plan, self.tower.config.width
        N = A if plan.busy is None else plan.busy.shape[1]
        expected = {
            "hidden": (tower.hidden, (B, A, d)),
            "present": (tower.present, (B, A)),
            "operation_logits": (plan.operation_logits, (B, A, D, len(OPERATIONS))),
            "operand1_logits": (plan.operand1_logits, (B, N, D, S)),
            "operand2_logits": (plan.operand2_logits, (B, N, D, S)),
            "operation": (plan.operation, (B, A, D)),
        }
        if side is not None:
            H = self.branch.config.input_width
            expected |= {name: (side[name], (B, T)) for name in ("gate_logit", "speaks")}
            expected |= {name: (side[name], (B, T, H)) for name in ("hidden", "contribution", "mixed")}
        for name, (x, shape) in expected.items():
            if tuple(x.shape) != shape:
                raise ValueError(f"{name} has the shape {tuple(x.shape)}, not {shape}")

    def _read_plan(self, tower) -> None:
        plan, present = tower.plan, tower.present[..., None]
        carried_out = (plan.operation != IDENTITY) & present  # (B, A, D)
        before = carried_out.roll(1, dims=-1)
        before[..., 0] = True
        self._decisions = decisions = before.cumprod(-1).bool() & present
        log_p = plan.operation_logits[decisions].log_softmax(-1)  # (N, 5)
        marginal = log_p.exp().mean(0) if len(log_p) else log_p.new_zeros(len(OPERATIONS))
        chosen = torch.bincount(plan.operation_logits[decisions].argmax(-1), minlength=len(OPERATIONS)) / max(len(log_p), 1)
        self._values |= {f"usage/{name}": share for name, share in zip(OPERATIONS, chosen.tolist(), strict=True)}
        asked = plan.of_busy(carried_out)
        total, conditional = float(torch.special.entr(marginal).sum()), _entropy(log_p)
        most = math.log(len(OPERATIONS))
        self._values |= {
            "operation_diversity": total / most,
            "operation_sharpness": 1 - conditional / most,
            "operation_information": total - conditional,
            "pointer_entropy/operand1": _entropy(plan.operand1_logits[asked].log_softmax(-1)),
            "pointer_entropy/operand2": _entropy(plan.operand2_logits[asked].log_softmax(-1)),
        }

    def _read_branch(self, side) -> None:
        speaks = side["speaks"]
        gate = side["gate_logit"][speaks].float().sigmoid()
        hidden, mixed = side["hidden"].float().norm(dim=-1), side["mixed"].float().norm(dim=-1)  # (B, T)
        added = side["contribution"].float().norm(dim=-1)[speaks]
        self._values |= {
            "gate/mean": _mean(gate),
            "gate/max": float(gate.max()) if len(gate) else 0.0,
            "gate/open": _mean((gate > GATE_OPEN_AT).float()),
            "norm/hidden": _mean(hidden),
            "norm/contribution": _mean(added),
            "norm/mixed": _mean(mixed),
            "norm/ratio": _mean(added / hidden[speaks].clamp(min=1e-12)),
        }

    def _read_example(self, tower, idx) -> None:
        """The steps of one document, that with the most (labelled ones, if plans are given): `node/i`, and the line for the console."""
        plan, n_steps = tower.plan, self.tower.config.steps
        carried_out = (plan.operation != IDENTITY) & tower.present[..., None]
        document = documents_of(idx, self.tower.config.bos_id).gather(1, tower.at)  # (B, A)
        document = document - document.min()
        size = int(document.max()) + 1 if document.numel() else 1
        key = document + torch.arange(len(idx), device=idx.device)[:, None] * size
        counted = carried_out if tower.labels is None else carried_out & (tower.labels[0] != NO_STEP)
        counts = torch.bincount(key.flatten(), weights=counted.sum(-1).flatten().double(), minlength=1)
        row, chosen = divmod(int(counts.argmax()), size)
        steps = (carried_out[row] & (document[row] == chosen)[:, None]).nonzero().tolist()
        results = plan.slot_values[row, -carried_out[row].numel() :].view(-1, n_steps)
        values = [float(results[a, s]) for a, s in steps]
        self._values |= {f"node/{i + 1}": values[i] if i < len(values) else math.nan for i in range(NODES)}
        self._values["nodes"] = len(values)
        self._timeline = "; ".join(_equation(plan, row, a, s, value) for (a, s), value in zip(steps, values, strict=True))

    # -- the backward pass ----------------------------------------------------------------------------------------------

    def _want(self, name: str, x: Tensor) -> None:
        if x.requires_grad:
            x.retain_grad()
        self._grown[name] = x

    def _gradients(self) -> dict[str, float]:
        """Those of activations are of the pass that was watched and as if its loss had not been divided; those of weights of all."""
        by_logit = self._grown["operation_logits"].grad
        values = dict.fromkeys((f"gradient/{name}" for name in OPERATIONS), 0.0)
        if by_logit is not None and bool(self._decisions.any()):
            means = by_logit[self._decisions].abs().mean(0) * self._passes
            values = {f"gradient/{name}": value for name, value in zip(OPERATIONS, means.tolist(), strict=True)}
        for name, x in self._grown.items():
            values[f"gradient_norm/{name}"] = 0.0 if x.grad is None else float(x.grad.float().norm()) * self._passes
        return values | {f"gradient_norm/{name}": _norm_of_gradients(weights) for name, weights in self._parts().items()}

    def _parts(self) -> dict[str, list[Tensor]]:
        tower, planner = self.tower, self.tower.planner
        parts = {
            "embedding": [tower.embedding.weight, tower.number_embedding, tower.depth_embedding.weight],
            "trunk": list(tower.blocks.parameters()),
            "operation": list(planner.operation.parameters()),
            "pointers": [p for name, p in planner.named_parameters() if not name.startswith("operation.")],
        }
        if self.branch is not None:
            parts |= {
                "from_model": list(tower.from_model.parameters()),
                "gate": list(self.branch.gate.parameters()),
                "features": list(self.branch.features.parameters()),
                "dag_scale": [self.branch.dag_scale],
            }
        return parts


def _equation(plan, row: int, a: int, s: int, value: float) -> str:
    x, y = (format_value(float(plan.slot_values[row, operand[row, a, s]])) or "?" for operand in (plan.operand1, plan.operand2))
    return f"{x} {SIGNS[OPERATIONS[int(plan.operation[row, a, s])]]} {y} = {format_value(value) or 'nothing'}"


def _entropy(log_p: Tensor) -> float:
    """Mean over N of the entropy in nats of log-probabilities (N, S), of which some may be -inf; 0 for N = 0."""
    return _mean(torch.special.entr(log_p.exp()).sum(-1))


def _mean(x: Tensor) -> float:
    return float(x.mean()) if x.numel() else 0.0


def _norm_of_gradients(weights: list[Tensor]) -> float:
    squares = [float(p.grad.float().square().sum()) for p in weights if p.grad is not None]
    return math.sqrt(sum(squares))
