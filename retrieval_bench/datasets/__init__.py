"""Where images and ground truth come from: one reader for each data set, found by its key."""

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from retrieval_bench.datasets.base import RetrievalDataset

# The module and the class of each reader; a module is imported only when its data set is asked for.
DATASETS: dict[str, tuple[str, str]] = {
    "cub": ("cub", "Cub200"),
    "cars196": ("cars196", "Cars196"),
    "sop": ("sop", "StanfordOnlineProducts"),
    "inshop": ("inshop", "InShop"),
    "oxford5k": ("oxford_paris", "Oxford5k"),
    "paris6k": ("oxford_paris", "Paris6k"),
    "oxford105k": ("oxford_paris", "Oxford105k"),
    "paris106k": ("oxford_paris", "Paris106k"),
    "roxford5k": ("revisited", "ROxford5k"),
    "rparis6k": ("revisited", "RParis6k"),
    "flickr100k": ("flickr100k", "Flickr100k"),
    "imagenet": ("image_folder", "ImageNet"),
    "stanford_dogs": ("stanford_dogs", "StanfordDogs"),
    "voc2007": ("voc2007", "Voc2007"),
}


def dataset_class(name: str) -> "type[RetrievalDataset]":
    """The reader of a data set.

    Raises:
        DataError: If there is none of this name; the message lists those there are.
    """
    from retrieval_bench.datasets.cards import suggestion
    from retrieval_bench.datasets.errors import DataError

    if name not in DATASETS:
        raise DataError(f"there is no data set {name!r}{suggestion(name, list(DATASETS), listed=True)}")
    module, kind = DATASETS[name]
    return cast("type[RetrievalDataset]", getattr(import_module(f"{__name__}.{module}"), kind))
