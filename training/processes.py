"""A run in a process of its own, for what starts many: it ends when this one does, and the next start resumes it."""

import json
import os
import pathlib
import subprocess
import sys
import threading
from typing import Any


def train(recipe: str, config: dict[str, Any], command: str, failed: str) -> None:
    """Trains, measures and reports one run, unless it fails.

    Args:
        recipe: its name, or its file's path.
        config: all of its options; `output` is the run's directory.
        command: what repeats the run, without options.
        failed: what failed, where it does.

    Raises:
        ChildProcessError: where it does; what it had to say stands on the terminal.
    """
    from .loop import child_environment

    words = [sys.executable, "-m", __name__, recipe, json.dumps(config), command]
    with subprocess.Popen(words, stdin=subprocess.PIPE, env=child_environment()) as process:
        status = process.wait()
    if status:
        raise ChildProcessError(f"{failed} failed; its message stands above. The same command resumes.")


def _train(recipe: str, config: str, command: str) -> None:
    from . import loop

    module = loop.load_recipe(recipe)
    options = module.Config(**json.loads(config))
    loop.execute(module, options, command=command, brief=True)


def spelled(module: Any) -> str:
    """How another process names a loaded recipe: ours by name, others by path."""
    path = pathlib.Path(module.__file__).resolve()
    return path.stem if module.__name__.startswith("convcraft.recipes.") else str(path)


def _end_with_parent() -> None:
    os.read(0, 1)  # until the parent closes it, or is killed; sys.stdin.read() would hold a lock at the exit
    os._exit(1)


if __name__ == "__main__":
    from convcraft.guarding import guarded
    from convcraft.quiet import import_keras

    import_keras()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    recipe, config, command = sys.argv[1:]
    sys.exit(guarded(lambda: _train(recipe, config, command)))
