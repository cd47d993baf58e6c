"""The Weights & Biases mirror of metrics.jsonl: a convenience, so whatever goes wrong in it costs a warning, never a run."""

import contextlib
import dataclasses
import hashlib
import os

from nanochat import common


def open_mirror(run):
    """A mirror of this run's log, or None where it is off or cannot be had (no package, no login, no network)."""
    mode = run.config.wandb
    if mode == "auto":
        mode = "offline" if os.environ.get("SLURM_JOB_ID") else "off"
    if mode == "off":
        return None
    try:
        return Mirror(run, mode)
    except Exception as error:
        run.say(f"Weights & Biases is off: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}")
        return None


class Mirror:
    """Sends each logged line on; after the first failure it says so and sends no more."""

    def __init__(self, run, mode: str):
        import wandb

        if mode == "online" and not (os.environ.get("WANDB_API_KEY") or wandb.api.api_key):
            raise RuntimeError("nobody is logged in; run `wandb login`, or use --wandb=offline")
        self.say, self.teardown = run.say, wandb.teardown
        # The same id each time: a stage that is continued goes on in the same run.
        identity = hashlib.sha256(f"{run.folder}/{run.identity}".encode()).hexdigest()[:12]
        self.run = wandb.init(
            project="nanochat",
            name=run.config.run_name or run.label,
            id=identity,
            resume="allow",
            mode=mode,
            dir=str(common.base_dir()),
            config=dataclasses.asdict(run.config),
            settings=wandb.Settings(init_timeout=30, silent=True),
        )

    def log(self, values: dict, step: int) -> None:
        """One line of numbers at a step."""
        if self.run is None:
            return
        try:
            self.run.log({name: value for name, value in values.items() if value is not None}, step=step)
        except Exception as error:
            self.say(f"Weights & Biases is off from here on: {error}")
            self.run = None

    def finish(self) -> None:
        """Flushes and closes."""
        if self.run is not None:
            try:
                self.run.finish()
            except Exception as error:
                self.say(f"Weights & Biases could not finish: {error}")
        # Left to wandb's own hook at exit, this would print a traceback where a signal to the whole job has ended its service first.
        with contextlib.suppress(Exception):
            self.teardown()
