// Inserts rows with pg and tells the users with Socket.IO's Redis emitter; asked as
// benchmarks/senders/sender.py is. process.hrtime is the clock of Python's monotonic().

import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { Emitter } from "@socket.io/redis-emitter";
import pg from "pg";
import { createClient } from "redis";

const CHUNK = 250;
const FIELDS = JSON.parse(process.env.FIELDS);
const NAMES = Object.keys(FIELDS);
const COLUMNS = ["user_id", "title", "created_at", ...NAMES];

const database = new pg.Client({ connectionString: process.env.DATABASE_URL });
const broker = createClient({ url: process.env.REDIS_URL });
await Promise.all([database.connect(), broker.connect()]);
const emitter = new Emitter(broker);

const now = () => Number(process.hrtime.bigint()) / 1e9;
const title = (number) => `A task is overdue @@${number}@@`;

/** Insert a row for each user in one statement, and emit it to them. */
async function tell(users, text) {
  const createdAt = new Date();
  const values = users.flatMap((user) => [user, text, createdAt, ...Object.values(FIELDS)]);
  const marks = users.map((_user, row) => {
    const first = row * COLUMNS.length + 1;
    return `(${COLUMNS.map((_name, column) => `$${first + column}`).join(",")})`;
  });
  const { rows } = await database.query({
    name: `insert ${users.length}`,
    text: `INSERT INTO peers_notification (${COLUMNS.join(",")}) VALUES ${marks.join(",")} RETURNING id`,
    values,
  });
  users.forEach((user, row) => {
    emitter.to(`user_${user}`).emit("notification", {
      id: rows[row].id,
      title: text,
      message: FIELDS.message,
      level: FIELDS.level,
      url: FIELDS.url,
      created_at: createdAt.toISOString(),
    });
  });
}

const verbs = {
  async loop({ users: [start, count], first, calls, rate }) {
    const times = [];
    const began = now();
    for (let call = 0; call < calls; call++) {
      const early = rate ? began + call / rate - now() : 0;
      if (early > 0) await setTimeout(1e3 * early);
      times.push(now());
      await tell([start + (call % count)], title(first + call));
    }
    return { began, ended: now(), times: rate ? times : [] };
  },
  async bulk({ users: [start, count], number }) {
    const began = now();
    for (let user = start; user < start + count; user += CHUNK) {
      const size = Math.min(CHUNK, start + count - user);
      await tell(Array.from({ length: size }, (_none, n) => user + n), title(number));
    }
    return { began, ended: now() };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { verb, ...details } = JSON.parse(line);
  console.log(JSON.stringify(await verbs[verb](details)));
}
process.exit();
