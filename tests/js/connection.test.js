import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Connection } from "../../static/themis/connection.js";
import { Store } from "../../static/themis/store.js";
import { changes, fakeFetch, fakeWebSocket, FakeClock, item, settle, snapshot } from "./harness.js";

/** A connection joined to a store the way a page joins them. */
function newPage({ socketUrl = "ws://host/ws/", pollInterval = 60, withSocket = true, chance = 0.5, ...more } = {}) {
  const clock = new FakeClock();
  clock.chance = chance;
  const WebSocket = withSocket ? fakeWebSocket() : undefined;
  const fetch = fakeFetch();
  const store = new Store({ clock });
  const connection = new Connection({
    stateUrl: "/api/state",
    socketUrl,
    pollInterval,
    position: () => store.position,
    WebSocket,
    fetch,
    clock,
    ...more,
  });
  connection.addEventListener("frame", ({ frame }) => {
    if (store.apply(frame) === "gap") connection.sync(frame);
  });
  store.addEventListener("expiry", () => connection.expire());
  const states = [];
  connection.addEventListener("transport", () => states.push(connection.state));
  connection.start();
  return { clock, WebSocket, fetch, store, connection, states };
}

/** A page whose socket is open at revision 5. */
function openPage(options) {
  const page = newPage(options);
  page.WebSocket.last.say(snapshot(5));
  return page;
}

const sentTypes = (socket) => socket.sent.map((frame) => frame.type);

describe("a socket", () => {
  it("is open only after its first state frame", () => {
    const { connection, WebSocket, states, store } = newPage();
    assert.equal(WebSocket.last.url, "ws://host/ws/");
    assert.equal(connection.state, "connecting");
    WebSocket.last.say({ type: "ping", epoch: "e1", revision: 1 });
    WebSocket.last.say("nonsense");
    assert.equal(connection.state, "connecting");
    WebSocket.last.say(snapshot(5));
    assert.equal(connection.state, "open");
    assert.deepEqual(states, ["connecting", "open"]);
    assert.equal(store.revision, 5);
  });

  it("tells on its return what the page holds", async () => {
    const { WebSocket, clock } = openPage();
    WebSocket.last.drop();
    await clock.advance(1_000);
    assert.equal(WebSocket.made.length, 2);
    assert.equal(WebSocket.last.url, "ws://host/ws/?since=5&epoch=e1");
  });

  it("is given up when nothing comes within 8 s, so that it blocks no other", async () => {
    const { WebSocket, clock, connection } = newPage();
    await clock.advance(7_999);
    assert.equal(WebSocket.last.wasClosed, false);
    await clock.advance(1);
    assert.equal(WebSocket.last.wasClosed, true);
    assert.equal(connection.state, "backoff");
  });

  it("is dead after 35 s without a frame, counted from the last one", async () => {
    const { WebSocket, clock } = openPage();
    const socket = WebSocket.last;
    await clock.advance(30_000);
    socket.say({ type: "ping", epoch: "e1", revision: 5 });
    await clock.advance(34_999);
    assert.equal(socket.wasClosed, false);
    await clock.advance(1);
    assert.equal(socket.wasClosed, true);
  });

  it("acknowledges pings and every 32nd frame", () => {
    const { WebSocket } = openPage();
    const socket = WebSocket.last;
    socket.say({ type: "ping", epoch: "e1", revision: 5 });
    assert.deepEqual(socket.sent, [{ type: "ack", revision: 5 }]);
    for (let revision = 6; revision < 6 + 30; revision++) socket.say(changes(revision - 1, revision));
    assert.equal(socket.sent.length, 1);
    socket.say(changes(35, 36));
    assert.deepEqual(socket.sent[1], { type: "ack", revision: 36 });
  });

  it("asks for the difference when a ping tells of a later revision or another epoch", async () => {
    for (const beat of [{ epoch: "e1", revision: 7 }, { epoch: "e2", revision: 1 }]) {
      const { WebSocket } = openPage();
      WebSocket.last.say({ type: "ping", ...beat });
      assert.deepEqual(WebSocket.last.sent, [
        { type: "ack", revision: 5 },
        { type: "sync", since: 5, epoch: "e1" },
      ]);
    }
  });

  it("stays open whatever a newer server says, and learns by the next ping what it missed", () => {
    const { WebSocket, connection, store } = openPage();
    const socket = WebSocket.last;
    socket.say({ ...changes(5, 6), v: 2 });
    socket.say({ type: "gossip", v: 1, revision: 7 });
    assert.deepEqual([store.revision, connection.state], [5, "open"]);
    socket.say({ type: "ping", epoch: "e1", revision: 6, later: 1 });
    assert.deepEqual(socket.sent.at(-1), { type: "sync", since: 5, epoch: "e1" });
    socket.say({ ...changes(5, 6), later: { field: 1 } });
    assert.deepEqual([store.revision, connection.state], [6, "open"]);
    assert.equal(WebSocket.made.length, 1);
  });

  it("is probed on waking, and replaced when no pong comes in 5 s", async () => {
    const { WebSocket, clock, connection } = openPage();
    connection.wake();
    connection.wake();
    assert.deepEqual(WebSocket.last.sent, [{ type: "ping" }]);
    await clock.advance(4_000);
    WebSocket.last.say({ type: "pong", epoch: "e1", revision: 5 });
    await clock.advance(5_000);
    assert.equal(WebSocket.made.length, 1);
    connection.wake();
    await clock.advance(5_000);
    assert.equal(WebSocket.made[0].wasClosed, true);
  });

  it("asks for the difference when a pong tells of a later revision", () => {
    const { WebSocket, connection } = openPage();
    connection.wake();
    WebSocket.last.say({ type: "pong", epoch: "e1", revision: 6 });
    assert.deepEqual(sentTypes(WebSocket.last), ["ping", "sync"]);
  });

  it("is let go when the page is put away, and comes back with it", async () => {
    const { WebSocket, clock, connection, fetch } = openPage();
    connection.stop();
    assert.equal(WebSocket.last.wasClosed, true);
    assert.equal(connection.state, "stopped");
    await clock.advance(600_000);
    assert.deepEqual([WebSocket.made.length, fetch.requests.length, clock.pending], [1, 0, 0]);
    connection.start();
    WebSocket.last.say(changes(5, 6));
    assert.equal(connection.state, "open");
  });

  it("that was replaced is not listened to any more", async () => {
    const { WebSocket, clock, store } = openPage();
    const old = WebSocket.last;
    await clock.advance(35_000);
    old.say(changes(5, 6));
    old.drop(4401);
    assert.equal(store.revision, 5);
  });
});

