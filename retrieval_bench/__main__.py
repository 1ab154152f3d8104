"""``python -m retrieval_bench`` is ``retrieval-bench``."""

import sys

from retrieval_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
