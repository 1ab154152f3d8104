"""What the tables need to know of a data set: its title, and the way its published numbers are measured."""

from dataclasses import dataclass

from retrieval_bench.retrieval.protocol import Protocol


@dataclass(frozen=True)
class DatasetFacts:
    """A data set's title, default protocol and other protocols, in its original edition."""

    title: str
    protocol: Protocol
    others: tuple[Protocol, ...] = ()


def dataset_facts(name: str) -> DatasetFacts | None:
    """The facts of a data set, None of one that this code does not read (yet), though a paper reports on it."""
    from retrieval_bench.datasets import DATASETS, dataset_class
    from retrieval_bench.datasets.cards import load_card

    if name not in DATASETS:
        return None
    default, *others = dataset_class(name).protocols
    return DatasetFacts(load_card(name).title, default, tuple(others))
