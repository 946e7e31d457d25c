
// ---- The live part of a job's page. The overview below it is sheet.js, which this feeds. ----
const sheet = overview.sheet;
const api = `api/v1/jobs/${encodeURIComponent(sheet.job)}`;
let offset = sheet.offset;
let standing = data.status;
let working = new Set(standing.work);
let best = 0;
let quarter = Math.floor(4 * fraction(sheet.counts));
let ended = isOver(standing.state);

function fraction(counts) { return counts.total ? (counts.done + counts.suspect) / counts.total : 0; }
function isOver(state) { return ["done", "partial", "failed", "cancelled"].includes(state); }

function isLocked() { return data.locked && ["queued", "held", "partial", "cancelled"].includes(standing.state); }

function show() {
  const counts = standing.counts, state = standing.state;
  $("standing").className = `card ${state}`;
  $("state").textContent = `${SIGN[state] ?? ""} ${state}`;
  $("meaning").textContent = [MEANING[state], isOver(state) || !standing.reason ? "" : sentence(plain(standing.reason))].filter(Boolean).join(" ");
  // A page that is rendered again would move the bar back, which says nothing to its reader.
  best = state === "queued" ? fraction(counts) : Math.max(best, fraction(counts));
  $("progress").value = best;
  const parts = [`${(counts.done + counts.suspect).toLocaleString("en")} of ${count(counts.total, "page")} (${Math.floor(100 * best)} %)`];
  if (counts.suspect) parts.push(`${counts.suspect} suspect`);
  if (counts.failed) parts.push(`${counts.failed} failed`);
  if (standing.left !== null) parts.push(`about ${lasting(standing.left)} left`);
  if (standing.speed) parts.push(`${standing.speed.toFixed(1)} pages/s`);
  if (state === "queued" && standing.waits) parts.push(standing.waits);
  $("numbers").textContent = parts.join(", ");
  const isWaiting = state === "queued" && data.untaken;
  $("hint").hidden = !isWaiting;
  if (isWaiting) $("hint").textContent = "No machine takes jobs from the queue at the moment. This job waits until an administrator starts one.";
  if (isLocked()) {
    $("hint").hidden = false;
    $("hint").textContent = "The document has a password, which this server does not have: it was in the memory of one that has ended, or of another one. If the job does not start, give the password again.";
  }
  const used = standing.hosts.filter((host) => host.word === "working");
  const troubled = standing.hosts.filter((host) => ["lost", "refused", "quarantined"].includes(host.state));
  const names = (hosts) => hosts.slice(0, 6).map((host) => host.name).join(", ") + (hosts.length > 6 ? ` and ${hosts.length - 6} more` : "");
  const words = [];
  if (used.length && !isOver(state)) words.push(`${count(used.length, "host")} at work: ${names(used)}`);
  if (troubled.length && !isOver(state)) words.push(`not usable: ${names(troubled)}`);
  $("working").textContent = words.join("; ");
  document.title = `${isOver(state) ? "" : `${Math.floor(100 * best)} % `}${sheet.job}: ${state}`;
  actions();
  paintSoon();
}

// ---- The page map: one canvas, a square for each page. ----
const map = $("map");
const COLOURS = { done: "--done", suspect: "--suspect", failed: "--failed", missing: "--line" };
let frame = 0, grid = { columns: 1, size: 8 };

function paintSoon() { cancelAnimationFrame(frame); frame = requestAnimationFrame(paint); }

function paint() {
  const pages = sheet.pages, width = $("map-box").clientWidth, scale = devicePixelRatio || 1;
  if (!width || !pages.length) return;
  let size = 14;
  while (size > 3 && Math.ceil(pages.length / Math.floor(width / size)) * size > 180) size--;
  const columns = Math.max(1, Math.floor(width / size)), height = Math.ceil(pages.length / columns) * size;
  grid = { columns, size };
  map.width = width * scale;
  map.height = height * scale;
  map.style.height = `${height}px`;
  const pen = map.getContext("2d"), style = getComputedStyle(document.documentElement), gap = size > 5 ? 2 : size > 3 ? 1 : 0;
  pen.scale(scale, scale);
  const colours = Object.fromEntries(Object.entries(COLOURS).map(([state, name]) => [state, style.getPropertyValue(name).trim()]));
  const accent = style.getPropertyValue("--accent").trim();
  pages.forEach((page, at) => {
    const isWork = page.state === "missing" && working.has(page.page);
    pen.fillStyle = isWork ? accent : colours[page.state];
    const inset = page.state === "failed" || page.state === "suspect" ? 0 : gap;
    pen.fillRect((at % columns) * size, Math.floor(at / columns) * size, size - inset, size - inset);
  });
  const counts = standing.counts;
  map.setAttribute("aria-label", `Map of ${count(counts.total, "page")}: ${counts.done} ready, ${counts.suspect} suspect, ${counts.failed} failed, ${counts.missing} to come`);
  if (!document.documentElement.dataset.map) performance.mark("map");
  document.documentElement.dataset.map = "yes";
}

