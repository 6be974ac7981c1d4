/** @param {string} name */
export function readCookie(name) {
  const start = `${name}=`;
  const found = name && document.cookie.split("; ").find((cookie) => cookie.startsWith(start));
  return found ? decodeURIComponent(found.slice(start.length)) : null;
}

/** Never a plain socket from a page that came encrypted. @param {string} url @param {string} user */
export function socketAddress(url, user) {
  if (url === "" || !URL.canParse(url, location.href)) return "";
  const address = new URL(url, location.href);
  const isSecure = location.protocol === "https:" || /^(https|wss):$/.test(address.protocol);
  address.protocol = isSecure ? "wss:" : "ws:";
  // A script can't give a handshake a header.
  if (user !== "") address.searchParams.set("for", user);
  return address.href;
}
