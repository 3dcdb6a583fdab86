"""Whether weights of the package are as good as their cards say: measured again, on the data that the card names."""

import os
from dataclasses import dataclass
from typing import Any

from convcraft import zoo
from convcraft.zoo import shipped

from . import data as loading
from . import shipping


@dataclass(frozen=True)
class Verified:
    """What came of it.

    Attributes:
        name: of the file, without suffix.
        ok: whether the measured accuracy lies within the card's interval.
        stated: the card's `test`: accuracy, low, high, loss, n.
        measured: the same, measured now.
    """

    name: str
    ok: bool
    stated: dict[str, Any]
    measured: dict[str, Any]

    def __str__(self) -> str:
        """One line."""
        said, found = self.stated, self.measured
        return (
            f"{self.name}: {100 * found['accuracy']:.2f} % of {found['n']:,} images; its card says "
            f"{100 * said['accuracy']:.2f} % ({100 * said['low']:.2f} to {100 * said['high']:.2f}): "
            f"{'holds' if self.ok else 'DOES NOT HOLD'}"
        )


def verify(name: str, data: str | os.PathLike[str] | None = None) -> Verified:
    """Loads weights of the package as a user would, measures them, and compares with their card.

    Args:
        name: "MODEL:WEIGHTS", or the file's name without suffix, as in `zoo/pretrained/`.
        data: where the data lie; None: what `training.data.load` finds under the card's name, in `$CONVCRAFT_DATA`.

    Returns:
        A `Verified`.

    Raises:
        ValueError: for unknown names, a file that is not the card's, and other data than the card's.
    """
    card = shipped.named(name)
    model = zoo.create(card["model"], weights=card["weights"], design=shipped.design(card))
    height, width, _ = card["input_shape"]
    images = loading.load(data or card["data"]["name"], size=(height, width), batch_size=128)
    if images.sha256 != card["data"]["sha256"]:
        raise ValueError(
            f"{shipped.stem(card)} was measured on other data than these: SHA-256 {images.sha256}, expected "
            f"{card['data']['sha256']} ({card['data']['name']})."
        )
    found = shipping.measure(model, images)
    stated = card["test"]
    ok = stated["low"] <= found["accuracy"] <= stated["high"] and found["n"] == stated["n"]
    return Verified(shipped.stem(card), ok, stated, found)
