from pathlib import Path

import pytest
import yaml

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.plan import data_folder, expand, select
from retrieval_bench.bench.suite import find_suite, known_suites, read_suite, with_options

TINY = """
datasets: [cub, {sop: {miniature: true}}]
methods: {abir: [full, no_se]}
seeds: [0, 2]
options: {trainer.max_steps: 3}
method_options: {abir: {model.init_args.k: 1}}
notes: [small]
"""


def test_a_suite_is_every_combination_in_the_order_of_the_file(plan, tmp_path):
    runs = plan(TINY)
    assert [run.id.name for run in runs] == [
        "cub/abir/s0",
        "cub/abir/s2",
        "cub/abir-no_se/s0",
        "cub/abir-no_se/s2",
        "sop/abir/s0",
        "sop/abir/s2",
        "sop/abir-no_se/s0",
        "sop/abir-no_se/s2",
    ]
    assert runs[3].folder == tmp_path / "results/runs/tiny/cub/abir-no_se/s2"


def test_configs_are_stacked_from_the_trainer_to_the_variant(plan, stack, tmp_path):
    (stack / "extra.yaml").write_text("trainer: {max_epochs: 1}\n")
    run = plan(TINY + "configs: [extra.yaml]\n")[2]
    names = ["trainer.yaml", "datasets/cub.yaml", "methods/abir.yaml", "methods/abir/no_se.yaml", "extra.yaml"]
    assert list(run.configs) == [stack / name for name in names]
    assert run.overrides == {"trainer": {"max_steps": 3}, "model": {"init_args": {"k": 1}}}
    assert run.notes == ("small",)


def test_miniatures_lie_apart_from_the_real_data(plan, tmp_path):
    runs = plan(TINY)
    assert (runs[0].data_root, runs[0].miniature) == (tmp_path / "data/cub", False)
    assert (runs[4].data_root, runs[4].miniature) == (tmp_path / "data/miniature/sop", True)


def test_a_data_set_may_lie_where_the_suite_says(plan):
    run = plan("datasets: {cub: {root: /elsewhere/birds}}\nmethods: [abir]\nseeds: [0]\n")[0]
    assert run.data_root == Path("/elsewhere/birds")


def test_a_method_may_keep_to_some_of_the_data_sets(plan):
    runs = plan(TINY + "method_datasets: {abir: [sop]}\n")
    assert {run.id.dataset for run in runs} == {"sop"}
    assert len(runs) == 4


def test_seeds_share_a_hash_and_everything_else_tells_them_apart(plan):
    def hashes(text):
        return [run.config_hash for run in plan(text)]

    full0, full2, variant, _, miniature, *_ = hashes(TINY)
    assert full0 == full2
    assert len({full0, variant, miniature}) == 3
    assert hashes(TINY.replace("max_steps: 3", "max_steps: 4"))[0] != full0
    assert hashes(TINY + "compare_untrained: true\n")[0] != full0
    assert hashes(TINY.replace("notes: [small]", "description: other words"))[0] == full0


def test_a_changed_config_file_changes_the_hash(plan, stack):
    before = plan(TINY)[0].config_hash
    (stack / "methods" / "abir.yaml").write_text("model: {class_path: ABIR, init_args: {se: maybe}}\n")
    assert plan(TINY)[0].config_hash != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds:", "seads:"), r"tiny.yaml: seads: unknown field; did you mean seeds\?"),
        (("miniature: true", "minature: true"), r"datasets.sop.minature: unknown field; did you mean miniature\?"),
        (("seeds: [0, 2]", "seeds: []"), "seeds is empty"),
        (("seeds: [0, 2]", "seeds: [0, 0]"), r"seeds are \[0, 0\]"),
        (("seeds: [0, 2]", "seeds: [zero]"), r"seeds\[0\]: expected a whole number, found 'zero'"),
        (("seeds: [0, 2]", ""), "seeds: this field is missing"),
        (("[full, no_se]", "full"), "methods.abir: expected a list, found 'full'"),
        (("no_se]", "no_sa]"), r"no config file .*methods/abir/no_sa.yaml for the variant no_sa.*did you mean no_se\?"),
        (("{abir: [full", "{abri: [full"), r"method_options.abir: no such method here; did you mean abri\?"),
        (("[cub,", "[cab,"), r"no config file .*datasets/cab.yaml for the data set cab; did you mean cub\?"),
        (("notes: [small]", "configs: [no.yaml]"), r"no config file .*benchmarks/no.yaml for the suite's configs"),
        (("notes: [small]", "name: x"), "name: unknown field"),
        (("notes: [small]", "method_datasets: {abir: [sup]}"), r"no such data set here: sup; did you mean sop\?"),
        (("notes: [small]", "method_datasets: {abri: [sop]}"), r"method_datasets.abri: no such method here"),
        (("notes: [small]", "notes: [[["), "this is no YAML"),
    ],
)
def test_what_is_misspelt_fails_and_says_where(plan, change, message):
    with pytest.raises(BenchError, match=message):
        plan(TINY.replace(*change))


