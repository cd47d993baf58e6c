"""Checkpoints: saved whole or not at all, verified before use, found by stage and tag.

    checkpoints/<stage>/<tag or "default">/step_000500/
        model.safetensors    parameters
        train_state.pt       optimizer by parameter name, random states, loader cursors; loads with weights_only=True
        meta.json            model_config, branch_config, tokenizer_hash, parent, settings of training, step, identity of the run,
                             metrics measured at this step, score (which of them tells the best, its value), sha256 of the two
                             files above
        COMPLETE             written last

A folder without COMPLETE does not exist for readers. One whose files do not have the digests of its meta.json is named on
stderr and walked past: the next older one is used.
"""

import contextlib
import math
import os
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from nanochat import common
from nanochat.common import UserError
from nanochat.data.artifact import is_complete, new_artifact
from nanochat.data.tokenizer import Tokenizer
from nanochat.model.gpt import GPT, GPTConfig
from nanochat.pipeline.digests import digest
from nanochat.pipeline.explain import explain, own_words
from nanochat.pipeline.stage import Input
from nanochat.train.hardware import placed

SOURCES = {"base": "base_train", "dag": "dag_train", "mid": "mid_train", "sft": "chat_sft", "rl": "chat_rl"}  # what people type -> stage
MODEL, STATE, META = "model.safetensors", "train_state.pt", "meta.json"
BEST = "best"  # what people type in the place of a step


def folder_of(stage: str, tag: str = "") -> Path:
    """Where a stage keeps its checkpoints."""
    return common.base_dir() / "checkpoints" / stage / (tag or "default")


def name_of(step: int) -> str:
    """The name of a step's folder."""
    return f"step_{step:06d}"


def checkpoint_id(path: Path) -> str:
    """`<stage>/<tag>/step_<n>`: how children name their parent."""
    return "/".join(Path(path).parts[-3:])


# ---------------------------------------------------------------------------------------------------------------------
# Writing


@dataclass(frozen=True)
class Criterion:
    """By what the best checkpoint of a stage is told: one of its evaluated figures, of which `better` values ("lower", "higher") win."""

    metric: str
    better: str = "lower"

    def score(self, metrics: dict) -> dict | None:
        """What a checkpoint with these metrics has in its meta.json; None if the figure was not measured."""
        value = metrics.get(self.metric)
        if value is None or not math.isfinite(value):
            return None
        return {"metric": self.metric, "better": self.better, "value": value}


def write(stage: str, tag: str, step: int, weights: dict, meta: dict, train_state: dict, keep: int = 2, keep_best: int = 0,
          stale: Iterable[Path] = (), spared: Iterable[Path] = ()) -> Path:  # fmt: skip
    """Writes a checkpoint and returns its folder. The newest `keep` and the best `keep_best` stay; `stale` ones (see `beyond`) make place,
    unless they are `spared` this time.

    `weights` are contiguous tensors on the CPU; `meta` is what the caller knows (model_config, tokenizer_hash, ...); stage, tag,
    step and digests are added here. Call it in the first process only. UserError for what the disk refuses; nothing half-written
    stays then.
    """
    path = folder_of(stage, tag) / name_of(step)
    _sweep(path.parent)
    with new_artifact(path) as aside, _refusals():
        save_file(weights, aside / MODEL)
        torch.save(train_state, aside / STATE)
        (aside / MODEL).chmod((aside / STATE).stat().st_mode)  # safetensors makes files that only their owner may read
        files = {name: common.sha256(aside / name) for name in (MODEL, STATE)}
        common.write_json(aside / META, {**meta, "stage": stage, "tag": tag, "step": step, "files": files})
    own = [path, *(p for p in complete(stage, tag) if p != path and p not in stale)]
    kept = {*own[: max(1, keep)], *ranked(own)[:keep_best]}
    for unwanted in [*(p for p in stale if p != path and p not in spared), *(p for p in own if p not in kept)]:
        discard(unwanted)
    return path


def save(stage: str, tag: str, step: int, model: torch.nn.Module, meta: dict, train_state: dict, **options) -> Path:
    """Writes a model at hand: see `write`."""
    weights = {name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()}
    return write(stage, tag, step, weights, meta, train_state, **options)


