"""The verdict over a run: what was written, what the database has, what pages showed.

Every rule is one function that yields its objections, so that each can be seen to
object (test_checker.py).
"""

from collections import Counter
from collections.abc import Iterator
from operator import itemgetter

from tests.faults.history import ABSENT, PRESENT, TAKEN_BACK, Write
from tests.faults.runs import Objection, Run
from tests.faults.staleness import staleness_of


def examine(run: Run) -> list[Objection]:
    """All objections there are."""
    rules = (
        screens,
        repetitions,
        revisions,
        rings,
        counts,
        strangers,
        acknowledged,
        taken_back,
        failures,
        delays,
    )
    return [objection for rule in rules for objection in rule(run)]


def screens(run: Run) -> Iterator[Objection]:
    """What a page shows in the end is what the database has."""
    if run.books.pending:
        yield Objection(
            "pending", "database", f"{run.books.pending} rows wait for ever"
        )
    for page in run.pages:
        if page.is_closed:
            continue
        screen = page.screen
        if screen is None or screen.epoch is None:
            yield Objection("screen", page.name, "was never told its state")
            continue
        box = run.books.boxes[page.user]
        if (screen.epoch, screen.revision) != (box.epoch, box.revision):
            yield Objection(
                "behind",
                page.name,
                f"is at {screen.revision} of {screen.epoch}, the mailbox at "
                f"{box.revision} of {box.epoch}; transport {screen.state}",
            )
            continue
        unread = run.books.unread(page.user)
        if not screen.unread == box.unread == unread:
            yield Objection(
                "unread",
                page.name,
                f"shows {screen.unread}, the mailbox says {box.unread}, there are "
                f"{unread}",
            )
        shown = [(item.id, item.title, item.is_read) for item in screen.items]
        newest = run.books.newest(page.user)
        listed = [(row.id, row.title, row.is_read) for row in newest]
        if shown != listed:
            lacks = [row.title for row in newest if row.id not in {s[0] for s in shown}]
            has = [title for pk, title, _ in shown if pk not in {r[0] for r in listed}]
            differs = f"lacks {lacks}, has {has} too"
            if not lacks and not has:
                differs = f"shows {shown} and not {listed}"
            yield Objection("screen", page.name, differs)


def repetitions(run: Run) -> Iterator[Objection]:
    """Nothing rings twice on a page, and no call makes two rows for a user."""
    for page in run.pages:
        for (_pk, title), times in Counter(page.rung).items():
            if times > 1:
                yield Objection("twice", page.name, f"{title!r} rang {times} times")
    written = run.history.by_title
    rows = Counter((row.user, row.title) for row in run.books.rows)
    for (user, title), times in rows.items():
        if times > 1 and title in written:
            yield Objection("twice", user, f"{title!r} is there {times} times")


def revisions(run: Run) -> Iterator[Objection]:
    """The revisions of a page rise, and it comes back to no epoch that it left."""
    for page in run.pages:
        left: set[str] = set()
        for frame in page.applied:
            epoch, revision = frame.since
            if frame.epoch in left:
                yield Objection("order", page.name, f"is in {frame.epoch} again")
            if frame.epoch == epoch and (
                frame.revision < revision
                or (frame.kind == "changes" and frame.revision == revision)
            ):
                yield Objection(
                    "order", page.name, f"went from {revision} to {frame.revision}"
                )
            if epoch is not None and frame.epoch != epoch:
                left.add(epoch)


def rings(run: Run) -> Iterator[Objection]:
    """
    What is new to a page that could follow rings, in the order of the revisions.

    Not what it began with, nor what a snapshot has no room for.
    """
    for page in run.pages:
        rung = {pk for pk, _title in page.rung}
        created = {
            row.id: row.created_revision
            for row in run.books.rows_of(page.user)
            if row.created_revision is not None and row.is_listed
            if row.id not in run.restored
        }
        # A restored database gives an id out a second time, for something else.
        titles = {row.id: row.title for row in run.books.rows_of(page.user)}
        told = [
            created[pk]
            for pk, title in page.rung
            if pk in created and titles[pk] == title
        ]
        if told != sorted(told):
            yield Objection("order", page.name, "rang in another order than was made")
        for frame in page.applied:
            epoch, revision = frame.since
            if frame.epoch != epoch:
                continue
            new = [
                pk
                for pk, stamped in created.items()
                if revision < stamped <= frame.revision
                and (frame.kind == "changes" or pk in frame.titles)
            ]
            for pk in set(new) - rung:
                yield Objection("silent", page.name, f"notification {pk} never rang")


