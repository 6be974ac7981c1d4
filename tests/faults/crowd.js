/**
 * Many pages in one process: the shipped modules without the DOM. It takes commands as
 * lines of JSON and tells, as such lines, what each page makes of what it is sent.
 */

import { createInterface } from "node:readline";

import { systemClock } from "../../static/themis/clock.js";
import { Connection } from "../../static/themis/connection.js";
import { decode, isStateFrame } from "../../static/themis/protocol.js";
import { Store } from "../../static/themis/store.js";

const TOKEN = "a".repeat(32);
const pages = new Map();

function say(event) {
  process.stdout.write(`${JSON.stringify({ at: Date.now() / 1000, ...event })}\n`);
}

const compact = (item) => [item.id, item.title, item.read_at !== null, item.created_revision, item.revision];

/** Time passes `pace` times as fast, and random waits are at most `luck` of the longest. */
function clockOf({ pace, luck }) {
  const start = Date.now();
  return {
    now: () => start + (Date.now() - start) * pace,
    setTimeout: (callback, ms) => systemClock.setTimeout(callback, ms / pace),
    clearTimeout: systemClock.clearTimeout,
    random: () => Math.random() * luck,
  };
}

class Page {
  #headers;
  #origin;
  #rung = [];

  constructor({ page, url, session, pace, luck, pollInterval }) {
    this.name = page;
    this.#origin = url;
    this.#headers = { Cookie: `sessionid=${session}; csrftoken=${TOKEN}`, Origin: url };
    const headers = this.#headers;
    const clock = clockOf({ pace, luck });
    this.store = new Store({ clock });
    this.connection = new Connection({
      stateUrl: `${url}/notifications/api/state`,
      socketUrl: `${url.replace("http", "ws")}/ws/notifications/`,
      pollInterval,
      position: () => this.store.position,
      // A browser sends these by itself.
      WebSocket: class extends WebSocket {
        constructor(address) {
          super(address, { headers });
        }
      },
      fetch: (address, init) => fetch(address, { ...init, headers: { ...init.headers, ...headers } }),
      clock,
    });
    this.store.addEventListener("new", ({ items }) => {
      // Newest first in the event; they ring in the order that they were made.
      this.#rung = items.map((item) => item.id).reverse();
    });
    this.connection.addEventListener("frame", ({ frame }) => this.#apply(frame));
    this.connection.addEventListener("transport", () => this.#tellTransport());
  }

  start() {
    this.connection.start();
  }

  stop() {
    this.connection.stop();
  }

  async post(verb, body) {
    try {
      const response = await fetch(`${this.#origin}/notifications/api/notifications/${verb}`, {
        method: "POST",
        headers: { ...this.#headers, "Content-Type": "application/json", "X-CSRFToken": TOKEN },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(15_000),
      });
      const text = await response.text();
      const frame = response.ok ? decode(text) : null;
      if (isStateFrame(frame)) this.#apply(frame);
      return response.status;
    } catch {
      return 0;
    }
  }

  get screen() {
    const { epoch, revision, unread, items } = this.store;
    return { epoch, revision, unread, items: items.map(compact), state: this.connection.state };
  }

  #apply(frame) {
    const { epoch, revision } = this.store.position;
    this.#rung = [];
    const outcome = this.store.apply(frame);
    if (outcome === "gap") this.connection.sync(frame);
    if (outcome !== "applied") return;
    say({
      event: "applied",
      page: this.name,
      kind: frame.type,
      since: [epoch, revision],
      epoch: this.store.epoch,
      revision: this.store.revision,
      unread: this.store.unread,
      items: frame.items.map((item) => [item.id, item.title]),
      rung: this.#rung,
    });
  }

  #tellTransport() {
    say({ event: "transport", page: this.name, state: this.connection.state });
  }
}

const commands = {
  open(options) {
    const page = new Page(options);
    pages.set(options.page, page);
    page.start();
  },
  close({ page }) {
    pages.get(page).stop();
    pages.delete(page);
  },
  stop({ page }) {
    pages.get(page).stop();
  },
  start({ page }) {
    pages.get(page).start();
  },
  wake() {
    for (const page of pages.values()) page.connection.wake();
  },
  async post({ page, tag, verb, body }) {
    say({ event: "posted", page, tag, status: await pages.get(page).post(verb, body) });
  },
  look({ tag }) {
    for (const page of pages.values()) say({ event: "screen", page: page.name, ...page.screen });
    say({ event: "looked", tag });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: verb, ...options } = JSON.parse(line);
  void commands[verb](options);
}
process.exit(0);
