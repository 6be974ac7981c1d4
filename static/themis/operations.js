import { decode, isStateFrame } from "./protocol.js";

const REQUEST_TIMEOUT = 15_000;

export class Operation {
  /** @type {"pending" | "done" | "failed"} */
  state = "pending";
  /** The time by which the server knows it, once done: what undoes it. @type {string | null} */
  at = null;
  isUnsent = false;

  /** @param {Verb} verb @param {Selected} selection @param {string} now */
  constructor(verb, selection, now) {
    this.verb = verb;
    this.selection = selection;
    this.now = now;
  }

  /** @param {string} id */
  names(id) {
    return "ids" in this.selection && this.selection.ids.includes(id);
  }

  /** @param {Item} item */
  covers(item) {
    if ("upTo" in this.selection) return item.created_revision <= this.selection.upTo;
    if ("at" in this.selection) return this.verb === "unread" && item.read_at === this.selection.at;
    return this.names(item.id);
  }

  /** What becomes of it; null when it goes. @param {Item} item */
  applyTo(item) {
    if (!this.covers(item)) return item;
    if (this.verb === "dismiss") return null;
    if (this.verb === "read") return { ...item, read_at: item.read_at ?? this.now };
    return this.verb === "unread" ? { ...item, read_at: null } : item;
  }

  get body() {
    if ("upTo" in this.selection) return { up_to: this.selection.upTo, epoch: this.selection.epoch };
    return this.selection;
  }
}

/** With nothing pending, `overlay()` answers what it was given. */
export class Operations {
  #url;
  #headers;
  #fetch;
  #holder;
  /** @type {Set<Operation>} */
  #open = new Set();

  /** @param {OperationsOptions} options */
  constructor({ url, headers, fetch = (input, init) => globalThis.fetch(input, init), holder }) {
    this.#url = url;
    this.#headers = headers;
    this.#fetch = fetch;
    this.#holder = holder;
  }

  /** @param {Operation} operation */
  async run(operation) {
    // Whoever tries again has seen the failures before.
    for (const other of this.#failed) if (!other.isUnsent) this.#open.delete(other);
    operation.state = "pending";
    operation.isUnsent = false;
    this.#open.add(operation);
    this.#holder.onChange();
    const isDone = await this.#send(operation);
    operation.state = isDone ? "done" : "failed";
    if (isDone) this.#open.delete(operation);
    this.#holder.onChange();
    return isDone;
  }

  /** Send again what did not reach the server, where it does no harm however late it comes. */
  resume() {
    for (const operation of this.#open) {
      if (operation.isUnsent && operation.verb === "read") void this.run(operation);
    }
  }

  /** @param {string} id */
  failureOf(id) {
    return this.#failed.find((operation) => operation.names(id));
  }

  get failure() {
    return this.#failed.find(({ selection }) => !("ids" in selection));
  }

  clear() {
    this.#open.clear();
  }

  /** @param {Item[]} items @param {number} unread */
  overlay(items, unread) {
    for (const operation of this.#open) {
      if (operation.state !== "pending") continue;
      const before = countUnread(items);
      items = items.flatMap((item) => operation.applyTo(item) ?? []);
      const after = countUnread(items);
      // What came later than all that is read is newer, and therefore held.
      if (operation.verb === "read" && "upTo" in operation.selection) unread = after;
      else if (unread < 10_000) unread = Math.max(0, unread + after - before);
    }
    return { items, unread };
  }

  get #failed() {
    return [...this.#open].filter(({ state }) => state === "failed");
  }

  /** @param {Operation} operation */
  async #send(operation) {
    let response;
    try {
      response = await this.#fetch(`${this.#url}/${operation.verb}`, {
        method: "POST",
        headers: { Accept: "application/json", "Content-Type": "application/json", ...this.#headers() },
        body: JSON.stringify(operation.body),
        // Arrives although the page may be on its way elsewhere.
        keepalive: true,
        signal: AbortSignal.timeout(REQUEST_TIMEOUT),
      });
    } catch {
      operation.isUnsent = true;
      return false;
    }
    const { status } = response;
    if (status === 401) this.#holder.onSignedOut();
    if (status === 404 || status === 409) this.#holder.onOutdated();
    if (!response.ok) return status === 404 && "ids" in operation.selection;
    const frame = decode(await response.text().catch(() => ""));
    if (!isStateFrame(frame)) return false;
    operation.at = frame.at ?? null;
    this.#holder.onAnswer(frame);
    return true;
  }
}

/** @param {Item[]} items */
function countUnread(items) {
  return items.filter((item) => item.read_at === null).length;
}
