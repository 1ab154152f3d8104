"""The real command line with the shipped configs: what is shipped trains, what is misspelt fails."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from retrieval_bench.bench.results import read_result
from retrieval_bench.cli import main
from retrieval_bench.retrieval.descriptors import Descriptors

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = [
    *("--model.init_args.backbone", "squeezenet1_0", "--model.init_args.weights", "none"),
    *("--trainer.precision", "32-true", "--trainer.max_steps", "1", "--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false", "--data.init_args.num_workers", "0"),
    *("--data.init_args.classes_per_batch", "2", "--data.init_args.images_per_class", "2"),
]
ABIR_SMALL = ["--model.init_args.resize", "72", "--model.init_args.crop", "64", "--model.init_args.attention_dim", "8"]


def stack(*files: str) -> list[str]:
    return [
        word for file in ("trainer.yaml", "datasets/cub.yaml", *files) for word in ("--config", str(BENCHMARKS / file))
    ]


def variants() -> list[str]:
    return sorted(str(p.relative_to(BENCHMARKS)) for p in (BENCHMARKS / "methods" / "abir").glob("*.yaml"))


@pytest.mark.parametrize(
    "variant", ["methods/abir.yaml", *(pytest.param(name, marks=pytest.mark.slow) for name in variants())]
)
def test_every_shipped_abir_config_trains_and_scores(variant, miniature, run_folder):
    folder = run_folder()
    files = ["methods/abir.yaml"] if variant == "methods/abir.yaml" else ["methods/abir.yaml", variant]
    root = ["--data.init_args.root", str(miniature), "--trainer.run_dir", str(folder)]
    assert main(["benchmark", *stack(*files), *SMALL, *ABIR_SMALL, *root]) == 0
    result = read_result(folder / "result.json")
    assert result.protocol.name == ("official" if "seen" in variant else "zero-shot")
    assert result.protocol.edition.startswith("miniature-")
    assert result.cost.bytes_per_image == 2048
    assert result.config["model"]["init_args"]["optimizer"]["init_args"]["lr"] == 1e-5
    assert "trained for 1 iterations" in result.notes


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--model.init_args.bakbone", "vgg16"], "bakbone"),
        (["--trainer.max_stepz", "3"], "max_stepz"),
        (["--data.init_args.images_per_clas", "3"], "images_per_clas"),
    ],
)
def test_a_misspelt_option_fails_and_is_named(words, named, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["fit", *stack("methods/abir.yaml"), *SMALL, *words])
    assert caught.value.code == 2
    assert named in capsys.readouterr().err


def test_a_misspelt_option_in_a_file_fails_and_is_named(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("model: {init_args: {bloks: [3]}}\n")
    with pytest.raises(SystemExit) as caught:
        main(["fit", *stack("methods/abir.yaml"), "--config", str(tmp_path / "mine.yaml"), *SMALL])
    assert caught.value.code == 2
    assert "bloks" in capsys.readouterr().err


def test_missing_data_is_one_line_that_names_the_folder(tmp_path, capsys):
    root = ["--data.init_args.root", str(tmp_path / "nowhere")]
    assert main(["fit", *stack("methods/abir.yaml"), *SMALL, *root, "--trainer.logger", "false"]) == 1
    message = capsys.readouterr().err
    assert str(tmp_path / "nowhere") in message
    assert "Traceback" not in message


def test_missing_weights_are_one_line_that_names_the_file(tmp_path, miniature, capsys):
    words = ["--model.init_args.weights", str(tmp_path / "w.pth"), "--data.init_args.root", str(miniature)]
    assert main(["fit", *stack("methods/abir.yaml"), *SMALL, *words]) == 1
    assert str(tmp_path / "w.pth") in capsys.readouterr().err


def test_an_option_with_none_of_its_values_is_one_line_that_lists_them(miniature, capsys):
    words = ["--model.init_args.blocks", "[5]", "--data.init_args.root", str(miniature)]
    assert main(["fit", *stack("methods/abir.yaml"), *SMALL, *words]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "retrieval-bench: blocks cannot be 5; it is one of 3, 4"


def test_an_unreadable_picture_is_one_line_also_from_a_worker(miniature, tmp_path, capsys):
    broken = tmp_path / "cub"
    shutil.copytree(miniature, broken)
    picture = sorted(broken.rglob("*.jpg"))[0]
    picture.write_bytes(b"no picture")
    root = ["--data.init_args.root", str(broken), "--data.init_args.num_workers", "1"]
    few = ["--data.init_args.classes_per_batch", "10", "--data.init_args.images_per_class", "12"]
    assert (
        main(["fit", *stack("methods/abir.yaml"), *SMALL, *ABIR_SMALL, *root, *few, "--trainer.logger", "false"]) == 1
    )
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("retrieval-bench: ")]
    assert str(picture) in line
    assert "Traceback" not in line


@pytest.mark.parametrize("verb", ["test", "predict"])
def test_a_part_of_the_images_is_neither_scored_nor_written(verb, miniature, tmp_path, capsys):
    words = ["--data.init_args.root", str(miniature), "--trainer.default_root_dir", str(tmp_path)]
    part = [f"--trainer.limit_{verb}_batches", "0.5", "--trainer.logger", "false"]
    assert main([verb, *stack("methods/abir.yaml"), *SMALL, *ABIR_SMALL, *words, *part]) == 1
    assert "56 of 120 evaluation images were not described" in capsys.readouterr().err
    assert not (tmp_path / "descriptors.npz").exists()


def test_a_crop_larger_than_the_picture_is_one_line(miniature, capsys):
    words = ["--data.init_args.root", str(miniature), "--model.init_args.crop", "80", "--trainer.logger", "false"]
    assert main(["fit", *stack("methods/abir.yaml"), *SMALL, *ABIR_SMALL, *words]) == 1
    assert "a crop of 80 pixels cannot be cut" in capsys.readouterr().err


def test_benchmark_without_its_runs_file_says_how_runs_are_started(tmp_path, miniature, capsys):
    root = ["--data.init_args.root", str(miniature), "--trainer.run_dir", str(tmp_path)]
    assert main(["benchmark", *stack("methods/abir.yaml"), *SMALL, *root]) == 1
    assert "retrieval-bench run SUITE" in capsys.readouterr().err


def test_fit_then_test_and_predict_from_its_checkpoint(tmp_path, miniature, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*stack("methods/abir.yaml"), *SMALL, *ABIR_SMALL, "--data.init_args.root", str(miniature)]
    assert main(["fit", *words, "--trainer.default_root_dir", str(tmp_path)]) == 0
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    assert main(["test", *words, "--ckpt_path", str(checkpoint)]) == 0
    assert main(["predict", *words, "--ckpt_path", str(checkpoint), "--trainer.default_root_dir", str(tmp_path)]) == 0
    written = Descriptors.load(tmp_path / "descriptors.npz")
    assert written.data.shape == (120, 512)
    assert len(written.image.unique()) == 120


def test_attention_of_a_checkpoint_becomes_a_picture(tmp_path, miniature, run_folder, capsys):
    from PIL import Image

    folder, output = run_folder(), tmp_path / "attention.png"
    root = ["--data.init_args.root", str(miniature), "--trainer.run_dir", str(folder)]
    main(["benchmark", *stack("methods/abir.yaml"), *SMALL, *ABIR_SMALL, *root])
    pictures = sorted(str(p) for p in miniature.rglob("*.jpg"))[:2]
    checkpoint = str(folder / "checkpoints" / "last.ckpt")
    assert main(["attention", "--checkpoint", checkpoint, "--output", str(output), *pictures]) == 0
    with Image.open(output) as sheet:
        assert sheet.size == ((256 + 10) * 3 + 10, (256 + 20 + 10) * 2 + 20 + 10)
    assert main(["attention", "--checkpoint", str(tmp_path / "no.ckpt"), "--output", str(output), *pictures]) == 1
    assert "there is no checkpoint" in capsys.readouterr().err


def test_checkpoints_hold_plain_types_only(miniature, run_folder):
    folder = run_folder()
    root = ["--data.init_args.root", str(miniature), "--trainer.run_dir", str(folder)]
    main(["benchmark", *stack("methods/abir.yaml"), *SMALL, *ABIR_SMALL, *root])
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["method"] == "ABIR"
    assert json.loads((folder / "result.json").read_text())["schema_version"] == 1
