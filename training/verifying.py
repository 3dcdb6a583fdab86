"""Whether weights of the package are as good as their cards say: measured again, on the data that the card names."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from convcraft import zoo
from convcraft.zoo import shipped

from . import data as loading
from . import pretrained_card, shipping
from .report.statistics import wilson

LOSS = 0.01  # how far another machine's may be off, of itself


@dataclass(frozen=True)
class Verified:
    """What came of it.

    Attributes:
        name: of the file, without suffix.
        ok: whether the measured accuracy lies within the card's interval, and the card is in order.
        stated: the card's `test`: accuracy, low, high, loss, n.
        measured: the same, measured now.
        faults: what else the card says that is not so, in words.
    """

    name: str
    ok: bool
    stated: dict[str, Any]
    measured: dict[str, Any]
    faults: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line."""
        said, found = self.stated, self.measured
        return (
            f"{self.name}: {100 * found['accuracy']:.2f} % of {found['n']:,} images; its card says "
            f"{100 * said['accuracy']:.2f} % ({100 * said['low']:.2f} to {100 * said['high']:.2f}): "
            f"{'; '.join(('holds' if self.ok else 'DOES NOT HOLD', *self.faults))}"
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
    stated, faults = card["test"], _faults(card, found, zoo.cost(model), images)
    ok = stated["low"] <= found["accuracy"] <= stated["high"] and not faults
    return Verified(shipped.stem(card), ok, stated, found, faults)


def _faults(card: dict[str, Any], found: dict[str, Any], cost: zoo.Cost, images: loading.Data) -> tuple[str, ...]:
    """What of a card is not so, but for its accuracy; an interval of one's own choice would admit any."""
    stated = card["test"]
    interval = wilson(stated["accuracy"], stated["n"])
    text = shipped.FOLDER / f"{shipped.stem(card)}.md"
    size = (shipped.FOLDER / card["file"]).stat().st_size
    counts = {split: sum(numbers.values()) for split, numbers in images.counts.items()}
    wrong = {
        f"the interval of {100 * stated['accuracy']:.2f} % of {stated['n']:,} is {100 * interval[0]:.2f} to "
        f"{100 * interval[1]:.2f}": not np.allclose(interval, (stated["low"], stated["high"]), rtol=0, atol=1e-6),
        f"there are {found['n']:,} test images, the card says {stated['n']:,}": found["n"] != stated["n"],
        f"the loss is {found['loss']:.4f}, the card says {stated['loss']:.4f}": not np.isclose(
            found["loss"], stated["loss"], rtol=LOSS
        ),
        **{
            f"{what.replace('_', ' ')}: {getattr(cost, what):,}, the card says {card[what]:,}": getattr(cost, what)
            != card[what]
            for what in ("parameters", "multiply_adds")
        },
        f"the file has {size:,} bytes, the card says {card['bytes']:,}": size != card["bytes"],
        "the classes are not the data's, or in another order": list(images.class_names) != card["classes"],
        f"the data have {counts} images, the card says {card['data']['counts']}": counts != card["data"]["counts"],
        f"{text.name} says otherwise than its twin": text.read_text(encoding="utf-8") != pretrained_card.markdown(card),
    }
    return tuple(said for said, fault in wrong.items() if fault)
