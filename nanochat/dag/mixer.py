"""The tower plugged into a GPT: what it reads from it, what it gives back, and when.

    after block `layer` of the GPT, x (B, T, H):
        words   = the tower's own embeddings + W x                  W = 0 at insertion: the tower plans as it did alone
        result  = the exact value planned at each token
        x       = x + g * norm(E features(result)) * dag_scale      dag_scale = 0 at insertion: the GPT computes as it did alone
    after the head:
        p       = (1 - g) p_model + g [next token of the printed result]       (emission.py)

The gate g asks both: the GPT's hidden state knows whether a number comes next, the tower's knows what it computed.
"""

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from nanochat.dag.cache import TowerCache
from nanochat.dag.emission import NumberPrinter, latch, mixture_logits, mixture_nll
from nanochat.dag.labels import GATE_CLOSED, GATE_OPEN, plan_tensors
from nanochat.dag.losses import structure_counts, structure_loss
from nanochat.dag.marginal import places_of, with_plans
from nanochat.dag.means import mean_where
from nanochat.dag.planner import gather
from nanochat.dag.predictor import DagTower, PlanLabels, TowerConfig
from nanochat.dag.rounding import written

HEARD = 0.1  # how much of the tower's, the gate's and the rounding's gradient reaches the GPT: its own text comes first
OPEN_AT = 0.5  # outside training a gate below this prints nothing


@dataclass
class BranchConfig:
    """Where the tower sits in the GPT and how it returns its result. `mix`: "gate" scales by g, "norm_scale" leaves g out. `plans`: at how
    many plans the language-model loss looks where a number follows (marginal.py); 1: at the chosen one, without a gradient to the plan.
    `plans_at`: "unlabelled", where no plan is labelled, or "everywhere".
    `hindsight`: plain text is searched for plans."""

    tower: TowerConfig
    input_width: int
    layer: int
    mix: str = "gate"
    structure_weight: float = 0.5
    gate_weight: float = 0.1
    plans: int = 1
    plans_at: str = "unlabelled"
    hindsight: bool = False

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "BranchConfig":
        return cls(**{**values, "tower": TowerConfig(**values["tower"])})


def value_features(value: torch.Tensor) -> torch.Tensor:
    """(..., 29) float32 of values (...): sign, asinh(v) / 10, presence, and cos, sin of 2 pi v / 10^i for i = -3..9, which tell the
    digits apart (Fourier number features, Zhou et al. 2025, FoNE). All zero where the value is NaN."""
    there = value.isfinite()
    v = torch.where(there, value, 0.0).double()
    turns = v[..., None] / 10.0 ** torch.arange(-3, 10, device=v.device, dtype=torch.float64)
    angle = 2 * math.pi * (turns - turns.floor())
    head = torch.stack([v.sign(), v.asinh() / 10, torch.ones_like(v)], dim=-1)
    return torch.cat([head, angle.cos(), angle.sin()], dim=-1).float() * there[..., None]


