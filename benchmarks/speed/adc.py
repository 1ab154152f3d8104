"""The asymmetric distance of every image, the least over its 200 codes, against what a user would pick otherwise.

``python benchmarks/speed/adc.py [--quick] [--full]``. The 1,012,600 codes of Oxford5k's 5,063 images and the 1,278,400
codes of Paris6k's 6,392 are searched by 55 queries at once and by one at a time, with one thread and with two. The
quick run searches a tenth of the images. ``--full`` adds the 21 million codes of Oxford105k. The NumPy look-up answers
the same; faiss returns codes, not images, so that images without a code among its nearest ones have no distance.
"""

import argparse
import sys
from collections.abc import Callable

from _harness import measure, report

# isort: split
import faiss
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from retrieval_bench.retrieval.adc import nearest_distances
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.quantization import ProductQuantizer
from retrieval_bench.retrieval.search import search

_QUERIES = 55
_CODES = 200  # of each image
_ALONE = 10  # queries that are asked one at a time
_IMAGES = {"oxford": 5_063, "paris": 6_392}
_PROBLEMS = (("oxford", 4, 256), ("oxford", 8, 512), ("paris", 8, 256))  # the paper's final settings and a smaller one
_DISTRACTORS = 100_071
_FAISS_SHARES = (0.002, 0.1)  # of the codes that faiss returns
_WITH_BOXES = "ours, best 100 with their boxes"

Array = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a reduced size, done in under a minute")
    parser.add_argument("--full", action="store_true", help="21 million codes as well")
    options = parser.parse_args()
    if options.full:  # first, while the process holds no memory that it could use again
        for threads in (1, 2):
            torch.set_num_threads(threads)
            full(threads)
    for place, subspaces, codewords in _PROBLEMS:
        quantizer, query = problem(subspaces, codewords)
        codes = random_codes(_IMAGES[place] // (10 if options.quick else 1), subspaces, codewords)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            faiss.omp_set_num_threads(threads)
            for at_once, batches in (("at_once", [query]), ("alone", list(torch.split(query[:_ALONE], 1)))):
                name = f"adc_{place}_{subspaces}x{codewords}_{threads}threads_{at_once}" + "_quick" * options.quick
                compare(name, quantizer, batches, codes)


def problem(subspaces: int, codewords: int) -> tuple[ProductQuantizer, Tensor]:
    """A quantizer with random codewords, and 55 random queries."""
    generator = torch.Generator().manual_seed(0)
    quantizer = ProductQuantizer(300, subspaces, codewords)
    quantizer.codebooks.copy_(torch.randn(quantizer.codebooks.shape, generator=generator))
    quantizer.fitted.fill_(True)
    return quantizer, torch.randn(_QUERIES, 300, generator=generator)


def random_codes(images: int, subspaces: int, codewords: int) -> Tensor:
    """``(images * 200, M)`` codes."""
    kind = np.uint8 if codewords <= 256 else np.int16
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, codewords, (images * _CODES, subspaces), dtype=kind))


