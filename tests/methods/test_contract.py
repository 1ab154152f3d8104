"""What every method must keep to, whatever its paper says: one battery, no method named in it."""

import pytest
import torch
from method_cases import CASES, TRAINING_BATCHES
from pytorch_lightning import Trainer, seed_everything
from trainers import BARE

from retrieval_bench import methods
from retrieval_bench.datamodules import CubDataModule
from retrieval_bench.methods import RetrievalMethod
from retrieval_bench.nn.preprocessing import Preprocessing
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.training.checkpoints import load_method

pytestmark = pytest.mark.parametrize("name", sorted(CASES))


def make(name: str) -> RetrievalMethod:
    torch.manual_seed(0)
    return CASES[name]().eval()


def batch_of(method: RetrievalMethod, size: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    side = method.preprocessing.crop or 96
    return {
        "image": torch.rand(size, 3, side, side, generator=generator),
        "label": torch.arange(size) // 2,
        "index": torch.arange(size) * 7 + 3,
    }


def pick(batch: dict[str, torch.Tensor], rows: list[int]) -> dict[str, torch.Tensor]:
    return {key: value[rows] for key, value in batch.items()}


def embed(method: RetrievalMethod, batch: dict[str, torch.Tensor]) -> Descriptors:
    with torch.inference_mode():
        return method.embed(batch)


def test_every_exported_method_has_a_case(name):
    exported = {n for n in methods.__all__ if issubclass(getattr(methods, n), RetrievalMethod)} - {"RetrievalMethod"}
    assert exported == set(CASES)
    assert issubclass(getattr(methods, name), RetrievalMethod)


def test_says_what_it_wants_to_see(name):
    assert isinstance(make(name).preprocessing, Preprocessing)


def test_descriptors_know_their_images_and_are_finite(name):
    method = make(name)
    batch = batch_of(method, 4)
    descriptors = embed(method, batch)
    assert set(descriptors.image.tolist()) == set(batch["index"].tolist())
    assert torch.isfinite(descriptors.data.float()).all()


def test_vectors_compared_by_dot_product_are_unit_vectors(name):
    method = make(name)
    descriptors = embed(method, batch_of(method, 4))
    if descriptors.metric == "dot":
        assert torch.allclose(descriptors.data.norm(dim=1), torch.ones(len(descriptors)), atol=1e-5)


def test_a_pictures_descriptor_does_not_depend_on_its_batch(name):
    method = make(name)
    batch = batch_of(method, 5)
    together = embed(method, batch)
    for rows in ([2], [4, 0, 2]):
        alone = embed(method, pick(batch, rows))
        expected = together.select(alone.image.unique())
        torch.testing.assert_close(alone.select(alone.image.unique()).data, expected.data, atol=1e-5, rtol=1e-4)


def test_same_seed_makes_the_same_method(name):
    one, other = make(name), make(name)
    batch = batch_of(one, 3)
    assert torch.equal(embed(one, batch).data, embed(other, batch).data)


def test_the_loss_reaches_every_trainable_parameter(name):
    method = make(name).train()
    if not method.configure_optimizers():
        pytest.skip("is fitted, not trained")
    method.log = lambda *args, **kwargs: None
    batch = TRAINING_BATCHES[name](method) if name in TRAINING_BATCHES else batch_of(method, 6)
    loss = method.training_step(batch, 0)
    assert loss.dtype == torch.float32
    assert loss.ndim == 0
    loss.backward()
    idle = [n for n, p in method.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not idle


def test_training_and_scoring_on_data_ends_in_a_checkpoint_that_is_enough(name, miniature, tmp_path):
    seed_everything(0, verbose=False)
    method = CASES[name]()
    data = CubDataModule(miniature, classes_per_batch=3, images_per_class=2, num_workers=0)
    trainer = Trainer(
        default_root_dir=tmp_path,
        max_steps=2,
        limit_val_batches=0,
        **BARE,
    )
    trainer.fit(method, datamodule=data)
    trainer.test(method, datamodule=data, verbose=False)
    assert set(method.evaluation.metrics) >= set(data.protocol.metrics)
    assert len(method.descriptors.image.unique()) == len(data.evaluation_rows)
    trainer.save_checkpoint(tmp_path / "last.ckpt")

    loaded = load_method(tmp_path / "last.ckpt")
    batch = batch_of(method, 3)
    assert type(loaded) is type(method)
    assert torch.equal(embed(loaded, batch).data, embed(method.eval(), batch).data)
    again = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    again.test(loaded, datamodule=CubDataModule(miniature, num_workers=0, eval_batch_size=7), verbose=False)
    assert loaded.evaluation.metrics == method.evaluation.metrics
