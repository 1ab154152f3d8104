"""What the bar of a training says."""

import pytest
from pytorch_lightning.callbacks import ProgressBar, TQDMProgressBar

from retrieval_bench.training.progress_bar import EpochBar
from retrieval_bench.training.trainer import BenchmarkTrainer


@pytest.mark.parametrize(("length", "text"), [({"max_steps": 9}, "Epoch 3"), ({"max_epochs": 5}, "Epoch 3/4")])
def test_the_number_of_epochs_is_said_where_it_is_known(length, text):
    trainer = BenchmarkTrainer(accelerator="cpu", logger=False, enable_checkpointing=False, **length)
    (bar,) = [callback for callback in trainer.callbacks if isinstance(callback, ProgressBar)]
    assert isinstance(bar, EpochBar)
    bar._trainer = trainer
    description = bar._get_train_description(3)
    assert description.rstrip() == text
    assert len(description) >= len(bar.validation_description)


@pytest.mark.parametrize(
    ("options", "kind"), [({"enable_progress_bar": False}, None), ({"callbacks": [TQDMProgressBar()]}, TQDMProgressBar)]
)
def test_no_bar_is_added_to_one_that_is_given_nor_where_none_is_wanted(options, kind):
    trainer = BenchmarkTrainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_steps=1, **options)
    bars = [callback for callback in trainer.callbacks if isinstance(callback, ProgressBar)]
    assert [type(bar) for bar in bars] == ([kind] if kind else [])
