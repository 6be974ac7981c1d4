/** A cookie that follows what other tabs do; null if there is none. @param {string} name */
export function readCookie(name) {
  const start = `${name}=`;
  const found = name && document.cookie.split("; ").find((cookie) => cookie.startsWith(start));
  return found ? decodeURIComponent(found.slice(start.length)) : null;
}

/**
 * The whole address of a socket that the server names by path or in full. Never a plain
 * one from a page that came encrypted.
 *
 * @param {string} url @param {string} user Whom the page was made for.
 */
export function socketAddress(url, user) {
  if (url === "" || !URL.canParse(url, location.href)) return "";
  const address = new URL(url, location.href);
  const isSecure = location.protocol === "https:" || /^(https|wss):$/.test(address.protocol);
  address.protocol = isSecure ? "wss:" : "ws:";
  // A script can't give a handshake a header.
  if (user !== "") address.searchParams.set("for", user);
  return address.href;
}
