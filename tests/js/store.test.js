import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { newestFirst } from "../../static/themis/protocol.js";
import { Store } from "../../static/themis/store.js";
import { changes, FakeClock, item, snapshot } from "./harness.js";

const ids = (store) => store.items.map((held) => held.id);

function newStore(options = {}) {
  const clock = new FakeClock();
  const store = new Store({ clock, ...options });
  const news = [];
  store.addEventListener("new", (event) => news.push(event.items.map((fresh) => fresh.id)));
  return { store, clock, news };
}

describe("a store", () => {
  it("shows the count the page was rendered with until it hears more", () => {
    const { store } = newStore({ unread: 7 });
    assert.equal(store.unread, 7);
    assert.equal(store.isLoaded, false);
  });

  it("takes the first snapshot and calls nothing new", () => {
    const { store, news } = newStore();
    assert.equal(store.apply(snapshot(5, { unread: 2, items: [item(5), item(4)] })), "applied");
    assert.deepEqual([store.epoch, store.revision, store.unread], ["e1", 5, 2]);
    assert.deepEqual(ids(store), ["5", "4"]);
    assert.deepEqual(news, []);
  });

  it("replaces all it held by a snapshot", () => {
    const { store } = newStore();
    store.apply(snapshot(5, { items: [item(5), item(4)] }));
    store.apply(snapshot(9, { items: [item(9)] }));
    assert.deepEqual(ids(store), ["9"]);
  });

  it("ignores a snapshot that was overtaken, but takes one of another epoch", () => {
    const { store } = newStore();
    store.apply(snapshot(5, { items: [item(5)] }));
    assert.equal(store.apply(snapshot(4)), "ignored");
    assert.equal(store.apply(snapshot(3, { epoch: "e2" })), "applied");
    assert.deepEqual([store.epoch, store.revision, store.items], ["e2", 3, []]);
  });

  it("applies changes from its own revision or an older one", () => {
    for (const since of [5, 3]) {
      const { store } = newStore();
      store.apply(snapshot(5));
      assert.equal(store.apply(changes(since, 6, { unread: 1, items: [item(6)] })), "applied");
      assert.deepEqual([store.revision, store.unread], [6, 1]);
    }
  });

  it("ignores changes that it has already", () => {
    const { store } = newStore();
    store.apply(snapshot(5, { unread: 3 }));
    assert.equal(store.apply(changes(3, 5, { unread: 9, items: [item(5)] })), "ignored");
    assert.deepEqual([store.unread, store.items], [3, []]);
  });

  it("reports a gap for changes from the future, another epoch, or before any snapshot", () => {
    const { store } = newStore();
    assert.equal(store.apply(changes(0, 1)), "gap");
    store.apply(snapshot(5));
    assert.equal(store.apply(changes(6, 7)), "gap");
    assert.equal(store.apply(changes(5, 6, { epoch: "e2" })), "gap");
    assert.deepEqual([store.epoch, store.revision], ["e1", 5]);
  });

  it("rings for what was stamped after its revision and is not held", () => {
    const { store, news } = newStore();
    store.apply(snapshot(5, { items: [item(5)] }));
    store.apply(
      changes(5, 8, {
        items: [
          item(5, { revision: 8, created_revision: 5, read_at: "2026-11-22T10:00:00Z" }),
          item(2, { revision: 8, created_revision: 2 }),
          item(7),
          item(8),
        ],
      }),
    );
    assert.deepEqual(news, [["8", "7"]]);
  });

  it("rings for what a snapshot brings after an outage, but not after a change of epoch", () => {
    const { store, news } = newStore();
    store.apply(snapshot(5, { items: [item(5)] }));
    store.apply(snapshot(200, { items: [item(200), item(5)] }));
    store.apply(snapshot(300, { epoch: "e2", items: [item(300)] }));
    assert.deepEqual(news, [["200"]]);
  });

  it("keeps its window full when something is removed", () => {
    const { store } = newStore({ window: 3 });
    store.apply(snapshot(4, { items: [item(4), item(3), item(2)] }));
    store.apply(changes(4, 5, { removed: ["3"], items: [item(1)] }));
    assert.deepEqual(ids(store), ["4", "2", "1"]);
  });

  it("orders by created revision, then by id as a number", () => {
    const { store } = newStore();
    const same = { created_revision: 4, revision: 4 };
    store.apply(
      snapshot(9, {
        items: [item("9", same), item("10", same), item("99999999999999999999".slice(1), same), item("1", { revision: 9 })],
      }),
    );
    assert.deepEqual(ids(store), ["1", "9999999999999999999", "10", "9"]);
  });

  it("hides what has expired by the server's clock, and says so", async () => {
    const { store, clock } = newStore();
    const lead = 3_600_000;
    const now = new Date(clock.now() + lead).toISOString();
    const expires_at = new Date(clock.now() + lead + 5_000).toISOString();
    store.apply(snapshot(2, { now, unread: 2, items: [item(2, { expires_at }), item(1)] }));
    let told = 0;
    store.addEventListener("change", () => told++);
    await clock.advance(4_999);
    assert.deepEqual([ids(store), told], [["2", "1"], 0]);
    await clock.advance(1);
    assert.deepEqual([ids(store), told], [["1"], 1]);
    assert.equal(store.unread, 2, "the count is the server's");
    assert.equal(clock.pending, 0);
  });

  it("waits for an expiry beyond the range of a timer", async () => {
    const { store, clock } = newStore();
    const day = 86_400_000;
    const now = new Date(clock.now()).toISOString();
    const expires_at = new Date(clock.now() + 40 * day).toISOString();
    store.apply(snapshot(1, { now, items: [item(1, { expires_at })] }));
    await clock.advance(40 * day - 1);
    assert.deepEqual(ids(store), ["1"]);
    await clock.advance(1);
    assert.deepEqual(ids(store), []);
  });

  it("forgets everything on request", () => {
    const { store, clock } = newStore();
    store.apply(snapshot(5, { unread: 3, items: [item(5)] }));
    store.clear();
    assert.deepEqual([store.isLoaded, store.unread, store.items, clock.pending], [false, 0, [], 0]);
  });
});

