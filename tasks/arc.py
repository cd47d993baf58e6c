"""ARC: grade-school science questions, mostly with four options (allenai/ai2_arc, CC BY-SA 4.0)."""

from tasks.common import MultipleChoice


def _patterns(name: str) -> dict[str, tuple[str, ...]]:
    places = {"train": "Train", "val": "Validation", "test": "Test"}
    return {
        split: (f"arc/{name}-{word}", f"arc/{name}/{word.lower()}-*", f"ai2_arc/{name}/{word.lower()}-*") for split, word in places.items()
    }


class ArcEasy(MultipleChoice):
    """The questions that simple retrieval answers."""

    name = "arc_easy"
    patterns = _patterns("ARC-Easy")

    def choice(self, row: dict) -> tuple[str, list[str], int]:
        options = row["choices"]
        return row["question"], options["text"], options["label"].index(row["answerKey"])  # labels are A-E, in some rows 1-5


class ArcChallenge(ArcEasy):
    """The questions that simple retrieval gets wrong."""

    name = "arc_challenge"
    patterns = _patterns("ARC-Challenge")
