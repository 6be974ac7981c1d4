import { Alarm } from "./clock.js";
import { decode, isStateFrame, withPosition } from "./protocol.js";

const REQUEST_TIMEOUT = 15_000;
const LONGEST_FIRST_WAIT = 10_000;
const SPACING = 1_000;
const SLOWEST = 10;

/** A page that nobody sees asks this much less often, and in the end no more. */
const HIDDEN = 4;
const HIDDEN_AT_LEAST = 60_000;
const HIDDEN_UNTIL = 1_200_000;

const SPREAD = 1 / 60;

export class Poller {
  isStarted = false;
  #url;
  #headers;
  #fetch;
  #clock;
  #holder;
  #timer;
  #interval = 0;
  #failures = 0;
  #notBefore = 0;
  /** @type {AbortController | null} */
  #request = null;
  #askedAgain = false;
  #hiddenAt = Infinity;
  #etag = { url: "", value: "" };

  /** @param {PollerOptions} options */
  constructor({ url, headers, fetch, clock, holder }) {
    this.#url = url;
    this.#headers = headers;
    this.#fetch = fetch;
    this.#clock = clock;
    this.#holder = holder;
    this.#timer = new Alarm(clock, () => void this.#poll());
  }

  /** @param {number} seconds */
  set interval(seconds) {
    const interval = seconds * 1000;
    if (interval === this.#interval) return;
    this.#interval = interval;
    if (interval === 0) this.stop();
    else if (this.isStarted && this.#request === null) this.#wait(interval);
  }

  /** Begin, at a random moment: a crowd that lost its sockets must not come as one. */
  start() {
    if (this.isStarted || this.#interval === 0) return;
    this.isStarted = true;
    this.#failures = 0;
    this.#wait(this.#clock.random() * Math.min(this.#interval, LONGEST_FIRST_WAIT));
  }

  stop() {
    this.isStarted = false;
    this.#askedAgain = false;
    this.#timer.clear();
    this.#request?.abort();
    this.#request = null;
  }

  fetchSoon() {
    if (this.#request !== null) this.#askedAgain = true;
    else this.#wait(0);
  }

  fetchSpread() {
    if (!this.isStarted) return;
    const wait = this.#clock.random() * this.#interval * SPREAD;
    if (this.#request !== null) this.#askedAgain = true;
    else if (this.#timer.left > wait) this.#wait(wait);
  }

  /** @param {number} ms */
  #wait(ms) {
    this.#timer.set(Math.max(ms, this.#notBefore - this.#clock.now()));
  }

  async #poll() {
    const request = new AbortController();
    const timeout = new Alarm(this.#clock, () => request.abort());
    this.#request = request;
    this.#askedAgain = false;
    this.#notBefore = this.#clock.now() + SPACING;
    timeout.set(REQUEST_TIMEOUT);
    let delay;
    try {
      delay = await this.#read(request);
    } catch {
      delay = request === this.#request ? this.#fail() : null;
    } finally {
      timeout.clear();
    }
    // Stopped, and perhaps started again, while the request was under way.
    if (request !== this.#request) return;
    this.#request = null;
    if (delay === null) return;
    if (this.#askedAgain) this.#wait(0);
    else if (this.isStarted) this.#waitAsSeen(delay);
  }

  /** @param {number} delay */
  #waitAsSeen(delay) {
    const now = this.#clock.now();
    this.#hiddenAt = this.#holder.isHidden() ? Math.min(this.#hiddenAt, now) : Infinity;
    if (this.#hiddenAt === Infinity) this.#wait(delay);
    else if (now - this.#hiddenAt < HIDDEN_UNTIL) this.#wait(Math.max(delay * HIDDEN, HIDDEN_AT_LEAST));
  }

  /** Resolves with when to ask again; null = not at all. @param {AbortController} request */
  async #read(request) {
    const url = withPosition(this.#url, this.#holder.position());
    /** @type {Record<string, string>} */
    const headers = { Accept: "application/json", ...this.#headers };
    // By hand: with the browser's own cache a script would see 200 for a 304.
    if (this.#etag.url === url) headers["If-None-Match"] = this.#etag.value;
    const response = await this.#fetch(url, { headers, cache: "no-store", signal: request.signal });
    if (request !== this.#request) return null;
    if (response.status === 401 || response.status === 403) {
      this.stop();
      this.#holder.onSignedOut();
      return null;
    }
    if (response.status === 429 || response.status === 503) {
      const wait = this.#retryAfter(response);
      this.#notBefore = this.#clock.now() + wait;
      return Math.max(wait, this.#fail());
    }
    let frame = null;
    if (response.status !== 304) {
      frame = response.ok ? decode(await response.text()) : null;
      if (!isStateFrame(frame)) return this.#fail();
      const value = response.headers.get("ETag") ?? "";
      this.#etag = { url: value && url, value };
      if (request !== this.#request) return null;
    }
    this.#failures = 0;
    this.#holder.onAnswer(frame);
    return this.#interval;
  }

  #fail() {
    const delay = this.#interval * Math.min(2 ** this.#failures, SLOWEST);
    this.#failures += 1;
    this.#holder.onFailure();
    return delay;
  }

  /** @param {Response} response */
  #retryAfter(response) {
    const value = response.headers.get("Retry-After") ?? "";
    const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - this.#clock.now();
    return ms > 0 ? ms : 0;
  }
}
