// The console is links and forms. This has them change the page in its place, looks every two seconds at what others did,
// shows what is veiled, and takes the keys of `breakfix review`.
"use strict";

const EVERY = 2000;
const FIELDS = "input, textarea, select";
const bare = (url) => url.split("#")[0];  // what an answer's address is: a fragment is never sent
let seen = new Map(), visit = 0, shown = bare(location.href);

const part = (id, page = document) => page.getElementById(id);
const parsed = (text) => new DOMParser().parseFromString(text, "text/html");
const typed = (where) => [...where.querySelectorAll("textarea, input:not([type=hidden])")]
  .some((field) => field.value !== field.defaultValue || field === document.activeElement);

function say(id, text) {
  part(id).textContent = text;
}

async function ask(url, options) {
  try {
    const answer = await fetch(url, { cache: "no-store", credentials: "same-origin", ...options });
    const text = await answer.text();
    const page = parsed(text);
    return { answer, page: part("main", page) ? page : null, text };
  } catch {
    return { answer: null, page: null, text: "the console does not answer; what you typed is still here" };
  }
}

function show(page, url) {
  for (const name of ["header", "main"]) {
    document.querySelector(name).replaceChildren(...page.querySelector(name).childNodes);
  }
  document.title = page.title;
  say("said", part("said", page).textContent);
  say("wrong", part("wrong", page).textContent);
  shown = bare(url);
  if (shown !== bare(location.href)) history.pushState(null, "", url);
  remember();
}

async function go(url, options = {}) {
  const mine = ++visit;
  const { answer, page, text } = await ask(url, options);
  if (options.method === "POST" && !answer?.ok) return say("wrong", page ? part("wrong", page).textContent : text);
  if (mine !== visit) return;
  if (!page) return say("wrong", text);
  show(page, answer.url);
  scrollTo(0, 0);
  (document.querySelector("h1[tabindex]") || part("main")).focus();
}

function remember() {
  seen = new Map([...document.querySelectorAll("[data-live]")].map((one) => [one.id, one.innerHTML]));
}

async function look() {
  if (document.hidden || document.querySelector("iframe")) return;
  const mine = visit, at = shown;
  const { answer, page, text } = await ask(at);
  if (mine !== visit || at !== shown) return;
  if (!page) return say("wrong", text);
  if (answer.url !== at) {
    if (typed(part("main"))) return say("wrong", "this has changed meanwhile; what you typed was not sent");
    show(page, answer.url);
    return say("said", "this has changed meanwhile");
  }
  if (!answer.ok) return say("wrong", part("wrong", page).textContent);
  if (!part("wrong", page).textContent && part("wrong").textContent.startsWith("the console")) say("wrong", "");
  for (const one of document.querySelectorAll("[data-live]")) {
    const now = part(one.id, page);
    if (!now || now.innerHTML === seen.get(one.id) || typed(one)) continue;
    seen.set(one.id, now.innerHTML);
    one.replaceChildren(...now.childNodes);
  }
}

function veil(one, open) {
  one.classList.toggle("open", open);
  one.querySelector("button").setAttribute("aria-expanded", open);
  one.querySelector("pre").setAttribute("aria-hidden", !open);
}

function press(one) {
  if (one.matches(FIELDS)) return one.focus();
  one.click();
  if (one.matches("summary")) {
    const field = one.parentElement.querySelector("textarea, input:not([type=hidden]), select");
    if (one.parentElement.open && field) field.focus();
  }
}

document.addEventListener("click", (event) => {
  const unveil = event.target.closest(".unveil");
  if (unveil) return veil(unveil.parentElement, !unveil.parentElement.classList.contains("open"));
  const link = event.target.closest("a[href]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || link.hash) return;
  event.preventDefault();
  go(link.href);
});

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target, said = new URLSearchParams(new FormData(form, event.submitter));
  if (form.method === "get") return go(`${form.action}?${said}`);
  if (form.dataset.sent) return;
  form.dataset.sent = "yes";
  go(form.action, { method: "POST", body: said }).finally(() => delete form.dataset.sent);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target.matches(FIELDS)) return event.target.blur();
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.matches(FIELDS) || !part("keys").checked) return;
  if (event.key === "s") {
    const veils = [...document.querySelectorAll(".veil")];
    const open = veils.some((one) => !one.classList.contains("open"));
    return veils.forEach((one) => veil(one, open));
  }
  const one = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!one) return;
  event.preventDefault();
  press(one);
});

part("keys").checked = localStorage.getItem("keys") !== "off";
part("keys").addEventListener("change", (event) => localStorage.setItem("keys", event.target.checked ? "on" : "off"));
addEventListener("popstate", () => bare(location.href) === shown || go(location.href));
remember();
setInterval(look, EVERY);
