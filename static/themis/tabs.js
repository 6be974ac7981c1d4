import { Alarm } from "./clock.js";

const SILENCE = 15_000;
const ANSWER = 2_000;
const QUESTIONS = 2;

const STEAL_SPACING = 30_000;
const STEALS = 3;
const STEALS_WITHIN = 600_000;

const FOCUS_ANSWER = 200;

/**
 * Who has a Web Lock leads. A frozen tab keeps its lock, so the tab that is looked at
 * challenges a leader it doesn't hear. Two leaders cost a connection and harm nothing.
 */
export class Tabs {
  #name;
  #user;
  #session;
  #holder;
  #clock;
  #locks;
  #Channel;
  #page;
  #question;
  #focus;
  /** @type {BroadcastChannel | null} */
  #channel = null;
  #isAlone = false;
  /** Its own when it leads, else 0; and the highest of all. */
  #term = 0;
  #highest = 0;
  #asked = 0;
  /** @type {number[]} */
  #steals = [];
  /** @type {AbortController | null} */
  #request = null;
  #release = () => {};
  /** @type {((isFocused: boolean) => void)[]} */
  #curious = [];

  /** @param {TabsOptions} options */
  constructor({
    mount,
    user,
    session,
    holder,
    clock,
    locks = globalThis.navigator.locks ?? null,
    Channel = globalThis.BroadcastChannel ?? null,
    page = document,
  }) {
    this.#name = `themis:${mount}`;
    this.#user = user;
    this.#session = session;
    this.#holder = holder;
    this.#clock = clock;
    this.#locks = locks;
    this.#Channel = Channel;
    this.#page = page;
    this.#question = new Alarm(clock, () => this.#ask());
    this.#focus = new Alarm(clock, () => this.#settleFocus(false));
  }

  get isLeader() {
    return this.#term > 0;
  }

  start() {
    if (this.#channel !== null || this.isLeader) return;
    if (!this.#locks || !this.#Channel || this.#user === "" || this.#isAlone) return this.#leadAlone();
    this.#channel = new this.#Channel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#receive(data);
    this.#queue();
    this.challenge();
  }

  /** A cached page must hold no lock and no channel. */
  stop() {
    this.resign();
    this.#channel?.close();
    this.#channel = null;
  }

  resign() {
    this.#question.clear();
    this.#request?.abort();
    this.#request = null;
    this.#release();
    this.#term = 0;
  }

  /** @param {string} session */
  rejoin(session) {
    this.#session = session;
    if (this.#channel !== null) this.#queue();
    this.challenge();
  }

  challenge() {
    if (this.isLeader || this.#channel === null) return;
    this.#asked = 0;
    this.#ask();
  }

  /** @param {StateFrame} frame */
  tellFrame(frame) {
    this.#post(this.#isHeeded ? { type: "frame", term: this.#term, frame } : { type: "frame", frame });
  }

  tellTransport() {
    if (this.#isHeeded) this.#post({ type: "transport", term: this.#term, transport: this.#holder.transport() });
  }

  tellSignedOut() {
    this.#post({ type: "signed-out" });
  }

  /** @param {Wish} wish */
  tellWish(wish) {
    this.#post({ type: "wish", wish });
  }

  /** @returns {Promise<boolean>} */
  async isAnyFocused() {
    if (this.#page.hasFocus()) return true;
    this.#post({ type: "who-has-focus" });
    this.#focus.set(FOCUS_ANSWER);
    return new Promise((resolve) => this.#curious.push(resolve));
  }

  get #isSeen() {
    return this.#page.visibilityState !== "hidden";
  }

  get #isHeeded() {
    return this.isLeader && !this.#isAlone;
  }

  /** @param {boolean} isFocused */
  #settleFocus(isFocused) {
    this.#focus.clear();
    for (const resolve of this.#curious.splice(0)) resolve(isFocused);
  }

  async #queue(steal = false) {
    const request = new AbortController();
    this.#request?.abort();
    this.#request = request;
    const options = steal ? { steal } : { signal: request.signal };
    try {
      await this.#locks?.request(`${this.#name}:${this.#user}`, options, () => this.#hold(request));
    } catch (error) {
      // There are no locks for pages like this one.
      const isRefused = /** @type {Error} */ (error).name !== "AbortError";
      if (isRefused && !request.signal.aborted) return this.#leadAlone();
    }
    if (request.signal.aborted) return;
    // Stolen, or given up for somebody who had stolen it.
    this.#follow();
    void this.#queue();
  }

  /** @param {AbortController} request */
  #hold(request) {
    if (request.signal.aborted) return;
    const held = new Promise((resolve) => {
      this.#release = () => resolve(undefined);
    });
    this.#lead();
    return held;
  }

  #lead() {
    this.#question.clear();
    this.#term = this.#highest = Math.max(this.#highest + 1, this.#clock.now());
    this.#holder.onLead();
    this.tellTransport();
  }

  #leadAlone() {
    this.#isAlone = true;
    this.resign();
    this.#lead();
  }

  #follow() {
    if (!this.isLeader) return;
    this.#term = 0;
    this.#release();
    this.#holder.onFollow();
    this.challenge();
  }

