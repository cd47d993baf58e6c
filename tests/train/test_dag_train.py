"""What dag_train measures is the same however many processes share the measuring."""

from types import SimpleNamespace

import torch

from scripts import dag_train
from tests.processes import in_processes


class FirstToken(torch.nn.Linear):
    """Answers with the first token."""

    def __init__(self):
        super().__init__(1, 1)

    def answers(self, idx, lengths):
        return idx[:, 0].tolist()


def measured() -> tuple[float, float]:
    dag_train.tensors_of = lambda batch, device: (batch, None, None)
    dag_train.answers_of = lambda batch: ["1"] * len(batch)
    unseen = {k: torch.tensor(first)[:, None] for k, first in enumerate(([1, 2, 1], [1], [2, 2, 2], [1, 2], [2, 1]))}
    shares = dag_train.match(FirstToken(), unseen, SimpleNamespace(plans_right=None))
    return shares["answer_match"], dag_train.problem_match(FirstToken(), [([3, 1], "3"), ([4], "5")])


def test_several_processes_find_what_one_finds(tmp_path, monkeypatch):
    found = in_processes(3, measured, tmp_path)
    for name in ("tensors_of", "answers_of"):
        monkeypatch.setattr(dag_train, name, None)  # measured() sets them; afterwards they are as before
    assert measured() == (5 / 11, 0.5) and found == [(5 / 11, 0.5)] * 3
