"""Accuracy and time of several runs, and their mean: `python tests/tools/summary.py RUN …`."""

import json
import pathlib
import statistics
import sys

metrics = [json.loads((pathlib.Path(run) / "metrics.json").read_text()) for run in sys.argv[1:]]
shares = [100 * each["test"]["accuracy"] for each in metrics]
seconds = [each["seconds"] for each in metrics]
for run, share, time in zip(sys.argv[1:], shares, seconds, strict=True):
    print(f"{run}  {share:.2f} %  {time:.0f} s")
print(
    f"mean {statistics.mean(shares):.2f} ± {statistics.stdev(shares):.2f} % (n = {len(shares)}), "
    f"median {statistics.median(seconds):.0f} s"
)