describe("coming back", () => {
  it("waits longer each time, with full jitter, and never less than 250 ms", async () => {
    const { WebSocket, clock } = openPage();
    clock.chance = 0;
    WebSocket.last.drop();
    await clock.advance(249);
    assert.equal(WebSocket.made.length, 1);
    await clock.advance(1);
    assert.equal(WebSocket.made.length, 2);
    clock.chance = 0.999999;
    for (const seconds of [2, 4, 8, 16, 30, 30]) {
      WebSocket.last.drop();
      const before = WebSocket.made.length;
      await clock.advance(seconds * 1000 - 100);
      assert.equal(WebSocket.made.length, before, `${seconds} s`);
      await clock.advance(100);
      assert.equal(WebSocket.made.length, before + 1, `${seconds} s`);
    }
  });

  it("forgets failures only after a socket was open for 30 s", async () => {
    for (const [lived, expected] of [[29_999, 2_000], [30_000, 1_000]]) {
      const { WebSocket, clock } = openPage();
      clock.chance = 0.999999;
      WebSocket.last.drop();
      await clock.advance(1_000);
      WebSocket.last.say(changes(5, 6));
      await clock.advance(lived);
      WebSocket.last.drop();
      await clock.advance(expected - 1);
      assert.equal(WebSocket.made.length, 2);
      await clock.advance(1);
      assert.equal(WebSocket.made.length, 3);
    }
  });

  it("happens within a random part of retry_ms after a restart, also if no code arrives", async () => {
    for (const code of [4012, 1006]) {
      const { WebSocket, clock } = openPage();
      clock.chance = 0.5;
      WebSocket.last.say({ type: "restart", retry_ms: 20_250 });
      WebSocket.last.drop(code);
      await clock.advance(10_249);
      assert.equal(WebSocket.made.length, 1);
      await clock.advance(1);
      assert.equal(WebSocket.made.length, 2);
    }
  });

  it("shows nothing of a restart, nor polls, while both of two servers send it away", async () => {
    const { WebSocket, clock, fetch, connection } = openPage();
    clock.chance = 0.999999;
    WebSocket.last.say({ type: "restart", retry_ms: 4_000 });
    WebSocket.last.drop(4012);
    await clock.advance(4_000);
    assert.equal(WebSocket.made.length, 2);
    WebSocket.last.say({ type: "restart", retry_ms: 5_000 });
    WebSocket.last.drop(4012);
    await clock.advance(4_999);
    assert.equal(WebSocket.made.length, 2);
    await clock.advance(1);
    assert.equal(WebSocket.made.length, 3);
    assert.equal(connection.isStale, false);
    assert.equal(fetch.requests.length, 0);
    WebSocket.last.say(changes(5, 6));
    await clock.advance(10_000);
    assert.deepEqual([connection.state, connection.isStale, fetch.requests.length], ["open", false, 0]);
  });

  it("spreads a crowd over 5 s when a restart came without a word", async () => {
    const { WebSocket, clock } = openPage();
    clock.chance = 0.999999;
    WebSocket.last.drop(4012);
    await clock.advance(4_999);
    assert.equal(WebSocket.made.length, 1);
    await clock.advance(1);
    assert.equal(WebSocket.made.length, 2);
  });

  it("is tried at once on waking, but not twice in a second", async () => {
    const { WebSocket, clock, connection } = openPage();
    clock.chance = 0.999999;
    await clock.advance(2_000);
    WebSocket.last.drop();
    connection.wake();
    assert.equal(WebSocket.made.length, 2);
    WebSocket.last.drop();
    connection.wake();
    assert.equal(WebSocket.made.length, 2);
  });

  it("becomes rare where no socket ever opened, but never stops", async () => {
    const { WebSocket, clock, fetch } = newPage();
    fetch.answers.push(...Array(400).fill([304]));
    clock.chance = 0.999999;
    for (let minute = 0; minute < 60; minute++) {
      if (WebSocket.last.readyState === 0) WebSocket.last.drop();
      await clock.advance(60_000);
    }
    const inTheFirstHour = WebSocket.made.length;
    assert.ok(inTheFirstHour >= 12 && inTheFirstHour <= 25, String(inTheFirstHour));
    if (WebSocket.last.readyState === 0) WebSocket.last.drop();
    await clock.advance(300_000);
    assert.equal(WebSocket.made.length, inTheFirstHour + 1);
  });
});

