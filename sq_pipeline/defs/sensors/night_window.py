"""The hours in which training may start by itself. Here: clock arithmetic, across midnight and clock changes. Pure."""

from datetime import UTC, datetime, time, timedelta, tzinfo


def window_around(
    now: datetime, start: time, end: time, zone: tzinfo | None = None
) -> tuple[datetime, datetime] | None:
    """The window that `now` lies in, from its start (included) to its end (not), in UTC; None outside of one.

    `start` and `end` are wall-clock times in `zone` (None: this machine's). With `end` not after `start` the window
    ends on the next day; equal ones are a whole day. Where a clock change skips one of them, the next moment there is
    counts; where it comes twice, the first. `now` must have a time zone: ValueError otherwise.
    """
    if now.tzinfo is None:
        raise ValueError("`now` needs a time zone")
    today = now.astimezone(zone).date()
    span = timedelta(days=0 if start < end else 1)
    for day in (today - timedelta(days=1), today):
        first, last = _moment(datetime.combine(day, start), zone), _moment(datetime.combine(day + span, end), zone)
        if first <= now < last:
            return first, last
    return None


def next_start(now: datetime, start: time, zone: tzinfo | None = None) -> datetime:
    """The first moment after `now` at which a window begins, in UTC."""
    today = now.astimezone(zone).date()
    starts = (_moment(datetime.combine(today + timedelta(days=days), start), zone) for days in range(3))
    return next(moment for moment in starts if moment > now)


def _moment(wall_clock: datetime, zone: tzinfo | None) -> datetime:
    """A wall-clock time as a moment in UTC."""
    # a naive time's own `astimezone` takes the machine's zone with its rules, not only today's offset
    aware = wall_clock.astimezone() if zone is None else wall_clock.replace(tzinfo=zone)
    moment = aware.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall_clock:
        return moment
    # skipped by a clock change: the offset before it gives a moment after the gap, as long after as the time was in it
    return _end_of_gap(moment, wall_clock, zone)


def _end_of_gap(moment: datetime, wall_clock: datetime, zone: tzinfo | None) -> datetime:
    """The first moment whose wall clock is past the skipped time; clocks change on whole minutes."""
    candidate = moment - timedelta(hours=3)
    while candidate.astimezone(zone).replace(tzinfo=None) < wall_clock:
        candidate += timedelta(minutes=1)
    return candidate
