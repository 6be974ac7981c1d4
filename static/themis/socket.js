import { Alarm } from "./clock.js";
import { decode, isStateFrame, withPosition } from "./protocol.js";

/** A proxy that swallows the upgrade also blocks every other socket to its host. */
const CONNECT_TIMEOUT = 8_000;

/** The server pings every 25 s; 10 s more and the line is dead. */
const DEAD_AFTER = 35_000;

const PONG_TIMEOUT = 5_000;
const FRAMES_PER_ACK = 32;

/** Open only after its first state frame: some proxies accept the upgrade and then carry nothing. */
export class LiveSocket {
  isOpen = false;
  lastFrameAt = 0;
  #clock;
  #holder;
  #socket;
  #deadline;
  #pong;
  #isOver = false;
  #unacknowledged = 0;
  /** @type {number | null} */
  #retryMs = null;

  /** @param {SocketOptions} options */
  constructor({ url, WebSocket, clock, holder }) {
    this.#clock = clock;
    this.#holder = holder;
    this.#deadline = new Alarm(clock, () => this.#checkDeadline());
    this.#pong = new Alarm(clock, () => this.#end(0));
    this.#socket = new WebSocket(withPosition(url, holder.position()));
    this.#deadline.set(CONNECT_TIMEOUT);
    this.#socket.onmessage = (event) => this.#receive(event.data);
    this.#socket.onclose = (event) => this.#end(event.code);
  }

  sync() {
    const { epoch, revision } = this.#holder.position();
    this.#send(epoch === null ? { type: "sync" } : { type: "sync", since: revision, epoch });
  }

  /** After sleep a socket may look open for minutes; a missing answer ends it. */
  probe() {
    if (!this.isOpen || this.#pong.isSet) return;
    this.#pong.set(PONG_TIMEOUT);
    this.#send({ type: "ping" });
  }

  close() {
    this.#isOver = true;
    this.isOpen = false;
    this.#deadline.clear();
    this.#pong.clear();
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close();
  }

  /** @param {unknown} data */
  #receive(data) {
    const frame = decode(data);
    if (this.#isOver || frame === null) return;
    this.lastFrameAt = this.#clock.now();
    if (isStateFrame(frame)) this.#receiveState(frame);
    else this.#receiveControl(frame);
    if (!this.#isOver && ++this.#unacknowledged >= FRAMES_PER_ACK) this.#acknowledge();
  }

  /** @param {StateFrame} frame */
  #receiveState(frame) {
    const isFirst = !this.isOpen;
    if (isFirst) this.#deadline.set(DEAD_AFTER);
    this.isOpen = true;
    this.#holder.onState(frame, isFirst);
  }

  /** @param {Exclude<Frame, StateFrame>} frame */
  #receiveControl(frame) {
    if (frame.type === "restart") this.#retryMs = frame.retry_ms;
    if (frame.type === "ping") this.#acknowledge();
    if (frame.type === "pong") this.#pong.clear();
    if (!("epoch" in frame) || !this.isOpen) return;
    const { epoch, revision } = this.#holder.position();
    if (frame.epoch !== epoch || frame.revision > revision) this.#holder.onBehind(frame);
  }

  #acknowledge() {
    this.#unacknowledged = 0;
    this.#send({ type: "ack", revision: this.#holder.position().revision });
  }

  /** Compares times, because timers sleep with the computer and in hidden tabs. */
  #checkDeadline() {
    const left = this.isOpen ? this.lastFrameAt + DEAD_AFTER - this.#clock.now() : 0;
    if (left > 0) this.#deadline.set(left);
    else this.#end(0);
  }

  /** @param {object} frame */
  #send(frame) {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  /** @param {number} code */
  #end(code) {
    if (this.#isOver) return;
    this.close();
    this.#holder.onEnd(code, this.#retryMs);
  }
}
