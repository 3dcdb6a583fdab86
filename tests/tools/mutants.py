"""Changes a formula, runs the tests that should notice, and says whether they did: `make mutants`.

Each mutant is one edit of one file in a copy of the packages: a sign, a missing factor, a wrong axis. A mutant that
survives is a hole in the tests (exit status 1).
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
# file, what stands there, what the mutant has, the test file that must fail
MUTANTS = [
    ("layers/fancy_pca.py", "ops.transpose(eigenvectors)", "eigenvectors", "test_fancy_pca"),
    ("layers/fancy_pca.py", "ops.sqrt(eigenvalues) if sqrt", "eigenvalues if sqrt", "test_fancy_pca"),
    ("layers/hsv_jitter.py", "ops.log(factor[0])", "ops.log(factor[1])", "test_hsv_jitter"),
    ("layers/whitening.py", "ops.sqrt(values + self.eps)", "ops.sqrt(values) + self.eps", "test_whitening"),
    ("layers/rrelu.py", "1 / drawn if self.divide", "drawn if self.divide", "test_rrelu"),
    ("layers/rrelu.py", "drawn = (self.lower + self.upper) / 2", "drawn = self.lower", "test_rrelu"),
    ("layers/drop_path.py", "inputs / (1 - self.rate)", "inputs", "test_drop_path"),
    (
        "layers/fractal_join.py",
        "kept = draws[:, :count] >= self",
        "kept = draws[:, :count] < self",
        "test_fractal_join",
    ),
    ("layers/fractal_join.py", "ops.any(kept, axis=1, keepdims", "ops.any(kept, axis=0, keepdims", "test_fractal_join"),
    ("layers/freeze_drop_path.py", "trained >= index", "trained <= index", "test_freeze_drop_path"),
    ("layers/freeze_drop_path.py", "(count - i) ** 2", "(count - i)", "test_freeze_drop_path"),
    ("layers/branches.py", "chooser.seed_generator.next()", "pass", "test_branches"),
    ("layers/branches.py", "return 0.0 * ops.sum(ops.stack(terms)) if terms else 0.0", "return 0.0", "test_branches"),
    (
        "layers/bootstrapped_crossentropy.py",
        "losses - (1 - self.beta)",
        "losses + (1 - self.beta)",
        "test_bootstrapped_crossentropy",
    ),
    (
        "layers/local_response_normalization.py",
        "ops.power(base, -self.beta)",
        "ops.power(base, self.beta)",
        "test_local_response_normalization",
    ),
    ("layers/schedules.py", "height * ops.exp(cycle * -math.log(2))", "height", "test_schedules"),
    ("layers/max_norm.py", "range(len(w.shape) - 1)", "range(1)", "test_max_norm"),
    ("layers/cyclic_sgd.py", "ops.multiply(velocity, momentum), step", "velocity, step", "test_cyclic_sgd"),
]


def survives(copy: pathlib.Path, file: str, old: str, new: str, test: str) -> bool:
    """Whether the tests pass with `new` in place of `old`."""
    path = copy / file
    text = path.read_text("utf-8")
    if text.count(old) < 1:
        sys.exit(f"{file} has no {old!r}: bring MUTANTS up to date.")
    path.write_text(text.replace(old, new), "utf-8")
    env = {**os.environ, "PYTHONPATH": str(copy), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", "-c", str(copy / "setup.cfg")]
    command += ["--rootdir", str(copy), str(copy / "tests" / "layers" / f"{test}.py")]
    status = subprocess.run(command, env=env, cwd=copy.parent, capture_output=True).returncode
    path.write_text(text, "utf-8")
    if status not in (0, 1):
        sys.exit(f"pytest did not run on {test}: status {status}.")
    return status == 0


def main() -> None:
    """Tries all mutants."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "checkout"
        ignored = shutil.ignore_patterns(".git", ".venv*", "build", "runs", "docs")
        shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)
        alive = 0
        for file, old, new, test in MUTANTS:
            lives = survives(copy, file, old, new, test)
            alive += lives
            print(f"{'SURVIVES' if lives else 'killed  '} {file}: {old} -> {new}", flush=True)
    print(f"{len(MUTANTS) - alive} of {len(MUTANTS)} mutants were killed.")
    sys.exit(alive > 0)


if __name__ == "__main__":
    main()
