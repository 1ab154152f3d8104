from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from retrieval_bench.datamodules import RetrievalDataModule
from retrieval_bench.datasets import DATASETS, dataset_class

# Newer versions of jsonargparse rename a method that the oldest allowed one knows by this name only.
pytestmark = pytest.mark.filterwarnings(r"ignore:[\s\S]*(JsonargparseDeprecation|instantiate_classes)")

CONFIGS = Path(__file__).resolve().parents[2] / "benchmarks" / "datasets"


def instantiate(*args):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(RetrievalDataModule, "data")
    return parser.instantiate_classes(parser.parse_args([str(a) for a in args])).data


# Nobody asks anything of distractors alone.
EVALUATED = [name for name in DATASETS if name != "flickr100k"]


def test_every_data_set_has_a_config():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(EVALUATED)


@pytest.mark.parametrize("name", EVALUATED)
def test_a_config_names_the_module_of_its_data_set(name):
    data = instantiate("--config", CONFIGS / f"{name}.yaml")
    assert type(data).dataset_class is dataset_class(name)
    assert (data.classes_per_batch, data.images_per_class, data.cache) == (16, 5, False)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("some/folder", "some/folder")])
def test_the_cache_may_be_a_switch_or_a_folder(text, value):
    data = instantiate("--config", CONFIGS / "cub.yaml", f"--data.cache={text}")
    assert data.cache == value
    assert isinstance(data.cache, type(value))


def test_a_misspelt_option_is_refused():
    with pytest.raises(Exception, match="class_per_batch"):
        instantiate("--config", CONFIGS / "cub.yaml", "--data.class_per_batch=3")
