"""Typed configuration: dataclass defaults < profile file < command line.

One stage has one dataclass. Its fields are the single source of the command line, of `--help`, of the TOML keys and of
what status.json records; nothing is declared twice.

    @dataclass
    class Config(StageConfig):
        depth: int = option(4, "number of transformer layers")

    config = parse(Config, "base_train", ["--profile=embedded", "--depth=6"])

A profile is `config/<name>.toml`: the ordered list `stages`, a table per stage, `[base_train]`, and for a second run of the
same stage under a tag a table that is laid over it, `["base_train.small"]`. Keys of the table `[common]` go to every stage
that has such a field.
"""

import dataclasses
import difflib
import math
import os
import re
import sys
import textwrap
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path

from nanochat import common
from nanochat.common import UserError

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

CONFIG_DIR = Path(__file__).resolve().parent.parent / "config"
SCRIPTS_DIR = CONFIG_DIR.parent / "scripts"

# Top-level keys of a profile that are not the table of a stage: the stages in order, and how many GPUs it is meant for.
PLAIN_KEYS = {"stages": list, "gpus": int}
NO_PROFILES = {"manifest"}  # other files in config/


def option(default, help: str, unit: str = "", choices: tuple = (), short: str = "", flag: str = ""):
    """A documented dataclass field. `unit` and `choices` appear in `--help`; a value outside `choices` is refused.

    `short` is a one-letter form (`-i`); `flag` is the name on the command line where it cannot be the field's (`from`).
    """
    metadata = {"help": help, "unit": unit, "choices": tuple(choices), "short": short, "flag": flag}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class StageConfig:
    """What every stage understands."""

    profile: str = option(
        "",
        "profile in config/, or a path to a TOML file; default: the base directory's, else embedded, or d12 with a GPU",
    )
    tag: str = option("", "names a second run of the same stage; its folders end in .<tag>")
    data_dir: str = option("", "folder with the original data files; default: NANOCHAT_DATA_DIR, then <base directory>/data")
    seed: int = option(0, "seed from which every random stream of the run derives its own")
    device: str = option("auto", "where to compute", choices=("auto", "cpu", "cuda", "mps"))
    resume: str = option("auto", "auto continues from the newest valid checkpoint, off starts again", choices=("auto", "off"))
    force: bool = option(False, "run, from the start, even if nothing changed since the stage was done")
    wandb: str = option(
        "auto",
        "mirror metrics.jsonl to Weights & Biases; auto: offline under Slurm, else off",
        choices=("auto", "off", "offline", "online"),
    )
    run_name: str = option("", "name shown in Weights & Biases; it decides nothing else")


# ---------------------------------------------------------------------------------------------------------------------
# Profiles


def default_profile() -> str:
    """The profile of this machine: `d12` where CUDA is found, else `embedded`. Imports torch only if a GPU may be there."""
    if not list(Path("/dev").glob("nvidia[0-9]*")) and "CUDA_VISIBLE_DEVICES" not in os.environ:
        return "embedded"
    import torch

    return "d12" if torch.cuda.is_available() else "embedded"


def choose_profile(given: str = "") -> str:
    """The profile in force: the option, else `NANOCHAT_PROFILE`, else the base directory's, else this machine's.

    A path to a TOML file comes back absolute, so that it means the same from any folder; one in config/ as its name.
    """
    name = given or os.environ.get("NANOCHAT_PROFILE") or common.profile_owner() or default_profile()
    if not name.endswith(".toml"):
        return name
    path = Path(name).expanduser().absolute()
    return path.stem if path.resolve().parent == CONFIG_DIR else str(path)


def profiles() -> list[str]:
    """Names of the profiles in config/."""
    return sorted(path.stem for path in CONFIG_DIR.glob("*.toml") if path.stem not in NO_PROFILES)


def profile_path(name: str) -> Path:
    """Path of a profile given its name or a path; UserError naming the profiles there are."""
    path = Path(name) if name.endswith(".toml") else CONFIG_DIR / f"{name}.toml"
    if not path.is_file() or name in NO_PROFILES:
        known = profiles()
        raise UserError(f"there is no profile '{name}'{nearest(name, known)}; profiles in config/: {', '.join(known)}")
    return path


