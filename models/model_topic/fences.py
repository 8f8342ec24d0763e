"""The lead of a fence: how far ahead it must lie for every worker to know it before the first record behind it.

A worker scores a batch only with what was published up to `FRESHNESS_MILLISECONDS` before the batch's newest record
(`models.serving.follower`). A fence that every worker can read `VISIBLE_MILLISECONDS` ahead of it is therefore known in
time, as long as the clocks of publishers, brokers and workers differ by less than the rest of its lead.
"""

from __future__ import annotations

from models.errors import RouteError

FRESHNESS_MILLISECONDS = 500
VISIBLE_MILLISECONDS = 700
LEAST_LEAD_SECONDS = 1.0
"""The minimum time from a publication to its fence."""


def check_lead(seconds: float) -> None:
    """Raises RouteError unless a fence may lie this many seconds ahead.

    >>> check_lead(0.5)
    Traceback (most recent call last):
        ...
    models.errors.RouteError: a fence 0.5 s ahead may pass before all workers know of it; it takes at least 1 s
    """
    if not LEAST_LEAD_SECONDS <= seconds <= 86_400:
        raise RouteError(
            f"a fence {seconds:g} s ahead may pass before all workers know of it; it takes at least "
            f"{LEAST_LEAD_SECONDS:g} s"
            if seconds < LEAST_LEAD_SECONDS
            else f"a fence {seconds:g} s ahead is more than a day away; publish it later"
        )
