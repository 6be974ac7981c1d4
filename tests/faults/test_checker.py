"""The checker objects to each thing that can be wrong, and to nothing else."""

import json
from pathlib import Path

import pytest

from tests.faults.checker import examine
from tests.faults.history import History, Journal, Write
from tests.faults.ledger import Books, Box, Moment, Row
from tests.faults.pages import Applied, PageLog, Screen, Shown
from tests.faults.runs import BrokenPromiseError, Objection, Run
from tests.faults.staleness import worst_staleness

EPOCH = "an epoch"


def row(
    pk: int,
    title: str = "",
    *,
    user: str = "ada",
    is_read: bool = False,
    is_listed: bool = True,
    pending: bool = False,
) -> Row:
    title = title or f"title {pk}"
    return Row(str(pk), user, title, is_read, is_listed, pk, pk, pending)


def frame(
    since: int | None,
    revision: int,
    *pks: int,
    rung: tuple[int, ...] | None = None,
    kind: str = "changes",
    unread: int | None = None,
    at: float | None = None,
    epoch: str = EPOCH,
    held: str | None = EPOCH,
) -> Applied:
    """What a sound page makes of sound frames, unless told otherwise."""
    rung = (pks if since is not None else ()) if rung is None else rung
    return Applied(
        float(revision) if at is None else at,
        kind,
        (None, 0) if since is None else (held, since),
        epoch,
        revision,
        revision if unread is None else unread,
        {str(pk): f"title {pk}" for pk in pks},
        tuple(str(pk) for pk in rung),
    )


def sound() -> Run:
    """Ada's page saw three notifications come; each was made in a revision."""
    rows = [row(1), row(2), row(3)]
    books = Books(
        {"ada": Box(EPOCH, 3, 3)},
        rows,
        {"ada": {(EPOCH, pk): Moment(float(pk), pk) for pk in (1, 2, 3)}},
    )
    shown = tuple(Shown(str(pk), f"title {pk}", False, pk, pk) for pk in (3, 2, 1))
    page = PageLog(
        "ada #0",
        "ada",
        "",
        [
            frame(None, 0, kind="snapshot"),
            frame(0, 1, 1),
            frame(1, 2, 2),
            frame(2, 3, 3),
        ],
        [(0.0, "open")],
        Screen(EPOCH, 3, 3, shown, "open"),
    )
    writes = [
        Write("plain", f"title {pk}", ("ada",), pk, pk, pk, "acknowledged")
        for pk in (1, 2, 3)
    ]
    return Run(books, [page], History(writes), staleness=1.0)


def kinds(run: Run) -> set[str]:
    return {objection.kind for objection in examine(run)}


def screen_of(run: Run, **changes: object) -> None:
    screen = run.pages[0].screen
    assert screen is not None
    run.pages[0].screen = screen._replace(**changes)  # type: ignore[arg-type]


def test_a_sound_run_is_not_objected_to() -> None:
    assert examine(sound()) == []


class TestScreens:
    def test_something_is_missing(self) -> None:
        run = sound()
        assert run.pages[0].screen is not None
        screen_of(run, items=run.pages[0].screen.items[1:])
        assert kinds(run) == {"screen"}

    def test_there_is_a_ghost(self) -> None:
        run = sound()
        run.books.rows[0] = row(1, is_listed=False)
        assert "screen" in kinds(run)

    def test_in_another_order(self) -> None:
        run = sound()
        assert run.pages[0].screen is not None
        screen_of(run, items=run.pages[0].screen.items[::-1])
        assert kinds(run) == {"screen"}

    def test_read_elsewhere(self) -> None:
        run = sound()
        run.books.rows[0] = row(1, is_read=True)
        assert kinds(run) == {"screen", "unread"}

    def test_another_count(self) -> None:
        run = sound()
        screen_of(run, unread=4)
        assert kinds(run) == {"unread"}

    def test_a_mailbox_that_miscounts(self) -> None:
        run = sound()
        run.books.boxes["ada"] = Box(EPOCH, 3, 2)
        assert kinds(run) == {"unread"}

    @pytest.mark.parametrize("box", [Box(EPOCH, 4, 3), Box("another", 3, 3)])
    def test_behind(self, box: Box) -> None:
        run = sound()
        run.books.boxes["ada"] = box
        assert kinds(run) == {"behind"}

    def test_never_told(self) -> None:
        run = sound()
        run.pages[0].screen = None
        assert kinds(run) == {"screen"}

    def test_a_closed_page_shows_nothing(self) -> None:
        run = sound()
        run.pages[0].screen, run.pages[0].is_closed = None, True
        assert examine(run) == []

    def test_something_waits_for_ever(self) -> None:
        run = sound()
        run.books.rows[2] = row(3, pending=True)
        assert kinds(run) == {"pending"}


