"""Which run this is: what the runner wrote into the run's folder before it started."""

from dataclasses import dataclass
from pathlib import Path

from retrieval_bench.bench.errors import RecordError
from retrieval_bench.bench.records import build
from retrieval_bench.bench.results import RunId, read_json

RUN_FILE = "run.json"


@dataclass(frozen=True, kw_only=True)
class RunIdentity(RunId):
    """The coordinates of a run, and what its suite wants of it.

    Attributes:
        config_hash: Names the configuration.
        compare_untrained: Whether the network is measured before it is fitted, too.
        notes: Footnotes that the suite gives all its results.
    """

    config_hash: str
    compare_untrained: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, run_dir: Path) -> "RunIdentity":
        """Read the run's file.

        Raises:
            RecordError: If it is missing or does not hold what it should.
        """
        path = run_dir / RUN_FILE
        if not path.is_file():
            raise RecordError(f"{path} is missing; runs are started by `retrieval-bench run SUITE`, which writes it")
        return build(cls, read_json(path), file=path)