@contextlib.contextmanager
def _refusals():
    """What a disk refuses becomes a UserError while it still does: the half-written files are gone a moment later, and a full disk is
    no longer full."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = explain(error)
        if reason == own_words(error):
            raise
        raise UserError(reason) from error


def discard(path: Path) -> None:
    """Removes a checkpoint: from the first moment on it does not exist for readers, and what a killed process leaves of it is swept."""
    unwanted = path.with_name(f".{path.name}.old")
    shutil.rmtree(unwanted, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, unwanted)
    shutil.rmtree(unwanted, ignore_errors=True)


def beyond(stage: str, tag: str, resumed: Path | None) -> list[Path]:
    """Checkpoints that are not on the way of a run that goes on from `resumed`: all of them if it starts anew, else the later ones
    (damaged, or they would have been resumed from). They stay until that run has saved something of its own."""
    return [p for p in complete(stage, tag) if resumed is None or step_of(p) > step_of(resumed)]


def _sweep(folder: Path) -> None:
    """Removes what killed writers left behind; the stage's lock keeps a second live writer away."""
    for leftover in [*folder.glob(".step_*.tmp"), *folder.glob(".step_*.old")]:
        shutil.rmtree(leftover, ignore_errors=True)


# ---------------------------------------------------------------------------------------------------------------------
# Finding


_said: set[Path] = set()  # damaged checkpoints that have been named: once is enough for a process


def latest(stage: str, tag: str = "", identity: str | None = None) -> Path | None:
    """The newest checkpoint that verifies (and belongs to the run `identity`, if given), None if there is none."""
    own = (p for p in complete(stage, tag) if identity is None or not (meta := meta_of(p)) or meta.get("identity") == identity)
    return _first_whole(stage, own)


def earlier(run) -> dict:
    """meta.json of the checkpoint that a run goes on from, {} if it begins. Call it in every process."""
    if run.config.resume != "auto":
        return {}
    path = common.from_first(lambda: latest(run.stage, run.tag, run.identity))
    return {} if path is None else meta_of(path)


def best(stage: str, tag: str = "") -> Path | None:
    """The checkpoint with the best score that verifies, None if there is none with a score."""
    return _first_whole(stage, ranked(complete(stage, tag)))


def ranked(paths: Iterable[Path]) -> list[Path]:
    """Those of the checkpoints that have a score, the best first; of equals in the order they came."""
    scored = {p: meta for p in paths if (meta := meta_of(p)).get("score")}
    return sorted(scored, key=lambda p: -merit(scored[p]))


def merit(meta: dict) -> float:
    """A number that is higher for a checkpoint with a better score."""
    score = meta.get("score")
    return -math.inf if not score else score["value"] if score["better"] == "higher" else -score["value"]


def meta_of(path: Path) -> dict:
    """meta.json of a checkpoint, {} if it cannot be read."""
    meta = common.read_json(path / META)
    return meta if isinstance(meta, dict) else {}


def _first_whole(stage: str, paths: Iterable[Path]) -> Path | None:
    """The first that verifies; those before it are named."""
    for path in paths:
        reason = damage(path)
        if not reason:
            return path
        if path not in _said:
            _said.add(path)
            print(f"{stage}: checkpoint {path} is damaged ({reason}); looking for another one", file=sys.stderr, flush=True)
    return None


def damage(path: Path) -> str:
    """What is wrong with a checkpoint folder in a few words, "" if it is whole."""
    if not is_complete(path):
        return "it was never finished"
    meta = meta_of(path)
    if not isinstance(meta.get("files"), dict):
        return f"{META} cannot be read"
    for name, expected in meta["files"].items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if digest(path / name) != expected:
            return f"{name} is not as it was written"
    return ""


def complete(stage: str, tag: str = "") -> list[Path]:
    """Finished checkpoint folders of a stage, newest first."""
    return _complete(folder_of(stage, tag))