/** mulberry32: small, seeded, good enough to shuffle with. */
function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const WINDOW = 3;

/** A mailbox as the design describes it, with every revision's snapshot remembered. */
class ModelMailbox {
  epoch = "e1";
  revision = 0;
  rows = new Map();
  tombstones = new Map();
  history = new Map();
  #lastId = 0;

  constructor(random) {
    this.random = random;
    this.#remember();
  }

  get #alive() {
    return [...this.rows.values()].filter((row) => !row.gone).sort(newestFirst);
  }

  #state(type, extra) {
    const unread = this.#alive.filter((row) => row.read_at === null).length;
    return { ...snapshot(this.revision, { epoch: this.epoch, unread }), type, ...extra };
  }

  #wire(row) {
    const { gone: _, ...fields } = row;
    return { ...fields };
  }

  snapshot() {
    return this.#state("snapshot", { items: this.#alive.slice(0, WINDOW).map((row) => this.#wire(row)) });
  }

  changesSince(since) {
    const removed = [
      ...[...this.rows.values()].filter((row) => row.gone && row.revision > since).map((row) => row.id),
      ...[...this.tombstones].filter(([, revision]) => revision > since).map(([id]) => id),
    ];
    const changed = this.#alive.filter((row) => row.revision > since);
    const refill = removed.length ? this.#alive.slice(0, WINDOW).slice(-Math.min(removed.length, WINDOW)) : [];
    const items = [...new Set([...changed, ...refill])].map((row) => this.#wire(row));
    return this.#state("changes", { since, removed, items: this.random() < 0.5 ? items : items.reverse() });
  }

  #remember() {
    this.history.set(`${this.epoch}:${this.revision}`, this.snapshot());
  }

  /** One operation on one or more rows, stamped with one revision. */
  act() {
    if (this.random() < 0.02) this.#rewind();
    this.revision += 1;
    const rows = [...this.rows.values()];
    const pick = () => rows[Math.floor(this.random() * rows.length)];
    const dice = this.random();
    const some = 1 + Math.floor(this.random() * 3);
    for (let i = 0; i < some; i++) {
      const row = pick();
      if (dice < 0.4 || row === undefined) {
        const id = String(++this.#lastId);
        this.rows.set(id, { ...item(id, { revision: this.revision }), gone: false });
      } else if (dice < 0.55) {
        Object.assign(row, { read_at: row.read_at ? null : "2026-11-22T10:00:00Z", revision: this.revision });
      } else if (dice < 0.7) {
        Object.assign(row, { gone: !row.gone, revision: this.revision });
      } else if (dice < 0.85 && this.rows.has(row.id)) {
        this.rows.delete(row.id);
        this.tombstones.set(row.id, this.revision);
      } else if (this.rows.has(row.id)) {
        Object.assign(row, { title: `Edited at ${this.revision}`, revision: this.revision });
      }
    }
    this.#remember();
  }

  /** A restored backup: the same rows under another epoch. */
  #rewind() {
    this.epoch = `e${this.history.size + 1}`;
    this.tombstones.clear();
    this.#remember();
  }
}

