/** @import { Connection } from "./connection.js" */

const TICK = 5_000;
const SLEPT = 20_000;

/**
 * Tell a connection what happens to its page: put away and taken out again, shown,
 * frozen and resumed, the network back, the computer woken.
 *
 * @param {Connection} connection
 * @param {AbortSignal} signal Ends it.
 */
export function followPage(connection, signal) {
  const wake = () => connection.wake();
  const options = { signal };
  // A page in the back/forward cache must not hold a socket, or it isn't cached.
  addEventListener("pagehide", () => connection.stop(), options);
  addEventListener(
    "pageshow",
    (event) => {
      if (!event.persisted) return;
      connection.start();
      connection.wake();
    },
    options,
  );
  addEventListener("online", wake, options);
  document.addEventListener("resume", wake, options);
  document.addEventListener(
    "visibilitychange",
    () => {
      if (document.visibilityState === "visible") wake();
    },
    options,
  );

  // Sleep fires no event of its own; a tick that comes much too late gives it away.
  let last = Date.now();
  const timer = setInterval(() => {
    const gap = Date.now() - last;
    last = Date.now();
    if (gap > SLEPT && document.visibilityState === "visible") wake();
  }, TICK);
  signal.addEventListener("abort", () => clearInterval(timer));
}