describe("close codes", () => {
  it("that never opened is remembered for the next pages, until one does", async () => {
    const memory = { isBlocked: false };
    const first = newPage({ memory });
    for (let attempt = 0; attempt < 3; attempt++) {
      assert.equal(memory.isBlocked, false);
      first.WebSocket.last.drop();
      await first.clock.advance(3_000);
    }
    assert.equal(memory.isBlocked, true);

    const next = newPage({ memory });
    assert.equal(next.connection.state, "polling");
    assert.equal(next.connection.isStale, false);
    assert.equal(next.WebSocket.made.length, 0);
    await next.clock.advance(300_000);
    assert.equal(next.WebSocket.made.length, 1);
    next.WebSocket.last.say(snapshot(5));
    assert.equal(next.connection.state, "open");
    assert.equal(memory.isBlocked, false);
  });

  it("that is remembered as forbidden is tried when the network has changed", () => {
    const { connection, WebSocket, clock } = newPage({ memory: { isBlocked: true } });
    clock.sleep(1_000);
    connection.wake();
    assert.equal(WebSocket.made.length, 1);
  });

  it("4401 ends everything", async () => {
    const { WebSocket, clock, connection, fetch } = openPage();
    WebSocket.last.drop(4401);
    assert.deepEqual([connection.state, connection.isSignedOut], ["stopped", true]);
    connection.wake();
    connection.refresh();
    connection.start();
    connection.sync({ epoch: "e1", revision: 9 });
    await clock.advance(600_000);
    assert.deepEqual([WebSocket.made.length, fetch.requests.length], [1, 0]);
  });

  for (const code of [4400, 4403, 4429]) {
    it(`${code} means polling instead`, async () => {
      const { WebSocket, clock, connection, fetch } = openPage();
      WebSocket.last.drop(code);
      assert.equal(connection.state, "polling");
      await clock.advance(10_000);
      connection.wake();
      assert.deepEqual([WebSocket.made.length, fetch.requests.length], [1, 1]);
    });
  }

  for (const code of [1000, 1001, 1006, 1011, 1013, 4408, 4999]) {
    it(`${code} means coming back`, async () => {
      const { WebSocket, clock, connection } = openPage();
      WebSocket.last.drop(code);
      assert.equal(connection.state, "backoff");
      await clock.advance(1_000);
      assert.equal(WebSocket.made.length, 2);
    });
  }
});

