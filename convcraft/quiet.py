"""Keras without TensorFlow's greetings."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# TensorFlow's log lines at import (oneDNN, CPU features, CUDA plugins registered twice); fatal ones (F) stay
NOISE = re.compile(
    r"[IWE]\d{4} |INFO: Created TensorFlow Lite|\d{4}-\d\d-\d\d [\d:.]+: [IWE] |"
    r"WARNING: All log messages before|To enable the following instructions"
)


def import_keras() -> None:
    """Imports Keras and its backend; other messages than TensorFlow's log lines still reach stderr.

    TensorFlow writes them from C++ before it heeds TF_CPP_MIN_LOG_LEVEL, so that only the file descriptor helps.
    """
    if "keras" not in sys.modules:
        with stderr_filtered():
            import keras  # noqa: F401


@contextlib.contextmanager
def stderr_filtered() -> Iterator[None]:
    """Holds back what this process writes to stderr, and passes on at the end what is not noise."""
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.write("".join(line for line in lines if not NOISE.match(line)))
