from pathlib import Path

import pytest
import yaml

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.papers import find_paper, printed_value, read_paper, read_papers, setting_of, way_of
from retrieval_bench.datasets import dataset_class

FOLDER = Path(__file__).parents[2] / "results" / "papers"


@pytest.fixture(scope="module")
def papers():
    return read_papers(FOLDER)


def _setting(paper, table, label, column):
    table = next(t for t in paper.tables if t.id == table)
    row = next(r for r in table.rows if r.label == label)
    return setting_of(paper, row, next(c for c in table.columns if c.id == column))


def test_all_five_papers_are_read(papers):
    tables = {key: len(paper.tables) for key, paper in papers.items()}
    assert tables == {"abir": 3, "adaptive_triplet": 3, "cluster_mac": 3, "regional_attention": 0, "udq": 6}


@pytest.mark.parametrize(
    ("paper", "table", "label", "column", "setting"),
    [
        ("abir", "T1", "ABIR with SE-block", "cars_r16", ("abir", None)),
        ("abir", "T3", "ABIR w/o SE-block", "sop_r1", ("abir", "no_se")),
        ("abir", "T1", "HTL [3]", "cub_r1", None),
        ("udq", "T3", "M=4, K=64, 24 bit", "resnet101_oxford105k", ("udq", "resnet101_m4_k64")),
        ("udq", "T3", "M=4, K=64, 24 bit", "vgg16_oxford5k", ("udq", "vgg16_m4_k64")),
        # A row of two settings, one for each column.
        ("udq", "T2", "M=4, K=64, 24 bit", "opq", ("udq", "vgg16_opq_m4_k64")),
        ("udq", "T2", "M=4, K=64, 24 bit", "udq", ("udq", "vgg16_m4_k64")),
        # Printed once across both columns: UDQ does no post-processing.
        ("udq", "T5", "UDQ-BFR", "paris6k_plain", ("udq", "final_bfr")),
        ("udq", "T5", "UDQ-BFR", "paris6k_post", None),
        ("udq", "T7", "Oxford5K", "udq", None),
        ("adaptive_triplet", "T1", "ResNet18", "cub_map", ("adaptive_triplet", "resnet18_ce")),
        ("adaptive_triplet", "T1", "ResNet18", "dogs_map_triplet", ("adaptive_triplet", "resnet18_triplet")),
        ("adaptive_triplet", "T2", "other alpha values (list unknown)", "acc", None),
        (
            "adaptive_triplet",
            "T3",
            "ResNet18-I + saliency (CUB) + adaptive triplet",
            "dogs_48",
            ("adaptive_triplet", "full_dogs_48"),
        ),
        ("cluster_mac", "T1", "R-MAC, crop I", "oxf5k", ("cluster_mac", "rmac_vgg_cropI")),
    ],
)
def test_each_cell_names_the_setting_that_stands_for_it(papers, paper, table, label, column, setting):
    assert _setting(papers[paper], table, label, column) == setting


def test_printed_values_are_fractions_whatever_the_unit(papers):
    assert printed_value(papers["abir"], ("abir", None), "cub", "recall_at_1") == pytest.approx(0.781)
    udq = ("udq", "final_bfr")
    assert printed_value(papers["udq"], udq, "paris6k", "map_oxford", ("crop-x",)) == pytest.approx(0.9)
    assert printed_value(papers["abir"], ("abir", None), "cub", "map") is None
    assert printed_value(papers["abir"], ("abir", "softmax"), "cub", "recall_at_1") is None


def test_a_setting_has_the_numbers_of_the_one_that_it_is_another_name_of(papers):
    named = [("lambda_1e2", "paris6k"), ("vgg16_off_the_shelf_opq", "oxford5k"), ("vgg16_rounds1", "oxford5k")]
    found = [printed_value(papers["udq"], ("udq", name), data, "map_oxford", ("crop-x",)) for name, data in named]
    assert found == [pytest.approx(0.865), pytest.approx(0.73), None]


def test_a_cell_is_measured_as_its_row_or_column_says(papers):
    setting = ("cluster_mac", "vgg_cropX")
    found = [
        printed_value(papers["cluster_mac"], setting, "oxford5k", "map_oxford", (way,)) for way in ("crop-x", None)
    ]
    assert found == [pytest.approx(0.738), None]
    full = ("adaptive_triplet", "full_cub_64")
    assert printed_value(papers["adaptive_triplet"], full, "cub", "map", ("hashing",)) == pytest.approx(0.6822)
    assert printed_value(papers["adaptive_triplet"], full, "cub", "map") is None


def test_every_protocol_that_a_paper_names_is_one_of_its_data_set(papers):
    named = {
        (column.dataset, way_of(row, column))
        for paper in papers.values()
        for table in paper.tables
        for row in table.rows
        for column in table.columns
        if way_of(row, column) is not None
    }
    known = {(dataset, way) for dataset, way in named if way in {p.name for p in dataset_class(dataset).protocols}}
    assert named == known
    assert {("oxford105k", "crop-x"), ("cub", "hashing"), ("stanford_dogs", "hashing")} <= known


def test_decimals_are_the_papers(papers):
    assert {table.places for table in papers["abir"].tables} == {1}
    assert {table.places for table in papers["udq"].tables} == {3}
    assert papers["adaptive_triplet"].tables[0].places == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["tables"][0]["rows"][0].update(rolle="own"), r"tables\[0\].rows\[0\].rolle: unknown field"),
        (lambda c: c["tables"][0]["rows"][0]["values"].update(cub_r3=1.0), "no column cub_r3; did you mean cub_r"),
        (lambda c: c["tables"][0]["rows"][0]["values"].pop("cub_r1"), "no value for cub_r1"),
        (lambda c: c["tables"][0]["rows"][0]["values"].update(cub_r1="63,9"), "cub_r1: expected a finite number"),
        (lambda c: c["tables"][0]["columns"][0].pop("k"), "measures recall_at_k but names no k"),
        (lambda c: c["tables"][0].update(unit="permille"), "unit: expected 'percent' or 'fraction' or 's'"),
        (lambda c: c["tables"][0]["columns"].append(c["tables"][0]["columns"][0]), "two columns of one id"),
        (lambda c: c.update(schema_version=2), "schema_version: expected 1, found 2"),
        (lambda c: c["paper"].update(key="other"), "paper.key is 'other', expected 'abir'"),
    ],
)
def test_a_broken_file_is_named_with_the_field(tmp_path, change, message):
    content = yaml.safe_load((FOLDER / "abir.yaml").read_text())
    change(content)
    path = tmp_path / "abir.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(BenchError, match=message) as error:
        read_paper(path)
    assert str(path) in str(error.value)


def test_an_unknown_paper_is_an_error_with_a_suggestion(papers):
    with pytest.raises(BenchError, match=r"no published numbers of 'abri' .* did you mean abir\?"):
        find_paper(papers, "abri", FOLDER)
