"""A stage for tests: adds up what `numbers` wrote, and what a file from outside holds if one is wanted."""

from dataclasses import dataclass
from pathlib import Path

from nanochat import common
from nanochat.config import StageConfig, option
from nanochat.pipeline.stage import Input, Stage, execute


@dataclass
class Config(StageConfig):
    also: str = option("", "a file under the data directory with one more number")
    bonus: str = option("", "another such file, which may be absent")


def inputs(config):
    files = [Input(common.base_dir() / "toy" / "numbers.txt", "make it with: python -m tests.pipeline.toy.numbers")]
    if config.also:
        files.append(Input(common.data_dir(config.data_dir) / config.also, "download it with: bash download_data.sh", own=True))
    if config.bonus:
        files.append(Input(common.data_dir(config.data_dir) / config.bonus, "put it there", optional=True, own=True))
    return files


def work(config, run):
    there = [item.path for item in inputs(config) if Path(item.path).exists()]
    total = sum(int(line) for path in there for line in Path(path).read_text().split())
    path = common.base_dir() / "toy" / f"total{config.tag}.txt"
    common.write_text(path, f"{total}\n")
    run.output(path)
    run.result(total=total)
    return f"the total is {total}"


STAGE = Stage("total", Config, inputs, work)

if __name__ == "__main__":
    raise SystemExit(execute(STAGE))
