"""How commands end: what their user got wrong becomes one sentence and status 2, as does a wrong option."""

import argparse
import os
import sys
from collections.abc import Callable

RESUMES = "interrupted; the same command goes on from the last checkpoint."


def guarded(action: Callable[[], object], interrupted: str = RESUMES) -> int:
    """Runs `action`; what its user got wrong becomes one line on stderr and status 2.

    An `action` that returns a number chooses the status by it.

    With the environment variable CONVCRAFT_DEBUG set, errors keep their traceback.
    """
    # before TensorFlow is first imported: it prints to stderr, and takes all of a GPU's memory, otherwise
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show "…" gets "?"
            stream.reconfigure(errors="replace")
    try:
        status = action()
        sys.stdout.flush()  # here, where a reader that has left is still noticed
    except BrokenPipeError:  # `convcraft list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # what a shell reports of a process that ends so: 128 + SIGPIPE
    except KeyboardInterrupt:
        print(f"\nconvcraft: {interrupted}", file=sys.stderr)
        return 130
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("CONVCRAFT_DEBUG"):
            raise
        print(f"convcraft: {_sentence(error)}", file=sys.stderr)
        return 2
    return status if isinstance(status, int) else 0


def _sentence(error):
    """An error's message as one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}."
    if isinstance(error, ModuleNotFoundError):
        return f"There is no module {error.name!r} in {sys.executable}: install it first."
    return " ".join(str(error).split()) or type(error).__name__


class Parser(argparse.ArgumentParser):
    """Whose errors are ours: one sentence, and where help is."""

    def error(self, message):
        """Raises it."""
        message = message.replace("the following arguments are required", "Expected")
        raise ValueError(f"{message[0].upper()}{message[1:]}. See `{self.prog} --help`.")
