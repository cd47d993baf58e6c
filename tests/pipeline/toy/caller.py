"""A stage for tests: tries to reach a host, through a library if wanted."""

import socket
from dataclasses import dataclass

from nanochat import common
from nanochat.config import StageConfig, option
from nanochat.pipeline.stage import Stage, execute


@dataclass
class Config(StageConfig):
    host: str = option("huggingface.co", "whom to reach")
    port: int = option(443, "where")


def work(config, run):
    with socket.create_connection((config.host, config.port), timeout=2):
        pass
    path = common.base_dir() / "toy" / "reached.txt"
    common.write_text(path, config.host)
    run.output(path)
    return f"reached {config.host}"


STAGE = Stage("caller", Config, lambda config: [], work)

if __name__ == "__main__":
    raise SystemExit(execute(STAGE))