describe("asking for the difference", () => {
  it("happens once for many gaps, and again a second later for one seen meanwhile", async () => {
    const { WebSocket, clock, store } = openPage();
    const socket = WebSocket.last;
    socket.say(changes(7, 8));
    socket.say(changes(8, 9));
    assert.deepEqual(socket.sent, [{ type: "sync", since: 5, epoch: "e1" }]);
    socket.say(changes(5, 8));
    assert.equal(store.revision, 8);
    assert.equal(socket.sent.length, 1);
    await clock.advance(999);
    assert.equal(socket.sent.length, 1);
    await clock.advance(1);
    assert.deepEqual(socket.sent[1], { type: "sync", since: 8, epoch: "e1" });
    socket.say(changes(8, 9));
    await clock.advance(20_000);
    assert.equal(socket.sent.length, 2);
  });

  it("does not happen again when the answer brought everything", async () => {
    const { WebSocket, clock } = openPage();
    WebSocket.last.say(changes(7, 8));
    WebSocket.last.say(changes(8, 9));
    WebSocket.last.say(changes(5, 9));
    await clock.advance(20_000);
    assert.deepEqual(sentTypes(WebSocket.last), ["sync"]);
  });

  it("does not go on for ever about a frame from a dead epoch", async () => {
    const { WebSocket, clock } = openPage();
    WebSocket.last.say(changes(1, 2, { epoch: "dead" }));
    WebSocket.last.say(changes(5, 5));
    await clock.advance(30_000);
    assert.deepEqual(sentTypes(WebSocket.last), ["sync"]);
  });

  it("goes over HTTP while there is no socket, even where polling is off", async () => {
    const { clock, connection, fetch, store } = newPage({ socketUrl: "", pollInterval: 0 });
    fetch.answers.push([200, snapshot(8, { poll_interval: 0 })]);
    connection.sync({ epoch: "e1", revision: 8 });
    await clock.advance(0);
    assert.equal(fetch.requests.length, 1);
    assert.equal(store.revision, 8);
    await clock.advance(600_000);
    assert.equal(fetch.requests.length, 1);
  });
});

