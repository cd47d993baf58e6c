"""Writes report.md: every stage with its state, figures and curves, the models side by side, arithmetic with and without
the DAG, time and cost, from what the stages wrote down. A stage that did not run or failed is shown as such.

    python -m scripts.report                              # ./report.md and its figures in ./report/
    python -m scripts.report --out=docs/sample_report.md  # figures in docs/sample_report/

It needs none of the stages, only that one has started, and runs again whenever the status of a stage has changed. A copy
lies in <base directory>/stages/report/.
"""

from dataclasses import dataclass
from pathlib import Path

from nanochat import common
from nanochat.common import UserError
from nanochat.config import StageConfig, at_least, load_profile, option
from nanochat.pipeline import forecast, plan
from nanochat.pipeline.stage import Input, Run, Stage, execute
from nanochat.report.collect import DONE, Results, collect, status_files
from nanochat.report.write import write


@dataclass
class Config(StageConfig):
    out: str = option("report.md", "the page to write; its figures go into the folder beside it with the same name")
    price: float | None = option(None, "price of a GPU hour; auto takes a typical one for the card", unit="US dollars")
    answers: int = option(2, "graded answers to show per task, of the right and of the wrong ones each")

    def __post_init__(self):
        # Absolute, so that the same command in another folder is another result and writes its page there.
        self.out = str(Path(self.out).expanduser().absolute())


def check(config: Config) -> None:
    if Path(config.out).suffix != ".md":
        raise UserError(f"--out must end in .md, not '{Path(config.out).name}'")
    at_least(config, 0, "price", "answers")


def inputs(config: Config) -> list[Input]:
    found = status_files() or [common.base_dir() / "stages" / "*" / "status.json"]
    return [Input(path, "no stage has run yet, so there is nothing to report; start with: bash speedrun.sh") for path in found]


def work(config: Config, run: Run) -> str:
    out = Path(config.out)
    results = collect(config.profile, load_profile(config.profile).get("stages", []))
    if common.rank() == 0:
        _write(run, results, out)
        _learn(config.profile)
    done = sum(stage.state == DONE for stage in results.stages)
    run.result(stages_done=done, stages=len(results.stages))
    return f"{done} of {len(results.stages)} stages done: see {out}"


def _learn(profile: str) -> None:
    """What the finished stages took is what the next forecast rests on."""
    try:
        forecast.learn(profile, plan.make_plan(profile, processes=1))
    except (UserError, ValueError, TypeError, KeyError, AttributeError) as error:
        common.say(f"report: the forecast learns nothing from this run ({error})")


def _write(run: Run, results: Results, out: Path) -> None:
    """The page for people, and the copy that stays with the run."""
    for path in (out, run.folder / "report.md"):
        try:
            written = write(results, path, run.config.price, run.config.answers)
        except OSError as error:
            if path != out:
                raise
            raise UserError(f"{out} cannot be written ({error.strerror}: {error.filename}); choose another place with --out") from None
        for each in written:
            run.output(each)


STAGE = Stage("report", Config, inputs, work, check)


def main(argv: list[str] | None = None) -> int:
    return execute(STAGE, argv)


if __name__ == "__main__":
    raise SystemExit(main())
