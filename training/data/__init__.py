"""Images for training, from wherever they come: `load` reads them into one form."""

from .dataset import Data, check_fits
from .draws import image_seeds
from .loading import load
from .pipeline import Feed
from .splits import Report
from .stored import Source

__all__ = ["Data", "Feed", "Report", "Source", "check_fits", "image_seeds", "load"]
