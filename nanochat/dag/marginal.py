"""The language model's loss over K plans: how a planner learns from answers alone.

Where the text goes on with a number and nobody knows the plan, the copied token of the mixture is that of K plans at once:

    L_t = -log[(1 - g) p_model(y_t) + g c_t]        c_t = sum_k w_k [plan k prints y_t]

w_k is the probability of plan k, normalised over the K; behind the first token only the plans count which have printed all of the
number so far. The plans are carried out exactly and nothing is sampled or relaxed; the gradient to the score of plan k is
(prior - posterior): w_k less the share that it has in explaining the number.
"""

import torch

from nanochat.dag.alternatives import NEVER
from nanochat.dag.emission import LONGEST
from nanochat.dag.executor import NO_STEP
from nanochat.dag.numbers import DIGIT, MINUS
from nanochat.dag.planner import pick

PLACES = 8  # in a row at most so many numbers are explained, the first ones


def places_of(idx: torch.Tensor, of_token: torch.Tensor, labels: tuple | None, kind: torch.Tensor, everywhere: bool):
    """(B, T) bool: a token of idx (B, T) that may print and is followed by a number; without `everywhere` only where no plan is
    labelled. of_token, labels: of a TowerOutput; kind (V,): what a token means to the reader."""
    following = torch.cat([kind[idx[:, 1:]], torch.zeros_like(kind[idx[:, :1]])], dim=1)
    begins = (of_token >= 0) & ((following == DIGIT) | (following == MINUS))
    if everywhere or labels is None:
        return begins
    return begins & (labels[0][..., 0] == NO_STEP).gather(1, of_token.clamp(min=0))


def plans_nll(nll, targets, streams, log_w, gate):
    """-log of the mixture along C numbers, and where it is one: (B, C, L) each.

    nll (B, C, L) of the model alone at the targets (B, C, L) from the number's first token on, -1 where there is none; streams
    (B, C, K, L) tokens that each plan prints, -1 after its end; log_w (B, C, K); gate (B, C). A plan that has come to its end, or has
    no value to print, leaves the next token to the model.
    """
    printed = (streams == targets[:, :, None]) & (streams >= 0)
    agreed = torch.cat([torch.ones_like(printed[..., :1]), printed[..., :-1]], dim=-1).long().cumprod(-1).bool()  # up to here

    def mass(where):
        return torch.where(where, log_w[..., None], NEVER).logsumexp(2)  # (B, C, L)

    total = mass(agreed)
    copied, left = mass(agreed & printed) - total, mass(agreed & (streams < 0)) - total
    gate = gate[..., None].clamp(1e-6, 1 - 1e-6)
    by_model = torch.logaddexp(torch.log1p(-gate), gate.log() + left) - nll
    return -torch.logaddexp(by_model, gate.log() + copied), agreed.any(2) & (targets >= 0)


def with_plans(branch, nll, mixed, targets, side):
    """`mixed` (B, T), the mixture's -log p with one plan a token, with K plans at the places that `side` names. nll (B, T): the
    model's alone."""
    output, places = side["output"], side["places"] & (targets >= 0)
    at, real = (x[:, :PLACES] for x in pick(places))  # (B, C)
    plans = branch.tower.plans(output, branch.config.plans, output.of_token.gather(1, at).clamp(min=0))
    streams = branch.printer(plans.value, side["decimals"].gather(1, at)[..., None])  # (B, C, K, L)
    position = at[..., None] + torch.arange(LONGEST, device=at.device)
    inside = position < targets.shape[1]
    position = position.clamp(max=targets.shape[1] - 1)
    here = [x.gather(1, position.flatten(1)).view_as(position) for x in (nll, targets, mixed)]
    gate = side["gate_logit"].gather(1, at).sigmoid()
    new, where = plans_nll(here[0], torch.where(inside, here[1], -1), streams, plans.log_p.log_softmax(-1), gate)
    where &= real[..., None]
    return mixed.scatter_add(1, position.flatten(1), torch.where(where, new - here[2], 0.0).flatten(1))