class DagBranch(nn.Module):
    """The optional branch of a GPT (interface: `layer`, call, `mix`, `loss`, `init_state`, `labels`, `counts`)."""

    def __init__(self, config: BranchConfig, tokenizer):
        super().__init__()
        if config.mix not in ("gate", "norm_scale"):
            raise ValueError(f"mix must be 'gate' or 'norm_scale', not {config.mix!r}")
        self.config, self.layer = config, config.layer
        self.tower = DagTower(config.tower, tokenizer, config.input_width)
        self.printer = NumberPrinter(tokenizer)
        self.gate = nn.Linear(config.input_width + config.tower.width, 1)
        self.features = nn.Linear(29, config.input_width, bias=False)
        self.dag_scale = nn.Parameter(torch.zeros(()))
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, -6.0)

    def parameter_kinds(self) -> dict[str, str]:
        """How the optimizer treats each parameter: the tower is already trained and moves gently, what is new is plain."""
        new = ("gate.", "features.", "dag_scale")
        return {name: "scalar" if name.startswith(new) else "tower" for name, _ in self.named_parameters()}

    def forward(self, x, idx, *, cache: TowerCache | None = None, plan=None):
        """x (B, T, H) after block `layer`, idx (B, T). Returns the new x and a dictionary for `mix` and `loss`.

        `plan`: PlanLabels to follow and learn from. `cache`: state of incremental decoding (its `new_lengths` say how many of the
        T tokens are real in each row).
        """
        heard = x.detach() + HEARD * (x - x.detach())
        if cache is None:
            # What has no result adds nothing where the gate is shut, which idle tokens learn all the same.
            busy_only = self.training and plan is not None and self.config.plans == 1 and self.config.mix == "gate"
            output = self.tower(idx, hidden=heard, labels=plan, busy_only=busy_only)
            hidden, result, speaks = self._per_token(output)
        elif cache.is_empty and idx.shape[1] > 1:
            lengths = cache.new_lengths
            output, kept = self.tower(idx, hidden=heard, lengths=lengths, keep_words=True)
            hidden, result, speaks = self._per_token(output)
            cache.fill(self.tower, idx, lengths, output, kept, (hidden, result, speaks))
        else:
            output = None
            hidden, result, speaks = cache.extend(self.tower, idx, heard)
        speaks = speaks & result.isfinite()
        own = _norm(heard.float())
        logit, rounding = self.gate(torch.cat([own, hidden], dim=-1)).squeeze(-1), self.tower.rounding(hidden)
        gate = torch.where(speaks, logit.sigmoid(), 0.0)
        if not self.training:
            gate = torch.where(gate >= OPEN_AT, gate, 0.0)
        delta = _norm(self.features(value_features(torch.where(speaks, result, torch.nan)))) * self.dag_scale
        if self.config.mix == "gate":
            delta = delta * gate[..., None]
        decimals, known = self._decimals(rounding, idx, result, speaks, plan)
        stream = self.printer(torch.where(speaks, result, torch.nan), decimals)
        if cache is None:
            source, following = latch(idx, speaks, stream)
            carried = gate.gather(1, source.clamp(min=0))
        else:
            following, carried = cache.follow(idx, speaks, stream, gate)
        delta = torch.where(speaks[..., None], delta, 0.0)
        mixed = x + delta.to(x.dtype)
        side = {"following": following, "gate": carried, "gate_logit": logit, "speaks": speaks, "result": result, "output": output,
                "hidden": x, "contribution": delta, "mixed": mixed, "decimals": decimals}  # fmt: skip
        if self.training and output is not None and self.config.plans > 1:
            everywhere = self.config.plans_at == "everywhere"
            side["places"] = places_of(idx, output.of_token, output.labels, self.tower.table.kind, everywhere)
        if plan is not None and self.training:
            side["loss"], side["metrics"] = self._auxiliary_loss(output, side, plan, rounding, known)
        return mixed, side

    def _decimals(self, rounding, idx, result, speaks, plan):
        """(B, T) decimals to print with: the likeliest, in training those the text shows where a number's plan is known (also returned,
        a `Written`). rounding (B, T, len(DECIMALS)) logits."""
        choice, known = rounding.argmax(-1), None
        if plan is not None and plan.gate is not None and self.training:
            known = written(idx, result, speaks & (plan.gate == GATE_OPEN), self.printer, self.tower.table.kind)
            choice = known.chosen(choice)
        return self.printer.choices[choice], known

    def _per_token(self, output):
        """hidden (B, T, d), result (B, T) and whether there is one (B, T), from the planning tokens each token speaks for."""
        of = output.of_token.clamp(min=0)
        speaks = output.of_token >= 0
        result = torch.where(speaks, output.plan.result.gather(1, of), torch.nan)
        return torch.where(speaks[..., None], gather(output.hidden, of), 0.0), result, speaks

    def mix(self, logits, idx, side):
        """Log-probabilities (B, T, V) of the mixture with the printed result; `logits` themselves where nothing is printed."""
        return mixture_logits(logits, side["following"], side["gate"])

    def loss(self, nll, idx, targets, side):
        """The mixture's -log p (B, T) at `targets` from the model's own `nll`; 0 stays 0 where targets are ignored."""
        mixed = torch.where(targets >= 0, mixture_nll(nll, targets, side["following"], side["gate"]), nll)
        return with_plans(self, nll, mixed, targets, side) if "places" in side else mixed

    def init_state(self, batch: int, max_len: int) -> TowerCache:
        """State of incremental decoding for `batch` rows of at most `max_len` tokens."""
        return TowerCache(self.tower, batch, max_len, self.gate.weight.device)

    def labels(self, documents, idx):
        """PlanLabels of packed rows, see `labels.plan_tensors`."""
        config = self.config.tower
        return plan_tensors(documents, idx, self.tower.table, config.bos_id, config.steps, config.mode, self.config.hindsight)

    def counts(self, idx, plan: PlanLabels) -> dict[str, torch.Tensor]:
        """Over how much the parts of the auxiliary loss are means, scalars by the names that `plan.weights` then have: of the labels alone,
        without a forward pass. The labels keep the words that were read."""
        words = plan.words = self.tower.read(idx, plan)
        counts = structure_counts(words)
        if plan.gate is None:
            return counts
        of_token = words.of_token
        result = words.labelled_results().gather(1, of_token.clamp(min=0))
        speaks = (of_token >= 0) & result.isfinite()
        places = places_of(idx, of_token, words.labels, self.tower.table.kind, self.config.plans_at == "everywhere")
        parts = gate_parts(plan.gate, of_token, speaks, places if self.config.plans > 1 else None)
        parts |= written(idx, result, parts["open"], self.printer, self.tower.table.kind).parts()
        return counts | {name: where.sum() for name, where in parts.items()}

    def _auxiliary_loss(self, output, side, plan, rounding, known):
        logit, weights = side["gate_logit"], plan.weights
        structure, metrics = structure_loss(output, weights=weights)
        loss = self.config.structure_weight * structure
        if plan.gate is not None:
            opened, closed = gate_parts(plan.gate, output.of_token, side["speaks"], side.get("places")).values()
            nll = -F.logsigmoid(torch.where(opened, logit, -logit))
            gate_loss = mean_where(nll, opened, weights, "open") + mean_where(nll, closed, weights, "closed")
            loss = loss + self.config.gate_weight * gate_loss
            rounding_loss = known.nll(rounding, weights)
            loss = loss + self.config.structure_weight * rounding_loss
            metrics |= {
                "rounding_loss": rounding_loss.detach(),
                "gate_loss": gate_loss.detach(),
                "gate_open": mean_where(logit.sigmoid(), opened).detach(),
                "gate_closed": mean_where(logit.sigmoid(), closed).detach(),
            }
        return loss, {f"dag/{k}": v for k, v in metrics.items()}


def gate_parts(gate, of_token, speaks, places) -> dict[str, torch.Tensor]:
    """(B, T) each: where the gate is to be open, and where closed. gate (B, T) labels; of_token, speaks (B, T); `places` (B, T) or None:
    where the answer tells the gate."""
    closed = (of_token >= 0) & (gate == GATE_CLOSED)
    return {"open": speaks & (gate == GATE_OPEN), "closed": closed if places is None else closed & ~places}


def _norm(x):
    return F.rms_norm(x, (x.shape[-1],))
