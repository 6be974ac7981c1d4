import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";

import { DesktopNotifier } from "../../static/themis/desktop.js";
import { Device } from "../../static/themis/device.js";
import { Store } from "../../static/themis/store.js";
import { changes, FakeClock, item, settle, snapshot } from "./harness.js";

const READ = { read_at: "2026-11-22T10:00:00Z" };

/** Those of `Texts` that are asked for. */
const texts = {
  language: "en",
  get: (name) => `<${name}>`,
  count: (name, count) => `${count} ${name}`,
};

/** A Notification class of its own, with what was made from it. */
function fakeNotification() {
  return class FakeNotification {
    static permission = "granted";
    static isForWorkers = false;
    static made = [];
    static get open() {
      return this.made.filter((one) => !one.isClosed).map((one) => one.title);
    }
    isClosed = false;
    constructor(title, options) {
      if (FakeNotification.isForWorkers) throw new TypeError("Illegal constructor");
      Object.assign(this, { title, ...options });
      FakeNotification.made.push(this);
    }
    close() {
      this.isClosed = true;
      this.onclose?.();
    }
  };
}

let kept;
let page;

beforeEach(() => {
  kept = new Map([["themis:ada:desktop", "1"]]);
  page = new EventTarget();
  page.visited = [];
  const stand = {
    isSecureContext: true,
    localStorage: {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => kept.set(key, value),
      removeItem: (key) => kept.delete(key),
    },
    location: {
      href: "https://example.com/tasks/",
      origin: "https://example.com",
      assign: (url) => page.visited.push(url),
    },
    window: { focus: () => page.visited.push("focus") },
    addEventListener: page.addEventListener.bind(page),
  };
  for (const [name, value] of Object.entries(stand)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
});

function newPage({ user = "ada", desktop = true, held = [item(5)] } = {}) {
  const clock = new FakeClock();
  const store = new Store({ clock });
  const Notification = fakeNotification();
  const tabs = Object.assign(store, { isLeader: true, isFocused: false, isAnyFocused: async () => tabs.isFocused });
  const device = new Device(user, Notification);
  DesktopNotifier.serve(store, { device, texts, mountUrl: "/notifications/", clock });
  const now = () => new Date(clock.now()).toISOString();
  store.apply(snapshot(5, { unread: held.length, items: held, desktop, now: now() }));
  const tell = (items, { unread = items.length, ...fields } = {}) => {
    const revision = Math.max(store.revision + 1, ...items.map((one) => one.revision));
    store.apply(changes(store.revision, revision, { unread, items, desktop, now: now(), ...fields }));
  };
  const arrive = (...ids) => tell(ids.map((id) => item(id)));
  return { clock, store, Notification, tabs, device, tell, arrive };
}

/** Items of these ids, stamped again and read. */
const read = (revision, ...ids) => ids.map((id) => item(id, { ...READ, revision, created_revision: id }));

describe("a desktop notification", () => {
  it("shows what arrives, by its title and message", async () => {
    const { clock, Notification, tell } = newPage();
    tell([item(6, { title: "Deployed", message: "Two of two." })]);
    await clock.advance(399);
    assert.deepEqual(Notification.made, []);
    await clock.advance(1);
    const [{ title, body, tag, lang, dir }] = Notification.made;
    assert.deepEqual({ title, body, tag, lang, dir }, {
      title: "Deployed",
      body: "Two of two.",
      tag: "themis:ada:6",
      lang: "en",
      dir: "auto",
    });
  });

  it("shows nothing of what was there before, nor after a change of epoch", async () => {
    const { clock, store, Notification } = newPage();
    await clock.advance(60_000);
    store.apply(snapshot(9, { epoch: "e2", unread: 1, items: [item(9)], desktop: true }));
    await clock.advance(60_000);
    assert.deepEqual(Notification.made, []);
  });

  it("shows up to three each, the newest last, and more by their number", async () => {
    const { clock, Notification, arrive } = newPage();
    arrive(6, 7);
    await clock.advance(200);
    arrive(8);
    await clock.advance(200);
    assert.deepEqual(Notification.open, ["Title 6", "Title 7", "Title 8"]);
    arrive(9, 10, 11, 12);
    await clock.advance(400);
    assert.deepEqual(Notification.open.slice(3), ["4 new"]);
    assert.equal(Notification.made.at(-1).tag, "themis:ada:12");
    assert.equal(Notification.made.at(-1).body, "");
  });

  it("counts those in that pushed each other out of what the page holds", async () => {
    const { clock, Notification, arrive, tell } = newPage();
    arrive(...Array.from({ length: 30 }, (_, i) => 6 + i));
    await clock.advance(400);
    assert.deepEqual(Notification.open, ["30 new"]);
    tell(read(36, 35, 34, 33), { unread: 27 });
    assert.deepEqual(Notification.open, ["30 new"]);
    const all = read(37, ...Array.from({ length: 20 }, (_, i) => 16 + i));
    tell(all, { unread: 0 });
    assert.deepEqual(Notification.open, []);
  });

  it("tells by one number what would be told by two", async () => {
    const { clock, Notification, arrive, tell } = newPage();
    arrive(6, 7, 8, 9);
    await clock.advance(400);
    tell(read(10, 6), { unread: 4 });
    arrive(11, 12, 13, 14);
    await clock.advance(400);
    assert.deepEqual(Notification.open, ["7 new"]);
  });

  it("leaves out what was read or withdrawn before its turn came", async () => {
    const { clock, Notification, arrive, tell } = newPage();
    arrive(6, 7, 8, 9);
    tell(read(10, 7));
    tell([], { unread: 3, removed: ["8"] });
    await clock.advance(400);
    assert.deepEqual(Notification.open, ["Title 6", "Title 9"]);
    tell([item(12, READ)]);
    await clock.advance(400);
    assert.equal(Notification.made.length, 2);
  });

  it("goes when it is read, withdrawn, expired or nobody is signed in", async () => {
    const { clock, store, Notification, arrive, tell } = newPage();
    arrive(6, 7);
    tell([item(8, { expires_at: new Date(clock.now() + 60_000).toISOString() })]);
    await clock.advance(400);
    assert.deepEqual(Notification.open, ["Title 6", "Title 7", "Title 8"]);
    tell(read(9, 6));
    assert.deepEqual(Notification.open, ["Title 7", "Title 8"]);
    tell([], { removed: ["7"] });
    assert.deepEqual(Notification.open, ["Title 8"]);
    await clock.advance(60_000);
    assert.deepEqual(Notification.open, []);
    arrive(10);
    await clock.advance(400);
    store.clear();
    assert.deepEqual(Notification.open, []);
  });

  it("of many goes when all of them are read", async () => {
    const { clock, Notification, arrive, tell } = newPage();
    arrive(6, 7, 8, 9);
    await clock.advance(400);
    tell(read(10, 6, 7, 8), { unread: 2 });
    assert.deepEqual(Notification.open, ["4 new"]);
    tell(read(11, 9), { unread: 1 });
    assert.deepEqual(Notification.open, []);
  });

  it("goes with its page", async () => {
    const { clock, Notification, arrive } = newPage();
    arrive(6);
    await clock.advance(400);
    page.dispatchEvent(new Event("pagehide"));
    assert.deepEqual(Notification.open, []);
  });

  it("opens what it tells of, and many open the list", async () => {
    const { clock, Notification, arrive, tell } = newPage();
    arrive(6);
    tell([item(7, { open_url: "https://evil.example/" })]);
    await clock.advance(400);
    arrive(8, 9, 10, 11);
    await clock.advance(400);
    for (const one of Notification.made) {
      const event = new Event("click", { cancelable: true });
      one.onclick(event);
      assert.ok(event.defaultPrevented && one.isClosed);
    }
    const list = "https://example.com/notifications/";
    assert.deepEqual(page.visited, ["focus", `${list}6/open/`, "focus", list, "focus", list]);
  });

  it("says nothing of its content where that is to be hidden", async () => {
    const { clock, Notification, device, tell, arrive } = newPage();
    device.hidesContent = true;
    tell([item(6, { title: "Diagnosis", message: "Positive" })]);
    await clock.advance(400);
    arrive(7, 8, 9, 10);
    await clock.advance(400);
    assert.deepEqual(Notification.made.map(({ title, body }) => [title, body]), [
      ["<new-notification>", ""],
      ["4 new", ""],
    ]);
    assert.deepEqual([...kept], [["themis:ada:desktop", "1"], ["themis:ada:hide-content", "1"]]);
  });
});

describe("no desktop notification is shown", () => {
  const reasons = {
    "while the person looks at a page": ({ tabs }) => (tabs.isFocused = true),
    "by a tab that another one leads": ({ tabs }) => (tabs.isLeader = false),
    "where the account wants none": ({ tell }) => tell([], { desktop: false }),
    "where the device is to show none": ({ device }) => (device.isOn = false),
    "where the browser blocks them": ({ Notification }) => (Notification.permission = "denied"),
    "where the browser was not asked": ({ Notification }) => (Notification.permission = "default"),
    "where only workers may": ({ Notification }) => (Notification.isForWorkers = true),
    "on a page that is not encrypted": () => (globalThis.isSecureContext = false),
    "where nothing is kept": () => {
      Object.defineProperty(globalThis, "localStorage", {
        get: () => assert.fail("SecurityError"),
        configurable: true,
      });
    },
  };
  for (const [reason, arrange] of Object.entries(reasons)) {
    it(reason, async () => {
      const parts = newPage();
      arrange(parts);
      const desktop = parts.store.desktop;
      parts.tell([item(8)], { desktop });
      await parts.clock.advance(400);
      assert.deepEqual(parts.Notification.made, []);
    });
  }

  it("for another account on a device where one has turned them on", async () => {
    const { clock, Notification, arrive } = newPage({ user: "grace" });
    arrive(6);
    await clock.advance(400);
    assert.deepEqual(Notification.made, []);
  });

  it("if it is read while the other tabs are asked", async () => {
    const { clock, Notification, tabs, arrive, tell } = newPage();
    let answer;
    tabs.isAnyFocused = () => new Promise((resolve) => (answer = resolve));
    arrive(6);
    await clock.advance(400);
    tell(read(7, 6));
    answer(false);
    await settle();
    assert.deepEqual(Notification.made, []);
  });

  it("twice, though the mailbox has two bells", async () => {
    const { clock, store, Notification, device, arrive } = newPage();
    DesktopNotifier.serve(store, { device, texts, mountUrl: "/notifications/", clock });
    arrive(6);
    await clock.advance(400);
    assert.deepEqual(Notification.open, ["Title 6"]);
  });
});

describe("a device", () => {
  const states = [
    [undefined, true, "unsupported"],
    ["denied", true, "denied"],
    ["denied", false, "denied"],
    ["default", true, "revoked"],
    ["default", false, "ask"],
    ["granted", true, "on"],
    ["granted", false, "off"],
  ];
  for (const [permission, isOn, state] of states) {
    it(`is "${state}" where the browser says ${permission} and it was turned ${isOn ? "on" : "off"}`, () => {
      const Notification = fakeNotification();
      Notification.permission = permission;
      const device = new Device("ada", permission === undefined ? undefined : Notification);
      device.isOn = isOn;
      assert.equal(device.state, state);
      globalThis.isSecureContext = false;
      assert.equal(device.state, "insecure");
    });
  }

  it("is unsupported as soon as it turns out that only workers may", () => {
    const Notification = fakeNotification();
    Notification.isForWorkers = true;
    const device = new Device("ada", Notification);
    assert.equal(device.state, "on");
    assert.equal(device.show("Title", {}), null);
    assert.equal(device.state, "unsupported");
  });

  it("stays off where nothing can be kept", () => {
    const device = new Device("grace", fakeNotification());
    globalThis.localStorage.setItem = () => assert.fail("QuotaExceededError");
    device.isOn = true;
    assert.equal(device.state, "off");
  });
});
