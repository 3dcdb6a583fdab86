"""Images for training, from wherever they come: `load` reads them into one form."""

from .loading import Data, Report, check_fits, load
from .pipeline import Feed, Source, image_seeds

__all__ = ["Data", "Feed", "Report", "Source", "check_fits", "image_seeds", "load"]