describe("a store that somebody reads on in", () => {
  const page = (from, to) => Array.from({ length: from - to + 1 }, (_, place) => item(from - place));

  function wide() {
    const made = newStore();
    made.store.apply(snapshot(60, { items: page(60, 41) }));
    assert.equal(made.store.hasOlder, true);
    made.store.widen();
    return made;
  }

  it("takes in what is older, and keeps what it held", () => {
    const { store } = wide();
    const newer = item(61);
    const added = store.extend([newer, ...page(60, 21).map((one) => ({ ...one, title: "other" }))], true);
    assert.equal(added, 20);
    assert.deepEqual(ids(store), page(60, 21).map(({ id }) => id));
    assert.equal(store.items[0].title, "Title 60");
    assert.equal(store.hasOlder, true);
    store.extend(page(20, 18), false);
    assert.equal(store.items.length, 43);
    assert.equal(store.hasOlder, false);
  });

  it("lets nothing go at the end while more arrive", () => {
    const { store } = wide();
    store.apply(changes(60, 63, { items: page(63, 61) }));
    assert.equal(store.items.length, 23);
  });

  it("has no holes: what is older than all it holds is left to the next page", () => {
    const { store } = wide();
    store.extend(page(60, 31), true);
    const read = item(35, { created_revision: 35, revision: 64, read_at: "2026-11-22T10:00:00Z" });
    store.apply(changes(60, 64, { items: [item(5, { created_revision: 5, revision: 64 }), read] }));
    assert.deepEqual(ids(store), page(60, 31).map(({ id }) => id));
    assert.notEqual(store.items.find(({ id }) => id === "35").read_at, null);
  });

  it("keeps the later of two states of a notification", () => {
    const { store } = wide();
    const read = item(30, { created_revision: 30, revision: 63, read_at: "2026-11-22T10:00:00Z" });
    store.extend([...page(60, 31), read], true);
    store.apply(changes(60, 62, { items: [item(30, { created_revision: 30, revision: 62 })] }));
    assert.notEqual(store.items.find(({ id }) => id === "30").read_at, null);
  });

  it("knows that there are older ones when the newest have pushed them out", () => {
    const { store } = newStore();
    store.apply(snapshot(3, { items: page(3, 1) }));
    assert.equal(store.hasOlder, false);
    store.apply(changes(3, 20, { items: page(20, 4) }));
    assert.equal(store.hasOlder, false);
    store.apply(changes(20, 21, { items: page(21, 21) }));
    assert.equal(store.hasOlder, true);
  });

  it("returns to the newest", () => {
    const { store } = wide();
    store.extend(page(60, 18), false);
    store.narrow();
    assert.deepEqual(ids(store), page(60, 41).map(({ id }) => id));
    assert.equal(store.hasOlder, true);
    store.apply(changes(60, 61, { items: [item(61)] }));
    assert.equal(store.items.length, 20);
  });

  it("holds 200 at most", () => {
    const { store } = wide();
    const items = Array.from({ length: 300 }, (_, place) => item(1000 - place));
    store.apply(snapshot(1000, { items: items.slice(0, 20) }));
    store.extend(items, true);
    assert.equal(store.items.length, 200);
    assert.equal(store.hasOlder, false);
  });

  it("is replaced by a snapshot, pages and all", () => {
    const { store } = wide();
    store.extend(page(60, 21), true);
    store.apply(snapshot(70, { items: page(70, 51) }));
    assert.deepEqual(ids(store), page(70, 51).map(({ id }) => id));
  });
});