function pageAt(event) {
  const place = map.getBoundingClientRect();
  const column = Math.floor((event.clientX - place.left) / grid.size), row = Math.floor((event.clientY - place.top) / grid.size);
  return column < grid.columns ? sheet.pages[row * grid.columns + column] : undefined;
}
map.addEventListener("mousemove", (event) => { const page = pageAt(event); map.title = page ? `page ${page.page}: ${working.has(page.page) && page.state === "missing" ? "being rendered" : page.state}` : ""; });
map.addEventListener("click", (event) => { const page = pageAt(event); if (page) overview.open(page.page); });
addEventListener("resize", paintSoon);

// ---- What may be done. ----
let acted = "";
function actions() {
  const state = standing.state, list = [];
  const has = standing.counts.done + standing.counts.suspect > 0;
  if (has) {
    list.push(["Download as ZIP", download, "main"]);
    if (data.assembled && state === "done") list.push(["Download the PDF", () => save("assembled"), ""]);
  }
  list.push(["Why?", whyJob, ""]);
  if (data.own) {
    if (state === "running" || state === "queued" || state === "paused") list.push(["Hold", () => act("hold", "on hold"), ""]);
    if (state === "held") list.push(["Continue", () => act("release", "released"), "main"]);
    if (standing.counts.failed && !["held", "queued"].includes(state)) list.push(["Try failed pages again", () => act("retry", "failed pages are tried again"), ""]);
    if (isLocked()) list.push(["Give the password", unlock, "main"]);
    if (!isOver(state)) list.push(["Cancel", cancel, "danger"]);
    list.push(["Link for a colleague", share, ""]);
    if (isOver(state)) list.push(["Delete", remove, "danger"]);
  }
  const key = JSON.stringify(list.map(([text]) => text));
  if (key === acted) return;
  acted = key;
  const focused = $("actions").contains(document.activeElement) ? document.activeElement.textContent : "";
  $("actions").replaceChildren(...list.map(([text, action, kind]) => make("button", { type: "button", text, class: kind, onclick: action })));
  if (focused) ([...$("actions").children].find((button) => button.textContent === focused) ?? $("actions").firstChild)?.focus();
}

async function act(verb, words, body = {}) {
  try {
    const found = await call("POST", `${api}/${verb}`, body);
    // Not as a sentence: the name of a job may begin with a small letter.
    notify(found.no_need ? `${sheet.job} ${found.no_need}.` : `${sheet.job}: ${words}.`);
    if (verb === "retry") watch();
  } catch (error) { notify(told(error), true); }
}

// Beside a large page: try it again, if it has failed, and all that happened to it.
overview.beside = (page) => {
  const list = [];
  if (page.state === "failed" && data.own && !["held", "queued"].includes(standing.state)) {
    list.push(["Try this page again", () => act("retry", isOver(standing.state) ? "its failed pages are tried again" : `page ${page.page} is tried again`, isOver(standing.state) ? {} : { pages: [page.page] }), "main"]);
  }
  list.push(["Why?", () => why(`page ${page.page}`, `page=${page.page}`), ""]);
  return [make("div", { class: "buttons" }, ...list.map(([text, action, kind]) => make("button", { type: "button", class: kind, text, onclick: action })))];
};

// The address may have opened a page before this script.
overview.reopen();

// A window with text. Return the element to fill.
function explain(title) {
  const body = make("div", { class: "told", tabindex: "0", role: "group", "aria-label": title }, make("p", { class: "quiet", text: "One moment …" }));
  const dialog = make("dialog", { class: "ask wide", "aria-labelledby": "why-title" }, make("h2", { id: "why-title", text: title }), body,
    make("div", { class: "buttons" }, make("button", { type: "button", text: "Close", onclick: () => dialog.close() })));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return body;
}