class TestOrder:
    def test_what_rings_twice(self) -> None:
        run = sound()
        run.pages[0].applied[3] = frame(2, 3, 3, 2)
        assert "twice" in kinds(run)

    def test_an_id_given_out_again_is_another_notification(self) -> None:
        run = sound()
        old = frame(0, 1, 1)._replace(titles={"1": "before the restore"})
        run.pages[0].applied.insert(1, old)
        assert "twice" not in kinds(run)

    def test_two_rows_of_one_call(self) -> None:
        run = sound()
        run.books.rows.append(row(4, "title 1", is_listed=False))
        assert kinds(run) == {"twice"}

    def test_a_revision_that_does_not_rise(self) -> None:
        run = sound()
        run.pages[0].applied.append(frame(3, 3))
        assert kinds(run) == {"order"}

    def test_back_in_a_dead_epoch(self) -> None:
        run = sound()
        run.pages[0].applied += [
            frame(3, 3, kind="snapshot", epoch="another"),
            frame(3, 3, kind="snapshot", held="another"),
        ]
        assert kinds(run) == {"order"}

    def test_rung_in_another_order(self) -> None:
        run = sound()
        run.pages[0].applied[1:3] = [frame(0, 2, 1, 2, rung=(2, 1))]
        assert kinds(run) == {"order"}

    def test_what_never_rang(self) -> None:
        run = sound()
        run.pages[0].applied[2] = frame(1, 2, 2, rung=())
        assert kinds(run) == {"silent"}

    def test_a_frame_without_what_is_new(self) -> None:
        run = sound()
        run.pages[0].applied[2] = frame(1, 2)
        assert kinds(run) == {"silent"}

    def test_a_snapshot_may_have_no_room(self) -> None:
        run = sound()
        run.pages[0].applied[1:3] = [frame(0, 2, 2, kind="snapshot")]
        assert examine(run) == []

    def test_a_new_epoch_rings_nothing(self) -> None:
        run = sound()
        first = frame(7, 2, 1, 2, rung=(), kind="snapshot", held="before")
        run.pages[0].applied[:3] = [first]
        assert examine(run) == []


class TestCounts:
    def test_another_than_that_of_the_revision(self) -> None:
        run = sound()
        run.pages[0].applied[2] = frame(1, 2, 2, unread=1)
        assert kinds(run) == {"count"}


class TestStrangers:
    def test_what_is_somebody_elses(self) -> None:
        run = sound()
        run.books.rows.append(row(4, user="grace"))
        run.books.boxes["grace"] = Box(EPOCH, 1, 1)
        run.pages[0].applied[2] = frame(1, 2, 2, 4, rung=(2,))
        assert kinds(run) == {"stranger"}

    def test_what_was_somebody_elses_and_is_gone(self) -> None:
        run = sound()
        write = Write("plain", "title 4", ("grace",), 1, 1, 1, "acknowledged")
        gone = Write("delete", "title 4", ("grace",), 1, 1, 1, "acknowledged")
        run.history.writes += [write, gone]
        run.pages[0].applied[2] = frame(1, 2, 2, 4, rung=(2,))
        assert kinds(run) == {"stranger"}


