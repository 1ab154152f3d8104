"""Post-processing from the command line and from the shipped files, on miniatures and real methods."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pytorch_lightning import seed_everything

from retrieval_bench import methods
from retrieval_bench.bench.config import merge
from retrieval_bench.bench.results import read_result
from retrieval_bench.cli import main
from retrieval_bench.datamodules import Oxford5kDataModule
from retrieval_bench.datamodules.images import picture_shapes
from retrieval_bench.datasets.miniature import oxford_paris as writer
from retrieval_bench.datasets.miniature import synthesize
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.postprocessing import LocalisationReranking, PostProcessing, QueryExpansion
from retrieval_bench.training.trainer import BenchmarkTrainer

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SHIPPED = sorted((BENCHMARKS / "postprocessing").glob("*.yaml"))
TRUNK = {"backbone": "squeezenet1_0", "weights": "none", "tap": "stride16", "max_side": 128, "whiten": False}


@pytest.fixture(scope="module")
def oxford(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "STREETS", 2)
        return synthesize("oxford5k", tmp_path_factory.mktemp("data") / "oxford5k")


def evaluate(oxford: Path, folder: Path, *steps: PostProcessing, protocol: str = "crop-i", devices: int = 1):
    """An R-MAC that was tested; everything about it is the same each time."""
    seed_everything(0, verbose=False)
    method = methods.RMAC(**TRUNK)
    data = Oxford5kDataModule(root=oxford, protocol=protocol, num_workers=0, eval_batch_size=16)
    trainer = BenchmarkTrainer(
        default_root_dir=folder,
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        postprocessing=list(steps),
    )
    trainer.test(method, datamodule=data, verbose=False)
    return method


STEPS = LocalisationReranking(top=20), QueryExpansion(3)


@pytest.fixture(scope="module")
def located(oxford: Path, tmp_path_factory: pytest.TempPathFactory):
    return evaluate(oxford, tmp_path_factory.mktemp("alone"), *STEPS)


def test_localisation_and_expansion_rank_as_they_say(oxford, tmp_path, located):
    plain = evaluate(oxford, tmp_path)
    state, truth = located.postprocessed, located.trainer.datamodule.ground_truth
    first = state.gallery.image.numpy()[state.first]
    assert first.shape == (len(truth.query), 20)
    vectors = plain.descriptors
    for row, query in zip(first, truth.query, strict=True):
        scores = vectors.select(truth.gallery).data @ vectors.select([query]).data[0]
        assert set(row) == set(truth.gallery[np.argsort(-scores.numpy(), kind="stable")[:20]])
    assert located.evaluation.metrics != plain.evaluation.metrics
    assert len(located.evaluation.notes) == 2
    assert (plain.postprocessed, plain.evaluation.notes) == (None, ())


@pytest.mark.filterwarnings("ignore:You are using a custom batch sampler")  # which describes every picture once
def test_predict_takes_no_steps_and_says_so(located):
    trainer = located.trainer
    with pytest.warns(UserWarning, match=r"--trainer.postprocessing was not applied: .*descriptors.npz is what its"):
        trainer.predict(located, datamodule=trainer.datamodule)
    written = Descriptors.load(Path(trainer.default_root_dir) / "descriptors.npz")
    assert torch.equal(written.data, located.descriptors.data)


def test_queries_whose_activations_are_cropped_are_found_in_the_shape_of_their_boxes(oxford, tmp_path):
    method = evaluate(oxford, tmp_path, LocalisationReranking(top=8), protocol="crop-x")
    state, data = method.postprocessed, method.trainer.datamodule
    sizes = dict(zip(data.evaluation_rows.tolist(), picture_shapes(data._source(), data.evaluation_rows), strict=True))
    near = 0
    for query, places, boxes in zip(data.ground_truth.query, state.first, state.windows.boxes.numpy(), strict=True):
        x1, y1, x2, y2 = data.table.box[query]
        for place, (left, top, right, bottom) in zip(places, boxes, strict=True):
            assert 0 <= left < right <= 1
            assert 0 <= top < bottom <= 1
            height, width = sizes[int(state.gallery.image[place])]
            aspect = (bottom - top) * height / ((right - left) * width)
            near += 1 / 1.3 < aspect / ((y2 - y1) / (x2 - x1)) < 1.3
    assert near > 0.5 * state.first.size  # maps of few cells have no box of some shapes


def test_two_processes_localise_as_one(oxford, tmp_path, located, two_processes):
    def work():
        method = evaluate(oxford, tmp_path, *STEPS, devices=2)
        windows = None if method.postprocessed is None else method.postprocessed.windows.boxes
        return method.evaluation, windows

    first, second = two_processes(work)
    assert first[0].metrics == second[0].metrics == located.evaluation.metrics
    assert first[0].notes == second[0].notes == located.evaluation.notes
    np.testing.assert_array_equal(first[1], located.postprocessed.windows.boxes)
    assert second[1] is None


CUB = [
    *(
        x
        for file in ("trainer.yaml", "datasets/cub.yaml", "methods/abir.yaml")
        for x in ("--config", BENCHMARKS / file)
    ),
    *("--model.init_args.backbone", "squeezenet1_0", "--model.init_args.weights", "none"),
    *("--model.init_args.resize", "72", "--model.init_args.crop", "64", "--model.init_args.attention_dim", "8"),
    *("--trainer.precision", "32-true", "--trainer.max_steps", "1", "--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false", "--data.init_args.num_workers", "0"),
    *("--data.init_args.classes_per_batch", "2", "--data.init_args.images_per_class", "2"),
]


def run(verb, *words):
    return main([verb, *map(str, CUB), *map(str, words)])


def files(*names: str) -> list[object]:
    return [word for name in names for word in ("--config", BENCHMARKS / "postprocessing" / f"{name}.yaml")]


def test_stacked_files_end_in_a_result_that_says_what_each_step_learned_from(miniature, run_folder):
    folder = run_folder()
    root = ("--data.init_args.root", miniature, "--trainer.run_dir", folder)
    assert run("benchmark", *root, *files("pca_whitening", "learned_whitening", "alpha_dba", "diffusion")) == 0
    result = read_result(folder / "result.json")
    source = "the 120 training pictures of cub"
    assert result.notes[1:] == (
        f"PCA whitening, learned from {source}",
        f"learned whitening, learned from pairs of one label among {source}",
        "α-weighted (α = 3) database augmentation by the nearest 10, learned from no data",
        "diffusion among the first 5,000 on a graph of the 50 nearest, learned from no data",
        "ms/query without post-processing",
    )
    steps = result.config["trainer"]["postprocessing"]
    assert [step["class_path"].rpartition(".")[2] for step in steps] == [
        "WhitenByPCA",
        "WhitenByPairs",
        "DatabaseAugmentation",
        "Diffusion",
    ]


def test_a_method_without_regions_cannot_localise(miniature, capsys):
    words = ("--data.init_args.root", miniature, "--trainer.logger", "false")
    assert run("test", *words, *files("r_qe")) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("retrieval-bench: ABIR has no maps of regions")


def test_every_shipped_file_is_read_and_a_misspelt_option_is_named(miniature, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(BenchmarkTrainer, "validate", lambda self, *a, **k: seen.append(self.postprocessing))
    words = ("--data.init_args.root", miniature, "--trainer.logger", "false")
    more = ("--trainer.postprocessing+=Diffusion", "--trainer.postprocessing.k=7")
    run("validate", *words, *files(*(f.stem for f in SHIPPED)), *more)
    expected = [
        step["class_path"] for f in SHIPPED for step in yaml.safe_load(f.read_text())["trainer"]["postprocessing+"]
    ]
    assert [type(step).__name__ for step in seen[0]] == [*expected, "Diffusion"]
    assert seen[0][-1].k == 7
    with pytest.raises(SystemExit):
        run("validate", *words, "--trainer.postprocessing+=Diffusion", "--trainer.postprocessing.kk=7")
    assert "kk" in capsys.readouterr().err


def test_stacked_steps_are_parts_of_the_configuration():
    said = {file.stem: yaml.safe_load(file.read_text()) for file in SHIPPED}
    both = merge(said["dba"], said["qe"])["trainer"]["postprocessing"]
    assert [step["class_path"] for step in both] == ["DatabaseAugmentation", "QueryExpansion"]
    assert merge(said["qe"]) != merge(said["dba"], said["qe"]) != merge(said["qe"], said["dba"])
    alone = {"trainer": {"postprocessing": [{"class_path": "Diffusion"}]}}
    assert merge(said["dba"], alone) == alone
    assert len(merge(alone, said["dba"])["trainer"]["postprocessing"]) == 2
    assert len(alone["trainer"]["postprocessing"]) == 1
