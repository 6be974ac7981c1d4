// Socket.IO with the Redis adapter, as its documentation shows it.

import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import pg from "pg";
import { createClient } from "redis";
import { Server } from "socket.io";

import { signedIn } from "./session.js";

const { DATABASE_URL, DJANGO_SECRET_KEY, PORT, REDIS_URL } = process.env;

const pool = new pg.Pool({ connectionString: DATABASE_URL });
const publisher = createClient({ url: REDIS_URL });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, { adapter: createAdapter(publisher, subscriber) });

io.use(async (socket, next) => {
  const user = await signedIn(pool, socket.handshake.headers.cookie, DJANGO_SECRET_KEY);
  if (user === null) return next(new Error("signed out"));
  await socket.join(`user_${user}`);
  next();
});

http.listen(Number(PORT), "127.0.0.1");
