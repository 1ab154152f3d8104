"""What ``predict`` writes, scored by ``evaluate``, gives the run's own numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from method_cases import CASES
from PIL import Image
from pytorch_lightning import Trainer, seed_everything
from trainers import BARE

from retrieval_bench import methods
from retrieval_bench.bench.per_query import read_per_query
from retrieval_bench.bench.results import read_result
from retrieval_bench.cli import main
from retrieval_bench.datamodules import CubDataModule, Oxford5kDataModule
from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.miniature import oxford_paris as writer
from retrieval_bench.datasets.miniature import synthesize
from retrieval_bench.datasets.subset import cut_subset
from retrieval_bench.retrieval.descriptors import Descriptors, load_sides
from retrieval_bench.training.trainer import BenchmarkTrainer

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ABIR = [
    *("--config", str(BENCHMARKS / "trainer.yaml"), "--config", str(BENCHMARKS / "datasets/cub.yaml")),
    *("--config", str(BENCHMARKS / "methods/abir.yaml"), "--model.init_args.attention_dim", "8"),
    *("--model.init_args.backbone", "squeezenet1_0", "--model.init_args.weights", "none"),
    *("--model.init_args.resize", "72", "--model.init_args.crop", "64", "--data.init_args.num_workers", "0"),
    *("--data.init_args.classes_per_batch", "2", "--data.init_args.images_per_class", "2"),
    *("--trainer.precision", "32-true", "--trainer.max_steps", "1", "--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false"),
]


KINDS = {
    **CASES,
    "UDQ, off the shelf": lambda: methods.UDQ(**{**CASES["UDQ"]().hparams, "rounds": None, "quantize": False}),
}


def assert_same(folder: Path, guest: Path) -> None:
    ours, theirs = read_result(folder / "result.json"), read_result(guest / "result.json")
    assert theirs.metrics == {key: ours.metrics[key] for key in theirs.metrics}
    assert theirs.protocol.fingerprint == ours.protocol.fingerprint
    assert theirs.data == ours.data
    assert theirs.cost.bytes_per_image == ours.cost.bytes_per_image
    for metric in theirs.metrics:
        for mine, other in zip(
            *(read_per_query(place / "per_query.npz", metric) for place in (folder, guest)), strict=True
        ):
            np.testing.assert_array_equal(mine, other)


@pytest.fixture(scope="module")
def few(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 pictures to learn from and 20 to search."""
    folder = tmp_path_factory.mktemp("few") / "cub"
    return cut_subset(dataset_class("cub")(miniature), folder, classes=8, images_per_class=5)


def test_of_a_run_that_was_trained(miniature, run_folder, tmp_path):
    folder = run_folder()
    words = [*ABIR, "--data.init_args.root", str(miniature)]
    assert main(["benchmark", *words, "--trainer.run_dir", str(folder)]) == 0
    last = ["--ckpt_path", str(folder / "checkpoints" / "last.ckpt")]
    assert main(["predict", *words, *last, "--trainer.default_root_dir", str(tmp_path)]) == 0
    where = ["--root", str(miniature), "--output", str(tmp_path)]
    assert main(["evaluate", "cub", "--descriptors", str(tmp_path / "descriptors.npz"), *where]) == 0
    assert_same(folder, tmp_path / "runs/guests/cub/descriptors/s0")


@pytest.mark.filterwarnings("ignore:You are using a custom batch sampler")  # which describes every picture once
@pytest.mark.parametrize("name", sorted(KINDS))
def test_of_every_method(name, few, tmp_path):
    seed_everything(0, verbose=False)
    method = KINDS[name]()
    data = CubDataModule(few, classes_per_batch=3, images_per_class=2, num_workers=0)
    trainer = Trainer(default_root_dir=tmp_path, max_steps=1, limit_val_batches=0, **BARE)
    trainer.fit(method, datamodule=data)
    trainer.test(method, datamodule=data, verbose=False)
    trainer.predict(method, datamodule=data)
    words = ["--descriptors", str(tmp_path / "descriptors.npz"), "--root", str(few), "--output", str(tmp_path)]
    assert main(["evaluate", "cub", *words]) == 0
    guest = tmp_path / "runs/guests/cub/descriptors/s0"
    found = read_result(guest / "result.json")
    assert found.metrics == {key: method.evaluation.metrics[key] for key in data.protocol.metrics}
    assert found.cost.bytes_per_image == method.bytes_per_image
    for metric in found.metrics:
        query, values = read_per_query(guest / "per_query.npz", metric)
        np.testing.assert_array_equal(query, method.evaluation.query)
        np.testing.assert_array_equal(values, method.evaluation.per_query[metric])
    for written, compared in zip(load_sides(tmp_path / "descriptors.npz"), method.searched, strict=True):
        assert torch.equal(written.data, compared.data)
        assert torch.equal(written.image, compared.image)
    if name.startswith("UDQ"):
        assert written.metric == ("adc" if method.quantize else "euclidean")
        assert load_sides(tmp_path / "descriptors.npz")[0].boxes is None  # where it asks, the protocol says
        for row in written.image.unique().tolist():
            with Image.open(data.dataset.image_path(row)) as picture:
                size = [float(side) for side in picture.size]
            # The first box of a grid is the whole picture, which was seen smaller.
            assert written.boxes[written.image == row][0].tolist() == pytest.approx([0, 0, *size])
            assert min(size) > 64


@pytest.mark.filterwarnings("ignore:You are using a custom batch sampler")  # which describes every picture once
@pytest.mark.parametrize("protocol", ["crop-i", "full"])
def test_of_landmarks_by_their_rows_and_by_their_names(protocol, run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "STREETS", 2)
    root = synthesize("oxford5k", tmp_path / "oxford5k")
    folder = run_folder(dataset="oxford5k", method="mac")
    seed_everything(0, verbose=False)
    trunk = {"backbone": "squeezenet1_0", "weights": "none", "tap": "stride16", "max_side": 96, "whiten": False}
    trainer = BenchmarkTrainer(
        run_dir=str(folder),
        max_epochs=0,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = Oxford5kDataModule(root=root, protocol=protocol, num_workers=0, eval_batch_size=16)
    trainer.benchmark(method := methods.GlobalPooling(**trunk), data)
    trainer.predict(method, datamodule=data)
    mine, table = Descriptors.load(folder / "descriptors.npz"), data.table
    asks = table.is_query[mine.image.numpy()]
    names = [("query:" if q else "") + table.path[row] for q, row in zip(asks, mine.image.tolist(), strict=True)]
    np.savez(folder / "named.npz", descriptors=mine.data.numpy(), names=np.array(names))
    files = {"rows": ("descriptors.npz", []), "names": ("named.npz", ["--metric", mine.metric])}
    for name, (file, metric) in files.items():
        words = ["--descriptors", str(folder / file), "--name", name, *metric, "--output", str(tmp_path)]
        assert main(["evaluate", "oxford5k", "--protocol", protocol, *words, "--root", str(root)]) == 0
        setting = name if protocol == "crop-i" else f"{name}-{protocol}"
        assert_same(folder, tmp_path / "runs/guests/oxford5k" / setting / "s0")