async function why(what, query) {
  const body = explain(`Why? ${sentence(what)}`);
  try {
    const found = await call("GET", `${api}/why?${query}`);
    body.replaceChildren(make("p", { text: plain(found.now) }), make("ol", {}, ...found.history.map((text) => make("li", { text: plain(text) }))));
    if (!found.history.length) body.append(make("p", { class: "quiet", text: "Nothing has happened to it yet." }));
  } catch (error) { body.replaceChildren(make("p", { class: "problem", text: told(error) })); }
}

async function whyJob() {
  const body = explain("Why is the job as it is?");
  try {
    const found = await call("GET", `${api}/problems`);
    const words = found.problems.map((problem) => make("li", { text: plain(problem.words) }));
    const buttons = standing.hosts.map((host) => make("button", { type: "button", text: host.name, "aria-label": `History of ${host.name}`, onclick: () => { body.closest("dialog").close(); why(`host ${host.name}`, `host=${encodeURIComponent(host.name)}`); } }));
    body.replaceChildren(make("p", { text: plain(found.headline) }), words.length ? make("ul", {}, ...words) : make("p", { class: "quiet", text: "Nothing is wrong." }));
    if (buttons.length) body.append(make("h3", { text: "Hosts" }), make("div", { class: "buttons" }, ...buttons));
  } catch (error) { body.replaceChildren(make("p", { class: "problem", text: told(error) })); }
}

