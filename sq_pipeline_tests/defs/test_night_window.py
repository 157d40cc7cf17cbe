"""The night's hours: across midnight, across clock changes, on both halves of the world."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sq_pipeline.defs.sensors.night_window import next_start, window_around

BERLIN, SYDNEY, KOLKATA, LORD_HOWE = map(ZoneInfo, ("Europe/Berlin", "Australia/Sydney", "Asia/Kolkata",
                                                     "Australia/Lord_Howe"))  # fmt: skip


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def clock(text: str) -> time:
    return time.fromisoformat(text)


@pytest.mark.parametrize(
    ("now", "start", "end", "hours"),
    [
        ("2026-06-10 23:00", "22:00", "06:00", 8.0),
        ("2026-06-10 22:00", "22:00", "06:00", 8.0),
        ("2026-06-11 05:59", "22:00", "06:00", 8.0),
        ("2026-06-11 06:00", "22:00", "06:00", None),
        ("2026-06-10 21:59", "22:00", "06:00", None),
        ("2026-06-10 12:00", "22:00", "06:00", None),
        ("2026-06-10 03:00", "01:00", "05:00", 4.0),
        ("2026-06-10 00:30", "01:00", "05:00", None),
        ("2026-06-10 12:00", "00:00", "00:00", 24.0),
        ("2026-06-10 03:00", "08:00", "08:00", 24.0),
        ("2026-03-29 01:00", "22:00", "06:00", 7.0),  # the clock goes forward at 02:00
        ("2026-03-29 04:00", "22:00", "06:00", 7.0),
        ("2026-10-25 01:00", "22:00", "06:00", 9.0),  # and back at 03:00
        ("2026-03-29 01:30", "22:00", "02:30", 4.0),  # 02:30 is skipped: the window ends at 03:00
        ("2026-03-29 03:15", "02:30", "06:00", 3.0),  # and one that begins then, begins at 03:00
        ("2026-10-25 02:20", "22:00", "02:30", 4.5),  # 02:30 comes twice: it ends at the first
    ],
)
def test_the_window_around_a_moment(now: str, start: str, end: str, hours: float | None) -> None:
    moment = at(now)
    found = window_around(moment, clock(start), clock(end), BERLIN)
    if hours is None:
        assert found is None
    else:
        assert found is not None
        first, last = found
        assert (last - first) / timedelta(hours=1) == hours
        assert first <= moment < last


def test_the_second_time_round_is_after_the_end() -> None:
    assert window_around(at("2026-10-25 02:20", fold=1), clock("22:00"), clock("02:30"), BERLIN) is None


def test_a_half_hour_change() -> None:
    found = window_around(at("2026-10-04 01:00", LORD_HOWE), clock("22:00"), clock("06:00"), LORD_HOWE)
    assert found is not None
    assert found[1] - found[0] == timedelta(hours=7.5)


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        window_around(datetime(2026, 6, 10), clock("22:00"), clock("06:00"))


def test_this_machines_own_zone() -> None:
    local = datetime(2026, 6, 10, 23, 0).astimezone()
    found = window_around(local, clock("22:00"), clock("06:00"))
    assert found is not None
    assert found[0].astimezone().time() == clock("22:00")


MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))
CLOCKS = st.builds(time, st.integers(0, 23), st.integers(0, 59))
ZONES = st.sampled_from([BERLIN, SYDNEY, KOLKATA, LORD_HOWE])


@given(MOMENTS, CLOCKS, CLOCKS, ZONES)
def test_a_window_holds_its_moment_and_starts_and_ends_on_the_clock(
    now: datetime, start: time, end: time, zone: ZoneInfo
) -> None:
    found = window_around(now, start, end, zone)
    if found is None:
        return
    first, last = found
    assert first <= now < last
    assert last - first <= timedelta(hours=25)
    for moment, wanted in ((first, start), (last, end)):
        shown = moment.astimezone(zone)
        day_before = (moment - timedelta(minutes=1)).astimezone(zone)
        # as wanted, or the clock jumped over it within the last minute
        assert shown.time() == wanted or day_before.time() < wanted < shown.time()


@given(MOMENTS, CLOCKS, ZONES)
def test_the_next_start_is_at_most_a_day_away_and_in_its_window(now: datetime, start: time, zone: ZoneInfo) -> None:
    first = next_start(now, start, zone)
    assert timedelta(0) < first - now <= timedelta(hours=25)
    assert window_around(first, start, start, zone) is not None