  #ask() {
    if (this.isLeader) return;
    // Only who is looked at insists: timers of hidden tabs sleep, and would take offence
    // at nothing.
    if (this.#isSeen) {
      if (this.#asked >= QUESTIONS) return this.#steal();
      this.#asked += 1;
      this.#question.set(ANSWER);
    }
    this.#post({ type: "ping", isHidden: !this.#isSeen, position: this.#holder.position() });
  }

  #steal() {
    const now = this.#clock.now();
    this.#steals = this.#steals.filter((at) => now - at < STEALS_WITHIN);
    if (this.#steals.length >= STEALS) return this.#leadAlone();
    const left = (this.#steals.at(-1) ?? -Infinity) + STEAL_SPACING - now;
    if (left > 0) return this.#question.set(left * (1 + this.#clock.random()));
    this.#steals.push(now);
    this.#question.clear();
    void this.#queue(true);
  }

  #heard() {
    this.#asked = 0;
    if (!this.isLeader && this.#isSeen) this.#question.set(SILENCE);
    else this.#question.clear();
  }

  /** @param {TabMessage} message */
  #post(message) {
    this.#channel?.postMessage({ ...message, user: this.#user, session: this.#session });
  }

  /** @param {TabMessage & {user: string, session: string}} message Of any script of this origin. */
  #receive(message) {
    if (typeof message?.type !== "string") return;
    if (message.user !== this.#user) {
      if (message.type === "ping") this.#holder.onNewcomer("");
      return;
    }
    if ("term" in message && message.term !== undefined) {
      if (this.#isAlone || !(message.term >= this.#highest)) return;
      this.#highest = message.term;
      // Who was frozen learns here that another has taken over.
      this.#follow();
      this.#heard();
    }
    switch (message.type) {
      case "ping":
        this.#answer(message.position);
        // Somebody else asks already, and takes over: two at once would be two connections.
        if (this.#asked && !message.isHidden) this.#question.set(ANSWER * (QUESTIONS + 1 + this.#clock.random()));
        if (message.session !== this.#session) this.#holder.onNewcomer(message.session);
        break;
      case "pong":
        if (message.frame !== null) this.#holder.onFrame(message.frame);
        this.#holder.onTransport(message.transport);
        // The timers of a hidden tab are slow: too slow to poll or to connect by.
        if (message.isHidden && message.transport.state !== "open" && this.#isSeen) this.#steal();
        break;
      case "transport":
        this.#holder.onTransport(message.transport);
        break;
      case "frame":
        this.#holder.onFrame(message.frame);
        break;
      case "wish":
        if (this.isLeader) this.#holder.onWish(message.wish);
        break;
      case "signed-out":
        if (message.session === this.#session) this.#holder.onSignedOut();
        break;
      case "who-has-focus":
        if (this.#page.hasFocus()) this.#post({ type: "focused" });
        break;
      case "focused":
        this.#settleFocus(true);
    }
  }

  /** @param {Position} position */
  #answer(position) {
    if (!this.#isHeeded) return;
    this.#post({
      type: "pong",
      term: this.#term,
      isHidden: !this.#isSeen,
      frame: this.#holder.onPing(position),
      transport: this.#holder.transport(),
    });
  }
}
