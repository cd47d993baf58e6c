"""A text as the tower sees it before any network looks: its words, which of them are numbers, where it may plan, and what its labels
point to. All of that follows from token ids and labels alone, so that it is known before the forward pass.
"""

from dataclasses import dataclass

import torch

from nanochat.dag.executor import CONSTANTS, IDENTITY, NO_REFERENCE, NO_STEP, execute
from nanochat.dag.numbers import NumberTable, Reading, absorbed_by, documents_of, read_numbers
from nanochat.dag.planner import gather, pick


@dataclass
class Words:
    """Rows of T tokens with at most W words, N numbers and A planning tokens; what is padded is not present.

    reading: of the tokens; word, present (B, W): the words' tokens; document (B, W); is_number (B, W); n_at, n_present (B, N) and a_at,
    a_present (B, A): the words that are numbers and those that may plan; at (B, A): the latter's tokens; of_token (B, T): which of the A
    a token speaks for (-1: none); labels, if there are any: operation (B, A, D) and the slots of both operands, -1 where there is no label
    or the value cannot be pointed to.
    """

    reading: Reading
    word: torch.Tensor
    present: torch.Tensor
    document: torch.Tensor
    is_number: torch.Tensor
    n_at: torch.Tensor
    n_present: torch.Tensor
    a_at: torch.Tensor
    a_present: torch.Tensor
    at: torch.Tensor
    of_token: torch.Tensor
    labels: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None

    @property
    def values(self) -> torch.Tensor:
        """(B, N) float64 of the numbers."""
        return gather(gather(self.reading.value, self.word), self.n_at)

    def labelled_results(self) -> torch.Tensor:
        """(B, A) float64: what the labelled plans give, NaN where there is none, or where a part of it is not labelled."""
        operation, *slots = self.labels
        active = ((operation != IDENTITY) & (operation != NO_STEP)).long().cumprod(-1)
        operation = torch.where(active.bool(), operation, IDENTITY)
        known = torch.cat([self.values.new_tensor(CONSTANTS).expand(len(self.word), -1), self.values], dim=1)
        itself = known.shape[1] + torch.arange(operation[0].numel(), device=known.device)  # a step that waits for itself stays NaN
        operands = [torch.where(slot.flatten(1) >= 0, slot.flatten(1), itself) for slot in slots]
        return last_results(operation, execute(operation.flatten(1), *operands, known).view_as(operation))


def last_results(operation: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(B, A): the value of each token's last active step, or of its identity's operand. operation and values (B, A, D)."""
    last = ((operation != IDENTITY).long().cumprod(-1).sum(-1) - 1).clamp(min=0)
    return values.gather(2, last[..., None]).squeeze(-1)


def read_words(idx: torch.Tensor, table: NumberTable, bos: int, steps: int, labels=None, lengths=None) -> Words:
    """The words of idx (B, T); lengths (B,) if right-padded; `labels`: PlanLabels of at most `steps` steps a token."""
    document = documents_of(idx, bos)
    reading = read_numbers(idx, table, document)
    real = torch.ones_like(reading.number)
    if lengths is not None:
        real = torch.arange(idx.shape[1], device=idx.device) < lengths[:, None]
    kept = real & ~reading.absorbed if lengths is None else real & ~_absorbed_within(reading, lengths)
    word, present = pick(kept)
    is_number, is_anchor = gather(reading.number, word) & present, gather(reading.anchor, word) & present
    n_at, n_present = pick(is_number)
    a_at, a_present = pick(is_anchor)
    at, of_token = gather(word, a_at), _speaks_for(reading, kept)
    words = Words(reading, word, present, gather(document, word), is_number, n_at, n_present, a_at, a_present, at, of_token, None)
    if labels is not None:
        words.labels = gather(labels.operation.flatten(2), at), *_slots_of_labels(words, labels, kept, steps)
    return words


def _slots_of_labels(words: Words, labels, kept: torch.Tensor, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Slots (B, A, D) of the labelled operands. kept (B, T): the tokens that are words."""
    n_constants, numbers = len(CONSTANTS), words.n_at.shape[1]
    number_of_word = kept.long().cumsum(1) - 1  # (B, T): which word a kept token is
    width, at = number_of_word.shape[1], words.at
    slot_of_word = torch.full((2, len(at), width + 1), -1, dtype=torch.long, device=at.device)  # as a number, as an anchor; last: none
    for row, index, present in ((0, words.n_at, words.n_present), (1, words.a_at, words.a_present)):
        slot_of_word[row].scatter_(1, torch.where(present, index, width), torch.arange(index.shape[1], device=at.device).expand_as(index))
    slot_of_word[:, :, width] = -1
    out = []
    for reference in (labels.operand1, labels.operand2):
        r = gather(reference.flatten(2), at)
        token, part = r.clamp(min=0) // (steps + 1), r.clamp(min=0) % (steps + 1)
        token = token.clamp(max=width - 1).flatten(1)
        word = torch.where(kept.gather(1, token), number_of_word.gather(1, token), width)
        as_number, as_anchor = (gather(s, word).view_as(r) for s in slot_of_word)
        slot = torch.where(
            part == 0,
            torch.where(as_number >= 0, n_constants + as_number, -1),
            torch.where(as_anchor >= 0, n_constants + numbers + as_anchor * steps + part - 1, -1),
        )
        slot = torch.where(r >= 0, slot, torch.where(r > NO_REFERENCE // 2, -1 - r, -1))
        out.append(torch.where(words.a_present[..., None], slot, -1))
    return tuple(out)


def _absorbed_within(reading: Reading, lengths):
    """`absorbed`, not counting what padding after the end of a row would absorb."""
    at = torch.arange(reading.number.shape[1], device=lengths.device)
    return absorbed_by(torch.where(at < lengths[:, None], reading.reach, 0))


def _speaks_for(reading: Reading, kept):
    """(B, T): index among the A planning tokens of the one whose result a token may print, -1 if there is none.

    That is the token itself, or for a space the token before it: `= 7` is printed after the space.
    """
    anchor = reading.anchor & kept
    order = anchor.long().cumsum(1) - 1
    last = torch.where(~reading.space, torch.arange(anchor.shape[1], device=anchor.device), -1).cummax(1).values
    at_last = order.gather(1, last.clamp(min=0))
    return torch.where((last >= 0) & anchor.gather(1, last.clamp(min=0)), at_last, -1)
