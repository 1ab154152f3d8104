"""Every shipped setting through the real command line's parser, and the papers' settings among them."""

from pathlib import Path

import pytest

from retrieval_bench.bench.papers import read_papers, setting_of
from retrieval_bench.nn.backbones import TAPS
from retrieval_bench.training.lightning_cli import RetrievalCLI, run

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
METHODS = sorted(path.stem for path in (BENCHMARKS / "methods").glob("*.yaml"))
SETTINGS = [
    (method, variant)
    for method in METHODS
    for variant in (None, *sorted(path.stem for path in (BENCHMARKS / "methods" / method).glob("*.yaml")))
]


@pytest.fixture(scope="module")
def parse():
    """What the command line makes of a method's setting, on one data set for all."""
    parsers = []

    def keep(cli, _subcommand):
        parsers.append(cli.parser)

    def arguments(method, variant):
        files = [f"methods/{method}.yaml", *([f"methods/{method}/{variant}.yaml"] if variant else [])]
        stacked = ["trainer.yaml", "datasets/oxford5k.yaml", *files]
        return ["benchmark", *(f"--config={BENCHMARKS / file}" for file in stacked)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RetrievalCLI, "instantiate_classes", lambda _: None)
        patch.setattr(RetrievalCLI, "_run_subcommand", keep)
        run(arguments("abir", None))
    (parser,) = parsers
    return lambda method, variant=None: parser.parse_args(arguments(method, variant)).benchmark


def test_there_is_no_folder_of_variants_without_its_method():
    folders = {path.name for path in (BENCHMARKS / "methods").iterdir() if path.is_dir()}
    assert folders <= set(METHODS)


@pytest.mark.parametrize(("method", "variant"), SETTINGS, ids=lambda part: part or "full")
def test_a_shipped_setting_is_read_without_an_unknown_option(parse, method, variant):
    model = parse(method, variant).model.init_args
    if "tap" in model:
        assert model.tap in TAPS[model.backbone]


def test_every_setting_that_the_papers_tables_name_is_shipped():
    paper = read_papers(ROOT / "results" / "papers")["cluster_mac"]
    cells = [(row, column) for table in paper.tables for row in table.rows for column in table.columns if row.config]
    named = {setting_of(paper, row, column) for row, column in cells}
    assert len(named) == 8 + 7 + 2
    assert named <= set(SETTINGS)
    assert {("cluster_mac", f"c{2**k}") for k in range(10)} | {("cluster_mac", "dir_grid_pcaw")} <= set(SETTINGS)


def test_another_class_keeps_the_options_that_it_shares(parse):
    ours, theirs = parse("cluster_mac", "vgg_cropX").model, parse("cluster_mac", "rmac_vgg_cropX").model
    assert theirs.class_path.endswith(".RMAC")
    assert theirs.init_args.tap == ours.init_args.tap == "pool5"
    assert "clusters" not in theirs.init_args


@pytest.mark.parametrize(("variant", "protocol"), [("vgg_cropI", "crop-i"), ("rmac_vgg_cropX_R_QE", "crop-x")])
def test_the_crop_in_a_settings_name_is_its_protocol(parse, variant, protocol):
    assert parse("cluster_mac", variant).data.init_args.protocol == protocol


def test_learned_whitening_then_localisation_then_expansion(parse):
    steps = parse("cluster_mac", "siamac_cropX_Lw_R_QE").trainer.postprocessing
    names = [step.class_path.rpartition(".")[2] for step in steps]
    assert names == ["WhitenByPairs", "LocalisationReranking", "QueryExpansion"]
