/*
 * The shapes that modules share, for the type checker and for readers: no browser loads
 * this. What goes over the wire is version 1 of the format (docs/reference/protocol.md).
 */

type Bell = import("./bell.js").ThemisBellElement;
type Panel = import("./panel.js").Panel;
type Operation = import("./operations.js").Operation;

/** Fired as "frame" or "applied": state that the server told. */
type FrameEvent = Event & { frame: StateFrame };

/** Fired as "new": notifications that this page has never held, newest first. */
type NewItemsEvent = Event & { items: Item[] };

/* The wire */

interface Item {
  /** A decimal string. */
  id: string;
  title: string;
  message: string;
  /** "info", "success", "warning" or "danger". */
  level: string;
  /** Where the notification leads; may be empty. */
  url: string;
  /** Relative to the mount: marks read, then redirects. */
  open_url: string;
  source: { app: string; model: string; id: string };
  created_at: string;
  read_at: string | null;
  expires_at: string | null;
  created_revision: number;
  revision: number;
}

interface State {
  v: 1;
  epoch: string;
  revision: number;
  /** Exact to 9,999; 10,000 means more. */
  unread: number;
  items: Item[];
  /** The server's clock when the frame was made. */
  now: string;
  /** Seconds; 0 means never poll. */
  poll_interval: number;
  /** Whether the account asks for desktop notifications. */
  desktop: boolean;
  /** The time of the operation that a POST answered. */
  at?: string;
}

interface Snapshot extends State {
  type: "snapshot";
}

interface Changes extends State {
  type: "changes";
  since: number;
  removed: string[];
}

type StateFrame = Snapshot | Changes;
type Beat = { type: "ping" | "pong"; epoch: string; revision: number };
type Restart = { type: "restart"; retry_ms: number };
type ErrorFrame = { type: "error"; detail: string };
type Frame = StateFrame | Beat | Restart | ErrorFrame;

/** What a page holds; epoch null means nothing yet. */
interface Position {
  epoch: string | null;
  revision: number;
}

/** What a store keeps of the frame it took in last. */
type Known = Position & Pick<State, "unread" | "desktop" | "poll_interval">;

type Check = (value: any) => boolean;

/** The fields that a value must have. */
type Shape = Record<string, Check>;

interface StoreOptions {
  window?: number;
  /** The count the server rendered into the page. */
  unread?: number;
  clock?: Clock;
}

/* Time */

/** Time and chance, as one object that tests can replace. */
interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(handle: any): void;
  /** At least 0, below 1. */
  random(): number;
}

/* The way to the server */

/**
 * How the page hears of changes: by a socket that is being "connecting" to or "open"; by
 * "polling" while it is down; not at the moment ("backoff"); or not any more ("stopped":
 * signed out, suspended, or neither way is there).
 */
type TransportState = "connecting" | "open" | "backoff" | "polling" | "stopped";

interface Transport {
  state: TransportState;
  /** Out of touch long enough that the person should know. */
  isStale: boolean;
  isSignedOut: boolean;
  /** When the server last told or confirmed the state. */
  heardAt: number | null;
}

interface ConnectionOptions {
  stateUrl: string;
  /** Empty: there is no socket, poll. */
  socketUrl: string;
  /** More of them, for polls. */
  headers?: Record<string, string>;
  /** Seconds; 0 = never poll. */
  pollInterval: number;
  /** What the page holds now. */
  position: () => Position;
  /** Whether nobody sees the page. */
  isHidden?: () => boolean;
  /** What earlier pages have learnt of sockets. */
  memory?: { isBlocked: boolean };
  WebSocket?: typeof globalThis.WebSocket | undefined;
  fetch?: typeof globalThis.fetch;
  clock?: Clock;
}

/** What the holder of a socket is told, and asked. */
interface SocketHolder {
  position(): Position;
  onState(frame: StateFrame, isFirst: boolean): void;
  /** The server has this, the page doesn't. */
  onBehind(position: Position): void;
  /**
   * The socket is gone, code 0 when this side gave it up. Called at most once, and not
   * at all after `close()`.
   */
  onEnd(code: number, retryMs: number | null): void;
}

interface SocketOptions {
  url: string;
  WebSocket: typeof globalThis.WebSocket;
  clock: Clock;
  holder: SocketHolder;
}

interface PollHolder {
  position(): Position;
  /** The server answered; null means that the page is up to date. */
  onAnswer(frame: StateFrame | null): void;
  onFailure(): void;
  onSignedOut(): void;
  isHidden(): boolean;
}

interface PollerOptions {
  url: string;
  headers: Record<string, string>;
  fetch: typeof globalThis.fetch;
  clock: Clock;
  holder: PollHolder;
}

/* What the person does */

type Verb = "read" | "unread" | "dismiss" | "restore";

/**
 * What an operation is about: some notifications; all that the mailbox held at a revision;
 * or what an earlier operation did, named by its time, to be undone.
 */
