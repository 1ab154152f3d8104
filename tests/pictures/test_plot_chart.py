"""A chart's points lie where they belong, in the figure's own coordinates."""

import numpy as np
import pytest

from retrieval_bench.bench.results import Code, Cost, Data, Result, RunId, write_result
from retrieval_bench.cli import main
from retrieval_bench.pictures.curves import Level, Line, Panel, curve_chart, draw_lines, draw_panels, save_chart
from retrieval_bench.retrieval.protocol import Protocol

WORDS = {"title": "t", "x_label": "x", "y_label": "y"}


def _drawn(*panels, **options):
    named = {f"panel {i}": panel for i, panel in enumerate(panels)}
    figure = draw_panels(named, x_label="x", y_label="y", **options)
    figure.draw_without_rendering()
    return figure


def _axes(lines, levels=(), **options):
    return _drawn(Panel(lines, dict(levels)), **options).axes[0]


def _texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_point_lands_where_it_should():
    axes = _axes({"a": Line([(16, 40.5), (64, 60.0)])})
    assert axes.lines[0].get_xydata().tolist() == [[16, 40.5], [64, 60.0]]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < 16 < 64 < right
    assert bottom < 40.5 < 60 < top
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["16", "64"]


def test_every_curve_differs_in_more_than_its_colour():
    axes = _axes({str(i): Line([(0, i), (1, i + 1)]) for i in range(20)})
    looks = [(line.get_linestyle(), line._unscaled_dash_pattern, line.get_marker()) for line in axes.lines]
    assert len(set(map(str, looks))) == 20


def test_bars_reach_as_far_as_the_deviation_and_none_stands_where_it_is_unknown():
    axes = _axes({"a": Line([(1, 10), (2, 20), (3, 30)], [1.0, None, 3.0])})
    (bars,) = axes.containers[0].lines[2]
    assert [piece.tolist() for piece in bars.get_segments()] == [[[1, 9], [1, 11]], [[3, 27], [3, 33]]]


def test_a_band_reaches_as_far_as_the_deviation():
    axes = _axes({"a": Line([(1, 10), (2, 20)], [1.0, 2.0])}, band=True)
    (band,) = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert {(1, 9), (1, 11), (2, 18), (2, 22)} <= corners


def test_doublings_take_the_same_room_on_a_logarithmic_axis():
    axes = _axes({"a": Line([(1, 0), (2, 1), (512, 2)])}, logarithmic=True)
    places = axes.transData.transform([(x, 1) for x in (1, 2, 256, 512)])[:, 0]
    assert places[1] - places[0] == pytest.approx(places[3] - places[2])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "512"]


def test_zero_stands_one_step_before_the_least_on_a_logarithmic_axis():
    axes = _axes({"a": Line([(0, 0), (1e-5, 1), (1e-4, 2), (1e-2, 3)])}, logarithmic=True)
    places = axes.transData.transform([(x, 1) for x in (0, 1e-5, 1e-4, 1e-3, 1e-2)])[:, 0]
    decade = places[2] - places[1]
    assert places[4] - places[3] == pytest.approx(decade)
    assert places[1] - places[0] == pytest.approx(1.5 * decade)  # three decades in two steps
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert ticks == ["0", "$10^{-5}$", "$10^{-4}$", "$10^{-2}$"]
    left, right = axes.transAxes.transform([(0, 0), (1, 0)])[:, 0]
    assert places[0] - left == pytest.approx(right - places[-1])
    assert 0 < places[0] - left < decade


def test_small_ticks_keep_their_factor():
    axes = _axes({"a": Line([(2.5e-4, 0), (1e-3, 1)])})
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [r"$2.5 \cdot 10^{-4}$", "$10^{-3}$"]


def test_a_level_goes_across_in_its_curves_colour_with_its_deviation_at_the_end():
    levels = {"opq": Level(30, 2.0, beside="a"), "plain": Level(35, beside="a"), "both": Level(10)}
    axes = _axes({"a": Line([(0, 40), (1, 60)]), "b": Line([(0, 20), (1, 50)])}, levels)
    curve, _, opq, plain, both = (line for line in axes.lines if len(line.get_ydata()) == 2)
    assert [list(line.get_ydata()) for line in (opq, plain, both)] == [[30, 30], [35, 35], [10, 10]]
    assert [line.get_color() == curve.get_color() for line in (opq, plain, both)] == [True, True, False]
    assert opq._unscaled_dash_pattern != plain._unscaled_dash_pattern
    (bars,) = axes.containers[0].lines[2]
    (bar,) = bars.get_segments()
    assert bar[:, 1].tolist() == [28, 32]
    assert bar[0, 0] > 1  # of the panel's width
    assert axes.get_ylim()[0] < 10
    assert _texts(axes.figure) == ["a", "b", "opq", "plain", "both"]


def test_a_levels_published_value_is_a_cross_on_a_line_that_looks_like_it():
    axes = _axes({"a": Line([(0, 40), (1, 60)])}, {"opq": Level(30, published=73.0, beside="a")})
    _, paper, opq = axes.lines
    assert list(paper.get_ydata()) == [73, 73]
    assert (paper.get_color(), paper.get_linestyle()) == (opq.get_color(), opq.get_linestyle())
    assert axes.collections[-1].get_offsets()[0][1] == 73
    assert axes.get_ylim()[1] > 73
    assert _texts(axes.figure) == ["a", "opq", "paper"]


