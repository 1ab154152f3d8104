import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.report.folder import renewed
from retrieval_bench.bench.report.frontier import front
from retrieval_bench.bench.report.names import slug
from retrieval_bench.bench.report.plots import COLOURS, Area, Axis, Grid, Plot, linear, logarithmic
from retrieval_bench.bench.report.ranking import spread_out


def test_names_are_plain_differ_for_different_texts_and_keep_plain_words():
    texts = [
        "cub",
        "Cub",
        "CUB",
        "a/b",
        "a-b",
        "a b",
        "../../etc/passwd",
        "..",
        "",
        "ü",
        "con.html",
        "x" * 300,
        "x" * 301,
        '"',
    ]
    names = [slug(text) for text in texts]
    assert names[0] == "cub"
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
        assert not name.startswith(".")
        assert 0 < len(name) < 80


def test_no_plain_word_meets_a_hashed_name():
    hashed = slug("A B")
    assert slug(hashed) != hashed


def test_where_a_name_is_parted_counts():
    assert slug("a-b", "c") != slug("a", "b-c") != slug("a", "b", "c")


def files(folder):
    return {file.name: file.read_text() for file in folder.iterdir() if not file.name.startswith(".")}


def write(folder, text):
    with renewed(folder) as new:
        (new / "page").write_text(text)


def test_a_folder_is_replaced_whole(tmp_path):
    write(tmp_path / "report", "old")
    (tmp_path / "report" / "left over").write_text("x")
    write(tmp_path / "report", "new")
    assert files(tmp_path / "report") == {"page": "new"}
    assert [file.name for file in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("reason", [KeyboardInterrupt, OSError])
def test_what_is_cut_short_leaves_the_old_folder_and_nothing_else(tmp_path, reason):
    write(tmp_path / "report", "old")

    def cut_short():
        with renewed(tmp_path / "report") as new:
            (new / "page").write_text("half")
            raise reason

    with pytest.raises(reason):
        cut_short()
    assert files(tmp_path / "report") == {"page": "old"}
    assert [file.name for file in tmp_path.iterdir()] == ["report"]


def test_of_two_reports_at_once_the_first_stays_and_nothing_is_left(tmp_path, monkeypatch):
    write(tmp_path / "report", "old")
    rename = Path.rename

    def meanwhile(path, target):
        done = rename(path, target)
        if path.name == "report":
            monkeypatch.setattr(Path, "rename", rename)
            (tmp_path / "report").mkdir()
            (tmp_path / "report" / "page").write_text("the other's")
        return done

    monkeypatch.setattr(Path, "rename", meanwhile)
    with pytest.raises(OSError, match="not empty"):
        write(tmp_path / "report", "new")
    assert files(tmp_path / "report") == {"page": "the other's"}
    assert [file.name for file in tmp_path.iterdir()] == ["report"]


def test_a_folder_that_is_no_report_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BenchError, match="no earlier report"), renewed(tmp_path):
        pass
    assert files(tmp_path) == {"thesis.tex": "years of work"}


def test_the_front_holds_what_nothing_else_beats():
    # score, bytes, ms: the third is beaten by the first, the fourth costs as much as the second and is worse.
    offers = [(90, 8, 2), (80, 4, 2), (85, 8, 3), (79, 4, 2), (70, 8, 1), (90, 8, 2)]
    assert front(offers) == [True, True, False, False, True, True]


def test_axes_end_at_round_numbers_and_hold_every_value():
    axis = linear([32.9, 81.4], "mAP (%)")
    assert (axis.low, axis.high) == (30, 90)
    assert [text for _, text in axis.ticks] == ["30", "40", "50", "60", "70", "80", "90"]
    assert linear([-0.02, 0.31], "x").ticks[0][1] == "−0.1"
    flat = linear([5, 5], "x")
    assert flat.low < 5 < flat.high
    assert linear([97.5, 100], "x", ceiling=100).high == 100
    tight = linear([0, 610], "queries", tight=True)
    assert (tight.low, tight.high) == (0, 610)
    assert tight.ticks[-1][0] <= 610


def test_a_logarithmic_axis_gives_each_doubling_the_same_room():
    axis = logarithmic([2, 8], "bytes", ticks=[2, 4, 8])
    places = [axis.share(value) for value, _ in axis.ticks]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1])
    assert 0 < places[0] < places[2] < 1
    for low, high in [(0.12, 0.37), (1, 9), (0.05, 0.9), (3, 40_000)]:
        ticks = [value for value, _ in logarithmic([low, high], "x").ticks]
        assert len(ticks) >= 3
        assert ticks == sorted(ticks)
        assert all(low / 1.3 <= tick <= high * 1.3 for tick in ticks)


def test_points_are_drawn_where_the_axes_say():
    x, y = Axis("x", 0, 10, ()), Axis("y", 0, 100, ())
    plot = Plot("p", "t", "", x, y, Grid((), ()), areas=(Area("win", ((0, 0), (0, 50), (5, 0))),))
    left, top, right, bottom = plot.box
    assert plot.line([(0, 0), (10, 100)]) == f"M{left}.0 {bottom}.0L{right}.0 {top}.0"
    middle = (left + right) / 2, (top + bottom) / 2
    assert plot.stairs(plot.areas[0].points) == f"M{left}.0 {bottom}.0H{left}.0V{middle[1]}H{middle[0]}V{bottom}.0"


def luminance(colour):
    """Of a colour like #0b5a8a, as WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1])
def test_text_has_enough_contrast_on_every_ground(theme):
    style = resources.files("retrieval_bench.bench.report").joinpath("templates/style.css").read_text()
    named = {name: pair[theme] for name, *pair in re.findall(r"--([a-z0-9-]+): light-dark\((#\w+), (#\w+)\)", style)}
    for ground in ("paper", "raised", "sunken", "accent-soft"):
        for text in ("ink", "quiet", "accent", "right", "wrong", "junk", "gold"):
            light, dark = sorted((luminance(named[ground]), luminance(named[text])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ground, text)
    for curve in range(COLOURS):  # marks and lines of charts
        light, dark = sorted((luminance(named["raised"]), luminance(named[f"s{curve}"])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, curve


def test_queries_are_chosen_from_the_hardest_to_the_easiest():
    scores = [0.9, 0.1, 0.5, 0.1, 0.7]
    assert spread_out(scores, 3) == [1, 2, 0]
    assert spread_out(scores, 9) == [1, 3, 2, 4, 0]
    assert spread_out(np.zeros(100), 8) == [0, 14, 28, 42, 57, 71, 85, 99]
