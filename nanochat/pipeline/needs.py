"""Which packages a module imports, itself or through our other modules, at once or later: read from the sources, nothing is run.

packages_of("scripts.base_train")     # {"torch", "numpy", "tiktoken", "rustbpe", "pyarrow", ...}
"""

import ast
import functools
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BY_NAME = {"tasks.common": "tasks"}  # a module that imports others of a folder by their names
OPTIONAL = {"wandb": "metrics are not mirrored to Weights & Biases"}  # the code goes on without these


def packages_of(module: str) -> set[str]:
    """Top-level names of what is neither ours nor Python's own. Imports that expect to fail (`try` with ImportError) do not count."""
    seen, queue, found = set(), [module], set()
    while queue:
        name = queue.pop()
        path = _source(name)
        if name in seen or path is None:
            continue
        seen.add(name)
        for wanted in _imports(path):
            top = wanted.partition(".")[0]
            if (ROOT / top).is_dir():
                queue.append(wanted)
            elif top not in sys.stdlib_module_names:
                found.add(top)
        folder = BY_NAME.get(name)
        queue += [f"{folder}.{p.stem}" for p in sorted((ROOT / folder).glob("*.py"))] if folder else []
    return found


def broken(package: str) -> str:
    """Why a package cannot be imported, "" if it can."""
    try:
        importlib.import_module(package)
    except Exception as error:  # a half-installed package may raise anything while it is imported
        return (str(error).splitlines() or [""])[0][:160] or type(error).__name__
    return ""


def _source(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


@functools.cache
def _imports(path: Path) -> tuple[str, ...]:
    return tuple(_walk(ast.parse(path.read_text(encoding="utf-8"))))


def _walk(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names if (ROOT / node.module.partition(".")[0]).is_dir())
    elif isinstance(node, ast.Try) and any(_expects_absence(handler) for handler in node.handlers):
        return
    for child in ast.iter_child_nodes(node):
        yield from _walk(child)


def _expects_absence(handler: ast.ExceptHandler) -> bool:
    names = {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)} if handler.type else set()
    return bool(names & {"ImportError", "ModuleNotFoundError"})
