
/* The user's part: which cache, how far it is, and how docker logs in. */
const ROUNDS = 5, FAR = 5000;
let saved = null, picked = null, measurable = new Set();
const far = {};

/* How long a round trip to a cache takes, in milliseconds; the first one, which connects, does not count. */
async function measure(host) {
  const times = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const from = performance.now();
    await fetch(new URL("/v2/", host), { mode: "no-cors", cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer", redirect: "follow", signal: AbortSignal.timeout(FAR) });
    if (round) times.push(performance.now() - from);
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
}

/* Why a cache's distance cannot be seen from a page, if so. */
function unseen(host) {
  const url = new URL(host);
  if (!/^[a-z0-9.-]+$/i.test(url.hostname)) return "no distance: browsers measure names and IPv4 alone";
  if (location.protocol === "https:" && url.protocol === "http:") return "no distance: plain HTTP";
  return measurable.has(host) ? "" : "no distance: load this page again";
}

async function measureAll() {
  for (const cache of caches) far[cache.host] = { text: "measuring …" };
  showChoices();
  await Promise.all(caches.map(async cache => {
    let found;
    try {
      found = unseen(cache.host) ? { text: unseen(cache.host) } : { ms: await measure(cache.host) };
    } catch {
      found = { text: "unreachable from here", bad: true };
    }
    far[cache.host] = found;
    showChoices();
  }));
}

const shortly = ms => ms < 10 ? ms.toFixed(1) : String(Math.round(ms));

function distance(cache, nearest) {
  const found = far[cache.host] || { text: "" };
  if (found.ms === undefined) return make("span", { class: `far small ${found.bad ? "mark bad" : "quiet"}` }, found.text);
  return make("span", { class: "far" }, make("b", {}, `${shortly(found.ms)} ms`), ...cache.host === nearest ? [" ", make("span", { class: "tag lead" }, "nearest")] : []);
}

function choiceOf(id, name, about, end) {
  const radio = make("input", { type: "radio", name: "choice", value: id, id: `choice-of-${id}`, checked: picked === id });
  radio.addEventListener("change", () => { picked = id; showState(); });
  return make("li", {}, make("label", {}, radio, make("span", { class: "name" }, ...name), about, end));
}

function automatic() {
  const now = nameOf(me.automatic);
  return choiceOf("", ["Automatic"], make("span", { class: "about small quiet wrap" },
    "The cache for your network, else the default. ", now === null ? "Here that is none now: the registry itself serves you." : `Here that is ${now} now.`), make("span", {}));
}

function showChoices() {
  const reached = caches.filter(cache => far[cache.host] && far[cache.host].ms !== undefined && healthOf(cache)[1] === "up");
  reached.sort((a, b) => far[a.host].ms - far[b.host].ms);
  const nearest = reached.length > 1 ? reached[0].host : "";
  const shown = caches.map(cache => [cache.id, cache.name, cache.host, cache.isDefault, healthOf(cache), far[cache.host]]);
  draw("choice-list", [shown, me.automatic, nearest, saved], () => [automatic(), ...caches.map(cache => {
    const [kind, state, why] = healthOf(cache);
    const name = [make("span", { class: "wrap" }, cache.name), make("span", { class: `small mark ${kind}` }, state)];
    if (cache.isDefault) name.push(make("span", { class: "tag" }, "default"));
    const about = make("span", { class: "about small quiet wrap" }, make("span", { class: "mono" }, cache.host), why ? `: ${why}` : "");
    return choiceOf(cache.id, name, about, distance(cache, nearest));
  })]);
  showState();
}

function showState() {
  $("choice-save").disabled = picked === saved;
  const cache = caches.find(one => one.id === saved);
  const isDown = cache && healthOf(cache)[1] === "down";
  say("choice-note", isDown ? `${cache.name} is down: until it is back, the registry itself serves you.` : "");
  if (picked !== saved) say("choice-state", "not saved yet");
  else if ($("choice-state").textContent === "not saved yet") say("choice-state", "");
}

async function loadChoice() {
  const [list, mine] = await Promise.all([api("GET", "/api/v0/content_caches"), api("GET", settings())]);
  take(list);
  saved = nameOf(mine.ContentCacheUUID) === null ? "" : mine.ContentCacheUUID;
  picked = saved;
}

function take(list) {
  caches = list.slice().sort((a, b) => a.name.localeCompare(b.name));
  if (picked && nameOf(picked) === null) picked = "";
  if (saved && nameOf(saved) === null) saved = "";
}

async function save() {
  const wanted = picked;
  await api("PATCH", settings(), { contentCacheUUID: wanted });
  saved = wanted;
  showChoices();
  say("choice-state", wanted ? `Saved: ${nameOf(wanted)}.` : "Saved: automatic.");
  await refreshAdmin();
}

async function copy(id) {
  const text = $(id).textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    /* Over plain HTTP a page has no clipboard, but a selection. */
    getSelection().selectAllChildren($(id));
    if (!document.execCommand("copy")) { say("copied", "Selected: press Ctrl+C."); return; }
  }
  say("copied", `Copied: ${text}`);
}

/* Looks again while somebody is there: who has gone for long is to be logged out. */
async function look() {
  if (!document.hidden && Date.now() - touched < REST) {
    try {
      take(await api("GET", "/api/v0/content_caches"));
      showChoices();
      await refreshAdmin();
      if ($("said").textContent === GONE) tell("");
    } catch (error) {
      tell(error instanceof Refused ? GONE : words(error), "bad");
    }
  }
  setTimeout(look, EVERY);
}
const GONE = "The gateway does not answer as it should. What is shown is older; it is asked again every few seconds.";

async function begin() {
  me = await api("GET", "/api/v0/session");
  say("username", me.username);
  const registry = me.registry || location.host;
  say("docker-login", `docker login ${registry}`);
  say("docker-pull", `docker pull ${registry}/REPOSITORY:TAG`);
  for (const one of document.querySelectorAll("[data-admin]")) one.hidden = !me.isAdmin;
  const before = sessionStorage.getItem("said");
  sessionStorage.removeItem("said");
  if (before) tell(before);
  await loadChoice();
  measurable = new Set(caches.map(cache => cache.host));
  showChoices();
  await refreshAdmin();
  document.documentElement.dataset.ready = "yes";
  await measureAll();
  setTimeout(look, EVERY);
}

$("choice-form").addEventListener("submit", event => { event.preventDefault(); doing($("choice-save"), save).then(showState); });
$("measure").addEventListener("click", () => doing($("measure"), measureAll));
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button.dataset.copy));
$("logout").addEventListener("click", () => doing($("logout"), async () => {
  await api("DELETE", "/api/v0/session");
  location.replace("/login");
}));
addEventListener("DOMContentLoaded", () => begin().catch(error => tell(words(error), "bad")));
