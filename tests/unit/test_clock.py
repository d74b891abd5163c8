"""steward.clock: a wrong clock is refused, in both directions."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward.clock import CLOCK_TOLERANCE_S, check_clock
from steward.errors import EXIT_FAILED, StewardError
from tests.unit.manifest_samples import moment


@given(st.integers(-10 * CLOCK_TOLERANCE_S, 10 * CLOCK_TOLERANCE_S))
def test_a_clock_that_is_wrong_by_more_than_the_tolerance_is_refused(seconds: int) -> None:
    store = moment(0)
    if abs(seconds) <= CLOCK_TOLERANCE_S:
        check_clock(store + timedelta(seconds=seconds), store, "nothing is done")
        return
    with pytest.raises(StewardError, match="ahead" if seconds > 0 else "behind") as caught:
        check_clock(store + timedelta(seconds=seconds), store, "nothing is done")
    assert caught.value.exit_code == EXIT_FAILED
    assert "; nothing is done, check its time" in str(caught.value)
