"""What methods draw of themselves when a run ends."""

import numpy as np
import pytest
from method_cases import CASES
from PIL import Image

from retrieval_bench.bench.results import read_result
from retrieval_bench.datamodules import CubDataModule
from retrieval_bench.training import cost, showcase, trainer
from retrieval_bench.training.showcase import draw_pictures, sample_rows
from retrieval_bench.training.trainer import BenchmarkTrainer

DRAWN = {"ABIR": ["attention"], "ClusterMAC": ["clusters"], "RegionalAttention": ["regions"]}


@pytest.fixture
def data(miniature):
    return CubDataModule(miniature, classes_per_batch=3, images_per_class=2, num_workers=0)


def test_the_same_four_pictures_from_all_over_the_gallery_are_drawn(data):
    rows, gallery = sample_rows(data), data.database_rows
    assert rows.tolist() == [gallery[0], gallery[30], gallery[60], gallery[90]]
    assert len(gallery) == 120


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_method_draws_what_it_has(name, data, tmp_path):
    draw_pictures(CASES[name]().eval(), data, tmp_path / "pictures")
    found = sorted(file.name for file in tmp_path.rglob("*") if file.is_file())
    assert found == [f"{sheet}.png" for sheet in DRAWN.get(name, [])]
    for file in found:
        with Image.open(tmp_path / "pictures" / file) as sheet:
            assert np.asarray(sheet).std() > 10
            assert sheet.height > sheet.width / 2  # four rows


def benchmark(folder, data):
    trainer = BenchmarkTrainer(
        run_dir=str(folder),
        accelerator="cpu",
        max_steps=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )
    trainer.benchmark(CASES["ABIR"](), datamodule=data)


def test_pictures_that_cannot_be_drawn_are_a_warning_and_the_result_is_there(data, run_folder, monkeypatch):
    def fail(method, files):
        assert not method.training
        raise RuntimeError("no paint")

    monkeypatch.setattr(showcase, "drawn", fail)
    folder = run_folder()
    with pytest.warns(UserWarning, match=r"the pictures of cub/abir/s0 could not be drawn \(no paint\)"):
        benchmark(folder, data)
    assert read_result(folder / "result.json").cost.gmac_per_image > 0
    assert not (folder / "pictures").exists()


def test_ranked_images_and_gmacs_that_fail_are_warnings_and_the_result_is_there(data, run_folder, monkeypatch):
    def fail(*_):
        raise OSError("no room")

    monkeypatch.setattr(trainer, "first_images", fail)
    monkeypatch.setattr(cost, "gmac_per_image", fail)
    folder = run_folder()
    with (
        pytest.warns(UserWarning, match=r"the ranked images of cub/abir/s0 could not be written \(no room\)"),
        pytest.warns(UserWarning, match=r"the GMACs of ABIR could not be counted \(no room\)"),
    ):
        benchmark(folder, data)
    result = read_result(folder / "result.json")
    assert result.cost.gmac_per_image is None
    assert result.cost.parameters > 0
    assert not (folder / "ranked.npz").exists()
    assert (folder / "pictures" / "attention.png").is_file()


def test_a_picture_that_cannot_be_written_leaves_no_half_of_itself(data, tmp_path, monkeypatch):
    class Sheet:
        def save(self, file, format):
            file.write_bytes(b"half")
            raise OSError("no room")

    monkeypatch.setattr(showcase, "drawn", lambda *_: {"attention": Sheet()})
    with pytest.raises(OSError, match="no room"):
        draw_pictures(CASES["ABIR"]().eval(), data, tmp_path / "pictures")
    assert not list((tmp_path / "pictures").iterdir())