def test_panels_share_scales_looks_and_one_legend():
    left = Panel({"a": Line([(0, 10), (1, 20)]), "b": Line([(0, 1), (1, 2)])}, {"base": Level(5, beside="b")})
    right = Panel({"b": Line([(0, 70), (2, 80)])}, {"base": Level(75, beside="b")})
    figure = _drawn(left, right)
    one, two = figure.axes
    assert (one.get_xlim(), one.get_ylim()) == (two.get_xlim(), two.get_ylim())
    assert [one.get_title("left"), two.get_title("left")] == ["panel 0", "panel 1"]
    assert {one.lines[1].get_color(), one.lines[2].get_color()} == {two.lines[0].get_color(), two.lines[1].get_color()}
    assert one.lines[1].get_marker() == two.lines[0].get_marker() != one.lines[0].get_marker()
    assert _texts(figure) == ["a", "b", "base"]


def test_long_headings_are_folded_and_stay_over_their_panel():
    heading = "Oxford Buildings and one hundred thousand more (Oxford105k), crop-x, a part of it"
    figure = draw_panels(
        {heading: Panel({"a": Line([(0, 1)])}), "b": Panel({"a": Line([(0, 1)])})}, x_label="x", y_label="y"
    )
    figure.draw_without_rendering()
    title = figure.axes[0]._left_title
    assert "\n" in title.get_text()
    assert title.get_window_extent().x1 < figure.axes[1].get_window_extent().x0


def test_choices_have_their_names():
    axes = _axes({"a": Line([(0, 1), (1, 2)])}, choices=["none", "a0.4"])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["none", "a0.4"]


def test_a_published_point_is_a_cross_that_the_legend_calls_paper():
    figure = draw_lines({"a": Line([(16, 40), (64, 60)], published=[(64, 68.2)])}, **WORDS)
    assert figure.axes[0].collections[-1].get_offsets().tolist() == [[64, 68.2]]
    assert _texts(figure) == ["a", "paper"]
    assert _texts(draw_lines({"a": Line([(16, 40)])}, **WORDS)) == ["a"]


def test_a_published_level_goes_across_and_says_whose_it_is():
    axes = _axes({"a": Line([(0, 40), (1, 60)], level=68.2), "b": Line([(0, 30), (1, 50)])})
    level = axes.lines[-1]
    assert list(level.get_ydata()) == [68.2, 68.2]
    assert level.is_dashed()
    assert "paper: a" in [text.get_text() for text in axes.texts]
    assert axes.get_ylim()[1] > 68.2


def test_long_names_are_folded_and_nothing_lies_outside_of_the_picture():
    figure = draw_lines({"results/runs/of/a/suite/" * 6: Line([(0, 1), (1, 2)])}, **WORDS)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert "\n" in _texts(figure)[0]
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert 0 <= box.y0 < box.y1 <= figure.bbox.height


def test_a_picture_shows_the_curves_colour():
    chart = np.asarray(curve_chart({"a": [(0, 1), (0.5, 0.5), (1, 0.5)]}, **WORDS))
    assert (chart == (0, 114, 178)).all(-1).sum() > 1000


def test_no_curve_is_no_chart():
    with pytest.raises(ValueError, match="at least one curve"):
        curve_chart({}, **WORDS)


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_ending_decides_the_format(tmp_path, suffix, start):
    file = tmp_path / "new" / f"chart{suffix}"
    save_chart(draw_lines({"a": Line([(0, 1), (1, 2)])}, **WORDS), file)
    assert file.read_bytes().startswith(start)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.fixture
def results(tmp_path):
    """A folder with the results of two code lengths on a part of a data set."""
    protocol = Protocol(dataset="cub", name="hashing", edition="partial-1", metrics=("map",), main_metric="map")
    for bits, value in ((16, 0.25), (64, 0.5)):
        run = RunId(suite="tiny", dataset="cub", method="m", variant=f"a_{bits}", seed=0)
        result = Result(
            run=run,
            protocol=protocol,
            metrics={"map": value},
            config={"model": {"init_args": {"bits": bits}}},
            config_hash="0",
            data=Data(fingerprint="0", edition="partial-1", counts={}),
            code=Code(version="0", commit=None, dirty=False),
            packages={},
            hardware={},
            cost=Cost(),
            finished="2026-01-02T03:04:05+00:00",
        )
        write_result(tmp_path / "runs" / "tiny" / run.name / "result.json", result)
    return tmp_path


def test_the_command_writes_a_plot_and_its_points(results, capsys):
    plot, points = results / "plots" / "bits.svg", results / "plots" / "bits.csv"
    words = ["plot", "tiny", "--metric", "map", "--against", "bits", "--results", str(results)]
    assert main([*words, "--output", str(plot), "--csv", str(points)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"wrote {plot}", f"wrote {points}"]
    assert plot.read_text().startswith("<?xml")
    assert points.read_text().splitlines()[1:] == ["a,map,bits,16,25,,1,", "a,map,bits,64,50,,1,"]


def test_that_nothing_varies_with_an_option_is_said(results, capsys):
    next(results.rglob("m-a_64/s0/result.json")).unlink()
    words = ["plot", "tiny", "--metric", "map", "--against", "bits", "--results", str(results)]
    assert main([*words, "--output", str(results / "bits.svg")]) == 0
    assert "bits is 16 wherever it is known: nothing varies with it" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--against", "bits", "--output", "plot.gif"], "--output must end in one of .pdf, .png, .svg, not 'plot.gif'"),
        (["--against", "dim", "--output", "plot.png"], "no result has an option dim; those that differ: "),
        (["--against", "epoch", "--output", "plot.png"], "no run logged map while it trained"),
    ],
)
def test_what_cannot_be_plotted_is_one_line(results, capsys, words, message):
    assert main(["plot", "tiny", "--metric", "map", "--results", str(results), *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