// The server that knew the document's password has ended.
async function unlock() {
  const field = make("input", { type: "password", autocomplete: "off", maxlength: "127", id: "password-again" });
  const problem = make("p", { class: "problem", role: "alert", hidden: true });
  const give = async () => {
    try {
      await call("POST", `${api}/password`, { password: field.value });
      data.locked = false;
      dialog.close();
      notify("The password is known again.");
      show();
    } catch (error) { problem.textContent = told(error); problem.hidden = false; field.focus(); }
  };
  const dialog = make("dialog", { class: "ask", "aria-labelledby": "lock-title" }, make("h2", { id: "lock-title", text: "Password of the document" }),
    make("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); give(); } }, make("label", { for: "password-again", text: PASSWORD_WORDS }), field, problem,
      make("div", { class: "buttons" }, make("button", { type: "button", text: "Back", onclick: () => dialog.close() }), make("button", { class: "main", text: "Send" }))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

async function cancel() {
  if (await confirmed("Cancel this job?", "Pages that are ready stay; no further page is rendered.", "Cancel the job")) act("cancel", "cancelled");
}

async function remove() {
  if (!await confirmed("Delete this job?", "The document and all of its pages are removed. This cannot be undone.", "Delete")) return;
  try {
    await call("DELETE", api);
    location.href = root;
  } catch (error) { notify(told(error), true); }
}

async function share() {
  try {
    const found = await call("POST", `${api}/link`, {});
    const url = new URL(root + found.path, location.href).href;
    const field = make("input", { readonly: true, value: url, "aria-label": "Link" });
    const dialog = make("dialog", { class: "ask", "aria-labelledby": "share-title" }, make("h2", { id: "share-title", text: "Link for a colleague" }),
      make("p", { text: `This link shows the job and its pages to any person who has it, for ${Math.round(found.seconds / 86400)} days. Nothing can be changed with it.` }), field,
      make("div", { class: "buttons" }, make("button", { type: "button", class: "main", text: "Copy", onclick: async () => { field.select(); try { await navigator.clipboard.writeText(url); notify("The link is copied."); } catch { notify("Copy the selected text."); } } }),
        make("button", { type: "button", text: "Close", onclick: () => dialog.close() })));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    field.select();
  } catch (error) { notify(told(error), true); }
}

// The pages that the filters show, as a page list: what is seen is what is downloaded.
function download() {
  const shown = overview.shown().filter((page) => page.file).map((page) => page.page);
  const all = sheet.pages.filter((page) => page.file).length;
  const runs = [];
  for (const number of shown) {
    const last = runs[runs.length - 1];
    if (last && last[1] === number - 1) last[1] = number; else runs.push([number, number]);
  }
  const list = runs.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join(",");
  if (!shown.length) { notify("The filters below show no page that is ready.", true); return; }
  if (shown.length < all && list.length > 3900) { notify("Too many separate pages are selected; use simpler filters.", true); return; }
  if (shown.length < all) notify(`Downloading the ${count(shown.length, "page")} that the filters show.`);
  save(`pages.zip${shown.length < all ? `?pages=${encodeURIComponent(list)}` : ""}`);
}

// Not by location.href: where a proxy answers with an error, that would replace this page.
function save(path) {
  const link = make("a", { href: `${root}${api}/${path}`, download: "" });
  document.body.append(link);
  link.click();
  link.remove();
}

// ---- Live data: server-sent events; a long poll where a proxy keeps them back. ----
const SILENCE = 20000;
let source = null, timer = 0, heard = false, isPolling = false;

function take(message) {
  heard = true;
  $("connection").hidden = true;
  // Another server may have read less of the journal: what is older is not shown.
  if (message.offset < offset) return;
  offset = message.offset;
  standing = message;
  working = new Set(message.work);
  const { state, reason, counts, hosts, seconds, updated, runs } = message;
  overview.update(message.pages, { state, reason, counts, hosts, seconds, updated, runs });
  show();
  const now = Math.floor(4 * fraction(counts));
  if (now > quarter && !isOver(state)) announce(`${25 * now} percent of the pages are ready`);
  quarter = Math.max(quarter, now);
  if (isOver(state) && !ended) finish();
  ended = isOver(state);
}

async function finish() {
  announce(`${sheet.job}: ${standing.state}. ${MEANING[standing.state] ?? ""}`);
  try { overview.replace(await call("GET", `${api}/sheet`)); paintSoon(); } catch { /* the page shows what it knows */ }
}

function gone(reason) {
  stop();
  $("connection").textContent = sentence(reason || "this job was removed");
  $("connection").hidden = false;
  $("actions").replaceChildren(make("a", { href: root, text: "All jobs" }));
}

function stop() {
  source?.close();
  source = null;
  clearTimeout(timer);
}

function watch() {
  if (source || isPolling || document.hidden) return;
  source = new EventSource(`${root}${api}/events?from=${offset}`);
  const began = source;
  const quiet = () => { if (source === began && !heard) { stop(); poll(); } };
  heard = false;
  timer = setTimeout(quiet, SILENCE);
  source.onmessage = (event) => { clearTimeout(timer); take(JSON.parse(event.data)); };
  source.addEventListener("trouble", (event) => {
    clearTimeout(timer);
    heard = true;
    $("connection").textContent = `${sentence(JSON.parse(event.data).reason)} What is shown may be old.`;
    $("connection").hidden = false;
  });
  source.addEventListener("gone", (event) => gone(JSON.parse(event.data).reason));
  source.onerror = () => {
    if (source !== began) return;
    $("connection").textContent = "The connection is broken; it is tried again.";
    $("connection").hidden = false;
    // The browser itself tries again, unless the server has refused: then ask why.
    if (began.readyState === EventSource.CLOSED) { stop(); pause(5).then(ask); }
  };
}

async function ask() {
  if (document.hidden) return;
  try {
    await call("GET", api);
    watch();
  } catch (error) {
    if (error.status === 401) location.reload();
    else if (error.status === 404) gone(error.message);
    else { $("connection").textContent = retold(error); $("connection").hidden = false; pause(5).then(ask); }
  }
}

async function poll() {
  isPolling = true;
  while (!document.hidden) {
    try {
      const message = await call("GET", `${api}/events?wait=1&from=${offset}`);
      if (message) take(message);
    } catch (error) {
      if (error.status === 401) { location.reload(); break; }
      if (error.status === 404) { gone(error.message); break; }
      $("connection").textContent = retold(error);
      $("connection").hidden = false;
      await pause(3);
    }
  }
  isPolling = false;
}

// Whether a coordinator takes jobs is in no journal.
setInterval(async () => {
  if (document.hidden || standing.state !== "queued") return;
  const found = await call("GET", api).catch(() => null);
  if (found) { data.untaken = found.is_untaken; show(); }
}, 20000);

// Browsers open six connections to a server at most: a page that is not seen needs none.
document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else watch(); });
addEventListener("pagehide", stop);
addEventListener("pageshow", watch);
show();
watch();
