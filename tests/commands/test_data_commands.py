"""The data commands: what they print, their exit codes, and where they refuse to write."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from retrieval_bench.commands import data
from retrieval_bench.datasets import DATASETS
from retrieval_bench.datasets.errors import DataError, DatasetNotFoundError

COMMANDS = ("list", "info", "download", "verify", "synthesize", "subset")


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="retrieval-bench")
    data.add(parser.add_subparsers(required=True))
    return parser.parse_args(["data", *words])


def run(*words: object) -> int:
    args = parse(*map(str, words))
    code = args.handler(args)
    assert isinstance(code, int)
    return code


@pytest.fixture
def sop(tmp_path: Path) -> Path:
    """Three training and two test images, annotations only."""
    root = tmp_path / "data" / "sop"
    root.mkdir(parents=True)
    header = "image_id class_id super_class_id path\n"
    (root / "Ebay_train.txt").write_text(header + "1 1 1 a.JPG\n2 1 1 b.JPG\n3 2 1 c.JPG\n")
    (root / "Ebay_test.txt").write_text(header + "4 3 1 d.JPG\n5 3 1 e.JPG\n")
    return root


@pytest.fixture
def fake(monkeypatch):
    """Stand-ins for the slow modules that record how they were called."""
    calls: list[tuple[object, ...]] = []

    def synthesize(name: str, root: Path, *, seed: int = 0) -> Path:
        calls.append(("synthesize", name, root, seed))
        return root

    def cut_subset(dataset, target: Path, *, classes: int, images_per_class: int, seed: int = 0) -> Path:
        calls.append(("subset", dataset.name, target, classes, images_per_class, seed))
        return target

    def download(name: str, root: Path, **options: object) -> None:
        calls.append(("download", name, root))

    for module, function in (("miniature", synthesize), ("subset", cut_subset), ("download", download)):
        name = f"retrieval_bench.datasets.{module}"
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**{function.__name__: function}))
    return calls


def test_list_shows_every_set_with_its_published_size_and_where_it_is(sop, capsys):
    assert run("list", "--root", sop.parent) == 0
    rows = {tuple(line.split()[:2]): line.split() for line in capsys.readouterr().out.splitlines() if line}
    assert {name for name, _ in rows} >= set(DATASETS)
    assert rows["sop", "zero-shot"][2:] == ["59,551/11,318", "60,502/11,316", "60,502/11,316", "manual", str(sop)]
    assert rows["cub", "official"][2:] == ["5,994/200", "5,794/200", "5,794/200", "automatic", "-"]


def test_list_finds_sets_in_the_folder_of_the_environment(sop, monkeypatch, capsys):
    monkeypatch.setenv("RETRIEVAL_BENCH_DATA", str(sop.parent))
    assert run("list", "--json") == 0
    here = {row["name"]: row["root"] for row in json.loads(capsys.readouterr().out)}
    assert here == dict.fromkeys(DATASETS) | {"sop": str(sop)}


def test_list_shows_landmarks_among_distractors_only_with_the_distractors(tmp_path, capsys):
    def here():
        assert run("list", "--root", tmp_path, "--json") == 0
        return {row["name"] for row in json.loads(capsys.readouterr().out) if row["root"]}

    (tmp_path / "oxford5k" / "gt").mkdir(parents=True)
    (tmp_path / "oxford5k" / "gt" / "balliol_1_query.txt").write_text("oxc1_balliol_000001 1 2 3 4\n")
    (tmp_path / "flickr100k").mkdir()
    (tmp_path / "flickr100k" / "README.txt").touch()
    assert here() == {"oxford5k"}
    (tmp_path / "flickr100k" / "oxc1_100k" / "tower").mkdir(parents=True)
    (tmp_path / "flickr100k" / "oxc1_100k" / "tower" / "tower_000001.jpg").touch()
    assert here() == {"oxford5k", "oxford105k", "flickr100k"}


def test_missing_distractors_name_no_option_of_other_commands(tmp_path):
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "balliol_1_query.txt").write_text("oxc1_balliol_000001 1 2 3 4\n")
    for kind in ("good", "ok", "junk"):
        (tmp_path / "gt" / f"balliol_1_{kind}.txt").write_text("")
    (tmp_path / "jpg").mkdir()
    (tmp_path / "jpg" / "balliol_000001.jpg").touch()
    with pytest.raises(DatasetNotFoundError, match="Unpack Flickr100k") as error:
        run("info", "oxford105k", "--root", tmp_path)
    assert "--data." not in str(error.value)


def test_info_counts_each_role_beside_the_published_numbers(sop, capsys):
    assert run("info", "sop", "--root", sop) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("zero-shot")]
    assert [row[:6] for row in rows] == [
        ["zero-shot", "train", "3", "2", "59,551", "11,318"],
        ["zero-shot", "query", "2", "1", "60,502", "11,316"],
        ["zero-shot", "gallery", "2", "1", "60,502", "11,316"],
    ]
    assert all(row[6].startswith("partial-") for row in rows)


def test_info_as_json_has_classes_and_counts_per_role_for_every_protocol(sop, capsys):
    assert run("info", "sop", "--root", sop, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["counts"] == {
        "zero-shot": {
            "train": {"images": 3, "classes": 2},
            "query": {"images": 2, "classes": 1},
            "gallery": {"images": 2, "classes": 1},
        }
    }
    assert facts["published"]["zero-shot"]["train"] == {"images": 59551, "classes": 11318}
    assert facts["root"] == str(sop)
    assert facts["editions"]["zero-shot"] == f"partial-{facts['data_fingerprints']['zero-shot']}"


def test_info_accepts_the_folder_of_all_data_sets(sop, capsys):
    assert run("info", "sop", "--root", sop.parent, "--json") == 0
    assert json.loads(capsys.readouterr().out)["root"] == str(sop)


def test_info_without_the_data_shows_the_published_numbers_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RETRIEVAL_BENCH_DATA", str(tmp_path))
    assert run("info", "cub") == 0
    out = capsys.readouterr().out
    assert f"not in {tmp_path / 'cub'}; published numbers only" in out
    assert "data download cub" in out
    assert run("info", "cub", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["root"] is None
    assert facts["counts"] is None


def test_info_on_a_named_folder_without_the_data_is_an_error(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="data download cub"):
        run("info", "cub", "--root", tmp_path)


@pytest.mark.parametrize("command", ["info", "verify", "download"])
def test_an_unknown_name_lists_the_known_ones(command, tmp_path, fake):
    with pytest.raises(DataError, match=r"'cubs'; did you mean 'cub'.*inshop"):
        run(command, "cubs", "--root", tmp_path)


def test_verify_prints_differences_with_what_to_do_and_exits_with_one(sop, capsys):
    assert run("verify", "sop", "--root", sop) == 1
    out = capsys.readouterr().out
    assert "counts: protocol zero-shot: train 3 images of 2 classes instead of 59,551 images of 11,318 classes" in out
    assert "missing: 5 of 5 pictures are missing" in out
    assert "  a.JPG\n" in out
    assert out.count("->") == 2


def test_verify_prints_the_first_files_and_json_lists_them_all(sop, capsys):
    text = "".join(f"{i} 9 1 x{i}.JPG\n" for i in range(6, 16))
    (sop / "Ebay_test.txt").write_text((sop / "Ebay_test.txt").read_text() + text)
    assert run("verify", "sop", "--root", sop) == 1
    assert "  and 10 more; --json lists them all" in capsys.readouterr().out
    assert run("verify", "sop", "--root", sop, "--json") == 1
    facts = json.loads(capsys.readouterr().out)
    missing = next(x for x in facts["differences"] if x["kind"] == "missing")
    assert len(missing["files"]) == 15


def test_verify_exits_with_zero_where_nothing_differs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("retrieval_bench.datasets.verify.verify", lambda *args, **options: [])
    assert run("verify", "cub", "--root", tmp_path) == 0
    assert "what its card says" in capsys.readouterr().out


def test_quick_and_no_images_exclude_each_other():
    with pytest.raises(SystemExit) as stop:
        parse("verify", "cub", "--quick", "--no-images")
    assert stop.value.code == 2


def test_synthesize_writes_one_into_the_folder_and_all_into_folders_of_their_own(tmp_path, fake):
    assert run("synthesize", "cub", "--root", tmp_path / "x", "--seed", 3) == 0
    assert fake == [("synthesize", "cub", tmp_path / "x", 3)]
    fake.clear()
    assert run("synthesize", "all", "--root", tmp_path) == 0
    assert fake == [("synthesize", name, tmp_path / name, 0) for name in DATASETS]


def test_subset_is_cut_into_a_new_or_an_empty_folder(sop, tmp_path, fake):
    words = ("--classes", 2, "--images-per-class", 5, "--seed", 7)
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "new", tmp_path / "empty"):
        assert run("subset", "sop", "--root", sop, "--to", target, *words) == 0
    assert fake == [("subset", "sop", tmp_path / x, 2, 5, 7) for x in ("new", "empty")]


def test_subset_is_not_cut_into_a_folder_that_holds_something(sop, tmp_path, fake):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    words = ("subset", "sop", "--root", sop, "--classes", 2, "--images-per-class", 5, "--to")
    with pytest.raises(DataError, match=r"full is not empty \(it holds thesis\.tex\)"):
        run(*words, tmp_path / "full")
    with pytest.raises(DataError, match=r"Ebay_test\.txt and 1 more"):
        run(*words, sop)
    with pytest.raises(DataError, match="is a file"):
        run(*words, tmp_path / "full" / "thesis.tex")
    assert fake == []


@pytest.mark.parametrize("number", ["0", "-3", "some", "2.5"])
def test_subset_wants_whole_numbers_from_one(number, capsys):
    with pytest.raises(SystemExit) as stop:
        parse("subset", "sop", "--to", "x", "--images-per-class", "1", "--classes", number)
    assert stop.value.code == 2
    assert f"expected a whole number from 1, got '{number}'" in capsys.readouterr().err


def test_download_goes_to_the_default_folder_and_is_resumed_there(tmp_path, monkeypatch, fake):
    monkeypatch.setenv("RETRIEVAL_BENCH_DATA", str(tmp_path))
    assert run("download", "cub") == 0
    (tmp_path / "cub").mkdir()
    (tmp_path / "cub" / "CUB_200_2011.tgz.part").touch()
    assert run("download", "cub") == 0
    assert fake == [("download", "cub", tmp_path / "cub")] * 2


def test_download_does_not_write_among_strangers(tmp_path, fake):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DataError, match=r"not empty \(it holds thesis\.tex\)"):
        run("download", "cub", "--root", tmp_path)
    assert fake == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_text_has_an_example_that_parses(command, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(command, "--help")
    assert stop.value.code == 0
    example = " ".join(capsys.readouterr().out.split("example:")[1].split())
    words = example.split()
    assert words[:3] == ["retrieval-bench", "data", command]
    assert callable(parse(*words[2:]).handler)


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("info", "sop", "--root", "ROOT"),
        ("verify", "sop", "--root", "ROOT", "--quick"),
        ("verify", "--help"),
    ],
)
def test_commands_answer_without_torch_and_its_friends(words, sop):
    code = (
        "import argparse, sys\n"
        "from retrieval_bench.commands import data\n"
        "parser = argparse.ArgumentParser()\n"
        "data.add(parser.add_subparsers())\n"
        "try:\n"
        "    args = parser.parse_args(['data', *sys.argv[1:]])\n"
        "    args.handler(args)\n"
        "finally:\n"
        "    heavy = {'torch', 'pytorch_lightning', 'torchvision', 'faiss', 'wandb', 'sklearn', 'scipy'}\n"
        "    print('loaded:', sorted(heavy & set(sys.modules)))\n"
    )
    words = tuple(str(sop) if word == "ROOT" else word for word in words)
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stderr
