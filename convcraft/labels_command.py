"""`convcraft check-labels DATA`: the labels that are probably wrong, as a page of pictures and a table."""

import argparse
import pathlib

from . import sources
from .quiet import import_keras


def labels_command(options: argparse.Namespace) -> None:
    """Writes the page and the table beside it, and says what was found."""
    page = pathlib.Path(options.output).expanduser()
    if page.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"Expected --output to end in .html; received {options.output!r}.")
    if not page.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {page.parent}.")
    for name, least in (("folds", 2), ("pictures", 1)):
        if getattr(options, name) < least:
            raise ValueError(f"Expected --{name} to be at least {least}; received {getattr(options, name)}.")
    if options.model:
        sources.find(options.model)
    import_keras()
    from convcraft.training import suspicious_labels

    print("Judging each image by a classifier that is fitted without it …", flush=True)
    found = suspicious_labels(options.data, options.model, folds=options.folds, seed=options.seed)
    print(
        f"{len(found.rows)} of {found.images} labels are suspicious; an estimated {100 * found.share:.1f} % are wrong. "
        f"The classifier agrees with {100 * found.agreement:.1f} % of all."
    )
    for row in found.rows[: options.top]:
        where = row.file or f"{row.split} {row.index}"
        print(f"  {where}  {row.given}: perhaps {row.suggested}, {100 * row.confidence:.1f} %")
    print(f"\n  the pictures  {found.to_html(page, options.pictures)}")
    print(f"  the table     {found.to_csv(page.with_suffix('.csv'))}")


def labels_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft check-labels` takes."""
    command.add_argument("data", metavar="DATA", help="a folder of class folders, a name, a .csv or an .npz")
    command.add_argument(
        "--model", metavar="SOURCE", help=f"what tells images apart: {sources.HELP}; not trained on these labels"
    )
    command.add_argument("--output", default="labels.html", metavar="FILE", help="the page; the table goes beside it")
    command.add_argument("--pictures", type=int, default=200, help="at most, on the page (default 200)")
    command.add_argument("--top", type=int, default=5, help="how many to print (default 5)")
    command.add_argument("--folds", type=int, default=5, help="of the cross-validation (default 5)")
    command.add_argument("--seed", type=int, default=0, help="of the folds (default 0)")
