"""ARC: grade-school science questions, mostly with four options (allenai/ai2_arc, CC BY-SA 4.0)."""

from tasks.common import MultipleChoice


class ArcEasy(MultipleChoice):
    """The questions that simple retrieval answers."""

    name = "arc_easy"
    assets = {"train": "arc/easy-train", "val": "arc/easy-validation", "test": "arc/easy-test"}

    def choice(self, row: dict) -> tuple[str, list[str], int]:
        options = row["choices"]
        return row["question"], options["text"], options["label"].index(row["answerKey"])  # labels are A-E, in some rows 1-5


class ArcChallenge(ArcEasy):
    """The questions that simple retrieval gets wrong."""

    name = "arc_challenge"
    assets = {"train": "arc/challenge-train", "val": "arc/challenge-validation", "test": "arc/challenge-test"}
