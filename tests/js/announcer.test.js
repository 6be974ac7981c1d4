import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { NewsAnnouncer } from "../../static/themis/announcer.js";
import { Store } from "../../static/themis/store.js";
import { changes, FakeClock, item, snapshot } from "./harness.js";

function newPage() {
  const clock = new FakeClock();
  const store = new Store({ clock });
  const spoken = [];
  const lifetime = new AbortController();
  new NewsAnnouncer(store, (count) => spoken.push([count, store.unread]), { clock, signal: lifetime.signal });
  store.apply(snapshot(5, { unread: 1, items: [item(5)] }));
  const arrive = (id, unread) => store.apply(changes(store.revision, id, { unread, items: [item(id)] }));
  return { clock, store, spoken, lifetime, arrive };
}

describe("the announcer", () => {
  it("says nothing about what was there when the page was loaded", async () => {
    const { clock, spoken } = newPage();
    await clock.advance(60_000);
    assert.deepEqual(spoken, []);
  });

  it("says once what arrives together", async () => {
    const { clock, spoken, arrive } = newPage();
    for (let i = 0; i < 20; i++) {
      arrive(6 + i, 2 + i);
      await clock.advance(100);
    }
    await clock.advance(60_000);
    assert.deepEqual(spoken, [[20, 21]]);
  });

  it("speaks at most every 10 s", async () => {
    const { clock, spoken, arrive } = newPage();
    arrive(6, 2);
    await clock.advance(3_000);
    arrive(7, 3);
    await clock.advance(9_999);
    assert.deepEqual(spoken, [[1, 2]]);
    await clock.advance(1);
    assert.deepEqual(spoken, [[1, 2], [1, 3]]);
  });

  it("leaves out what was read before its turn came", async () => {
    const { clock, store, spoken, arrive } = newPage();
    arrive(6, 2);
    arrive(7, 3);
    const read = item(7, { revision: 8, created_revision: 7, read_at: "2026-11-22T10:00:00Z" });
    store.apply(changes(7, 8, { unread: 2, items: [read] }));
    await clock.advance(3_000);
    assert.deepEqual(spoken, [[1, 2]]);
    arrive(9, 0);
    await clock.advance(60_000);
    assert.deepEqual(spoken, [[1, 2]]);
  });

  it("is silent once its bell is gone", async () => {
    const { clock, spoken, lifetime, arrive } = newPage();
    arrive(6, 2);
    lifetime.abort();
    arrive(7, 3);
    await clock.advance(60_000);
    assert.deepEqual(spoken, []);
  });
});
