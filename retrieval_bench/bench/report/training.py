"""Training curves: what the runs of a setting logged."""

from collections.abc import Mapping, Sequence

from retrieval_bench.bench.metric_log import read_log
from retrieval_bench.bench.report.names import slug
from retrieval_bench.bench.report.plots import COLOURS, Axis, Curve, Grid, Plot, chosen, linear, thinned
from retrieval_bench.bench.summary import Row
from retrieval_bench.bench.words import metric_label, number

_LOGGED = 6  # charts of what one setting logged

Log = Mapping[str, Mapping[int, float]]
"""By column, the value of each epoch."""


def training_plots(row: Row) -> list[Plot]:
    """What a setting logged while it trained: one chart a column, one curve a seed.

    Args:
        row: The setting.
    """
    logs: dict[int, Log] = {seed: read_log(row.results[seed][0].parent) for seed in row.seeds}
    main = row.counted[0].protocol.main_metric
    columns = dict.fromkeys(column for log in logs.values() for column in log)
    wanted = [c for c in columns if c.startswith("train/")] + [
        c for c in columns if c.rpartition("/")[2] == main and c.startswith(("val/", "curve/"))
    ]
    plots = []
    for column in wanted[:_LOGGED]:
        scale = 1.0 if column.startswith("train/") else 100.0
        lines = [
            Curve(
                f"seed {seed}",
                tuple((float(epoch), scale * log[column][epoch]) for epoch in thinned(list(log[column]))),
            )
            for seed, log in logs.items()
            if len(log.get(column, ())) > 1
        ]
        if lines:
            plots.append(_logged(column, scale, lines[:COLOURS], logs))
    return plots


def _logged(column: str, scale: float, lines: Sequence[Curve], logs: Mapping[int, Log]) -> Plot:
    label = column if scale == 1 else f"{metric_label(column.rpartition('/')[2])} (%)"
    epochs = sorted({int(x) for line in lines for x, _ in line.points})
    x: Axis = (
        chosen([float(e) for e in epochs], [str(e) for e in epochs], "epoch")
        if len(epochs) <= 10
        else linear([float(e) for e in epochs], "epoch", tight=True)
    )
    rows = tuple(
        (str(epoch), *(_plain(log.get(column, {}).get(epoch), scale) for log in logs.values())) for epoch in epochs
    )
    last = ", ".join(f"{line.points[-1][1]:.4g} ({line.name})" for line in lines)
    return Plot(
        slug("log", column),
        column if scale == 1 else f"{metric_label(column.rpartition('/')[2])} while training",
        "as it was logged" if scale == 1 else "evaluated while it trained; the result is that of the end",
        x,
        linear([y for line in lines for _, y in line.points], label),
        Grid(("epoch", *(f"seed {seed}" for seed in logs)), rows),
        tuple(lines),
        summary=f"At the end: {last}.",
    )


def _plain(value: float | None, scale: float) -> str:
    return number(None, 0) if value is None else f"{scale * value:.4g}".replace("-", "−")
