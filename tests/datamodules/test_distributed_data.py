import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from retrieval_bench.nn.preprocessing import Preprocessing

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval.*"),
    # Lightning's advice for its own sampler.
    pytest.mark.filterwarnings("ignore:.*recommended to use `Trainer.devices=1.*"),
]


class Witness(pl.LightningModule):
    """Learns next to nothing, and writes down what it was given."""

    def __init__(self):
        super().__init__()
        self.preprocessing = Preprocessing(resize=(16, 16), crop=12)
        # A batch norm has buffers, which DistributedDataParallel sends round in every forward pass.
        self.net = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * 12 * 12, 4))
        self.trained, self.evaluated, self.predicted = [], [], []

    def training_step(self, batch, batch_idx):
        assert batch["image"].dtype == torch.float32
        self.trained.append((self.current_epoch, batch["index"].tolist(), batch["image"].sum().item()))
        return nn.functional.cross_entropy(self.net(batch["image"]), batch["label"])

    def validation_step(self, batch, batch_idx):
        self.net(batch["image"])
        self.evaluated.append(batch["index"].tolist())

    test_step = validation_step

    def predict_step(self, batch, batch_idx):
        self.predicted.append(batch["index"].tolist())
        return batch["index"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


def trainer(folder, **options):
    defaults = {
        "accelerator": "cpu",
        "use_distributed_sampler": False,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
        "max_epochs": 3,
    }
    return pl.Trainer(**(defaults | options))


def two_ranks(data, folder, action, **options):
    """What one of two processes sees."""
    module = data()
    module.preprocessing = None  # the trainer finds it in the method
    witness = Witness()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PL_GLOBAL_SEED", "11")
        run = trainer(folder, devices=2, strategy="ddp", **options)
        getattr(run, action)(witness, datamodule=module)
    return witness.trained, witness.evaluated, witness.predicted


def epochs(trained):
    return [[entry[1:] for entry in trained if entry[0] == e] for e in range(3)]


def test_ranks_draw_different_batches_and_every_epoch_draws_anew(data, two_processes, tmp_path):
    seen = two_processes(two_ranks, data, tmp_path, "fit")
    by_rank = [epochs(trained) for trained, _, _ in seen]
    labels = data().training_labels
    for mine, yours in zip(*by_rank, strict=True):
        assert len(mine) == len(yours) == 2  # 16 pictures // (4 a batch, 2 ranks)
        for (my_rows, _), (your_rows, _) in zip(mine, yours, strict=True):
            assert set(labels[my_rows].tolist()).isdisjoint(labels[your_rows].tolist())
    for rank in by_rank:
        assert rank[0] != rank[1] != rank[2] != rank[0]
    # The same batches as the plan says, to which no process needs a trainer.
    from retrieval_bench.datamodules.samplers import ClassBalancedBatchSampler

    plan = ClassBalancedBatchSampler(labels, 2, 2, seed=11, world_size=2)
    for epoch in range(3):
        rows, _ = plan.plan(epoch)
        for rank in range(2):
            assert [r for r, _ in by_rank[rank][epoch]] == rows[:, rank].tolist()


@pytest.mark.parametrize("action", ["validate", "test"])
def test_evaluation_sees_every_image_once_over_all_ranks(data, two_processes, tmp_path, action):
    (_, first, _), (_, second, _) = two_processes(two_ranks, data, tmp_path, action)
    assert first == [[16, 18], [20, 22]]  # 7 pictures
    assert second == [[17, 19], [21]]


def test_ranks_with_unequally_many_evaluation_batches_do_not_wait_for_each_other(painter, two_processes, tmp_path):
    for label in (1, 2, 3, 4):
        painter.add_noise(label, "t", 4)
    painter.add_noise(5, "qg", 9)  # in twos: 3 batches for one rank, 2 for the other
    (_, first, _), (_, second, _) = two_processes(two_ranks, painter.data, tmp_path, "fit")
    assert first == [[16, 18], [20, 22], [24]] * 3
    assert second == [[17, 19], [21, 23]] * 3


def test_prediction_sees_every_image_once_over_all_ranks(data, two_processes, tmp_path):
    (*_, first), (*_, second) = two_processes(two_ranks, data, tmp_path, "predict")
    assert (first, second) == ([[16, 18], [20, 22]], [[17, 19], [21]])


def refusal(data, folder):
    """What one of two processes is told."""
    run = trainer(folder, devices=2, strategy="ddp", use_distributed_sampler=True)
    with pytest.raises(ValueError, match="--") as told:
        run.fit(Witness(), datamodule=data())
    return str(told.value)


def test_lightning_s_own_sampler_is_refused(data, two_processes, tmp_path):
    told = two_processes(refusal, data, tmp_path)
    assert all("--trainer.use_distributed_sampler false" in message for message in told)


def test_one_process_may_overfit_batches_only_by_their_number(data, tmp_path):
    with pytest.raises(ValueError, match="limit_train_batches"):
        trainer(tmp_path, overfit_batches=2).fit(Witness(), datamodule=data())


def test_the_recipe_comes_from_the_method_unless_it_is_given(data, tmp_path):
    module = data()
    module.preprocessing = None
    run = trainer(tmp_path, max_epochs=1)
    run.validate(Witness(), datamodule=module)
    (batch, *_) = module.val_dataloader()
    assert batch["image"].shape[-2:] == (12, 12)
    other = Witness()
    other.preprocessing = Preprocessing(resize=(12, 14), crop=12)
    run.validate(other, datamodule=module)
    assert module._recipe() == other.preprocessing


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_draws_what_the_uninterrupted_one_draws(data, tmp_path, workers, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    whole = Witness()
    trainer(tmp_path).fit(whole, datamodule=data(num_workers=workers))

    def saving():
        saver = pl.callbacks.ModelCheckpoint(tmp_path / "saved", filename="{epoch}", save_top_k=-1)
        return trainer(tmp_path, enable_checkpointing=True, callbacks=[saver])

    saving().fit(Witness(), datamodule=data())
    resumed = Witness()
    saving().fit(resumed, datamodule=data(num_workers=workers), ckpt_path=tmp_path / "saved" / "epoch=0.ckpt")
    assert resumed.trained == [entry for entry in whole.trained if entry[0] >= 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_one_process_trains_on_the_same_batches_with_any_number_of_workers(data, tmp_path, workers, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    witness = Witness()
    trainer(tmp_path, max_epochs=2).fit(witness, datamodule=data(num_workers=workers))
    module, expected = data(), []
    for epoch in range(2):
        loader = module.train_dataloader()
        loader.batch_sampler.set_epoch(epoch)
        for batch in loader:
            pixels = module.on_after_batch_transfer(batch, 0)["image"]
            expected.append((epoch, batch["index"].tolist(), pixels.sum().item()))
    assert witness.trained == expected
