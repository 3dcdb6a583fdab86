"""How long the report of a run takes to write, and how large it is.

    python benchmarks/report.py RUN [OTHER]

RUN is a run's directory; with OTHER, the page that compares both is measured, too. The median of five in one process,
which has nothing but convcraft loaded: neither Keras nor TensorFlow is needed.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from convcraft.training import report
from convcraft.training.report.format import integer
from convcraft.training.report.run import read

TIMES = 5


def measure(write: Callable[[], Path]) -> tuple[Path, float, int]:
    """The file, the median of the seconds it took, and its bytes."""
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        path = write()
        seconds.append(time.perf_counter() - began)
    return path, statistics.median(seconds), path.stat().st_size


def main(words: list[str]) -> None:
    """Prints a line for each page."""
    if len(words) not in (1, 2):
        raise SystemExit("Expected: python benchmarks/report.py RUN [OTHER]")
    found = read(Path(words[0])).predictions
    print(f"{integer(len(found.labels)) if found else 'no'} evaluated images")
    pages = [lambda: report.write(words[0])]
    if len(words) == 2:
        pages.append(lambda: report.compare(*words))
    for write in pages:
        path, seconds, size = measure(write)
        print(f"{path.name}: {seconds:.2f} s, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
