from __future__ import annotations

import datetime

import pytest
from apache_beam.utils.timestamp import Duration, Timestamp

from transforms.watermarks import WallClockWatermark, WallClockWatermarkProvider

A_DAY = Duration(seconds=24 * 3600)


def made(ahead: bool = False) -> WallClockWatermark:
    provider = WallClockWatermarkProvider(ahead)
    return provider.create_watermark_estimator(provider.initial_estimator_state(None, None))


def test_it_is_never_past_the_wall_clock() -> None:
    watermark = made()
    for _ in range(100):
        current = watermark.current_watermark()
        assert current <= Timestamp.now()


def test_one_record_from_the_future_or_the_past_changes_nothing() -> None:
    watermark = made()
    for years in (100, -40):
        watermark.observe_timestamp(Timestamp.now() + Duration(seconds=years * 365 * 24 * 3600))
        before = Timestamp.now()
        assert before <= watermark.current_watermark() <= Timestamp.now()


def test_it_moves_while_no_record_comes() -> None:
    watermark = made()
    first = watermark.current_watermark()
    until = datetime.datetime.now() + datetime.timedelta(milliseconds=5)
    while datetime.datetime.now() < until:
        pass
    assert watermark.current_watermark() > first


@pytest.mark.parametrize("ahead", [False, True])
def test_it_never_goes_back_even_when_the_clock_does(ahead: bool) -> None:
    late = Timestamp.now() + Duration(seconds=10 * 365 * 24 * 3600)
    watermark = WallClockWatermark(late, ahead)
    assert watermark.current_watermark() == late
    assert watermark.get_estimator_state() == late


def test_a_watermark_resumes_from_its_state() -> None:
    provider = WallClockWatermarkProvider()
    watermark = made()
    current = watermark.current_watermark()
    assert provider.create_watermark_estimator(watermark.get_estimator_state()).current_watermark() >= current


def test_a_source_of_a_side_input_is_far_ahead_of_the_records() -> None:
    ahead, records = made(ahead=True), made()
    assert ahead.current_watermark() > records.current_watermark() + A_DAY
    provider = WallClockWatermarkProvider(ahead=True)
    assert provider.initial_estimator_state(None, None) > Timestamp.now() + A_DAY, "from its very beginning"
