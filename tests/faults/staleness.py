"""How long pages that were in touch did not know what had been written."""

import math
from bisect import bisect_left

from tests.faults.pages import PageLog
from tests.faults.runs import Run


def staleness_of(page: PageLog, run: Run) -> list[tuple[float, float]]:
    """When each revision was made, and how long the page, in touch, didn't know it.

    What a host wrote in a transaction of its own was made with its commit.
    """
    commits: dict[int | None, float] = {}
    by_title = run.history.by_title
    for row in run.books.rows_of(page.user):
        for write in by_title.get(row.title, [])[:1]:
            commits[row.created_revision] = write.committed or math.inf
    found: list[tuple[float, float]] = []
    for epoch in {frame.epoch for frame in page.applied}:
        frames = [frame for frame in page.applied if frame.epoch == epoch]
        told = [frame.revision for frame in frames]
        moments = run.books.moments.get(page.user, {})
        for (of, revision), moment in moments.items():
            # Those after the last are the business of `screens`.
            if of == epoch and told[0] < revision <= told[-1]:
                made = min(moment.at, commits.get(revision, math.inf))
                at = frames[bisect_left(told, revision)].at
                apart = page.seconds_out_of_touch(made, at)
                found.append((made, max(0.0, at - made - apart)))
    return found


def worst_staleness(run: Run) -> tuple[float, float]:
    """The worst while the broker lived, and while it was in trouble (seconds)."""
    alive = dead = 0.0
    for page in run.pages:
        for at, delay in staleness_of(page, run):
            if any(begin <= at <= end for begin, end in run.troubles):
                dead = max(dead, delay)
            else:
                alive = max(alive, delay)
    return alive, dead
