// Who is signed in by Django's session cookie: the same two reads and checks as Django's.

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { inflateSync } from "node:zlib";

const SESSIONS = "django.contrib.sessions.SessionStore";
const USERS = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash";

const hmac = (salt, secret, text) =>
  createHmac("sha256", createHash("sha256").update(salt + secret).digest()).update(text);

const isEqual = (one, other) =>
  one.length === other.length && timingSafeEqual(Buffer.from(one), Buffer.from(other));

/** Return the session's data if its signature is right, else null. */
function decode(text, secret) {
  const end = text.lastIndexOf(":");
  const signed = text.slice(0, end);
  const right = hmac(`${SESSIONS}signer`, secret, signed).digest("base64url");
  if (!isEqual(text.slice(end + 1), right)) return null;
  const data = signed.slice(0, signed.lastIndexOf(":"));
  const isDeflated = data.startsWith(".");
  const bytes = Buffer.from(isDeflated ? data.slice(1) : data, "base64url");
  return JSON.parse(isDeflated ? inflateSync(bytes) : bytes);
}

/** Return the key of the user whose session the cookie names, else null. */
export async function signedIn(pool, cookies, secret) {
  const key = /(?:^|;\s*)sessionid=([^;]+)/.exec(cookies ?? "")?.[1];
  if (!key) return null;
  const sessions = await pool.query({
    name: "session",
    text: "SELECT session_data FROM django_session WHERE session_key = $1 AND expire_date > now()",
    values: [key],
  });
  const session = sessions.rows[0] && decode(sessions.rows[0].session_data, secret);
  if (!session) return null;
  const users = await pool.query({
    name: "user",
    text: "SELECT * FROM auth_user WHERE id = $1 AND is_active",
    values: [session._auth_user_id],
  });
  const user = users.rows[0];
  if (!user) return null;
  const hash = hmac(USERS, secret, user.password).digest("hex");
  return isEqual(session._auth_user_hash, hash) ? user.id : null;
}
