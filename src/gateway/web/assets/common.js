"use strict";
/* What all parts of the page use. Texts from the API are texts: nothing here makes markup of them. */
const EVERY = 15000, REST = 600000, UNSAFE = { "Content-Type": "application/json" };
const $ = id => document.getElementById(id);
let me = null, caches = [], touched = Date.now();

const say = (id, text) => { const at = $(id); if (at.textContent !== text) at.textContent = text; };
const make = (tag, attributes, ...children) => {
  const one = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === true) one.setAttribute(name, "");
    else if (value !== false && value !== undefined) one.setAttribute(name, value);
  }
  one.append(...children.map(child => typeof child === "object" ? child : String(child)));
  return one;
};

/* Only what has changed is drawn again, and who stands in it by keyboard stays there. */
const drawn = {};
const draw = (id, data, rows) => {
  const key = JSON.stringify(data);
  if (drawn[id] === key) return;
  drawn[id] = key;
  const at = $(id), held = at.contains(document.activeElement) ? document.activeElement.id : "";
  at.replaceChildren(...rows());
  if (held && $(held)) $(held).focus({ preventScroll: true });
};

/* What came of something, where everybody hears it. */
const tell = (text, kind = "good") => {
  $("said").className = `note ${kind}`;
  say("said", text);
};

class Refused extends Error {}

/* Asks the API; a session that has ended leads to the login. */
async function api(method, path, body) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") Object.assign(headers, UNSAFE, { "X-CSRF-Token": me.csrf });
  const options = { method, headers, cache: "no-store", signal: AbortSignal.timeout(30000) };
  if (body !== undefined) options.body = JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused("The gateway does not answer.");
  }
  if (answer.status === 401) {
    location.replace("/login#ended");
    return new Promise(() => {});
  }
  const text = await answer.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { /* Told by its status. */ }
  if (answer.ok) return value;
  const error = value && value.errors && value.errors[0];
  throw new Refused(error ? `Refused: ${[error.message, error.detail].filter(one => typeof one === "string").join(": ")}.` : `The gateway failed (${answer.status}).`);
}
const words = error => error instanceof Refused ? error.message : `The page failed: ${error.message}`;
const part = id => encodeURIComponent(id);
const settings = () => `/api/v0/accounts/${part(me.username)}/settings`;
const nameOf = id => { const found = caches.find(cache => cache.id === id); return found ? found.name : null; };
const count = (n, one, many) => `${n} ${n === 1 ? one : many}`;

function healthOf(cache) {
  const health = cache.health || {};
  if (health.state === "up") return ["good", "up", ""];
  if (health.state === "down") return ["bad", "down", health.reason || ""];
  return ["none", "not looked at yet", ""];
}

/* A time, as RFC 3339 or in seconds since the epoch. */
function when(said) {
  const at = new Date(typeof said === "number" ? said * 1000 : said);
  if (Number.isNaN(at.getTime())) return String(said);
  return `${at.toLocaleDateString("en-CA")} ${at.toLocaleTimeString("en-GB")}`;
}

/* Runs something that a person has begun: not twice at once, and what failed is told. */
async function doing(button, what, failed = text => tell(text, "bad")) {
  if (button.disabled) return;
  button.disabled = true;
  try {
    await what();
  } catch (error) {
    failed(words(error));
  }
  button.disabled = false;
}

for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
