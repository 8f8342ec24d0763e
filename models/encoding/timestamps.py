"""Converts Avro's timestamp-millis: fastavro returns datetimes, whereas the application counts milliseconds."""

from __future__ import annotations

import datetime

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def milliseconds_of(moment: datetime.datetime) -> int:
    """The milliseconds from 1970-01-01 UTC to a timezone-aware datetime.

    >>> milliseconds_of(datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.timezone.utc))
    1000
    """
    return (moment - _EPOCH) // datetime.timedelta(milliseconds=1)
