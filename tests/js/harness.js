/** Stand-ins for the browser: a clock that is moved by hand, sockets and requests. */

export class FakeClock {
  #now = 1_700_000_000_000;
  #timers = new Map();
  #handles = 0;
  /** What random() answers. */
  chance = 0.5;

  now = () => this.#now;
  random = () => this.chance;
  setTimeout = (callback, ms) => {
    this.#timers.set(++this.#handles, { at: this.#now + Math.max(0, ms), callback });
    return this.#handles;
  };
  clearTimeout = (handle) => this.#timers.delete(handle);

  get pending() {
    return this.#timers.size;
  }

  /** Move on, firing what falls due in order and letting promises settle between. */
  async advance(ms) {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end);
      if (due.length === 0) break;
      const [handle, timer] = due.reduce((a, b) => (b[1].at < a[1].at ? b : a));
      this.#timers.delete(handle);
      this.#now = Math.max(this.#now, timer.at);
      timer.callback();
    }
    this.#now = end;
    await settle();
  }

  /** The computer slept: time has passed, timers have not. */
  sleep(ms) {
    this.#now += ms;
    for (const timer of this.#timers.values()) timer.at += ms;
  }
}

/** Let promises run dry; reading a Response takes turns of the event loop. */
export async function settle() {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** A WebSocket class of its own, with the list of sockets made from it. */
export function fakeWebSocket() {
  return class FakeWebSocket {
    /** @type {FakeWebSocket[]} */
    static made = [];
    static get last() {
      return this.made.at(-1);
    }
    readyState = 0;
    sent = [];
    wasClosed = false;
    constructor(url) {
      this.url = url;
      FakeWebSocket.made.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close() {
      this.wasClosed = true;
      this.readyState = 3;
    }
    /** The server says something. */
    say(frame) {
      this.readyState = 1;
      this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
    }
    /** The server, or the network, ends it. */
    drop(code = 1006) {
      this.readyState = 3;
      this.onclose?.({ code });
    }
  };
}

/** A fetch that records requests and answers from a queue, else never. */
export function fakeFetch() {
  const requests = [];
  const answers = [];
  const fetch = (url, init = {}) => {
    const request = { url, init };
    requests.push(request);
    return new Promise((resolve, reject) => {
      request.answer = (status, body = null, headers = {}) =>
        resolve(
          new Response(body === null ? null : JSON.stringify(body), { status, headers }),
        );
      request.fail = () => reject(new TypeError("network"));
      init.signal?.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
      const answer = answers.shift();
      if (answer) request.answer(...answer);
    });
  };
  return Object.assign(fetch, { requests, answers });
}

export function item(id, fields = {}) {
  const revision = fields.revision ?? Number(id);
  return {
    id: String(id),
    title: `Title ${id}`,
    message: "",
    level: "info",
    url: "",
    open_url: `${id}/open/`,
    source: { app: "", model: "", id: "" },
    created_at: "2026-11-22T10:00:00Z",
    read_at: null,
    expires_at: null,
    created_revision: revision,
    revision,
    ...fields,
  };
}

const STATE = { v: 1, epoch: "e1", unread: 0, items: [], now: "2026-11-22T10:00:00Z", poll_interval: 60, desktop: false };

export function snapshot(revision, fields = {}) {
  return { ...STATE, type: "snapshot", revision, ...fields };
}

export function changes(since, revision, fields = {}) {
  return { ...STATE, type: "changes", since, revision, removed: [], ...fields };
}

// Node has a WebSocket of its own since 22; a page without one is tested, too.
Reflect.deleteProperty(globalThis, "WebSocket");