def compare(name: str, quantizer: ProductQuantizer, batches: list[Tensor], codes: Tensor) -> None:
    """Time all contenders, who get one batch of queries after the other, and check that they agree."""
    images, queries = len(codes) // _CODES, sum(map(len, batches))
    lengths = torch.full((images,), _CODES)
    owner = torch.arange(images).repeat_interleave(_CODES)
    gallery = Descriptors(codes, owner, "adc", torch.zeros(len(codes), 4))
    columns = np.ascontiguousarray(codes.numpy().T)
    index = faiss_index(quantizer, codes)
    tops = [int(share * len(codes)) for share in _FAISS_SHARES]
    answers: dict[str, Array] = {}

    def ours() -> None:
        found = [nearest_distances(quantizer.tables(query).flatten(1), codes, lengths) for query in batches]
        answers["ours"] = torch.cat(found).numpy()

    def with_boxes() -> None:
        for query in batches:
            number = torch.arange(len(query))
            search(quantizer.as_queries(Descriptors(query, number, "euclidean")), gallery, top=100)

    def numpy_look_up() -> None:
        tables = (table for query in batches for table in quantizer.tables(query).numpy())
        answers["numpy"] = np.stack([look_up(table, columns) for table in tables])

    def faiss_top(key: str, top: int) -> Callable[[], None]:
        def run() -> None:
            found = [faiss_nearest(index, quantizer.rotate(query).numpy(), top, images) for query in batches]
            answers[key] = np.concatenate(found)

        return run

    contenders = {"ours": ours, _WITH_BOXES: with_boxes, "NumPy look-up": numpy_look_up}
    contenders |= {f"faiss IndexPQ, top {top}": faiss_top(f"faiss {top}", top) for top in tops}
    ours()  # the first call makes the look-up's kernel
    measured = measure(contenders, repeat=3, budget_s=15)
    if not np.array_equal(answers["ours"], answers["numpy"]):
        raise AssertionError("the NumPy look-up finds other distances")
    for key, m in measured.items():
        sys.stdout.write(f"{name:36} {key:32} {1e3 * m.median / queries:9.3f} ms a query\n")
    measured.pop(_WITH_BOXES)
    for top in tops:
        found = answers[f"faiss {top}"]
        reached = np.isfinite(found)
        np.testing.assert_allclose(found[reached], answers["ours"][reached], rtol=1e-4)
        sys.stdout.write(f"{name}: faiss's top {top} hold a code of {100 * reached.mean():.1f} % of the images\n")
        if not reached.all():  # no answer to the question
            measured.pop(f"faiss IndexPQ, top {top}")
    report(name, measured)


def look_up(table: Array, columns: npt.NDArray[np.integer]) -> Array:
    """``(images,)`` the least of the sums of one query's ``(M, K)`` table, by ``(M, n)`` codes."""
    distance = table[0][columns[0]]
    for entries, own in zip(table[1:], columns[1:], strict=True):
        distance += entries[own]
    return np.asarray(distance.reshape(-1, _CODES).min(1), np.float32)


def faiss_index(quantizer: ProductQuantizer, codes: Tensor) -> faiss.IndexPQ:
    """An index with the quantizer's codewords, and the codes in it."""
    index = faiss.IndexPQ(len(quantizer.rotation), len(quantizer.codebooks), quantizer.code_bits)
    faiss.copy_array_to_vector(quantizer.codebooks.numpy().ravel(), index.pq.centroids)
    index.is_trained = True
    index.add_sa_codes(quantizer.pack(codes).numpy())
    return index


def faiss_nearest(index: faiss.IndexPQ, rotated: Array, top: int, images: int) -> Array:
    """``(q, images)`` the least distance of each image's codes among the nearest ones, infinite where it has none."""
    distance, place = index.search(rotated, top)
    nearest = np.full((len(rotated), images), np.inf, np.float32)
    for own, found, at in zip(nearest, distance, place // _CODES, strict=True):
        np.minimum.at(own, at, found)
    return nearest


def full(threads: int) -> None:
    """Time and memory with 100,071 distractor images, beside the codes themselves."""
    images = _IMAGES["oxford"] + _DISTRACTORS
    quantizer, query = problem(8, 512)
    codes = random_codes(images, 8, 512)
    lengths = torch.full((images,), _CODES)
    tables = quantizer.tables(query).flatten(1)
    nearest_distances(tables, codes[: 10 * _CODES], lengths[:10])  # the first call makes the look-up's kernel
    m = measure({"ours": lambda: nearest_distances(tables, codes, lengths)}, repeat=2)["ours"]
    sys.stdout.write(
        f"adc_full_8x512_{threads}threads: {len(codes):,} codes of {codes.nbytes / 2**20:.0f} MiB, {_QUERIES} queries: "
        f"{m.median:.2f} s, {1e3 * m.median / _QUERIES:.1f} ms a query, {m.peak_mib:.0f} MiB more, of which "
        f"{4 * _QUERIES * images / 2**20:.0f} MiB are the result\n"
    )


if __name__ == "__main__":
    main()
