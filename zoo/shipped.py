"""Weights that come with the package: small ones, trained by its recipes on data that anyone can have.

Each file in `zoo/pretrained/` has a card of the same name, as JSON for programs (it is read here) and as Markdown for
people; `training.shipping` writes all three from a run. Readable without Keras.
"""

import functools
import hashlib
import json
import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .design import Design

FOLDER = pathlib.Path(__file__).parent / "pretrained"


@functools.cache
def cards() -> tuple[dict[str, Any], ...]:
    """The cards of all files, in the order of their names; the widest of a model comes first.

    Example:
        >>> all(card["file"].endswith(".weights.h5") for card in cards())
        True
    """
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    return tuple(sorted(found, key=lambda card: (card["model"], card["weights"], -card["parameters"])))


def names_of(model: str) -> tuple[str, ...]:
    """The names of the weights of a model that come with the package."""
    return tuple(dict.fromkeys(card["weights"] for card in cards() if card["model"] == model))


def of(model: str, weights: Any) -> list[dict[str, Any]]:
    """The cards of a model's weights of this name: one for each width."""
    return [card for card in cards() if (card["model"], card["weights"]) == (model, weights)]


def named(name: str) -> dict[str, Any]:
    """The card of `MODEL:WEIGHTS`, or of a file's name without its suffix.

    Raises:
        ValueError: where there is none, saying which there are.
    """
    for card in cards():
        if name in (f"{card['model']}:{card['weights']}", stem(card)):
            return card
    known = ", ".join(map(stem, cards()))
    raise ValueError(f"There are no weights named {name!r} in the package. Expected one of {known}.")


def stem(card: dict[str, Any]) -> str:
    """The name of a card's file without suffix: `squeezenet1_1-tinyimagenet80`."""
    return card["file"].removesuffix(".weights.h5")


def find(model: str, weights: Any, chosen: "Design") -> dict[str, Any] | None:
    """The card of a model's weights; of several widths, of the first that `chosen` does not speak against.

    Args:
        model: its name in the zoo.
        weights: what was asked for; anything but the name of weights in the package gives None.
        chosen: the user's design.

    Raises:
        ValueError: for another width than those that there are.
    """
    found = of(model, weights)
    for card in found:
        if chosen.width in (None, card["design"].get("width", 1)):
            return card
    if found:
        known = ", ".join(str(card["design"].get("width", 1)) for card in found)
        raise ValueError(
            f"{model}: there are no {weights!r} weights of width {chosen.width}; expected Design(width=…) to be "
            f"one of {known}, or not given."
        )
    return None


def design(card: dict[str, Any]) -> "Design":
    """The design that a card's weights are of."""
    from .design import Design

    fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in card["design"].items()}
    return Design(**fields)


def path(card: dict[str, Any]) -> pathlib.Path:
    """The path of a card's file, whose content is checked.

    Raises:
        ValueError: for a file that is not the one the card was written for.
    """
    file = FOLDER / card["file"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != card["sha256"]:
        raise ValueError(
            f"{file} is not the file that its card describes: its SHA-256 is {digest}, expected {card['sha256']}. "
            "Install convcraft anew."
        )
    return file
