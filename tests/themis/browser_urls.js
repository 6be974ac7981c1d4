// What a browser makes of addresses: one JSON string a line, on a page of site.example.
import { createInterface } from "node:readline";
import { isLink } from "../../static/themis/links.js";

const PAGE = "https://site.example/notifications/";

for await (const line of createInterface({ input: process.stdin })) {
  const text = JSON.parse(line);
  const url = URL.canParse(text, PAGE) ? new URL(text, PAGE) : null;
  const { protocol, origin, host, hostname, username, password } = url ?? {};
  const parsed = url && { protocol, origin, host, hostname, username, password };
  console.log(JSON.stringify({ parsed, isLink: isLink(text) }));
}
