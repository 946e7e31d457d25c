// What all pages of the web front end share. No page loads anything from elsewhere.
const $ = (id) => document.getElementById(id);
const root = document.body.dataset.root;
const data = JSON.parse($("data").textContent);

// Create an element. Every text from elsewhere becomes text, never markup.
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") element.className = value;
    else if (key === "text") element.textContent = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const PASSWORD_WORDS = "It goes to the server and stays in its memory until the job is done; no file has it. The finished pages are not protected.";
const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

function bytes(n) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) if (n >= size) return `${(n / size).toFixed(n >= 100 * size ? 0 : 1)} ${unit}`;
  return `${n} B`;
}

function lasting(seconds) {
  if (seconds < 1) return "a moment";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

const clock = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
function localTime(moment) {
  const found = new Date(moment);
  return Number.isNaN(found.getTime()) ? "" : clock.format(found);
}

// How long ago it was; the date itself after a week. The clocks of the server and of this machine may differ a little.
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
function ago(moment) {
  const seconds = (Date.now() - new Date(moment)) / 1000;
  if (seconds < 60) return "just now";
  for (const [unit, size, end] of [["minute", 60, 60], ["hour", 3600, 24], ["day", 86400, 7]]) if (seconds < size * end) return relative.format(-Math.floor(seconds / size), unit);
  return localTime(moment);
}

// An answer that is no success: `status`, and what the server says of it.
class Failure extends Error {
  constructor(status, error, hint) {
    super(error);
    Object.assign(this, { status, hint });
  }
}

// Call the interface of the server; return the object that it answers with.
async function call(method, path, body, options = {}) {
  const isJson = body !== undefined && !(body instanceof Blob);
  const headers = { Accept: "application/json", ...(isJson ? { "Content-Type": "application/json" } : {}), ...options.headers };
  let answer;
  try {
    answer = await fetch(root + path, { method, headers, body: isJson ? JSON.stringify(body) : body, signal: options.signal, credentials: "same-origin", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "the server cannot be reached", "try again");
  }
  if (answer.status === 204) return null;
  const found = await answer.json().catch(() => null);
  if (answer.ok && found !== null) return found;
  throw Object.assign(new Failure(answer.status, found?.error ?? `the server answered with ${answer.status}`, found?.hint ?? "try again"), { password: found?.password, missing: found?.missing });
}

// Read a text to people who use a screen reader. Politely: it waits for what is being read.
function announce(text) {
  $("live").textContent = "";
  setTimeout(() => { $("live").textContent = text; }, 50);
}

// A message at the edge of the window, which goes by itself or with Escape.
function notify(text, isProblem = false) {
  const box = make("div", { class: `toast${isProblem ? " problem" : ""}`, role: isProblem ? "alert" : "status" }, text,
    make("button", { type: "button", "aria-label": "Close this message", text: "×", onclick: () => box.remove() }));
  document.body.append(box);
  setTimeout(() => box.remove(), isProblem ? 12000 : 5000);
}

// People are named without what tells them from users of the command line.
const plain = (text) => text.replace(/\bweb:(?=\S)/g, "");
// Where the script itself asks again in a moment, the reader has nothing to do.
const retold = (error) => told(error.status ? error : { ...error, message: error.message, hint: "it is tried again" });
const told = (error) => `${sentence(error.message)}${error.hint ? ` ${sentence(error.hint)}` : ""}`;
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

// Ask before something that cannot be undone. Return whether the person agrees.
function confirmed(title, text, verb) {
  return new Promise((done) => {
    const dialog = make("dialog", { class: "ask", "aria-labelledby": "ask-title" },
      make("h2", { id: "ask-title", text: title }), make("p", { text }),
      make("div", { class: "buttons" },
        make("button", { type: "button", text: "Back", onclick: () => dialog.close("no") }),
        make("button", { type: "button", class: "danger", text: verb, onclick: () => dialog.close("yes") })));
    dialog.addEventListener("close", () => { dialog.remove(); done(dialog.returnValue === "yes"); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// Wait; sooner if the page becomes visible again or the network returns.
function pause(seconds) {
  return new Promise((done) => {
    const end = () => { clearTimeout(timer); removeEventListener("online", end); document.removeEventListener("visibilitychange", shown); done(); };
    const shown = () => { if (!document.hidden) end(); };
    const timer = setTimeout(end, 1000 * seconds);
    addEventListener("online", end);
    document.addEventListener("visibilitychange", shown);
  });
}

// The colour scheme is the system's until the button is used; this browser remembers that.
const store = { get(key) { try { return localStorage.getItem(`sshrender.${key}`); } catch { return null; } }, set(key, value) { try { localStorage.setItem(`sshrender.${key}`, value); } catch { /* private windows */ } } };
const theme = $("theme");
if (theme) {
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const isDark = (document.documentElement.dataset.scheme ?? (prefersDark.matches ? "dark" : "light")) === "dark";
    theme.textContent = isDark ? "☀" : "☾";
    theme.setAttribute("aria-label", isDark ? "Light colours" : "Dark colours");
    theme.title = theme.getAttribute("aria-label");
    dispatchEvent(new Event("resize"));
  };
  if (["light", "dark"].includes(store.get("scheme"))) document.documentElement.dataset.scheme = store.get("scheme");
  prefersDark.addEventListener("change", show);
  theme.addEventListener("click", () => {
    const isDark = (document.documentElement.dataset.scheme ?? (prefersDark.matches ? "dark" : "light")) === "dark";
    document.documentElement.dataset.scheme = isDark ? "light" : "dark";
    store.set("scheme", document.documentElement.dataset.scheme);
    show();
  });
  theme.hidden = false;
  show();
}

// A user who logs out in one window is logged out in all of them: no other one may go on showing jobs.
// They are told by the page that follows, because only then is the session's cookie gone.
const leaving = document.querySelector("form[action$='logout']");
leaving?.addEventListener("submit", () => { try { sessionStorage.setItem("sshrender.leaving", "yes"); } catch { /* private windows */ } });
try {
  if (!leaving && sessionStorage.getItem("sshrender.leaving")) { sessionStorage.removeItem("sshrender.leaving"); store.set("loggedOut", Date.now()); }
} catch { /* private windows */ }
addEventListener("storage", (event) => { if (event.key === "sshrender.loggedOut" && leaving) location.reload(); });

const SIGN = { running: "▶", paused: "‖", held: "‖", queued: "…", done: "✓", partial: "?", failed: "✕", cancelled: "–", unreadable: "✕" };
const MEANING = {
  running: "Pages are being rendered.", paused: "The storage has a problem; it continues by itself.",
  held: "On hold: no page is started.", queued: "Waits for its turn.", done: "All pages are ready.",
  partial: "Some pages could not be rendered.", failed: "No page could be rendered.", cancelled: "Stopped; finished pages stay.",
  unreadable: "The files of this job cannot be read.",
};
