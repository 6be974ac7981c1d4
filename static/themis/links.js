const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** The server refuses the rest when it is written; this is for what is found in the table anyway. @param {unknown} url */
export function isLink(url) {
  if (typeof url !== "string" || url === "" || url.length > 2000 || CONTROL.test(url)) return false;
  if (!/^\/(?![/\\])|^https?:\/\/[^/\\]/i.test(url)) return false;
  try {
    const { protocol, username, password } = new URL(url, "https://themis.invalid/");
    return /^https?:$/.test(protocol) && username === "" && password === "";
  } catch {
    return false;
  }
}

/** @param {string} url @param {string} origin */
export function foreignHost(url, origin) {
  if (!isLink(url)) return "";
  const target = new URL(url, origin);
  return target.origin === origin ? "" : target.host;
}

/** Only ever on this site. @param {Item} item @param {string} mountUrl */
export function openUrl(item, mountUrl) {
  const mount = new URL(mountUrl, location.href);
  const url = URL.canParse(item.open_url, mount) ? new URL(item.open_url, mount) : mount;
  return url.origin === mount.origin ? url.href : mount.href;
}
