"""Traits of classes, spread so that even a few classes cover every trait's whole range."""

import numpy as np


def spread(rng: np.random.Generator, classes: int, traits: int) -> list[list[float]]:
    """Draw a Latin hypercube: each trait takes one value from each of as many equal strata as there are classes.

    Args:
        rng: Where chance comes from.
        classes: How many rows.
        traits: How many columns.

    Returns:
        Rows of numbers in [0, 1).
    """
    columns = [(rng.permutation(classes) + rng.uniform(0.2, 0.8, classes)) / classes for _ in range(traits)]
    rows: list[list[float]] = np.column_stack(columns).tolist()
    return rows