def _complete(folder: Path) -> list[Path]:
    return sorted((p for p in folder.glob("step_*") if re.fullmatch(r"step_\d+", p.name) and is_complete(p)), key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """The step of a checkpoint folder."""
    return int(path.name.removeprefix("step_"))


def existing() -> list[str]:
    """Every finished checkpoint under the base directory as `<stage>/<tag>/step_<n>`."""
    return [checkpoint_id(p) for folder in sorted((common.base_dir() / "checkpoints").glob("*/*")) for p in _complete(folder)]


def find(source: str, tag: str = "", step: int | str | None = None) -> Path:
    """The checkpoint people mean by one of SOURCES: the newest, that of a step, or BEST. UserError if it is not there."""
    if source not in SOURCES:
        raise UserError(f"there is no model source '{source}'; use one of {', '.join(SOURCES)}")
    stage = SOURCES[source]
    there = complete(stage, tag)
    if step in (None, BEST):
        path = best(stage, tag) if step else latest(stage, tag)
    else:
        path = next((p for p in there if step_of(p) == step), None)
        if path and damage(path):
            raise UserError(f"checkpoint {path} is damaged ({damage(path)}); choose another step, or none for the newest that is whole")
    if path is None:
        raise UserError(_why_none(source, tag, step, there))
    return path


def _why_none(source: str, tag: str, step: int | str | None, there: list[Path]) -> str:
    stage = SOURCES[source]
    command = f"python -m scripts.{stage}" + (f" --tag={tag}" if tag else "")
    if there and step == BEST and not ranked(there):
        return f"no checkpoint of '{source}' in {folder_of(stage, tag)} was evaluated; leave --step={BEST} out for the newest"
    if there and not isinstance(step, int):
        return f"every checkpoint of '{source}' in {folder_of(stage, tag)} is damaged; make it again with `{command} --force`"
    chosen = f"step {step} of '{source}'" if isinstance(step, int) else f"'{source}'"
    others = ", ".join(existing()) or "none"
    return f"there is no checkpoint of {chosen} in {folder_of(stage, tag)}; make it with `{command}` (checkpoints there are: {others})"


def expected(source: str, tag: str = "") -> tuple[Path, str]:
    """(path, advice) for a stage's inputs: the newest checkpoint, or the folder where it would be and the command that makes it."""
    stage = SOURCES[source]
    command = f"python -m scripts.{stage}" + (f" --tag={tag}" if tag else "")
    return latest(stage, tag) or folder_of(stage, tag), f"make it with `{command}`"


def as_input(source: str, tag: str = "") -> Input:
    """A checkpoint among a stage's inputs."""
    return Input(*expected(source, tag))


# ---------------------------------------------------------------------------------------------------------------------
# Reading


def load_model(source: str, tag: str = "", step: int | str | None = None, device: torch.device | str = "cpu"):
    """(model, tokenizer, meta) of a checkpoint, the model in evaluation mode on `device`.

    The model is a GPT, with its branch if it was saved with one; for `dag` it is the predictor alone, of the variant it was
    trained as. meta is meta.json plus `id`, by which children name it. UserError if there is none, or if the tokenizer is not the
    one it was trained with.
    """
    path = find(source, tag, step)
    meta = {**common.read_json(path / META), "id": checkpoint_id(path)}
    tokenizer = Tokenizer.load()
    if meta.get("tokenizer_hash") not in (None, tokenizer.hash):
        raise UserError(
            f"checkpoint {path} was trained with another tokenizer than the one in {common.base_dir() / 'tokenizer'}; train it again"
        )
    model = build_model(meta, tokenizer)
    load_weights(model, path)
    placed(model, torch.device(device))
    if isinstance(model, GPT):
        model.compute_dtype = common.compute_dtype(torch.device(device))
    return model.eval(), tokenizer, meta


def build_model(meta: dict, tokenizer) -> torch.nn.Module:
    """The model a meta.json describes, with fresh weights."""
    if meta["stage"] == SOURCES["dag"]:
        from nanochat.dag import build_predictor

        return build_predictor(meta, tokenizer)
    model = GPT(GPTConfig.from_dict(meta["model_config"]))
    if meta.get("branch_config") is not None:
        from nanochat.dag import build_branch

        model.attach(build_branch(meta["branch_config"], tokenizer))
    return model


def describe(model: GPT, tokenizer) -> dict:
    """The part of meta.json from which `build_model` makes a GPT again, and the kernel that computed its attention."""
    branch = None if model.branch is None else model.branch.config.to_dict()
    return {"model_config": model.config.to_dict(), "branch_config": branch, "tokenizer_hash": tokenizer.hash,
            "attention": model.attention_kernel}  # fmt: skip


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Fills a model with a checkpoint's parameters; UserError if they are not of this model or may not be read."""
    try:
        model.load_state_dict(load_file(path / MODEL))
    except OSError:
        raise UserError(f"{path / MODEL} cannot be read; ask its owner for the right to read it") from None
    except (RuntimeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"checkpoint {path} does not fit this version of the model ({first}); train it again") from None


def load_train_state(path: Path) -> dict:
    """train_state.pt on the CPU; nothing in it can run code."""
    return torch.load(path / STATE, map_location="cpu", weights_only=True)