describe("polling", () => {
  it("starts 10 s after the socket is lost, at a random moment, and ends when it is back", async () => {
    const { WebSocket, clock, connection, fetch, store } = openPage();
    clock.chance = 0.999999;
    await clock.advance(30_000);
    WebSocket.last.drop();
    const lost = clock.now();
    while (connection.state !== "polling") {
      if (WebSocket.last.readyState === 0) WebSocket.last.drop();
      await clock.advance(500);
    }
    assert.equal(clock.now() - lost, 10_000);
    assert.equal(fetch.requests.length, 0);
    fetch.answers.push([200, changes(5, 6)]);
    await clock.advance(10_000);
    assert.equal(fetch.requests[0].url, "/api/state?since=5&epoch=e1");
    assert.equal(store.revision, 6);
    connection.wake();
    WebSocket.last.say(changes(6, 7));
    assert.equal(connection.state, "open");
    const before = fetch.requests.length;
    await clock.advance(30_000);
    assert.equal(fetch.requests.length, before);
  });

  it("starts at once where there is no socket", async () => {
    for (const options of [{ socketUrl: "" }, { withSocket: false }]) {
      const { clock, connection, fetch, store } = newPage(options);
      assert.equal(connection.state, "polling");
      fetch.answers.push([200, snapshot(5)]);
      await clock.advance(5_000);
      assert.equal(fetch.requests.length, 1);
      assert.equal(store.revision, 5);
      assert.equal(connection.isStale, false);
    }
  });

  describe("when something it holds expires", () => {
    /** A page that polls, with an item that expires in `seconds`. */
    async function pollingPage(seconds, options) {
      const page = newPage({ socketUrl: "", chance: 0, ...options });
      const { clock, fetch } = page;
      fetch.answers.push([200, expiringIn(clock, seconds)]);
      await clock.advance(0);
      assert.equal(fetch.requests.length, 1);
      return page;
    }

    function expiringIn(clock, seconds) {
      const expires_at = new Date(clock.now() + seconds * 1000).toISOString();
      const now = new Date(clock.now()).toISOString();
      return snapshot(5, { now, unread: 1, items: [item(5, { expires_at })] });
    }

    it("asks within a second, at a random moment", async () => {
      for (const [chance, wait] of [[0, 0], [0.5, 500], [0.999, 999]]) {
        const { clock, fetch, store } = await pollingPage(20);
        clock.chance = chance;
        fetch.answers.push([200, changes(5, 6, { removed: ["5"] })]);
        await clock.advance(20_000 + wait - 1);
        assert.equal(fetch.requests.length, 1);
        await clock.advance(1);
        assert.equal(fetch.requests.length, 2);
        assert.deepEqual([store.unread, store.items], [0, []]);
        // From here on as ever.
        await clock.advance(59_999);
        assert.equal(fetch.requests.length, 2);
        await clock.advance(1);
        assert.equal(fetch.requests.length, 3);
      }
    });

    it("takes longer where polls are rarer: many pages know of the same moment", async () => {
      const { clock, fetch } = await pollingPage(20, { pollInterval: 60 });
      clock.chance = 0.5;
      const at = (ms) => new Date(clock.now() + ms).toISOString();
      const items = [item(6, { expires_at: at(80_000) })];
      fetch.answers.push([200, snapshot(6, { now: at(20_500), items, poll_interval: 600 })]);
      await clock.advance(20_500);
      assert.equal(fetch.requests.length, 2);
      await clock.advance(59_500 + 4_999);
      assert.equal(fetch.requests.length, 2);
      await clock.advance(1);
      assert.equal(fetch.requests.length, 3);
    });

    it("asks once for all that expires meanwhile", async () => {
      const { clock, fetch } = newPage({ socketUrl: "", chance: 0 });
      const at = (ms) => new Date(clock.now() + ms).toISOString();
      const items = [1, 2, 3].map((id) => item(id, { expires_at: at(20_000 + 100 * id) }));
      fetch.answers.push([200, snapshot(6, { now: at(0), items })]);
      await clock.advance(0);
      clock.chance = 0.9;
      fetch.answers.push([200, changes(6, 7, { removed: ["1", "2", "3"] })]);
      await clock.advance(40_000);
      assert.equal(fetch.requests.length, 2);
    });

    it("asks no earlier than the server allows", async () => {
      const { clock, fetch } = await pollingPage(70);
      fetch.answers.push([503, null, { "Retry-After": "30" }]);
      await clock.advance(60_000 + 29_999);
      assert.equal(fetch.requests.length, 2);
      await clock.advance(1);
      assert.equal(fetch.requests.length, 3);
    });

    it("leaves it to the poll that is due anyway", async () => {
      const { clock, fetch } = await pollingPage(59);
      clock.chance = 1;
      await clock.advance(60_000);
      assert.equal(fetch.requests.length, 2);
    });

    it("has one request under way, and asks again after it", async () => {
      const { clock, connection, fetch } = await pollingPage(20);
      await clock.advance(19_500);
      connection.refresh();
      await clock.advance(2_000);
      assert.equal(fetch.requests.length, 2);
      // Its answer was on its way when the item expired.
      fetch.requests[1].answer(304);
      await clock.advance(0);
      assert.equal(fetch.requests.length, 3);
    });

    it("asks nothing over a socket, nor where polls are switched off", async () => {
      const open = openPage();
      open.WebSocket.last.say(expiringIn(open.clock, 5));
      await open.clock.advance(20_000);
      assert.equal(open.fetch.requests.length, 0);
      const off = newPage({ socketUrl: "", pollInterval: 0 });
      off.store.apply({ ...expiringIn(off.clock, 5), poll_interval: 0 });
      await off.clock.advance(20_000);
      assert.equal(off.fetch.requests.length, 0);
    });
  });

  it("starts at once where the socket's address is impossible", async () => {
    const page = newPage({ withSocket: false });
    assert.equal(page.connection.state, "polling");
    const broken = class {
      constructor() {
        throw new SyntaxError("no such scheme");
      }
    };
    const connection = new Connection({
      stateUrl: "/s", socketUrl: "x:y", pollInterval: 60, position: () => page.store.position,
      WebSocket: broken, fetch: page.fetch, clock: page.clock,
    });
    connection.start();
    assert.equal(connection.state, "polling");
    await page.clock.advance(60_000);
    assert.equal(connection.state, "polling");
  });

  it("never happens at an interval of 0, and the page is stale after 10 s", async () => {
    const { WebSocket, clock, connection, fetch } = newPage({ pollInterval: 0 });
    await clock.advance(9_999);
    assert.equal(connection.isStale, false);
    await clock.advance(1);
    assert.equal(connection.isStale, true);
    await clock.advance(300_000);
    assert.equal(fetch.requests.length, 0);
    assert.ok(WebSocket.made.length > 3);
  });

  it("repeats at the interval and revalidates by ETag", async () => {
    const { clock, connection, fetch, store } = newPage({ socketUrl: "", pollInterval: 30, chance: 0 });
    fetch.answers.push([200, snapshot(5, { poll_interval: 30 }), { ETag: 'W/"a"' }]);
    await clock.advance(0);
    assert.equal(fetch.requests[0].init.headers["If-None-Match"], undefined);
    assert.equal(fetch.requests[0].init.cache, "no-store");
    // The address now says what the page holds, so the first tag doesn't fit it.
    fetch.answers.push([200, changes(5, 5, { poll_interval: 30 }), { ETag: 'W/"b"' }], [304], [304]);
    await clock.advance(30_000);
    assert.equal(fetch.requests[1].init.headers["If-None-Match"], undefined);
    let told = 0;
    store.addEventListener("change", () => told++);
    await clock.advance(60_000);
    assert.equal(fetch.requests.length, 4);
    assert.equal(fetch.requests[3].init.headers["If-None-Match"], 'W/"b"');
    assert.equal(told, 0);
    assert.equal(connection.isStale, false);
  });

  it("follows the interval that frames tell", async () => {
    const { clock, fetch } = newPage({ socketUrl: "", pollInterval: 60, chance: 0 });
    fetch.answers.push([200, snapshot(5, { poll_interval: 5 })], [304], [200, changes(5, 6, { poll_interval: 0 })]);
    await clock.advance(10_000);
    assert.equal(fetch.requests.length, 3);
    await clock.advance(600_000);
    assert.equal(fetch.requests.length, 3);
  });

  it("begins when a frame switches it on", async () => {
    const { clock, connection, fetch } = newPage({ socketUrl: "", pollInterval: 0 });
    fetch.answers.push([200, snapshot(5, { poll_interval: 5 })]);
    connection.refresh();
    await clock.advance(1);
    assert.equal(connection.state, "polling");
    await clock.advance(10_000);
    assert.ok(fetch.requests.length > 1);
  });

  it("has one request under way, and repeats it when asked meanwhile", async () => {
    const { clock, connection, fetch } = newPage({ socketUrl: "" });
    connection.refresh();
    await clock.advance(1);
    connection.refresh();
    connection.wake();
    await clock.advance(5_000);
    assert.equal(fetch.requests.length, 1);
    fetch.requests[0].answer(200, snapshot(5));
    await clock.advance(0);
    assert.equal(fetch.requests.length, 2);
  });

  it("gives a request up after 15 s and goes on", async () => {
    const { clock, connection, fetch } = newPage({ socketUrl: "", chance: 0 });
    await clock.advance(15_000);
    assert.equal(fetch.requests[0].init.signal.aborted, true);
    assert.equal(connection.isStale, true);
    fetch.answers.push([200, snapshot(5)]);
    await clock.advance(60_000);
    assert.equal(fetch.requests.length, 2);
    assert.equal(connection.isStale, false);
  });

  for (const status of [401, 403]) {
    it(`ends for good at ${status}`, async () => {
      const { clock, connection, fetch } = newPage({ socketUrl: "" });
      fetch.answers.push([status]);
      await clock.advance(600_000);
      assert.equal(fetch.requests.length, 1);
      assert.deepEqual([connection.state, connection.isSignedOut], ["stopped", true]);
    });
  }

  it("is four times as rare where nobody looks, and not at all after 20 minutes", async () => {
    let isHidden = true;
    const { clock, fetch, connection } = newPage({ withSocket: false, pollInterval: 30, isHidden: () => isHidden });
    const answerAll = () => fetch.requests.forEach((request) => request.answer(200, snapshot(1, { poll_interval: 30 })));
    const pollsIn = async (minutes) => {
      const before = fetch.requests.length;
      for (let second = 0; second < minutes * 60; second += 10) {
        await clock.advance(10_000);
        answerAll();
      }
      return fetch.requests.length - before;
    };
    assert.equal(await pollsIn(1), 1);
    assert.equal(await pollsIn(18), 9);
    await pollsIn(4);
    assert.equal(await pollsIn(60), 0);
    isHidden = false;
    connection.wake();
    await clock.advance(0);
    answerAll();
    assert.equal(await pollsIn(5), 10);
  });

  it("of a hidden page comes once a minute at most, however short the interval", async () => {
    const { clock, fetch } = newPage({ withSocket: false, pollInterval: 2, isHidden: () => true });
    for (let second = 0; second < 300; second += 5) {
      await clock.advance(5_000);
      fetch.requests.forEach((request) => request.answer(200, snapshot(1, { poll_interval: 2 })));
    }
    assert.ok(fetch.requests.length <= 6, `${fetch.requests.length}`);
  });

  it("waits as long as Retry-After says, also when asked by hand", async () => {
    for (const status of [429, 503]) {
      const { clock, connection, fetch } = newPage({ socketUrl: "", pollInterval: 5, chance: 0 });
      fetch.answers.push([status, null, { "Retry-After": "70" }], [304]);
      await clock.advance(0);
      connection.refresh();
      await clock.advance(69_999);
      assert.equal(fetch.requests.length, 1);
      await clock.advance(1);
      assert.equal(fetch.requests.length, 2);
    }
  });

  it("understands a date in Retry-After, and keeps the interval when that is longer", async () => {
    const { clock, fetch } = newPage({ socketUrl: "", pollInterval: 60, chance: 0 });
    const date = new Date(clock.now() + 90_000).toUTCString();
    fetch.answers.push([503, null, { "Retry-After": date }], [429, null, { "Retry-After": "1" }], [304]);
    await clock.advance(89_000);
    assert.equal(fetch.requests.length, 1);
    await clock.advance(1_000);
    assert.equal(fetch.requests.length, 2);
    await clock.advance(119_000);
    assert.equal(fetch.requests.length, 2);
    await clock.advance(1_000);
    assert.equal(fetch.requests.length, 3);
  });

  it("slows down to ten times the interval on errors, and recovers", async () => {
    const { clock, connection, fetch } = newPage({ socketUrl: "", pollInterval: 10, chance: 0 });
    fetch.answers.push(...Array(7).fill([500]), [304], [304]);
    const times = [];
    const began = clock.now();
    while (times.length < 9) {
      await clock.advance(1_000);
      while (times.length < fetch.requests.length) times.push(Math.round((clock.now() - began) / 1000));
    }
    const waits = times.slice(1).map((time, i) => time - times[i]);
    assert.deepEqual(waits.map((wait) => Math.round(wait / 10) * 10), [10, 20, 40, 80, 100, 100, 100, 10]);
    assert.equal(connection.isStale, false);
  });

  it("takes a page that is no frame for an error", async () => {
    const { clock, connection, fetch, store } = newPage({ socketUrl: "" });
    fetch.answers.push([200, { hello: "world" }]);
    await clock.advance(5_000);
    assert.equal(store.isLoaded, false);
    assert.equal(connection.isStale, true);
  });

  it("does not take in an answer that comes after the socket is back", async () => {
    const { WebSocket, clock, fetch, store } = newPage();
    clock.chance = 0;
    await clock.advance(10_000);
    const request = fetch.requests[0];
    assert.ok(request);
    WebSocket.last.say(snapshot(9));
    assert.equal(request.init.signal.aborted, true);
    request.answer(200, snapshot(12, { items: [item(12)] }));
    await settle();
    assert.equal(store.revision, 9);
  });
});
