"""What methods cost, side by side."""

from pathlib import Path

from retrieval_bench.bench.leaderboard import leaderboard
from retrieval_bench.bench.results import Cost


def test_every_cost_has_a_column_that_says_what_it_is_of(make_result, facts):
    cost = Cost(
        parameters=1_500_000,
        gmac_per_image=7.8234,
        bytes_per_image=2048,
        images_per_second=250.4,
        ms_per_query=0.25,
        training_seconds=90,
        peak_memory_mib=3072,
    )
    (table,) = leaderboard({Path("a"): make_result(cost=cost)}, papers={}, facts=facts).tables
    (row,) = table.rows
    shown = {column.head: cell.text for column, cell in zip(table.columns, row, strict=True)}
    assert {
        "parameters (M)": "1.5",
        "GMAC/image": "7.82",
        "bytes/image": "2048",
        "images/s": "250",
        "ms/query": "0.25",
        "memory (GiB)": "3.0",
    }.items() <= shown.items()
    notes = {column.head: column.notes for column in table.columns}
    assert "decoding not counted" in notes["images/s"][0]
    assert "GPU" in notes["memory (GiB)"][0]


def test_results_without_a_cost_have_no_column_of_it(make_result, facts):
    (table,) = leaderboard({Path("a"): make_result()}, papers={}, facts=facts).tables
    assert not {"GMAC/image", "memory (GiB)"} & {column.head for column in table.columns}
