
/* The admin's part: caches, who uses which, what rules have done. The API refuses it to all others. */
const USERS_SHOWN_MAX = 500, NAMES_SHOWN_MAX = 10;
const MARKS = { waiting: "none", running: "warn", done: "good", failed: "bad" };
const KINDS = { warm: "warm ", mirror: "copy to ", schedule: "look what to warm for " };
let accounts = [], runs = [], edited = null, doomed = null;

async function refreshAdmin() {
  if (!me.isAdmin) return;
  /* A log that cannot be read hides nothing else. */
  const noLog = error => ({ runs: [], failed: words(error) });
  const [users, log] = await Promise.all([api("GET", "/api/v0/accounts"), api("GET", "/api/v0/rules").catch(noLog)]);
  accounts = users.map(user => ({ name: user.name, isAdmin: user.isAdmin, cache: user.ContentCacheUUID }));
  runs = log.runs;
  say("rules-wrong", log.failed || "");
  showCaches();
  showUsers();
  showRuns();
}

const button = (id, text, label, kind, what) => {
  const one = make("button", { type: "button", id, class: `small-button ${kind}`, "aria-label": label }, text);
  one.addEventListener("click", () => doing(one, what));
  return one;
};

function showCaches() {
  $("caches-none").hidden = caches.length > 0;
  const users = id => accounts.filter(account => account.cache === id).length;
  draw("cache-rows", [caches, caches.map(cache => users(cache.id))], () => caches.map(cache => cacheRow(cache, users(cache.id))));
}

function cacheRow(cache, users) {
  const [kind, state, why] = healthOf(cache), health = cache.health || {};
  const about = [why, health.since ? `since ${when(health.since)}` : "", state === "up" && typeof health.roundTripMilliseconds === "number" ? `${shortly(health.roundTripMilliseconds)} ms from the gateway` : ""].filter(Boolean).join("; ");
  const cell = (name, ...children) => make("td", { "data-name": name }, ...children);
  const uses = [...cache.networks, ...cache.isDefault ? [make("span", { class: "tag" }, "default")] : []];
  const warming = !cache.adminURL ? "no admin URL" : [make("span", { class: "mono" }, cache.adminURL), cache.hasAdminToken ? "" : " without a token"];
  return make("tr", {}, make("th", { scope: "row" }, cache.name), cell("host", make("span", { class: "mono" }, cache.host)),
    cell("for", make("div", { class: "row" }, ...uses.length ? uses.map(one => typeof one === "object" ? one : make("span", { class: "mono" }, one)) : ["who chooses it"])),
    cell("health", make("span", { class: `mark ${kind}` }, state), about ? make("div", { class: "small quiet" }, about) : ""),
    cell("warming", ...[warming].flat().filter(Boolean)), cell("users", users),
    make("td", {}, make("div", { class: "row orders" },
      button(`test-${cache.id}`, "Test", `Test ${cache.name}`, "", () => test(cache)),
      button(`edit-${cache.id}`, "Edit", `Edit ${cache.name}`, "", async () => edit(cache)),
      button(`remove-${cache.id}`, "Remove", `Remove ${cache.name}`, "danger", () => askRemoval(cache)))));
}

function showUsers() {
  const filter = $("users-filter").value.trim().toLowerCase();
  const cacheOf = account => account.cache && nameOf(account.cache) || "automatic";
  const found = accounts.filter(account => !filter || `${account.name} ${cacheOf(account)}`.toLowerCase().includes(filter));
  const shown = found.slice(0, USERS_SHOWN_MAX);
  say("users-sum", shown.length < found.length ? `the first ${shown.length} of ${found.length}` : count(found.length, "user", "users"));
  draw("user-rows", shown.map(account => [account, cacheOf(account)]), () => shown.map(account => make("tr", {},
    make("th", { scope: "row" }, account.name, ...account.isAdmin ? [" ", make("span", { class: "tag lead" }, "admin")] : []),
    make("td", { "data-name": "cache", class: cacheOf(account) === "automatic" ? "quiet" : "" }, cacheOf(account)))));
}

