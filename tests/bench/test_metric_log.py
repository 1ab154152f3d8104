import pytest

from retrieval_bench.bench.errors import RecordError
from retrieval_bench.bench.metric_log import read_log

HEAD = "epoch,step,curve/map,train/gap\n"


@pytest.fixture
def pieces(tmp_path):
    """Writes the pieces of a run; returns its folder."""

    def write(*texts):
        for number, text in enumerate(texts):
            file = tmp_path / "metrics" / f"version_{number}" / "metrics.csv"
            file.parent.mkdir(parents=True)
            file.write_text(HEAD + text)
        return tmp_path

    return write


def test_an_epochs_value_is_the_mean_of_what_it_logged(pieces):
    log = read_log(pieces("0,0,,1.0\n0,1,,3.0\n0,1,0.25,\n1,2,,5.0\n1,3,0.5,\n"))
    assert log == {"train/gap": {0: 2.0, 1: 5.0}, "curve/map": {0: 0.25, 1: 0.5}}


def test_what_was_trained_again_counts_once(pieces):
    # Killed in the middle of epoch 1; the second piece goes on after epoch 0.
    killed = "0,0,,1.0\n0,1,0.25,\n1,2,,90.0\n1,3,,90.0\n"
    again = "1,2,,4.0\n1,3,,6.0\n1,3,0.5,\n"
    assert read_log(pieces(killed, again)) == {"train/gap": {0: 1.0, 1: 5.0}, "curve/map": {0: 0.25, 1: 0.5}}


def test_an_epoch_resumed_in_its_middle_keeps_both_halves(pieces):
    assert read_log(pieces("0,0,,1.0\n0,1,,2.0\n0,2,,99.0\n", "0,2,,3.0\n"))["train/gap"] == {0: 2.0}


def test_a_piece_that_only_tested_takes_nothing_away(pieces):
    log = read_log(pieces("0,0,0.25,1.0\n1,1,0.5,2.0\n", "2,0,0.75,\n"))
    assert log["train/gap"] == {0: 1.0, 1: 2.0}


def test_the_tenth_piece_comes_after_the_second(pieces):
    log = read_log(pieces(*(f"0,0,{i}.0,\n" for i in range(11))))
    assert log["curve/map"] == {0: 10.0}


def test_what_is_not_finite_has_no_value(pieces):
    assert read_log(pieces("0,0,,1.0\n1,1,,nan\n2,2,,inf\n2,3,,-inf\n3,4,,2.0\n"))["train/gap"] == {0: 1.0, 3: 2.0}


def test_a_run_without_logs_has_no_columns(tmp_path):
    assert read_log(tmp_path) == {}


def test_what_is_no_number_is_named(pieces):
    with pytest.raises(RecordError, match=r"version_0/metrics.csv, line 3: could not convert string to float: 'x'"):
        read_log(pieces("0,0,,1.0\n1,1,,x\n"))


@pytest.mark.parametrize("wrong", [b"1,1,,\xff\n", b"1,1,," + b"9" * 200_000 + b"\n"])
def test_what_is_no_table_of_texts_is_named(pieces, wrong):
    folder = pieces("0,0,,1.0\n")
    with (folder / "metrics" / "version_0" / "metrics.csv").open("ab") as stream:
        stream.write(wrong)
    with pytest.raises(RecordError, match=r"version_0/metrics\.csv, line"):
        read_log(folder)
