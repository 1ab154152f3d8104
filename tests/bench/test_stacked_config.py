import pytest

from retrieval_bench.bench.config import config_hash, merge, nest
from retrieval_bench.bench.errors import SuiteError


def test_mappings_are_merged_and_everything_else_is_replaced():
    low = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    high = {"a": {"y": [3], "z": None}, "b": {"c": 2}}
    assert merge(low, high) == {"a": {"x": 1, "y": [3], "z": None}, "b": {"c": 2}}
    assert low == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


def test_dotted_options_become_nested():
    assert nest({"trainer.max_steps": 60, "model.init_args.k": 2, "model.init_args.s": {"t": 1}}) == {
        "trainer": {"max_steps": 60},
        "model": {"init_args": {"k": 2, "s": {"t": 1}}},
    }


@pytest.mark.parametrize("options", [{"a": 1, "a.b": 2}, {"a.b": 2, "a": 1}])
def test_an_option_cannot_be_a_value_and_a_group(options):
    with pytest.raises(SuiteError, match="already"):
        nest(options)


@pytest.mark.parametrize(
    "change",
    [
        {"seed_everything": 7},
        {
            "data": {
                "root": "elsewhere",
                "num_workers": 8,
                "init_args": {"root": "there", "num_workers": 3, "cache": True},
            }
        },
        {
            "trainer": {
                "devices": 1,
                "num_nodes": 1,
                "accelerator": "gpu",
                "logger": True,
                "wandb": True,
                "run_dir": "x",
            }
        },
    ],
)
def test_where_and_on_what_a_run_happens_does_not_change_its_hash(change):
    config = {"seed_everything": 0, "trainer": {"max_steps": 5}, "data": {"init_args": {"size": 3}}}
    assert config_hash(merge(config, change)) == config_hash(config)


@pytest.mark.parametrize(
    "change",
    [{"trainer": {"max_steps": 6}}, {"data": {"init_args": {"size": 4}}}, {"model": 1}, {"trainer": {"devices": 2}}],
)
def test_what_changes_a_number_changes_the_hash(change):
    config = {"trainer": {"max_steps": 5}, "data": {"init_args": {"size": 3}}}
    assert config_hash(merge(config, change)) != config_hash(config)
    assert config_hash(config, {"miniature": True}) != config_hash(config, {"miniature": False})


def test_a_weights_file_is_named_by_its_name_wherever_it_lies():
    def with_weights(path: str) -> str:
        return config_hash({"model": {"init_args": {"weights": path}}})

    assert with_weights("/there/vgg16.pth") == with_weights("../here/vgg16.pth") == with_weights("vgg16.pth")
    assert len({with_weights(w) for w in ("vgg16.pth", "resnet18.pth", "imagenet", "none")}) == 4


def test_the_order_of_keys_does_not_matter():
    assert config_hash({"a": 1, "b": {"c": 2, "d": 3}}) == config_hash({"b": {"d": 3, "c": 2}, "a": 1})