def load_profile(name: str) -> dict:
    """The parsed TOML of a profile, as a dictionary of tables; UserError for a key or table that nothing reads."""
    path = profile_path(name)
    try:
        profile = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    stages = profile.get("stages", [])
    known = {"common"} | {str(s).partition(".")[0] for s in stages} | {p.stem for p in SCRIPTS_DIR.glob("[a-z]*.py")}
    for key, value in profile.items():
        kind = PLAIN_KEYS.get(key, dict)
        if not isinstance(value, kind):
            hint = "" if key in PLAIN_KEYS else nearest(key, [*PLAIN_KEYS, *known])
            raise UserError(f"'{key}' in {path} must be a {'table' if kind is dict else kind.__name__}{hint}")
        if kind is dict and key.partition(".")[0] not in known:
            raise UserError(f"there is no stage '{key}' for the table [{key}] in {path}{nearest(key, known)}")
    return profile


def profile_values(cls, profile: str, section: str, tag: str = "") -> dict:
    """What a profile says about the fields of `cls`: `[common]`, then `[section]`, then `["section.tag"]` over it."""
    tables, fields, hints = load_profile(profile), _fields(cls), typing.get_type_hints(cls)
    values = {key: value for key, value in tables.get("common", {}).items() if key in fields}
    for name in [section] + ([f"{section}.{tag}"] if tag else []):
        for key, value in tables.get(name, {}).items():
            if key not in fields:
                raise UserError(f"unknown key '{key}' in [{name}] of profile '{profile}'{nearest(key, fields)}")
            values[key] = value
    return {key: _convert(fields[key], hints[key], value, f"{key} in profile '{profile}'") for key, value in values.items()}


# ---------------------------------------------------------------------------------------------------------------------
# Command line


def parse(cls, section: str, argv: list[str] | None = None):
    """Builds `cls` from its defaults, the profile's table `section` (and `section.tag`), and `argv`.

    Accepts `--key=value`, `--key value`, `--flag`, `--no-flag`, `key=value`; `-` and `_` in keys are the same. Unknown keys,
    values of the wrong type and values outside the choices are UserErrors. `--help` prints every field and exits.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if "--help" in argv or "-h" in argv:
        rest = [word for word in argv if word not in ("--help", "-h")]
        print(help_text(cls, section, _command_line(cls, rest)))
        raise SystemExit(0)
    given = _command_line(cls, argv)
    if "profile" not in _fields(cls):
        return cls(**given)
    profile = choose_profile(given.get("profile", ""))
    return cls(**{**profile_values(cls, profile, section, given.get("tag", "")), **given, "profile": profile})


def help_text(cls, section: str, given: dict | None = None) -> str:
    """`--help`: the script's docstring, then every field with its default, unit and legal values.

    With `--profile` in `given`, the profile's values are shown beside the defaults.
    """
    given = given or {}
    profile, shared = given.get("profile", ""), _fields(StageConfig)
    values = profile_values(cls, profile, section, given.get("tag", "")) if profile else {}
    lines = [(sys.modules[cls.__module__].__doc__ or "").strip(), "", f"usage: python -m scripts.{section} [--key=value ...]"]
    groups = [("options", [f for f in dataclasses.fields(cls) if f.name not in shared])]
    groups += [("common options", [f for f in dataclasses.fields(cls) if f.name in shared])]
    for title, fields in groups:
        lines += ["", f"{title}:"] if fields else []
        for f in fields:
            lines += _help_lines(f, f"; {profile}: {values[f.name]!r}" if f.name in values else "")
    return "\n".join(lines).strip()


def _help_lines(f: dataclasses.Field, of_profile: str) -> list[str]:
    default = f.default if f.default is not dataclasses.MISSING else f.default_factory()
    unit = f" [{f.metadata['unit']}]" if f.metadata.get("unit") else ""
    choices = f" ({' | '.join(map(str, f.metadata['choices']))})" if f.metadata.get("choices") else ""
    short = f"-{f.metadata['short']}, " if f.metadata.get("short") else ""
    text = f"{f.metadata.get('help', '')}{unit}{choices} (default: {default!r}{of_profile})"
    name = f"  {short}--{_flag(f)}"
    wrapped = textwrap.wrap(text, 96, break_long_words=False, break_on_hyphens=False)
    return [f"{name:<26} {wrapped[0]}" if len(name) <= 26 else f"{name}\n{'':<27}{wrapped[0]}", *(f"{'':<27}{w}" for w in wrapped[1:])]


def at_least(config, least: float, *names: str) -> None:
    """UserError for the first of these options that is smaller than `least`; None is no number and passes."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value < least:
            raise UserError(f"--{name} must be at least {least}, not {value}")


