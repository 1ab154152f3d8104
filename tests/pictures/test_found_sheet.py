import numpy as np

from retrieval_bench.pictures.found import Shown, found_sheet

GREY = np.full((100, 200, 3), 128, np.uint8)
YELLOW = (255, 232, 0)


def test_results_stand_in_rows_of_six_behind_the_query():
    results = [Shown(GREY, None, f"{i}.jpg") for i in range(6)]
    assert found_sheet(Shown(GREY, None, "query.jpg"), results).size == (6 * 210 + 10, 30 + 2 * 130)
    assert found_sheet(Shown(GREY, None, "query.jpg"), results[:2]).size == (3 * 210 + 10, 30 + 130)


def test_boxes_are_drawn_where_they_are_and_only_there():
    sheet = np.asarray(found_sheet(Shown(GREY, (50, 20, 150, 80), "query.jpg"), [Shown(GREY, None, "a.jpg")]))
    y, x = (sheet == YELLOW).all(2).nonzero()
    # The picture starts at 10, 30 and is as large as it was.
    assert (x.min(), x.max(), y.min(), y.max()) == (61, 159, 51, 109)


def test_of_a_long_name_the_end_is_shown():
    sheets = [found_sheet(Shown(GREY, None, f"{'x' * n}-the-end-of-a-long-name"), []).tobytes() for n in (40, 50)]
    assert sheets[0] == sheets[1]
