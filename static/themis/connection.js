import { backoff, CAP, CAP_NEVER_OPENED, RESTART, spread } from "./backoff.js";
import { Alarm, systemClock } from "./clock.js";
import { Poller } from "./polling.js";
import { closeMeaning } from "./protocol.js";
import { Resync } from "./resync.js";
import { LiveSocket } from "./socket.js";

const PATIENCE = 10_000;

const STABLE = 30_000;

const BLOCKED_AFTER = 3;

const LONG_BLOCKED = 9;

const ATTEMPT_SPACING = 1_000;

/** Fires "frame" and "transport". Knows no DOM. */
export class Connection extends EventTarget {
  isSignedOut = false;
  /** @type {number | null} */
  heardAt = null;
  #clock;
  #position;
  #socketUrl;
  #memory;
  #WebSocket;
  #poller;
  #resync;
  #retry;
  #patience;
  /** @type {LiveSocket | null} */
  #socket = null;
  #isRunning = false;
  #isLate = false;
  #pollFailed = false;
  #everOpened = false;
  #failures = 0;
  #attemptAt = -Infinity;
  #openedAt = 0;
  #told = "";

  /** @param {ConnectionOptions} options */
  constructor({
    stateUrl,
    socketUrl,
    headers = {},
    pollInterval,
    position,
    isHidden = () => false,
    memory = { isBlocked: false },
    WebSocket = globalThis.WebSocket,
    fetch = (input, init) => globalThis.fetch(input, init),
    clock = systemClock,
  }) {
    super();
    this.#clock = clock;
    this.#position = position;
    this.#memory = memory;
    this.#WebSocket = WebSocket;
    this.#socketUrl = WebSocket === undefined ? "" : socketUrl;
    this.#retry = new Alarm(clock, () => this.#connect());
    this.#patience = new Alarm(clock, () => this.#losePatience());
    this.#resync = new Resync(clock, () => this.#ask());
    this.#poller = new Poller({
      url: stateUrl,
      headers,
      fetch,
      clock,
      holder: {
        position,
        isHidden,
        onAnswer: (frame) => {
          this.#pollFailed = false;
          this.heardAt = clock.now();
          if (frame !== null) this.#deliver(frame);
          else this.#resync.settle(position());
          this.#tell();
        },
        onFailure: () => {
          this.#pollFailed = true;
          this.#tell();
        },
        onSignedOut: () => this.signOut(),
      },
    });
    this.#poller.interval = pollInterval;
  }

  /** @returns {TransportState} */
  get state() {
    if (!this.#isRunning) return "stopped";
    if (this.#socket?.isOpen) return "open";
    if (this.#poller.isStarted) return "polling";
    if (this.#socket !== null) return "connecting";
    return this.#retry.isSet ? "backoff" : "stopped";
  }

  get isStale() {
    const { state } = this;
    if (this.isSignedOut || state === "open") return false;
    return this.#isLate && (state !== "polling" || this.#pollFailed);
  }

  start() {
    if (this.#isRunning || this.isSignedOut) return;
    this.#isRunning = true;
    if (this.#socketUrl === "") {
      this.#losePatience();
    } else if (this.#memory.isBlocked && !this.#everOpened) {
      this.#failures = LONG_BLOCKED;
      this.#retry.set(backoff(LONG_BLOCKED, CAP_NEVER_OPENED, this.#clock.random));
      this.#losePatience();
    } else {
      this.#patience.set(PATIENCE);
      this.#connect();
    }
  }

  stop() {
    this.#isRunning = false;
    this.#isLate = false;
    this.#pollFailed = false;
    this.#patience.clear();
    this.#letGo();
    this.#poller.stop();
    this.#tell();
  }

  signOut() {
    this.isSignedOut = true;
    this.stop();
  }

  revive() {
    this.isSignedOut = false;
    this.#tell();
  }

  check() {
    if (!this.isSignedOut) this.#poller.fetchSoon();
  }

  wake() {
    if (!this.#isRunning) return;
    if (this.#socket?.isOpen) this.#socket.probe();
    else if (this.#retry.isSet) this.#hurry();
    if (this.#poller.isStarted) this.#poller.fetchSoon();
  }

  expire() {
    this.#poller.fetchSpread();
  }

  refresh() {
    if (this.isSignedOut) return;
    if (this.#retry.isSet) this.#hurry();
    if (this.#socket?.isOpen) this.#socket.probe();
    else this.#poller.fetchSoon();
  }

  /** @param {Position} position */
  sync(position) {
    if (!this.isSignedOut) this.#resync.want(position);
  }

  #ask() {
    if (this.#socket?.isOpen) this.#socket.sync();
    else this.#poller.fetchSoon();
  }

  #hurry() {
    if (this.#clock.now() - this.#attemptAt >= ATTEMPT_SPACING) this.#connect();
  }

  #connect() {
    if (!this.#isRunning || this.#socket !== null || this.#WebSocket === undefined) return;
    this.#retry.clear();
    this.#attemptAt = this.#clock.now();
    try {
      this.#socket = new LiveSocket({
        url: this.#socketUrl,
        WebSocket: this.#WebSocket,
        clock: this.#clock,
        holder: {
          position: this.#position,
          onState: (frame, isFirst) => this.#received(frame, isFirst),
          onBehind: (position) => this.#resync.want(position),
          onEnd: (code, retryMs) => this.#ended(code, retryMs),
        },
      });
    } catch {
      // An address that can't be: the constructor throws, at once and every time.
      this.#giveUpSocket();
    }
    this.#tell();
  }

  /** @param {StateFrame} frame @param {boolean} isFirst */
  #received(frame, isFirst) {
    this.heardAt = this.#clock.now();
    if (isFirst) {
      this.#everOpened = true;
      this.#memory.isBlocked = false;
      this.#openedAt = this.heardAt;
      this.#patience.clear();
      this.#resync.reset();
    }
    this.#deliver(frame);
    if (!isFirst) return;
    // Not before the frame is taken in, so that there is no gap between the two.
    this.#isLate = false;
    this.#pollFailed = false;
    this.#poller.stop();
    this.#tell();
  }

  /** @param {StateFrame} frame */
  #deliver(frame) {
    this.#poller.interval = frame.poll_interval;
    this.dispatchEvent(Object.assign(new Event("frame"), { frame }));
    const position = this.#position();
    if (position.epoch === frame.epoch && position.revision >= frame.revision) this.#resync.settle(position);
    if (this.#isLate && !this.#socket?.isOpen && this.#isRunning) this.#poller.start();
  }

  /** @param {number} code @param {number | null} retryMs */
  #ended(code, retryMs) {
    const meaning = closeMeaning(code);
    const { random } = this.#clock;
    const wasOpen = this.#openedAt > 0;
    if (wasOpen) this.heardAt = this.#socket?.lastFrameAt ?? this.heardAt;
    if (wasOpen && this.#clock.now() - this.#openedAt >= STABLE) this.#failures = 0;
    this.#letGo();
    if (meaning === "stop") return this.signOut();
    if (meaning === "poll") return this.#giveUpSocket();
    if (wasOpen) this.#patience.set(PATIENCE);
    if (meaning === "restart" || retryMs !== null) {
      this.#retry.set(spread(retryMs ?? RESTART, random));
    } else {
      const isBlocked = !this.#everOpened && this.#failures >= BLOCKED_AFTER - 1;
      if (isBlocked) this.#memory.isBlocked = true;
      this.#retry.set(backoff(this.#failures, isBlocked ? CAP_NEVER_OPENED : CAP, random));
      this.#failures += 1;
    }
    this.#tell();
  }

  #giveUpSocket() {
    this.#letGo();
    this.#socketUrl = "";
    this.#losePatience();
  }

  #losePatience() {
    this.#patience.clear();
    this.#isLate = true;
    this.#poller.start();
    this.#tell();
  }

  #letGo() {
    this.#retry.clear();
    this.#resync.reset();
    this.#socket?.close();
    this.#socket = null;
    this.#openedAt = 0;
  }

  #tell() {
    const told = [this.state, this.isStale, this.isSignedOut].join();
    if (told === this.#told) return;
    this.#told = told;
    this.dispatchEvent(new Event("transport"));
  }
}