def test_a_suite_is_found_by_path_and_by_name(monkeypatch, stack, suite_file):
    path = suite_file(TINY)
    monkeypatch.chdir(stack.parent)
    assert find_suite("tiny") == Path("benchmarks/suites/tiny.yaml")
    assert find_suite(str(path)) == path
    assert read_suite(find_suite("tiny")).benchmarks == Path("benchmarks")
    assert list(known_suites({"tiny", "gone"})) == ["tiny"]
    with pytest.raises(BenchError, match=r"no suite tinny: .* did you mean tiny\?"):
        find_suite("tinny")


def test_filters_keep_what_they_name(plan):
    runs = plan(TINY)
    kept = select(runs, datasets=["sop"], variants=["full"], seeds=[2])
    assert [run.id.name for run in kept] == ["sop/abir/s2"]
    assert [run.id.name for run in select(runs, limit=1)] == ["cub/abir/s0"]
    assert select(runs) == runs
    with pytest.raises(BenchError, match=r"the suite has no variant fll; did you mean full\?"):
        select(runs, variants=["fll"])


def test_the_data_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("RETRIEVAL_BENCH_DATA", "/pictures")
    assert data_folder() == Path("/pictures")
    monkeypatch.delenv("RETRIEVAL_BENCH_DATA")
    assert data_folder() == Path("data")


SHIPPED = sorted((Path(__file__).parents[2] / "benchmarks" / "suites").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_suites_expand(path, tmp_path):
    suite = read_suite(path)
    runs = expand(suite, output=tmp_path, data_dir=tmp_path)
    on = {method: suite.method_datasets.get(method, list(suite.datasets)) for method in suite.methods}
    assert len(runs) == len(suite.seeds) * sum(len(variants) * len(on[m]) for m, variants in suite.methods.items())
    assert all(yaml.safe_load(file.read_text()) for run in runs for file in run.configs)


def test_the_five_suites_are_shipped():
    assert {"smoke", "cub", "cars196", "sop", "inshop"} <= {path.stem for path in SHIPPED}


def test_options_set_from_outside_win_and_change_the_hash(plan, tmp_path):
    before = plan(TINY)[0]
    changed = with_options(
        read_suite(next(tmp_path.rglob("tiny.yaml"))), ["trainer.max_steps=7", "model.init_args.k=2"]
    )
    after = expand(changed, output=tmp_path / "results", data_dir=tmp_path / "data")[0]
    assert after.overrides == {"trainer": {"max_steps": 7}, "model": {"init_args": {"k": 2}}}
    assert after.config_hash != before.config_hash


@pytest.mark.parametrize(("word", "message"), [("trainer.max_steps", "expected an option"), ("a={", "no YAML")])
def test_an_option_of_no_form_is_named(plan, tmp_path, word, message):
    plan(TINY)
    with pytest.raises(BenchError, match=f"--set {word}.*{message}"):
        with_options(read_suite(next(tmp_path.rglob("tiny.yaml"))), [word])


@pytest.mark.parametrize("option", ["lr..x", ".x", "x.", ".", "a. .b"])
def test_an_option_with_an_empty_part_is_refused(suite_file, option):
    suite = read_suite(suite_file("datasets: [cub]\nmethods: [abir]\nseeds: [0]\n"))
    with pytest.raises(BenchError, match="empty part"):
        with_options(suite, [f"{option}=2"])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("trainer=3", r"option trainer is a group of options and cannot be 3; .*trainer\.max_steps"),
        ("trainer=null", "option trainer is a group"),
        ("model.init_args=x", "option model.init_args is a group"),
        ("model.init_args=[1]", "option model.init_args is a group"),
        ("trainer.max_steps.x=2", "trainer.max_steps is a value, not a group"),
    ],
)
def test_a_value_in_the_place_of_a_group_is_refused_before_any_run(suite_file, tmp_path, assignment, message):
    suite = read_suite(suite_file("datasets: [cub]\nmethods: [abir]\nseeds: [0]\n"))
    with pytest.raises(BenchError, match=message):
        expand(with_options(suite, [assignment]), output=tmp_path, data_dir=tmp_path)


@pytest.mark.parametrize(
    "assignment", ["model=Other", "trainer={max_steps: 2}", "model.init_args=null", "trainer.x.y=1"]
)
def test_what_may_stand_for_a_group_is_left_to_the_run(suite_file, tmp_path, assignment):
    suite = read_suite(suite_file("datasets: [cub]\nmethods: [abir]\nseeds: [0]\n"))
    (run,) = expand(with_options(suite, [assignment]), output=tmp_path, data_dir=tmp_path)
    assert run.overrides
