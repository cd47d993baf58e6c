"""What a profile will take, before it is submitted: time, GPU hours, energy, memory, disk, each with an interval.

    python -m scripts.forecast --profile=d20_a100x8
    python -m scripts.forecast --profile=d12 --gpus=4 --gpu=H100
    python -m scripts.forecast --profile=d20_a100x8 --time_limit=12:00:00       # and whether it fits into a job

Nothing is read but the settings, so it can be asked before there is any data. Where this machine has finished such a stage, the time
rests on what that took (`<base directory>/throughput.json`, kept up to date here), else on published and assumed rates
(nanochat/pipeline/throughput.py says which): then the interval is wide.
"""

from dataclasses import dataclass

from nanochat import common
from nanochat.common import UserError
from nanochat.config import at_least, load_profile, option, parse
from nanochat.pipeline import forecast, plan
from nanochat.pipeline.explain import explain
from nanochat.pipeline.slurm import parse_time


@dataclass
class Config:
    profile: str = option("", "profile in config/, or a path to a TOML file; default: the base directory's or this machine's")
    gpus: int | None = option(None, "how many GPUs; default: as many as the profile is made for, 0 computes on this machine's cores")
    gpu: str = option("", "their kind, such as A100 or H100; default: what is found here, else A100")
    time_limit: str = option("", "time limit of a job, to be compared with it", unit="HH:MM:SS")


def main(argv: list[str] | None = None) -> int:
    try:
        common.stay_home()
        config = parse(Config, "forecast", argv)
        at_least(config, 0, "gpus")
        limit = parse_time(config.time_limit) if config.time_limit else None
        gpus = load_profile(config.profile).get("gpus", 0) if config.gpus is None else config.gpus
        card = forecast.card(config.gpu)
        steps = plan.make_plan(config.profile, processes=1)
        forecast.learn(config.profile, steps)
        found = forecast.forecast(config.profile, steps, forecast.machine_for(gpus, card))
        print("\n".join(forecast.lines(found)))
        if limit:
            print(forecast.fits(found.left, limit))
        return 0
    except (UserError, OSError) as error:
        common.say(f"forecast: {explain(error)}")
        return 2 if isinstance(error, UserError) else 1


if __name__ == "__main__":
    raise SystemExit(main())