function showRuns() {
  $("rules-none").hidden = runs.length > 0;
  const open = runs.filter(run => run.state === "waiting" || run.state === "running").length;
  const failed = runs.filter(run => run.state === "failed").length;
  say("rules-sum", runs.length ? `${open} to do, ${failed} failed` : "");
  draw("rule-rows", runs, () => runs.map(run => {
    /* A digest has a colon, a tag has none. */
    const image = run.kind === "schedule" ? `${run.repository} ${run.reference}` : run.reference.includes(":") ? `${run.repository}@${run.reference}` : `${run.repository}:${run.reference}`;
    const tries = run.attempts > 1 ? `, ${run.attempts} attempts` : "";
    return make("tr", {},
      make("td", {}, make("time", { class: "small quiet", datetime: run.updated }, when(run.updated))),
      make("td", {}, KINDS[run.kind] || `${run.kind} `, make("strong", {}, run.target)),
      make("th", { scope: "row", class: "mono" }, image),
      make("td", {}, make("span", { class: `mark ${MARKS[run.state] || "none"}` }, run.state), make("span", { class: "small quiet" }, tries), run.message ? make("div", { class: "small quiet" }, run.message) : ""),
      make("td", {}, ...orders(run, image)));
  }));
}

function orders(run, image) {
  const order = (what, text) => button(`${what}-${run.id}`, text, `${text}: ${image}, ${run.target}`, "", async () => {
    await api("POST", `/api/v0/rules/${part(run.id)}/${what}`);
    await refreshAdmin();
    tell(what === "retry" ? `To be done again: ${image}, ${run.target}.` : `Cancelled: ${image}, ${run.target}.`);
  });
  if (run.state === "failed" || run.state === "cancelled") return [order("retry", "Try again")];
  return run.state === "waiting" || run.state === "running" ? [order("cancel", "Cancel")] : [];
}

async function reload() {
  take(await api("GET", "/api/v0/content_caches"));
  showChoices();
  await refreshAdmin();
}

async function test(cache) {
  const health = await api("POST", `/api/v0/content_caches/${part(cache.id)}/test`);
  const [kind, state, why] = healthOf({ health });
  const trip = state === "up" && typeof health.roundTripMilliseconds === "number" ? `, ${shortly(health.roundTripMilliseconds)} ms from the gateway` : "";
  await reload();
  tell(`Test of ${cache.name}: ${state}${why ? `: ${why}` : ""}${trip}.`, kind === "none" ? "" : kind);
}

function edit(cache) {
  edited = cache;
  say("cache-title", cache ? `Edit ${cache.name}` : "Register a cache");
  $("cache-name").value = cache ? cache.name : "";
  $("cache-host").value = cache ? cache.host : "";
  $("cache-networks").value = cache ? cache.networks.join("\n") : "";
  $("cache-default").checked = Boolean(cache && cache.isDefault);
  $("cache-admin-url").value = cache && cache.adminURL || "";
  $("cache-admin-token").value = "";
  say("cache-token-hint", cache && cache.hasAdminToken ? "There is one, which is not shown. Left empty, it stays." : "transship.admin.token of the cache's configuration, if it has one.");
  say("cache-wrong", "");
  $("cache-dialog").showModal();
}

async function saveCache() {
  const body = {
    name: $("cache-name").value.trim(), host: $("cache-host").value.trim(),
    networks: $("cache-networks").value.split(/[\s,]+/).filter(Boolean),
    isDefault: $("cache-default").checked, adminURL: $("cache-admin-url").value.trim(),
  };
  if ($("cache-admin-token").value) body.adminToken = $("cache-admin-token").value;
  const path = "/api/v0/content_caches";
  if (edited) await api("PUT", `${path}/${part(edited.id)}`, body);
  else await api("POST", path, body);
  /* What a page may measure was settled when it was loaded. */
  sessionStorage.setItem("said", edited ? `${body.name} was changed.` : `${body.name} was registered.`);
  location.reload();
  return new Promise(() => {});
}

async function askRemoval(cache) {
  const users = await api("GET", `/api/v0/content_caches/${part(cache.id)}/users`);
  doomed = cache;
  const more = users.length > NAMES_SHOWN_MAX ? ` and ${users.length - NAMES_SHOWN_MAX} more` : "";
  say("remove-title", `Remove ${cache.name}?`);
  say("remove-text", users.length ? `${count(users.length, "user has", "users have")} chosen it: ${users.slice(0, NAMES_SHOWN_MAX).join(", ")}${more}. Their pulls go on, by the automatic choice.` : "No user has chosen it.");
  say("remove-wrong", "");
  $("remove-dialog").showModal();
}

async function remove() {
  await api("DELETE", `/api/v0/content_caches/${part(doomed.id)}`);
  $("remove-dialog").close();
  await reload();
  tell(`${doomed.name} was removed.`);
}

$("register").addEventListener("click", () => edit(null));
$("users-filter").addEventListener("input", showUsers);
$("cache-form").addEventListener("submit", event => { event.preventDefault(); say("cache-wrong", ""); doing($("cache-save"), saveCache, text => say("cache-wrong", text)); });
$("remove-form").addEventListener("submit", event => { event.preventDefault(); doing($("remove-do"), remove, text => say("remove-wrong", text)); });
