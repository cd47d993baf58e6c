"""How fast machines do what stages ask of them: what was measured or published, and what this base directory's runs took.

A forecast multiplies the work of a stage with the rates below; where this machine has done the stage before, with what that took
against the forecast of then. Those measurements stand in `<base>/throughput.json`, one entry per stage, device and setting.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from nanochat import common


@dataclass(frozen=True)
class Range:
    """A number that is not known exactly: its likely value, and between what it lies about nine times in ten."""

    low: float
    mid: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.mid + other.mid, self.high + other.high)

    def __mul__(self, factor: float) -> "Range":
        return Range(self.low * factor, self.mid * factor, self.high * factor)

    def by(self, rate: "Range") -> "Range":
        """This much work at that rate: soonest at the highest. Both are uncertain independently of each other, so their spreads
        (as logarithms) add like the sides of a right angle."""
        if not self.mid:
            return Range(0.0, 0.0, 0.0)
        shorter = math.hypot(math.log(self.mid / self.low), math.log(rate.high / rate.mid))
        longer = math.hypot(math.log(self.high / self.mid), math.log(rate.mid / rate.low))
        mid = self.mid / rate.mid
        return Range(mid * math.exp(-shorter), mid, mid * math.exp(longer))

    def within(self, factor: float) -> "Range":
        """The same likely value, right within `factor`."""
        return Range(self.mid / factor, self.mid, self.mid * factor)


def sure(value: float) -> Range:
    """A number that is known."""
    return Range(value, value, value)


NOTHING = sure(0.0)

# Work per second of one CPU core. Our measurements: the embedded profile, torch 2.13, an AMD EPYC of which two cores were quiet
# (the likely value) or busy with others' work (the low one).
CORE = {
    "flops": Range(15e9, 46e9, 90e9),  # base_train 47e9, mid_train.plain 45e9; wider models reach more
    "characters": Range(3e6, 7e6, 9e6),  # encoding 7.2e6, learning merges 7.8e6, on English novels
    "corpus characters": Range(0.7e6, 1.6e6, 2.5e6),  # the embedded corpus, which is made while it is read
    "example weights": Range(0.4e8, 0.9e8, 2.5e8),  # examples of dag_train times weights of the tower: 0.9e8; short expressions 2.2e8
    "expressions": Range(80, 240, 700),  # questions of dag_eval, 24 tokens each
    "answers": Range(15, 55, 120),  # questions of chat_eval at 64 tokens
    "starts": Range(0.2, 0.7, 3),  # imports, a checkpoint loaded and written: seconds turned over
}

# Share of a card's peak that training reaches. Published for nanochat, compiled: 0.65 on 8 A100 (d20, full context), 0.48 to 0.59 on
# 8 H100, 0.41 at d12. This code runs uncompiled and was not measured on a GPU, so much less is possible.
MFU = Range(0.12, 0.35, 0.55)
GPU = {
    "expressions": Range(50, 400, 2000),  # not measured
    "answers": Range(0.8, 2.5, 8),  # nanochat d20: 19,000 questions of six tasks in 18 min on 8 A100, 7 min 49 s on 8 H100
    "tower steps": Range(1.5, 6, 15),  # steps of dag_train a second, which kernels too small for a GPU decide; not measured
    "starts": Range(0.008, 0.025, 0.07),  # imports on eight processes, NCCL: 14 s to 2 min
}
WATTS = {"B200": 1000, "H200": 700, "H100": 700, "A100": 400, "L40S": 350, "A40": 300, "RTX 4090": 450, "RTX 3090": 350}  # data sheets
OTHER_WATTS = 400
HOST = Range(1.1, 1.3, 1.6)  # a node's power over that of its cards
BUSY = Range(0.6, 0.8, 1.0)  # of that power, on average
CORE_WATTS = Range(4, 10, 20)


@dataclass(frozen=True)
class Machine:
    """Where a run is to compute: `gpu` is the card's name, "" on a CPU; `devices` how many cards, or cores."""

    gpu: str
    devices: int
    cores: int
    peak: float = 0.0  # bfloat16 operations per second of one card

    def rate(self, unit: str) -> Range | None:
        """Work per second of the whole machine, None for what it does not do in this unit."""
        if not self.gpu or unit in ("characters", "corpus characters"):
            alone = unit in ("corpus characters", "starts")  # what one core does for all
            return CORE[unit] * (1 if alone else max(1, self.cores)) if unit in CORE else None
        if unit == "flops":
            return MFU * (self.peak * self.devices)
        return GPU[unit] * (1 if unit in ("tower steps", "starts") else self.devices) if unit in GPU else None

    @property
    def name(self) -> str:
        """`8 x A100`, `2 cores`."""
        return f"{self.devices} x {self.gpu}" if self.gpu else f"{self.cores} core{'s' * (self.cores != 1)}"

    def kilowatts(self) -> Range:
        """Power while it computes."""
        if not self.gpu:
            return CORE_WATTS * (self.cores / 1000)
        watts = next((w for name, w in WATTS.items() if name in self.gpu), OTHER_WATTS) * self.devices / 1000
        return Range(BUSY.low * HOST.low, BUSY.mid * HOST.mid, BUSY.high * HOST.high) * watts


# ---------------------------------------------------------------------------------------------------------------------
# What was measured here


@dataclass(frozen=True)
class Measured:
    """One finished stage: what it took, and what the rates above alone would have said."""

    stage: str
    machine: str
    weights: float  # size of the model, by which measurements of other sizes count less
    expected: float  # seconds by the rates above
    seconds: float
    when: float = 0.0


MOST = 500  # entries of the table
SAME, SIZE, OTHER = 1.2, 0.15, 1.8  # right within this factor: measured before; times the ratio of sizes to this power; another stage


def path() -> Path:
    """The local table."""
    return common.base_dir() / "throughput.json"


def measured() -> list[Measured]:
    """The entries of the local table; none where it is missing or damaged."""
    rows = common.read_json(path())
    try:
        return [Measured(**row) for row in rows] if isinstance(rows, list) else []
    except TypeError:
        return []


def remember(entries: list[Measured]) -> None:
    """Adds entries that are new, and forgets the oldest of too many."""
    known = measured()
    new = [entry for entry in dict.fromkeys(entries) if entry.seconds > 0 and entry.expected > 0 and entry not in known]
    if new:
        kept = sorted([*known, *new], key=lambda entry: entry.when)[-MOST:]
        common.write_json(path(), [asdict(entry) for entry in kept])


def calibrated(expected: Range, stage: str, machine: str, weights: float, known: list[Measured]) -> tuple[Range, str]:
    """A time corrected by what this machine took before, and on what that rests: `measured`, `other stages` or `rates`."""
    here = [entry for entry in known if entry.machine == machine]
    same = [entry for entry in here if entry.stage == stage]
    if same:
        nearest = min(same, key=lambda e: (_distance(e.weights, weights), _distance(e.expected, expected.mid), -e.when))
        spread = SAME * math.exp(SIZE * _distance(nearest.weights, weights))
        return (expected * (nearest.seconds / nearest.expected)).within(spread), "measured"
    if here:
        ratio = math.exp(sum(math.log(entry.seconds / entry.expected) for entry in here) / len(here))
        return (expected * ratio).within(OTHER), "other stages"
    return expected, "rates"


def _distance(a: float, b: float) -> float:
    return abs(math.log(max(a, 1e-3) / max(b, 1e-3)))
