"""How many examples the property tests of hostile input try, and what the examples share.

Few by default, and the same ones every time, so that no change fails of what it did not change;
TURBO_KIT_EXAMPLES=100000 draws more, and others each time, by hand. Nothing is kept between runs: what fails is printed
as a line to put above the test (`@reproduce_failure`).
"""

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, configuration, settings
from hypothesis import strategies as st

configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "turbo-kit-hypothesis")

ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
"""Ends of lines."""


def examples(count: int) -> settings:
    """A profile of so many examples, or as many as TURBO_KIT_EXAMPLES says."""
    return settings(
        max_examples=int(os.environ.get("TURBO_KIT_EXAMPLES", count)),
        derandomize="TURBO_KIT_EXAMPLES" not in os.environ,
        print_blob=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )


@st.composite
def spliced(draw: st.DrawFn, content: bytes, pieces: st.SearchStrategy[bytes], most: int = 3) -> bytes:
    """Bytes in which a piece takes the place of a few others, at up to `most` places."""
    for _ in range(draw(st.integers(0, most))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.integers(0, 4))
        content = content[:start] + draw(pieces) + content[end:]
    return content
