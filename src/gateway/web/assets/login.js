"use strict";
const $ = id => document.getElementById(id);
const WORDS = {
  401: "The name or the password is wrong.",
  403: "The login was refused: it does not come from this page. A proxy before the gateway has to pass on the Host that the browser asks for.",
  503: "Not now: ask again in a moment.",
};

/* A page of a session that has ended leads here. */
$("ended").hidden = location.hash !== "#ended";

async function logIn() {
  const body = JSON.stringify({ username: $("username").value, password: $("password").value });
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("/api/v0/session", { method: "POST", headers, body, cache: "no-store", signal: AbortSignal.timeout(30000) });
  if (answer.ok) {
    location.replace("/");
    return;
  }
  $("wrong").textContent = WORDS[answer.status] || `The gateway refuses (${answer.status}).`;
  $("password").value = "";
  $("password").focus();
}

$("form").addEventListener("submit", async event => {
  event.preventDefault();
  $("wrong").textContent = "";
  $("ended").hidden = true;
  $("submit").disabled = true;
  try {
    await logIn();
  } catch {
    $("wrong").textContent = "The gateway does not answer.";
  }
  $("submit").disabled = false;
});