def nearest(name: str, known) -> str:
    """` (did you mean 'x'?)` for the closest of `known`, or nothing if none is close. What is cut off is closer than what is misspelt."""
    names = [str(k) for k in known]
    whole = sorted((k for k in names if len(str(name)) > 2 and k.startswith(str(name))), key=len)
    close = whole or difflib.get_close_matches(str(name), names, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _fields(cls) -> dict[str, dataclasses.Field]:
    return {f.name: f for f in dataclasses.fields(cls)}


def _flag(f: dataclasses.Field) -> str:
    return f.metadata.get("flag") or f.name


def _command_line(cls, argv: list[str]) -> dict:
    by_flag = {_flag(f).replace("-", "_"): f for f in dataclasses.fields(cls)}
    by_short = {f.metadata["short"]: f for f in dataclasses.fields(cls) if f.metadata.get("short")}
    hints, given, words = typing.get_type_hints(cls), {}, list(argv)
    while words:
        word = words.pop(0)
        key, equals, text = word.lstrip("-").partition("=")
        key = key.replace("-", "_")
        if not word.startswith("-") and not equals:
            raise UserError(f"'{word}' is not an option; write --key=value (--help lists the keys)")
        if key.startswith("no_") and key not in by_flag and not equals and hints.get(getattr(by_flag.get(key[3:]), "name", "")) is bool:
            key, equals, text = key[3:], "=", "false"
        f = by_flag.get(key) or (by_short.get(key) if not word.startswith("--") else None)
        if f is None:
            hint = nearest(key, by_flag)
            hint = hint.replace("'", "'--", 1) if word.startswith("-") else hint
            raise UserError(f"unknown option '{word}'{hint}; --help lists the options")
        if not equals:
            text = _next_value(f, hints[f.name], words)
        given[f.name] = _convert(f, hints[f.name], text, f"--{_flag(f)}")
    return given


def _next_value(f: dataclasses.Field, kind, words: list[str]) -> str:
    """The value of an option written without `=`: the next word, or `true` for a switch."""
    if kind is bool:
        return words.pop(0) if words and words[0].lower() in _TRUTH else "true"
    if not words or words[0].startswith("--"):
        raise UserError(f"--{_flag(f)} needs a value")
    return words.pop(0)


# ---------------------------------------------------------------------------------------------------------------------
# Values

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _convert(f: dataclasses.Field, kind, value, where: str):
    """`value` (text or a TOML value) as type `kind`; UserError with the legal form if it is not one."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union) and type(None) in typing.get_args(kind):
        if value is None or str(value).lower() in ("none", "auto", ""):
            return None
        kind = next(a for a in typing.get_args(kind) if a is not type(None))
    origin = typing.get_origin(kind) or kind
    try:
        result = _CONVERTERS.get(origin, lambda value, _: origin(value))(value, typing.get_args(kind))
    except (KeyError, ValueError, TypeError, OverflowError):
        raise UserError(f"{where} must be {_NAMES.get(origin, origin.__name__)}, not {value!r}") from None
    choices = f.metadata.get("choices")
    if choices and result not in choices:
        raise UserError(f"{where} must be one of {', '.join(map(str, choices))}, not {result!r}{nearest(str(result), choices)}")
    if f.name.endswith("tag") and result and not _TAG.fullmatch(result):  # it becomes part of a folder's name
        raise UserError(f"{where} may hold letters, digits, '.', '_' and '-', not {result!r}")
    return result


def _to_bool(value, _=()) -> bool:
    return value if isinstance(value, bool) else _TRUTH[str(value).lower()]


def _to_int(value, _=()) -> int:
    """Also `1_000`, `1e6` and `2.0`: whatever is a whole number without loss."""
    if isinstance(value, bool):
        raise ValueError
    if isinstance(value, int):
        return value
    text = str(value).replace("_", "")
    return int(text) if text.lstrip("+-").isdigit() else _whole(float(text))


def _whole(number: float) -> int:
    if number != int(number):
        raise ValueError
    return int(number)


def _to_float(value, _=()) -> float:
    """No setting makes sense as nan or inf."""
    if isinstance(value, bool) or not math.isfinite(float(value)):
        raise ValueError
    return float(value)


def _to_text(value, _=()) -> str:
    if isinstance(value, (list, dict)):
        raise ValueError
    return str(value)


def _to_list(value, args=()) -> list:
    text = "" if value == "[]" else value  # as TOML and the help write an empty list
    items = list(text) if isinstance(text, (list, tuple)) else [v.strip() for v in _to_text(text).split(",") if v.strip()]
    inner = (args or (str,))[0]
    return [_CONVERTERS.get(inner, lambda v, _: inner(v))(item, ()) for item in items]


_CONVERTERS = {bool: _to_bool, int: _to_int, float: _to_float, str: _to_text, list: _to_list, dict: lambda value, _: dict(value)}
_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list (a,b,c)", dict: "a table"}
