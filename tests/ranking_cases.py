"""What rankings are tried on: options of ``make_case``, as hypothesis draws them."""

from hypothesis import strategies as st

OPTIONS = {
    "metric": st.sampled_from(["dot", "euclidean", "hamming"]),
    "kind": st.sampled_from(["coarse", "fine", "near", "equal"]),
    "rows": st.sampled_from([1, 3]),
    "shared": st.booleans(),
    "labels": st.booleans(),
}
DIMENSIONS = {"dimension": st.sampled_from([1, 5, 33])}