def counts(run: Run) -> Iterator[Objection]:
    """The count of each frame is what the database counted for that revision."""
    for page in run.pages:
        moments = run.books.moments.get(page.user, {})
        for frame in page.applied:
            moment = moments.get((frame.epoch, frame.revision))
            if moment is not None and moment.unread != frame.unread:
                yield Objection(
                    "count",
                    page.name,
                    f"was told {frame.unread} unread at revision {frame.revision}, "
                    f"there were {moment.unread}",
                )


def strangers(run: Run) -> Iterator[Objection]:
    """No page is sent what is somebody else's."""
    owners = {row.id: row.user for row in run.books.rows}
    told = {write.title: write.users for write in run.history.writes}
    for page in run.pages:
        for pk, title in page.seen:
            owner = owners.get(pk, page.user)
            if owner != page.user or page.user not in told.get(title, (page.user,)):
                yield Objection("stranger", page.name, f"was sent {title!r} of another")


def acknowledged(run: Run) -> Iterator[Objection]:
    """What a writer was told is written is there, and what it deleted is not."""
    there = {(row.user, row.title) for row in run.books.rows}
    for title, writes in run.history.by_title.items():
        expected = _expected(writes)
        for user in writes[0].users:
            if expected is True and (user, title) not in there:
                yield Objection("lost", user, f"{title!r} was acknowledged and is gone")
            if expected is False and (user, title) in there:
                yield Objection("phantom", user, f"{title!r} is there")


def _expected(writes: list[Write]) -> bool | None:
    """Whether the title must be there (True), must not (False), or may be."""
    expected: bool | None = False
    for write in writes:
        if write.verb in PRESENT:
            if write.committed is not None:
                expected = True
            elif write.outcome == "unknown" or _is_ambiguous(write):
                expected = None
        elif write.verb in ABSENT:
            expected = False if write.outcome == "acknowledged" else None
    return expected


def _is_ambiguous(write: Write) -> bool:
    """Whether the answer to a commit may have been lost, or a part been written."""
    lost = any(word in write.error for word in ("clos", "connection", "terminat"))
    return lost or write.verb in {"users", "deduplicate"}


def taken_back(run: Run) -> Iterator[Objection]:
    """What was rolled back is seen by nobody, ever."""
    gone = {write.title for write in run.history.writes if write.verb in TAKEN_BACK}
    for row in run.books.rows:
        if row.title in gone:
            yield Objection("phantom", row.user, f"{row.title!r} was rolled back")
    for page in run.pages:
        for title in gone.intersection(title for _pk, title in page.seen):
            yield Objection("phantom", page.name, f"{title!r} was rolled back")


def failures(run: Run) -> Iterator[Objection]:
    """No writer gets an error that the fault itself doesn't excuse."""
    for write in run.history.only("failed"):
        if not any(part in write.error for part in run.excused):
            first = write.error.splitlines()[0]
            yield Objection("failed", write.title, first)


def delays(run: Run) -> Iterator[Objection]:
    """A page in touch knows of each revision in time."""
    if run.staleness is None:
        return
    for page in run.pages:
        known = staleness_of(page, run)
        made, late = max(known, key=itemgetter(1), default=(0.0, 0.0))
        if late > run.staleness:
            around = [
                (round(at - made, 2), state)
                for at, state in page.states
                if made - 5 < at < made + late + 5
            ]
            what = f"knew {late:.2f} s late what others wrote; its line: {around}"
            yield Objection("stale", page.name, what)
