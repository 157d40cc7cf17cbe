"""Progress on stderr: on a terminal one line that is drawn again and again, elsewhere a plain line now and then.

Here: what such a line says, and when. Not here: keeping other output out of it (`stderr`).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock

from sq_pipeline.common.processes.progress import Progress

_DRAW_S = 0.1
_LINE_S = 30.0  # without a terminal: a line each half minute, and none for what takes less
_RECENT = 20  # steps that the pace is taken of: what the store had goes fast, and says nothing of the rest
_BAR_MIN, _BAR_MAX = 8, 30
_LABEL_SHARE = 0.55
_GIB, _MIB = 2**30, 2**20

Clock = Callable[[], float]


@dataclass(frozen=True)
class Look:
    """What the terminal can show. `blocks`: more than ASCII."""

    blocks: bool = True
    colours: bool = True


@dataclass
class Pace:
    """How fast one piece of work goes, by its latest steps."""

    progress: Progress
    steps: list[tuple[float, int]] = field(default_factory=list)

    def note(self, now_s: float) -> None:
        """It is at another step now."""
        self.steps.append((now_s, self.progress.done))
        del self.steps[:-_RECENT]

    def left_s(self, now_s: float) -> float | None:
        """Seconds to go; None while nobody can tell."""
        progress = self.progress
        if progress.left_s is not None:
            return progress.left_s
        (first_s, first), (last_s, last) = self.steps[0], self.steps[-1]
        if last <= first or last_s <= first_s:
            return None
        whole_s = (progress.total - last) * (last_s - first_s) / (last - first)
        return max(0.0, whole_s - (now_s - last_s))


def draw(paces: "list[Pace]", now_s: float, width: int, look: Look) -> str:
    """One line of at most `width` columns: what is done within what, a bar, how far it is, the time left, the note."""
    pace = paces[-1]
    progress = pace.progress
    around = [f"{outer.progress.what} {_count(outer.progress)}" for outer in paces[:-1]]
    label = " > ".join([*around, progress.what])
    told = [_count(progress)]
    if (left := pace.left_s(now_s)) is not None:
        told.append(f"{duration(left)} left")
    end = ", ".join(told)
    room = width - len(end) - 2
    label = _cut(label, max(0, min(int(width * _LABEL_SHARE), room - _BAR_MIN - 1)), look)
    bar_width = min(_BAR_MAX, room - len(label) - bool(label))
    parts = [label] if label else []
    if bar_width >= _BAR_MIN:
        parts.append(_bar(progress, bar_width, look))
    line = f"{' '.join(parts)}  {end}" if parts else end
    used = len(label) + bool(label) + max(0, bar_width if bar_width >= _BAR_MIN else 0) + 2 + len(end)
    if progress.note and used + 2 + len(progress.note) <= width:
        line += f", {progress.note}"
    return line if used <= width else _cut(end, width, look)


def plain(pace: Pace, now_s: float) -> str:
    """The same for a log."""
    left = pace.left_s(now_s)
    told = [f"{pace.progress.what}: {_count(pace.progress)}"]
    told += [f"{duration(left)} left"] if left is not None else []
    return ", ".join([*told, *filter(None, (pace.progress.note,))])


def _count(progress: Progress) -> str:
    done, total = min(progress.done, progress.total), progress.total
    if not progress.is_bytes:
        return f"{done}/{total}"
    unit, name = (_GIB, "GiB") if total >= _GIB else (_MIB, "MiB")
    return f"{done / unit:.1f}/{total / unit:.1f} {name}"


def _bar(progress: Progress, width: int, look: Look) -> str:
    done = width if progress.total <= 0 else min(width, width * progress.done // progress.total)
    full, empty = ("━", "─") if look.blocks else ("#", ".")
    if not look.colours:
        return full * done + empty * (width - done)
    return f"\x1b[32m{full * done}\x1b[39m\x1b[2m{empty * (width - done)}\x1b[22m"


def _cut(text: str, width: int, look: Look) -> str:
    """Its end is what differs: cut at the beginning."""
    if len(text) <= width:
        return text
    mark = "…" if look.blocks else ".."
    return mark + text[len(text) - width + len(mark) :] if width > len(mark) else ""


def duration(seconds: float) -> str:
    """A time to go, as exact as anybody needs it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


class Bars:
    """A line at the end of the terminal. `write` puts text there, `width` is asked each time: windows change."""

    def __init__(self, write: Callable[[str], None], width: Callable[[], int], look: Look, clock: Clock) -> None:
        self._write, self._width, self._look, self._clock = write, width, look, clock
        self._paces: list[Pace] = []
        self._lock = RLock()  # other threads print too
        self._is_drawn, self._drawn_s = False, 0.0

    def begin(self, progress: Progress) -> None:
        """It is what is done now."""
        with self._lock:
            self._paces.append(pace := Pace(progress))
            pace.note(self._clock())
            self._draw()

    def change(self, progress: Progress) -> None:
        """Draw again, but not more often than anybody can see."""
        with self._lock:
            for pace in self._paces:
                if pace.progress is progress:
                    pace.note(self._clock())
            if self._clock() - self._drawn_s >= _DRAW_S:
                self._draw()

    def end(self, progress: Progress) -> None:
        """Nothing is left of it."""
        with self._lock:
            self._paces = [pace for pace in self._paces if pace.progress is not progress]
            self._draw() if self._paces else self._erase()

    @contextmanager
    def away(self) -> Iterator[None]:
        """While the block runs the line is not there: something else is printed."""
        with self._lock:
            self._erase()
            yield
            if self._paces:
                self._draw()

    def _draw(self) -> None:
        line = draw(self._paces, self._clock(), self._width() - 1, self._look)
        self._write(f"\r{line}\x1b[K")
        self._is_drawn, self._drawn_s = True, self._clock()

    def _erase(self) -> None:
        if self._is_drawn:
            self._write("\r\x1b[K")
            self._is_drawn = False


class Lines:
    """A plain line now and then; no control codes."""

    def __init__(self, write: Callable[[str], None], clock: Clock) -> None:
        self._write, self._clock = write, clock
        self._paces: list[Pace] = []
        self._last_s = clock()

    def begin(self, progress: Progress) -> None:
        """Nothing is said yet."""
        self._paces.append(pace := Pace(progress))
        pace.note(self._clock())

    def change(self, progress: Progress) -> None:
        """A line, where the last one is long ago."""
        now_s = self._clock()
        for pace in self._paces:
            if pace.progress is progress:
                pace.note(now_s)
                if now_s - self._last_s >= _LINE_S:
                    self._write(f"{plain(pace, now_s)}\n")
                    self._last_s = now_s

    def end(self, progress: Progress) -> None:
        """Nothing is said of it any more."""
        self._paces = [pace for pace in self._paces if pace.progress is not progress]


def look_of(environ: Mapping[str, str], encoding: str | None) -> Look:
    """What a terminal can show, by its environment."""
    has_blocks = (encoding or "").lower().replace("-", "") == "utf8"
    return Look(has_blocks, not environ.get("NO_COLOR"))


def is_dumb(environ: Mapping[str, str]) -> bool:
    """True for a terminal that draws no line again."""
    return environ.get("TERM", "dumb") in ("dumb", "unknown", "")


CLOCK: Clock = time.monotonic
