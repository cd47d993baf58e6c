"""Runs every stage of a profile, from raw text to a chat and a report; skips what is done, goes on where it stopped.

    bash speedrun.sh                                    # the same, and makes the Python environment first
    python -m scripts.speedrun --profile=embedded
    python -m scripts.speedrun --profile=d20_a100x8 --dry-run     # lists stages, commands, what is done, what is missing
    python -m scripts.speedrun --from=mid_train         # begins at a stage
    python -m scripts.speedrun --only=dag_eval.sft      # one stage, or all of its tags
    python -m scripts.speedrun --names                  # the stages from the first that is not done, one a line, for slurm/submit.sh

One line per stage on stdout; the stages' own progress on stderr. Ctrl-C, SIGTERM and SIGUSR1 let the running stage save and
stop; the same command then goes on. On a machine with several GPUs training and evaluation stages run under torchrun, one
process per GPU; NPROC=N chooses another number. Exit code: 0 everything is done, 1 a stage failed, 2 wrong usage or a
missing input, 75 interrupted. Every stage is also a command of its own: python -m scripts.<stage> --help.
"""

import os
import shlex
import sys
import time
from dataclasses import dataclass

from nanochat import common
from nanochat.common import UserError
from nanochat.config import load_profile, option, parse
from nanochat.pipeline import plan
from nanochat.pipeline.explain import explain
from nanochat.pipeline.inputs import check_base, check_data_dir, check_place
from nanochat.pipeline.ledger import located, read_status
from nanochat.pipeline.plan import Finding, Step
from nanochat.pipeline.runner import run_plan
from nanochat.pipeline.stage import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE


@dataclass
class Config:
    profile: str = option("", "profile in config/, or a path to a TOML file; default: the base directory's or this machine's")
    data_dir: str = option("", "folder with the original data files; default: NANOCHAT_DATA_DIR, then <base directory>/data")
    first: str = option("", "stage to begin with; those before it are taken as they are", flag="from")
    only: str = option("", "the one stage to run")
    dry_run: bool = option(False, "list stages, commands and what is missing; start nothing")
    names: bool = option(False, "print only the names of the stages, from the first that is not done; start nothing")


def main(argv: list[str] | None = None) -> int:
    try:
        common.stay_home()
        config = parse(Config, "speedrun", argv)
        check_data_dir(config.data_dir)
        elsewhere = meant_for(config.profile) if config.dry_run else 0
        steps = plan.choose(plan.make_plan(config.profile, config.data_dir, elsewhere), config.first, config.only)
        if config.dry_run:
            return dry_run(config, steps)
        if config.names:
            return names(steps)
        check_base(config.profile)
        findings = zip(steps, plan.survey(steps), strict=True)
        lacking = [f"{step.label}: {finding.note}" for step, finding in findings if finding.state == "missing"]
        if lacking:  # said before the first hour of computing, not after it
            raise UserError("\n  ".join(["nothing was started, because inputs are missing:", *lacking]))
        return run(config, steps)
    except (UserError, OSError) as error:
        common.say(f"speedrun: {explain(error)}")
        return EXIT_USAGE if isinstance(error, UserError) else EXIT_FAILED
    except KeyboardInterrupt:
        common.say("speedrun: interrupted before it began")
        return EXIT_INTERRUPTED


def run(config: Config, steps: list[Step]) -> int:
    """Runs the steps and says how to go on from where that ended."""
    started = time.time()
    print(heading(config, steps), flush=True)
    code = run_plan(steps, say=lambda line: print(line, flush=True))
    print(f"{common.duration(time.time() - started)} in all", flush=True)
    if code == EXIT_DONE:
        print(what_next() if steps[-1].stage.name == "report" or not config.only else "done", flush=True)
    elif code == EXIT_INTERRUPTED:
        print("interrupted; the same command goes on from here", flush=True)
    else:
        print("stopped there; what is above it is done, and the same command goes on from here", flush=True)
    return code


def meant_for(profile: str) -> int:
    """The GPUs a profile is made for if this machine, where its commands are only listed, has none; else 0."""
    return 0 if plan.count_gpus() or os.environ.get("NPROC") else load_profile(profile).get("gpus", 0)


def heading(config: Config, steps: list[Step]) -> str:
    """Profile, folders and processes in one line, and a second if the profile is meant for another machine."""
    processes = max(step.processes for step in steps)
    nodes = max(step.nodes for step in steps)
    several = f"{processes} process{'es' * (processes > 1)}" + " per training stage" * (processes > 1)
    several += f" on each of {nodes} nodes" * (nodes > 1)
    folders = f"base directory {common.base_dir()} · data {common.data_dir(config.data_dir)}"
    lines = [f"profile {config.profile} · {folders} · {len(steps)} stage{'s' * (len(steps) > 1)} · {several}"]
    wanted, gpus = load_profile(config.profile).get("gpus", 0), plan.count_gpus()
    if wanted > gpus:
        lines.append(f"note: this profile is meant for {wanted} GPU{'s' if wanted > 1 else ''}, and this machine shows {gpus}")
    return "\n".join(lines)


def dry_run(config: Config, steps: list[Step]) -> int:
    """Prints each stage with its state, what it lacks and its command."""
    check_place()
    findings = plan.survey(steps)
    print(heading(config, steps))
    owner = common.profile_owner()
    if owner not in ("", config.profile):
        print(f"note: this base directory holds a run of profile '{owner}'; set NANOCHAT_BASE_DIR to a new folder before running this one")
    for number, (step, finding) in enumerate(zip(steps, findings, strict=True), 1):
        print(f"{number:>2}/{len(steps)} {step.label:<16} {finding.state:<11}  {finding.note}".rstrip())
        print(f"      {common.shown(step.command)}")
    print(summary(findings))
    return EXIT_DONE


def names(steps: list[Step]) -> int:
    """Prints the labels of the steps from the first that is not done: those after it may depend on what it makes."""
    undone = [number for number, finding in enumerate(plan.survey(steps)) if finding.state != "done"]
    print("".join(f"{step.label}\n" for step in steps[undone[0] :]) if undone else "", end="")
    return EXIT_DONE


def summary(findings: list[Finding]) -> str:
    """How many stages are in which state."""
    states = [finding.state for finding in findings]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def what_next() -> str:
    """Where the report is and the exact command to chat."""
    outputs = (read_status("report") or {}).get("outputs", {})
    reports = [located(path) for path in outputs if path.endswith(".md")]
    base = os.environ.get("NANOCHAT_BASE_DIR")
    prefix = f"NANOCHAT_BASE_DIR={shlex.quote(str(common.base_dir()))} " if base else ""
    chat = prefix + common.shown([sys.executable, "-m", "scripts.chat_cli"])
    return "\n".join([*(f"report: {path}" for path in reports[:1]), f"chat:   {chat}", f"        {chat} -p 'What is 12 plus 30 times 2?'"])


if __name__ == "__main__":
    raise SystemExit(main())