describe("a store told to another", () => {
  it("makes it its equal, and rings there for what is new to it", () => {
    const { store, clock } = newStore();
    assert.equal(store.toSnapshot(), null);
    store.apply(snapshot(5, { unread: 1, items: [item(5), item(4)], desktop: true, poll_interval: 30 }));
    store.apply(changes(5, 6, { unread: 2, items: [item(6)], desktop: true, poll_interval: 30 }));
    const other = new Store({ clock });
    const news = [];
    other.addEventListener("new", (event) => news.push(...event.items.map(({ id }) => id)));
    other.apply(snapshot(5, { items: [item(5), item(4)] }));
    assert.equal(other.apply(store.toSnapshot()), "applied");
    assert.deepEqual(other.toSnapshot(), store.toSnapshot());
    assert.deepEqual(news, ["6"]);
    assert.equal(other.desktop, true);
  });
});

describe("any mix of frames", () => {
  it("leaves a store equal to the snapshot of the revision it claims", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = seeded(seed);
      const mailbox = new ModelMailbox(random);
      const { store, news } = newStore({ window: WINDOW });
      const wire = [];
      let applied = 0;
      for (let step = 0; step < 60; step++) {
        const before = mailbox.revision;
        const epoch = mailbox.epoch;
        mailbox.act();
        // Pushes are of one step or of several, and some are lost.
        const since = mailbox.epoch === epoch && random() < 0.8 ? before : Math.max(0, before - 2);
        if (random() < 0.8) wire.push(mailbox.changesSince(since));
        if (random() < 0.05) wire.push(mailbox.snapshot());
        while (wire.length > 0 && random() < 0.7) {
          const at = random() < 0.7 ? 0 : Math.floor(random() * wire.length);
          const frame = random() < 0.1 ? wire[at] : wire.splice(at, 1)[0];
          let verdict = store.apply(structuredClone(frame));
          if (verdict === "gap") {
            const known = store.epoch === mailbox.epoch;
            verdict = store.apply(known ? mailbox.changesSince(store.revision) : mailbox.snapshot());
            assert.notEqual(verdict, "gap", `seed ${seed}: an answer must fit`);
          }
          if (verdict === "applied") applied++;
          if (!store.isLoaded) continue;
          const truth = mailbox.history.get(`${store.epoch}:${store.revision}`);
          assert.deepEqual(store.items, truth.items, `seed ${seed}, step ${step}`);
          assert.equal(store.unread, truth.unread, `seed ${seed}, step ${step}`);
        }
      }
      assert.ok(applied > 5, `seed ${seed} applied too little to prove anything`);
      const rung = news.flat();
      assert.equal(new Set(rung).size, rung.length, `seed ${seed}: an id rang twice`);
    }
  });
});
