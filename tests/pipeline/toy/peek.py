"""A stage for tests: reads a file of the data folder that it does not declare.

python -m tests.pipeline.toy.peek --data_dir=DIR
"""

from nanochat import common
from nanochat.config import StageConfig
from nanochat.pipeline.stage import Stage, execute


def work(config, run):
    return (common.data_dir(config.data_dir) / "hidden.txt").read_text()


STAGE = Stage("peek", StageConfig, lambda config: [], work)

if __name__ == "__main__":
    raise SystemExit(execute(STAGE))
