// A JavaScript client: fetch and the key in base32. Arguments: the server's address, an API key.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";

const [base, key] = process.argv.slice(2);

async function call(method, path, body) {
  const response = await fetch(base + path, {
    method,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return [response.status, await response.json()];
}

function fromBase32(text) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  let bits = "";
  for (const letter of text) bits += alphabet.indexOf(letter).toString(2).padStart(5, "0");
  return Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
}

function totp(secret, seconds) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(seconds / 30)));
  const digest = createHmac("sha1", secret).update(counter).digest();
  const offset = digest.at(-1) & 15;
  const number = digest.readUInt32BE(offset) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

const user = "Zoë";
const [registered, made] = await call("POST", "/api/v1/devices/register", { device_id: "laptop", user_id: user });
assert.equal(registered, 201);
assert.equal(made.data.user_id, user);
const secret = fromBase32(made.data.secret);
assert.equal(secret.length, 32);

const code = totp(secret, Date.now() / 1000);
for (const valid of [true, false]) {
  const [status, answer] = await call("POST", "/api/v1/otp/verify", { device_id: "laptop", otp: code });
  assert.equal(status, 200);
  assert.equal(answer.data.valid, valid);
}

const [looked, device] = await call("GET", "/api/v1/devices/laptop");
assert.equal(looked, 200);
assert.equal(device.data.usage_count, 1);

const [deactivated, gone] = await call("POST", "/api/v1/devices/laptop/deactivate");
assert.equal(deactivated, 200);
assert.equal(gone.data.is_active, false);
const [removed] = await call("DELETE", "/api/v1/devices/laptop");
assert.equal(removed, 200);
const [missing, problem] = await call("GET", "/api/v1/devices/laptop");
assert.equal(missing, 404);
assert.equal(problem.code, "device_not_found");
console.log("done");