class TestWrites:
    def add(self, verb: str, outcome: str, **more: object) -> Run:
        run = sound()
        write = Write(verb, "title 4", ("ada",), 1.0, outcome=outcome, **more)  # type: ignore[arg-type]
        run.history.writes.append(write)
        return run

    def add_row(self, run: Run) -> Run:
        run.books.rows.append(row(4, is_listed=False))
        return run

    def test_acknowledged_and_gone(self) -> None:
        assert kinds(self.add("plain", "acknowledged", committed=1.0)) == {"lost"}

    def test_committed_and_then_killed(self) -> None:
        assert kinds(self.add("atomic", "unknown", committed=1.0)) == {"lost"}

    def test_nobody_knows(self) -> None:
        assert examine(self.add("plain", "unknown")) == []
        assert examine(self.add_row(self.add("plain", "unknown"))) == []

    def test_failed_and_there(self) -> None:
        run = self.add_row(self.add("atomic", "failed", error="ValueError: no"))
        assert kinds(run) == {"failed", "phantom"}

    def test_deleted_and_there(self) -> None:
        run = self.add_row(self.add("plain", "acknowledged", committed=1.0))
        assert examine(run) == []
        delete = Write("withdraw", "title 4", ("ada",), 2.0, outcome="acknowledged")
        run.history.writes.append(delete)
        assert kinds(run) == {"phantom"}

    def test_rolled_back_and_there(self) -> None:
        run = self.add_row(self.add("rollback", "acknowledged"))
        assert kinds(run) == {"phantom"}

    def test_rolled_back_and_seen(self) -> None:
        run = self.add("savepoint rollback", "acknowledged")
        run.pages[0].applied[2] = frame(1, 2, 2, 4, rung=(2,))
        assert kinds(run) == {"phantom"}

    def test_an_error_that_the_fault_explains(self) -> None:
        run = self.add("plain", "failed", error="OperationalError: connection refused")
        assert kinds(run) == {"failed"}
        run.excused = ("connection refused",)
        assert examine(run) == []


class TestStaleness:
    def test_known_late(self) -> None:
        run = sound()
        run.pages[0].applied[3] = frame(2, 3, 3, at=4.5)
        assert kinds(run) == {"stale"}
        assert worst_staleness(run) == (1.5, 0.0)

    def test_the_next_revision_tells_of_it_too(self) -> None:
        run = sound()
        run.pages[0].applied[1:] = [frame(0, 3, 1, 2, 3, at=3.5)]
        assert worst_staleness(run) == (2.5, 0.0)

    def test_committed_long_before_it_was_stamped(self) -> None:
        run = sound()
        run.history.writes[2].committed = 1.0
        assert kinds(run) == {"stale"}
        assert worst_staleness(run) == (2.0, 0.0)

    def test_out_of_touch(self) -> None:
        run = sound()
        run.pages[0].applied[3] = frame(2, 3, 3, at=4.5)
        run.pages[0].states += [(2.5, "backoff"), (4.0, "connecting"), (4.25, "open")]
        assert examine(run) == []
        assert worst_staleness(run) == (0.25, 0.0)

    def test_with_the_broker_in_trouble(self) -> None:
        run = sound()
        run.pages[0].applied[3] = frame(2, 3, 3, at=3.5)
        run.troubles.append((2.5, 4.0))
        assert worst_staleness(run) == (0.0, 0.5)


class TestJournal:
    def test_what_was_begun_and_not_ended_is_unknown(self, tmp_path: Path) -> None:
        path = tmp_path / "journal"
        journal = Journal(path)
        done = journal.attempt("plain", "done", ["ada"])
        journal.acknowledge(done)
        failed = journal.attempt("plain", "failed", ["ada"])
        journal.fail(failed, ValueError("no"))
        cut = journal.attempt("atomic", "cut off", ["ada", "grace"])
        journal.commit(cut)
        journal.attempt("plain", "begun", ["ada"])
        writes = History.read([path]).writes
        assert [(w.title, w.outcome) for w in writes] == [
            ("done", "acknowledged"),
            ("failed", "failed"),
            ("cut off", "unknown"),
            ("begun", "unknown"),
        ]
        assert [w.committed is not None for w in writes] == [True, False, True, False]
        assert writes[1].error == "ValueError: no"

    def test_each_line_is_in_the_file_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "journal"
        journal = Journal(path)
        journal.attempt("plain", "title", ["ada"])
        assert json.loads(path.read_text())["event"] == "attempted"


def test_the_message_names_page_and_seed() -> None:
    objection = Objection("behind", "ada #0", "is at 2")
    error = BrokenPromiseError([objection], "Again: THEMIS_SEED=7 pytest x")
    assert "behind: ada #0: is at 2" in str(error)
    assert "THEMIS_SEED=7" in str(error)
    assert error.kinds == {"behind"}
