import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";

import { Tabs } from "../../static/themis/tabs.js";
import { FakeClock, settle, snapshot } from "./harness.js";

/** The locks of a browser, for one name at a time. */
class FakeLocks {
  #held = null;
  #queue = [];

  get isHeld() {
    return this.#held !== null;
  }

  request(name, options, callback) {
    return new Promise((resolve, reject) => {
      const entry = { callback, resolve, reject };
      const abort = () => {
        this.#queue = this.#queue.filter((other) => other !== entry);
        reject(new DOMException("aborted", "AbortError"));
      };
      if (options.signal?.aborted) return abort();
      options.signal?.addEventListener("abort", abort, { once: true });
      if (options.steal) {
        this.#held?.reject(new DOMException("stolen", "AbortError"));
        this.#held = null;
        this.#queue.unshift(entry);
      } else {
        this.#queue.push(entry);
      }
      queueMicrotask(() => this.#grant());
    });
  }

  async #grant() {
    if (this.#held !== null || this.#queue.length === 0) return;
    const entry = this.#queue.shift();
    this.#held = entry;
    const value = await entry.callback({});
    if (this.#held !== entry) return;
    this.#held = null;
    entry.resolve(value);
    this.#grant();
  }
}

/** Channels that deliver in order, unless their tab is frozen: then later. */
function fakeChannels() {
  const open = new Set();
  return class FakeChannel {
    isFrozen = false;
    #missed = [];
    constructor(name) {
      this.name = name;
      open.add(this);
    }
    postMessage(data) {
      assert.ok(open.has(this), "posted on a closed channel");
      const copy = structuredClone(data);
      for (const other of open) if (other !== this && other.name === this.name) other.take(copy);
    }
    take(data) {
      if (this.isFrozen) this.#missed.push(data);
      else queueMicrotask(() => open.has(this) && this.onmessage?.({ data }));
    }
    thaw() {
      this.isFrozen = false;
      for (const data of this.#missed.splice(0)) this.take(data);
    }
    close() {
      open.delete(this);
    }
  };
}

const OPEN = { state: "open", isStale: false, isSignedOut: false, heardAt: 1 };

describe("tabs", () => {
  /** @type {FakeClock} */
  let clock;
  let locks;
  let Channel;

  beforeEach(() => {
    clock = new FakeClock();
    locks = new FakeLocks();
    Channel = fakeChannels();
  });

  function open(options = {}) {
    const { visibilityState = "visible" } = options;
    const page = { visibilityState, isFocused: false, hasFocus: () => page.isFocused };
    const told = [];
    const note = (what) => (value) => told.push(value === undefined ? what : [what, value]);
    const tab = {
      page,
      told,
      transport: OPEN,
      position: { epoch: null, revision: 0 },
      holds: null,
      /** @type {any} */
      channel: null,
    };
    const holder = {
      position: () => tab.position,
      transport: () => tab.transport,
      onPing: () => tab.holds,
      onLead: note("lead"),
      onFollow: note("follow"),
      onFrame: note("frame"),
      onTransport: note("transport"),
      onWish: note("wish"),
      onSignedOut: note("signed out"),
      onNewcomer: note("newcomer"),
    };
    class Noted extends Channel {
      constructor(name) {
        super(name);
        tab.channel = this;
      }
    }
    const { Locks = locks, BC = Noted, user = "ada", session = "s1", mount = "/n/" } = options;
    tab.tabs = new Tabs({ mount, user, session, holder, clock, locks: Locks, Channel: BC, page });
    tab.tabs.start();
    return tab;
  }

  async function openTwo() {
    const leader = open();
    await settle();
    const follower = open();
    await settle();
    return { leader, follower };
  }

  const leaders = (...all) => all.map(({ tabs }) => tabs.isLeader);

  it("have one leader, the first", async () => {
    const { leader, follower } = await openTwo();
    assert.deepEqual(leaders(leader, follower), [true, false]);
    assert.deepEqual(leader.told, ["lead"]);
  });

  it("that come later hear at once what the leader knows, and how it knows", async () => {
    const leader = open();
    await settle();
    leader.holds = snapshot(7);
    const follower = open();
    await settle();
    assert.deepEqual(follower.told, [["frame", snapshot(7)], ["transport", OPEN]]);
  });

  it("hear the frames and the transport of the leader, and it hears theirs", async () => {
    const { leader, follower } = await openTwo();
    follower.told.length = 0;
    leader.tabs.tellFrame(snapshot(8));
    leader.tabs.tellTransport();
    follower.tabs.tellFrame(snapshot(9));
    await settle();
    assert.deepEqual(follower.told, [["frame", snapshot(8)], ["transport", OPEN]]);
    assert.deepEqual(leader.told, ["lead", ["frame", snapshot(9)]]);
  });

  it("bring their wishes to the leader alone", async () => {
    const { leader, follower } = await openTwo();
    const third = open();
    await settle();
    third.told.length = 0;
    follower.tabs.tellWish("refresh");
    await settle();
    assert.deepEqual(leader.told.at(-1), ["wish", "refresh"]);
    assert.deepEqual(third.told, []);
  });

  it("have another leader as soon as the first leaves", async () => {
    const { leader, follower } = await openTwo();
    leader.tabs.stop();
    await settle();
    assert.deepEqual(leaders(leader, follower), [false, true]);
    leader.tabs.start();
    await settle();
    assert.deepEqual(leaders(leader, follower), [false, true]);
  });

  it("don't wait behind one that has left while it waited", async () => {
    const { leader, follower } = await openTwo();
    const third = open();
    follower.tabs.stop();
    leader.tabs.stop();
    await settle();
    assert.deepEqual(leaders(leader, follower, third), [false, false, true]);
  });

  it("take the lead from one that is frozen, and it follows when it wakes", async () => {
    const { leader, follower } = await openTwo();
    leader.channel.isFrozen = true;
    await clock.advance(14_000);
    assert.equal(follower.tabs.isLeader, false);
    await clock.advance(6_000);
    assert.equal(follower.tabs.isLeader, true);

    leader.channel.thaw();
    await settle();
    assert.deepEqual(leaders(leader, follower), [false, true]);
    assert.deepEqual(leader.told.filter((what) => what === "follow"), ["follow"]);
    await clock.advance(60_000);
    assert.deepEqual(leaders(leader, follower), [false, true]);
    follower.tabs.stop();
    await settle();
    assert.equal(leader.tabs.isLeader, true);
  });

  it("don't take the lead from a frozen one both at once", async () => {
    const { leader, follower } = await openTwo();
    const third = open();
    await settle();
    leader.channel.isFrozen = true;
    leader.page.visibilityState = "hidden";
    // What the two say crosses on its way.
    for (const { channel } of [follower, third]) {
      const take = channel.take.bind(channel);
      channel.take = (data) => clock.setTimeout(() => take(data), 50);
    }
    let drawn = 0;
    clock.random = () => (drawn++ % 2) / 2;
    await clock.advance(60_000);
    const leads = [...follower.told, ...third.told].filter((what) => what === "lead");
    assert.deepEqual(leads, ["lead"]);
  });

  it("leave a leader alone that answers, however long", async () => {
    const { leader, follower } = await openTwo();
    await clock.advance(600_000);
    assert.deepEqual(leaders(leader, follower), [true, false]);
  });

  it("that are hidden challenge nobody", async () => {
    const { leader, follower } = await openTwo();
    follower.page.visibilityState = "hidden";
    leader.channel.isFrozen = true;
    await clock.advance(600_000);
    assert.equal(follower.tabs.isLeader, false);
    follower.page.visibilityState = "visible";
    follower.tabs.challenge();
    await clock.advance(5_000);
    assert.equal(follower.tabs.isLeader, true);
  });

  it("that are opened hidden know as much as the others", async () => {
    const leader = open();
    await settle();
    leader.holds = snapshot(7);
    const follower = open({ visibilityState: "hidden" });
    await clock.advance(600_000);
    assert.deepEqual(follower.told, [["frame", snapshot(7)], ["transport", OPEN]]);
  });

  it("don't take the lead from each other for ever: one works alone in the end", async () => {
    const { leader, follower } = await openTwo();
    // Both look at the other as silent: nothing of what either says arrives.
    leader.channel.take = () => {};
    follower.channel.take = () => {};
    await clock.advance(600_000);
    const leads = [...leader.told, ...follower.told].filter((what) => what === "lead").length;
    assert.ok(leads <= 9, `${leads} times`);
    assert.ok(leader.tabs.isLeader || follower.tabs.isLeader);
    leader.told.length = follower.told.length = 0;
    await clock.advance(3_600_000);
    assert.deepEqual([leader.told, follower.told], [[], []]);
  });

  it("that are looked at relieve a hidden leader whose transport needs its timers", async () => {
    const leader = open();
    await settle();
    leader.page.visibilityState = "hidden";
    leader.transport = { ...OPEN, state: "polling" };
    const follower = open();
    await settle();
    assert.deepEqual(leaders(leader, follower), [false, true]);
  });

  it("leave a hidden leader alone whose socket is open", async () => {
    const leader = open();
    await settle();
    leader.page.visibilityState = "hidden";
    const follower = open();
    await clock.advance(120_000);
    assert.deepEqual(leaders(leader, follower), [true, false]);
  });

  it("lead themselves where there are no locks or channels, or where nobody is named", async () => {
    for (const options of [{ Locks: null }, { BC: null }, { user: "" }]) {
      const tabs = [open(options), open(options)];
      await settle();
      assert.deepEqual(leaders(...tabs), [true, true]);
      for (const { tabs: one } of tabs) {
        one.stop();
        assert.equal(one.isLeader, false);
        one.start();
        assert.equal(one.isLeader, true);
      }
    }
  });

  it("lead themselves where locks are refused", async () => {
    const Locks = { request: () => Promise.reject(new DOMException("opaque origin", "SecurityError")) };
    const tab = open({ Locks });
    await settle();
    assert.equal(tab.tabs.isLeader, true);
  });

  it("of two mailboxes of one origin don't mix", async () => {
    const here = open();
    const Locks = new FakeLocks();
    const there = open({ mount: "/m/", Locks });
    await settle();
    here.tabs.tellFrame(snapshot(8));
    await settle();
    assert.deepEqual(there.told, ["lead"]);
  });

  it("of two people don't mix, but hear that the other is there", async () => {
    const ada = open();
    await settle();
    const grace = open({ user: "grace", session: "s2", Locks: new FakeLocks() });
    await settle();
    assert.deepEqual(ada.told, ["lead", ["newcomer", ""]]);
    grace.tabs.tellFrame(snapshot(8));
    grace.tabs.tellSignedOut();
    await settle();
    assert.deepEqual(ada.told, ["lead", ["newcomer", ""]]);
  });

  it("of one session hear that it is over, and those of another don't", async () => {
    const { leader, follower } = await openTwo();
    const later = open({ session: "s2" });
    await settle();
    leader.tabs.tellSignedOut();
    leader.tabs.resign();
    await settle();
    assert.ok(follower.told.includes("signed out"));
    follower.tabs.resign();
    await settle();
    assert.deepEqual(leaders(leader, follower, later), [false, false, true]);
    assert.ok(!later.told.includes("signed out"));
  });

  it("that were signed out hear of the next session, and join it", async () => {
    const tab = open();
    await settle();
    tab.tabs.resign();
    const later = open({ session: "s2" });
    await settle();
    assert.ok(tab.told.some((what) => what[0] === "newcomer" && what[1] === "s2"));
    tab.tabs.rejoin("s2");
    await settle();
    assert.deepEqual(leaders(tab, later), [false, true]);
    later.tabs.tellSignedOut();
    await settle();
    assert.equal(tab.told.at(-1), "signed out");
  });

  it("know whether one of them has the focus", async () => {
    const { leader, follower } = await openTwo();
    const asked = leader.tabs.isAnyFocused();
    await clock.advance(1_000);
    assert.equal(await asked, false);
    follower.page.isFocused = true;
    assert.deepEqual(await Promise.all([leader.tabs.isAnyFocused(), follower.tabs.isAnyFocused()]), [true, true]);
  });

  it("take no notice of what is no message", async () => {
    const { leader } = await openTwo();
    const told = leader.told.length;
    const stranger = new Channel("themis:/n/");
    for (const data of [null, 7, "x", {}, { type: 5 }, { type: "nonsense", user: "ada" }, { user: "ada" }]) {
      stranger.postMessage(data);
    }
    await settle();
    assert.equal(leader.told.length, told);
    assert.equal(leader.tabs.isLeader, true);
  });
});