type Selected = { ids: string[] } | { upTo: number; epoch: string } | { at: string };

interface OperationsHolder {
  onAnswer(frame: StateFrame): void;
  onSignedOut(): void;
  /** What the page shows is not what the server has. */
  onOutdated(): void;
  /** An operation has begun, succeeded, failed or been forgotten. */
  onChange(): void;
}

interface OperationsOptions {
  /** Of the list; the verbs are below it. */
  url: string;
  /** More of them: the CSRF token. */
  headers: () => Record<string, string>;
  fetch?: typeof globalThis.fetch;
  holder: OperationsHolder;
}

interface Started {
  operation: Operation;
  /** Fulfilled with whether it worked. */
  finished: Promise<boolean>;
}

/* The mailbox and its tabs */

interface OlderOptions {
  /** Of the list. */
  url: string;
  headers: Record<string, string>;
  store: import("./store.js").Store;
  onSignedOut(): void;
}

interface MailboxConfig {
  mountUrl: string;
  stateUrl: string;
  notificationsUrl: string;
  socketUrl: string;
  /** Whom the page was made for, and by which session: opaque. */
  user: string;
  session: string;
  csrfToken: string;
  /** Its name; empty: scripts can't read it. */
  csrfCookie: string;
  pollInterval: number;
  unread: number;
}

/** What a tab may ask of the leader: methods of the connection. */
type Wish = "wake" | "refresh" | "expire" | "check";

/** What tabs tell each other. A `term` is the leader's: who led later has a higher one. */
type TabMessage =
  | { type: "ping"; isHidden: boolean; position: Position }
  | { type: "pong"; term: number; isHidden: boolean; frame: StateFrame | null; transport: Transport }
  | { type: "transport"; term: number; transport: Transport }
  | { type: "frame"; term?: number; frame: StateFrame }
  | { type: "wish"; wish: Wish }
  | { type: "signed-out" }
  | { type: "who-has-focus" }
  | { type: "focused" };

interface TabsHolder {
  position(): Position;
  transport(): Transport;
  /** What a tab that holds this lacks. */
  onPing(position: Position): StateFrame | null;
  onLead(): void;
  onFollow(): void;
  onFrame(frame: StateFrame): void;
  /** Of the leader. */
  onTransport(transport: Transport): void;
  onWish(wish: Wish): void;
  onSignedOut(): void;
  /** A tab of another session is there; empty: of another person. */
  onNewcomer(session: string): void;
}

interface TabsOptions {
  /** Two mailboxes of one origin don't mix. */
  mount: string;
  user: string;
  session: string;
  holder: TabsHolder;
  clock: Clock;
  /** Null: there are none. */
  locks?: LockManager | null;
  Channel?: typeof globalThis.BroadcastChannel | null;
  page?: Document;
}

type Area = "localStorage" | "sessionStorage";

/* What is shown */

/** What the wire has is not dismissed. */
type RowItem = Item & { isDismissed?: boolean };

/** What rows need to know of the bell they belong to. */
interface RowSurroundings {
  templates: ParentNode;
  texts: import("./template.js").Texts;
  /** Where `open_url` starts from. */
  mountUrl: string;
}

/** What a bell shares with the lists of its page. */
interface Surroundings extends RowSurroundings {
  mailbox: import("./mailbox.js").Mailbox;
  say(text: string): void;
}

/** A line with a button. */
interface NoteContent {
  text: string;
  /** What the button says. */
  label: string;
  /** What a screen reader says instead. */
  name?: string;
  act(): unknown;
}

/** A row that stays in its place although it has been dismissed or restored. */
interface Moved {
  verb: Verb;
  /** As it was. */
  item: RowItem;
  at: number;
  started: Started | null;
  isUndone: boolean;
}

/** Told the time by which all is read; null = no longer. */
type Settle = (at: string | null) => void;

/** What marked all as read. */
type All = Started & { undo: () => unknown; settle: Settle | undefined };

/* What is said */

type NewsMailbox = EventTarget & { items: Item[]; unread: number };

interface NewsOptions {
  /** Ends it. */
  signal?: AbortSignal;
  clock?: Clock;
}

/* Outside the window */

/**
 * What becomes of desktop notifications here: the page is not encrypted ("insecure"), the
 * browser has none ("unsupported") or blocks them ("denied"), or no longer allows what the
 * person had turned on ("revoked"); they are off, and the browser would "ask" or allow them
 * ("off"); or "on".
 */
type DeviceState = "insecure" | "unsupported" | "denied" | "revoked" | "ask" | "off" | "on";

type DesktopMailbox = EventTarget &
  Pick<import("./mailbox.js").Mailbox, "items" | "unread" | "desktop" | "isLeader" | "isAnyFocused">;

interface DesktopOptions {
  user?: string;
  device?: import("./device.js").Device;
  /** What arrived while this was loaded. */
  missed?: Item[];
  texts: import("./template.js").Texts;
  mountUrl: string;
  clock?: Clock;
}
