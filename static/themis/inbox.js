import { isNarrowed, matches } from "./filters.js";
import { NotificationList } from "./list.js";
import { newestFirst } from "./protocol.js";
import { Ticker } from "./relative-time.js";
import { setShown, setTexts } from "./template.js";

export class ThemisInboxElement extends HTMLElement {
  #lifetime = new AbortController();
  #joined = new AbortController();
  /** @type {Surroundings | null} */
  #surroundings = null;
  /** @type {NotificationList | null} */
  #list = null;
  /** @type {Map<string, RowItem>} */
  #items = new Map();
  #epoch = "";
  #revision = 0;
  #news = 0;

  static define(tag = "themis-inbox") {
    if (!customElements.get(tag)) customElements.define(tag, this);
  }

  connectedCallback() {
    this.#lifetime = new AbortController();
    const { signal } = this.#lifetime;
    document.addEventListener("themis:transport", ({ target }) => this.#join(target), { signal });
    // A bell that is further down is connected after this.
    queueMicrotask(() => this.#join(document.querySelector("[data-state-url]")));
  }

  disconnectedCallback() {
    this.#lifetime.abort();
    this.#joined.abort();
    this.#surroundings = null;
  }

  /** @param {EventTarget | null} bell */
  #join(bell) {
    const { surroundings } = /** @type {Bell} */ (bell ?? {});
    if (!surroundings || !this.isConnected || surroundings.mailbox === this.#surroundings?.mailbox) return;
    this.#joined.abort();
    this.#joined = new AbortController();
    const { signal } = this.#joined;
    const { mailbox } = surroundings;
    this.#surroundings = surroundings;
    this.#epoch = this.dataset.epoch ?? "";
    this.#revision = Number(this.dataset.revision);
    const list = new NotificationList(this, surroundings, signal);
    this.#list = list;
    this.#items = new Map(list.items.map((item) => [item.id, item]));

    mailbox.addEventListener("change", () => this.#render(), { signal });
    mailbox.addEventListener("applied", (event) => this.#apply(/** @type {FrameEvent} */ (event).frame), { signal });
    mailbox.addEventListener("new", (event) => this.#ring(/** @type {NewItemsEvent} */ (event).items), { signal });
    this.addEventListener("submit", (event) => this.#submit(event), { signal });
    const tick = () => list.updateTimes(mailbox.now());
    Ticker.ofPage.add(tick);
    signal.addEventListener("abort", () => Ticker.ofPage.delete(tick));
    if (mailbox.isLoaded && mailbox.position.revision !== this.#revision) setShown(this, { aged: true });
    this.#render();
  }

  #render() {
    if (this.#surroundings === null || this.#list === null) return;
    const { mailbox, texts } = this.#surroundings;
    const { unread } = mailbox;
    // What the page says stays readable for who has signed out elsewhere.
    if (mailbox.transport.isSignedOut) return;
    this.#list.show([...this.#items.values()].map((item) => mailbox.preview(item)));
    // The server's number is exact, beyond what the wire has.
    if (unread < 10_000) setTexts(this, { count: texts.count("unread", unread) });
    setShown(this, { count: unread > 0 });
    this.#offer(unread);
  }

  /** @param {StateFrame} frame */
  #apply(frame) {
    const { epoch, revision, items } = frame;
    const since = this.#revision;
    const isKnown = epoch === this.#epoch && revision <= since;
    // What is done here to very many comes back as one: then the list knows what has changed.
    let isAged = frame.type === "snapshot" && !isKnown && !this.#list?.isBusy;
    for (const id of frame.type === "changes" ? frame.removed : []) {
      const held = this.#items.get(id);
      if (held === undefined) continue;
      if (this.#list?.hasMoved(id)) this.#items.set(id, { ...held, isDismissed: true });
      else isAged = true;
    }
    const last = [...this.#items.values()].at(-1);
    for (const item of items) {
      const held = this.#items.get(item.id);
      if (held !== undefined && held.revision < item.revision) this.#items.set(item.id, item);
      // It was put away, or filtered out, and belongs between these rows now.
      const isBack = held === undefined && item.revision > since && item.created_revision <= since;
      if (isBack && last !== undefined && newestFirst(item, last) < 0) isAged ||= matches(item, this.dataset);
    }
    this.#epoch = epoch;
    this.#revision = Math.max(revision, isKnown ? since : 0);
    if (isAged) setShown(this, { aged: true });
    this.#render();
  }

  /** @param {Item[]} items */
  #ring(items) {
    this.#news += items.filter((item) => matches(item, this.dataset)).length;
    setTexts(this, { pill: this.#surroundings?.texts.count("pill", this.#news) ?? "" });
    setShown(this, { pill: this.#news > 0 });
  }

  /** @param {number} unread */
  #offer(unread) {
    const rows = this.#list?.items ?? [];
    const hasUnread = rows.some(({ id, read_at }) => read_at === null && !this.#list?.hasMoved(id));
    const hasMore = unread > this.#news && !isNarrowed(this.dataset);
    /** @type {Record<string, boolean>} */
    const offered = { read: hasUnread || hasMore, dismiss: unread === 0 && rows.length > 0 };
    for (const button of this.#bulk?.querySelectorAll("button") ?? []) button.hidden = !offered[button.value];
  }

  /** @param {SubmitEvent} event */
  #submit(event) {
    const { mailbox } = this.#surroundings ?? {};
    if (event.target !== this.#bulk || !mailbox || mailbox.transport.isSignedOut) return;
    const { value } = /** @type {HTMLButtonElement} */ (event.submitter);
    // The rest leads to another list, which the server shows.
    if (value !== "read" || isNarrowed(this.dataset) || mailbox.position.epoch !== this.dataset.epoch) return;
    event.preventDefault();
    this.#markAllRead();
    this.#list?.focusNote();
  }

  #markAllRead() {
    const upTo = Number(this.dataset.revision);
    const marked = [...this.#items.values()].filter((item) => item.read_at === null && item.created_revision <= upTo);
    this.#list?.readAll(upTo, (at) => {
      for (const { id } of marked) {
        const item = this.#items.get(id);
        if (item !== undefined) this.#items.set(id, { ...item, read_at: at });
      }
      this.#render();
    });
  }

  /** @returns {HTMLFormElement | null} */
  get #bulk() {
    return this.querySelector('[data-themis="bulk"]');
  }
}
