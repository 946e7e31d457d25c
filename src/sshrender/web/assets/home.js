
// ---- Uploads: numbered parts, each with its digest; the server knows which ones it has. ----
// Kept by user: another one of this browser sees no names. Read anew for each change, because other tabs change it, too.
const kept = `uploads.${data.user}`;
function keptUploads() { try { return JSON.parse(store.get(kept)).filter((each) => each.id && each.name); } catch { return []; } }
function keep(record) { store.set(kept, JSON.stringify([...keptUploads().filter((each) => each.id !== record.id), record].slice(-50))); }
function forget(id) { store.set(kept, JSON.stringify(keptUploads().filter((each) => each.id !== id))); }
const originOf = (upload) => upload.record ?? { name: upload.name, size: upload.size, modified: upload.file.lastModified };
const sameFile = (one, file) => one.name === file.name && one.size === file.size && one.modified === file.lastModified;
// Small parts, two at a time: a broken line costs no more than one large part.
const lanes = (partSize) => Math.min(2, Math.max(1, Math.floor(data.part / partSize)));

function options() {
  return { dpi: Number($("dpi").value), device: $("device").value, pages: $("page-list").value.trim(), priority: Number($("priority").value), assemble: $("assemble").checked };
}

class Upload {
  constructor(file, record) {
    this.file = file;
    this.record = record;
    this.name = file?.name ?? record.name;
    this.size = file?.size ?? record.size;
    this.done = new Set();
    this.isPaused = false;
    this.partSize = record?.partSize ?? data.part;
    this.state = file ? "waiting" : "lost";
    this.build();
  }

  build() {
    this.bar = make("progress", { max: "1", value: "0", "aria-label": `Upload of ${this.name}` });
    this.words = make("p", { class: "quiet" });
    this.problem = make("p", { class: "problem", role: "alert", hidden: true });
    this.secret = make("input", { type: "password", autocomplete: "off", maxlength: "127", "aria-label": `Password of ${this.name}` });
    this.lock = make("form", { class: "lock", hidden: true, onsubmit: (event) => { event.preventDefault(); this.inspect(); } },
      make("label", {}, "Password ", this.secret), make("button", { class: "main", text: "Open" }), make("p", { class: "quiet", text: PASSWORD_WORDS }));
    this.buttons = make("span", { class: "buttons" });
    this.row = make("li", { class: "upload" }, make("div", { class: "line" }, make("b", { class: "name", text: this.name, title: this.name }), make("span", { class: "quiet", text: bytes(this.size) }), this.buttons),
      this.bar, this.words, this.problem, this.lock);
    $("uploads").append(this.row);
    this.show();
  }

  button(text, action, kind = "") {
    return make("button", { type: "button", text, class: kind, "aria-label": `${text}: ${this.name}`, onclick: () => action.call(this) });
  }

  show() {
    const sent = Math.min(this.size, this.done.size * this.partSize);
    this.bar.value = this.size ? sent / this.size : 0;
    this.bar.hidden = ["ready", "submitting", "refused"].includes(this.state);
    const speed = this.speed ? `, ${bytes(this.speed)}/s, ${lasting((this.size - sent) / this.speed)} left` : "";
    const words = {
      waiting: "waits for the other uploads", sending: `${Math.floor(100 * this.bar.value)} %${speed}`,
      paused: `${Math.floor(100 * this.bar.value)} %, paused`, broken: `${Math.floor(100 * this.bar.value)} %; the line is broken, and is tried again`,
      lost: "begun earlier; choose the same file again to continue", inspecting: "uploaded; counting the pages …",
      ready: this.told ?? "", submitting: "starting …", refused: "",
    };
    this.words.textContent = words[this.state] ?? "";
    this.words.hidden = !this.words.textContent;
    const set = {
      waiting: [], sending: [this.button("Pause", this.pause)], broken: [this.button("Pause", this.pause)], paused: [this.button("Continue", this.resume)],
      lost: [this.button("Choose the file", () => $("files").click())], ready: [this.button("Render", this.submit, "main")], refused: this.mayContinue ? [this.button("Continue", this.resume)] : [],
    }[this.state] ?? [];
    if (this.state !== "submitting") set.push(this.button("Remove", this.remove));
    const focused = this.buttons.contains(document.activeElement);
    this.buttons.replaceChildren(...set);
    if (focused) set[0]?.focus();
    showAll();
  }

  is(state) { this.state = state; this.show(); }

  fail(error) {
    this.problem.textContent = told(error);
    this.problem.hidden = false;
    // Space and sessions come back: what was sent is not lost.
    this.mayContinue = [401, 429, 507].includes(error.status);
    this.isLoggedOut = error.status === 401;
    // What is no PDF, or too large, takes no space, and does not come back with a reload. Any other answer may be of a proxy.
    if ([413, 415].includes(error.status) && this.id) { call("DELETE", `api/v1/uploads/${this.id}`).catch(() => null); forget(this.id); }
    this.is("refused");
  }

  pause() { this.isPaused = true; this.control?.abort(); this.is("paused"); }
  resume() { this.isPaused = false; this.mayContinue = this.isLoggedOut = false; this.problem.hidden = true; this.is("waiting"); pump(); }

  async remove() {
    this.isRemoved = true;
    this.control?.abort();
    const at = uploads.indexOf(this);
    if (at >= 0) uploads.splice(at, 1);
    this.row.remove();
    showAll();
    (uploads[at]?.buttons.querySelector("button") ?? $("choose")).focus();
    if (this.id) await call("DELETE", `api/v1/uploads/${this.id}`).catch(() => null);
    forget(this.id);
    pump();
  }

  vanish() {
    forget(this.id);
    uploads.splice(uploads.indexOf(this), 1);
    this.row.remove();
    showAll();
  }

  get id() { return this.record?.id; }

  // After a reload: a document that has arrived as a whole is rendered without its file.
  async reclaim() {
    const found = await call("GET", `api/v1/uploads/${this.id}`).catch(() => null);
    // It became a job before the reload, whose answer was lost.
    if (found?.job && this.state === "lost" && !this.isRemoved) return this.vanish();
    // Meanwhile the user may have chosen the file again.
    if (!found || found.received.length < found.parts || this.state !== "lost" || this.isRemoved) return;
    this.done = new Set(found.received);
    await this.inspect();
  }

  // Begin anew, or learn which parts are there.
  async begin() {
    if (this.record) {
      try {
        const found = await call("GET", `api/v1/uploads/${this.id}`);
        if (found.job) return this.finished(found.job);
        this.done = new Set(found.received);
        // Such a part may still be listed.
        for (const number of this.lost ?? []) this.done.delete(number);
        this.lost = [];
        this.partSize = found.part_size;
        this.parts = found.parts;
        return true;
      } catch (error) {
        if (error.status !== 404) throw error;
        forget(this.id);
      }
    }
    const made = await call("POST", "api/v1/uploads", { name: this.name, size: this.size, part_size: this.partSize });
    this.parts = made.parts;
    this.done = new Set();
    this.record = { id: made.id, name: this.name, size: this.size, modified: this.file.lastModified, partSize: made.part_size };
    keep(this.record);
    return true;
  }

  async run() {
    this.is("sending");
    let wait = 1, before = 0;
    while (!this.isPaused && !this.isRemoved) {
      try {
        if (!await this.begin()) return;
        this.is("sending");
        await this.send();
        if (!this.isPaused && !this.isRemoved) await this.inspect();
        return;
      } catch (error) {
        if (this.isPaused || this.isRemoved) return;
        if (error.status === 413 && this.begun413(error)) continue;
        if ([400, 401, 403, 413, 415, 507].includes(error.status) || (error.status === 429 && !this.record)) return this.fail(error);
        if (error.status === 404 && this.record) { forget(this.id); this.record = undefined; }
        this.is("broken");
        if (this.done.size > before) wait = 1;
        before = this.done.size;
        await pause(wait + Math.random());
        wait = Math.min(30, 2 * wait);
      }
    }
  }

  // The server itself names a limit; a proxy in front of it answers with 413 and no words of ours.
  begun413(error) {
    if (error.hint !== "try again" || this.partSize <= data.least) {
      if (this.partSize <= data.least && error.hint === "try again") error.hint = "The proxy in front of this server refuses bodies of 512 KiB; its administrator can raise that limit";
      return false;
    }
    if (this.id) { call("DELETE", `api/v1/uploads/${this.id}`).catch(() => null); forget(this.id); }
    this.record = undefined;
    this.partSize = Math.max(data.least, this.partSize / 2);
    return true;
  }

  async send() {
    const left = [];
    for (let number = 0; number < this.parts; number++) if (!this.done.has(number)) left.push(number);
    this.control = new AbortController();
    const began = performance.now();
    let sent = 0, isBroken = false;
    const one = async () => {
      while (left.length && !isBroken && !this.control.signal.aborted) {
        const number = left.shift();
        const part = this.file.slice(number * this.partSize, (number + 1) * this.partSize);
        try { await this.put(number, part); } catch (error) { isBroken = true; throw error; }
        this.done.add(number);
        sent += part.size;
        this.speed = sent / Math.max(0.2, (performance.now() - began) / 1000);
        this.show();
      }
    };
    try {
      const ends = await Promise.allSettled(Array.from({ length: lanes(this.partSize) }, one));
      // The other lane has sent its part to the end: that is not sent again.
      const broken = ends.find((end) => end.status === "rejected");
      if (broken && !this.isPaused) throw broken.reason;
    } finally {
      this.speed = 0;
    }
  }

  async put(number, part) {
    const headers = { "Content-Type": "application/octet-stream" };
    if (crypto.subtle) {
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await part.arrayBuffer()));
      headers["Content-Digest"] = `sha-256=:${btoa(String.fromCharCode(...digest))}:`;
    }
    await call("PUT", `api/v1/uploads/${this.id}/parts/${number}`, part, { headers, signal: this.control.signal });
  }

  // The server has lost parts of this upload, or all of it: they are sent again, if the file is at hand.
  sendAgain(error) {
    if (error.status === 404) {
      if (!this.file) { notify(`The upload of ${this.name} was removed, because it was not rendered for a day. Choose the file again.`, true); return this.vanish(); }
      forget(this.id);
      this.record = undefined;
    }
    this.lost = error.missing ?? [];
    this.problem.hidden = true;
    this.is(this.file ? "waiting" : "lost");
    pump();
  }

  // The answer to the last question counts: settings may change meanwhile.
  async inspect() {
    const asked = this.asked = JSON.stringify(this.options());
    const isOld = () => this.isRemoved || this.asked !== asked || this.state !== "inspecting";
    this.is("inspecting");
    for (let wait = 1; ; wait = Math.min(30, 2 * wait)) {
      const error = await this.look(isOld);
      if (!error || isOld()) return;
      this.problem.textContent = retold(error);
      this.problem.hidden = false;
      await pause(wait + Math.random());
      if (isOld()) return;
    }
  }

  // Return an error that may pass by itself.
  async look(isOld) {
    try {
      if (!$("dpi").checkValidity()) throw new Failure(400, `the resolution is a whole number from ${$("dpi").min} to ${$("dpi").max}`, "");
      const found = await call("POST", `api/v1/uploads/${this.id}/inspect`, this.options());
      if (isOld()) return null;
      const pages = found.pages === null ? "The hosts will count the pages, because the document is damaged." : count(found.pages, "page");
      const time = found.seconds === null ? "" : `, about ${lasting(found.seconds)} once it starts`;
      this.told = pages + time;
      this.problem.hidden = true;
      this.lock.hidden = true;
      this.is("ready");
      announce(`${this.name} is uploaded: ${this.told}`);
    } catch (error) {
      if (isOld()) return null;
      if ([0, 429, 502, 503, 504].includes(error.status)) return error;
      if (error.status === 404 || error.missing) { this.sendAgain(error); return null; }
      this.problem.textContent = told(error);
      this.problem.hidden = false;
      this.told = "";
      this.lock.hidden = !error.password;
      this.is(error.status === 422 ? "refused" : "ready");
      if (error.password) {
        this.problem.textContent = error.password === "wrong" ? "This password does not open the document." : "This document needs a password.";
        // Not from another field that the user is in by now.
        if (document.activeElement === document.body || this.row.contains(document.activeElement)) this.secret.focus();
        this.secret.select();
      }
    }
    return null;
  }

  options() { return { ...options(), ...(this.secret.value ? { password: this.secret.value } : {}) }; }

  async submit() {
    if (!$("options").reportValidity()) return;
    this.problem.hidden = true;
    this.is("submitting");
    for (let wait = 1; ; wait = Math.min(30, 2 * wait)) {
      try {
        return this.finished((await call("POST", `api/v1/uploads/${this.id}/complete`, this.options())).job);
      } catch (error) {
        if (error.status === 404 || error.missing) return this.sendAgain(error);
        if (![0, 502, 503, 504].includes(error.status)) {
          this.problem.textContent = told(error);
          this.problem.hidden = false;
          return this.is("ready");
        }
        await pause(wait);
      }
    }
  }

  finished(job) {
    forget(this.id);
    const at = uploads.indexOf(this);
    if (at >= 0) uploads.splice(at, 1);
    this.row.remove();
    showAll();
    announce(`${this.name} is in the queue`);
    fresh.add(job);
    refresh();
    const url = `${root}jobs/${encodeURIComponent(job)}/`;
    if (!uploads.length && !this.isOneOfMany) location.href = url;
    return false;
  }
}

const uploads = [];

// One button for many documents: each becomes a job of its own.
function showAll() {
  const ready = uploads.filter((each) => each.state === "ready").length, button = $("render-all");
  if (ready < 2 && button === document.activeElement) $("choose").focus();
  button.hidden = ready < 2;
  button.textContent = `Render all ${ready}`;
}

async function renderAll() {
  if (!$("options").reportValidity()) return;
  // One after the other, as the server takes them; a document that fails keeps its own words.
  for (const each of uploads.filter((one) => one.state === "ready")) {
    each.isOneOfMany = true;
    if (each.state === "ready" && !each.isRemoved) await each.submit();
  }
}

const fresh = new Set();
let pumping = false;

async function pump() {
  if (pumping) return;
  pumping = true;
  for (let next; (next = uploads.find((each) => each.state === "waiting"));) await next.run();
  pumping = false;
}

function add(files) {
  for (const file of files) {
    const lost = uploads.find((each) => each.state === "lost" && sameFile(each.record, file));
    if (lost) { lost.file = file; lost.is("waiting"); continue; }
    if (uploads.some((each) => sameFile(originOf(each), file))) continue;
    if (file.size > data.limit) { notify(`${file.name} is larger than ${bytes(data.limit)}.`, true); continue; }
    if (!file.size) { notify(`${file.name} is empty.`, true); continue; }
    uploads.push(new Upload(file));
  }
  pump();
}

if ($("drop")) {
  for (const record of keptUploads()) uploads.push(new Upload(null, record));
  // One after the other: the server reads one document of a user at a time.
  (async () => { for (const each of [...uploads]) await each.reclaim(); })();
  $("choose").addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", () => { add($("files").files); $("files").value = ""; });
  $("render-all").addEventListener("click", renderAll);
  $("options").addEventListener("submit", (event) => event.preventDefault());
  $("options").addEventListener("change", () => { for (const each of uploads) if (["ready", "inspecting"].includes(each.state)) each.inspect(); });
  let depth = 0;
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => { if (isFiles(event)) { depth++; document.body.classList.add("dragging"); } });
  addEventListener("dragleave", () => { if (depth && !--depth) document.body.classList.remove("dragging"); });
  addEventListener("dragover", (event) => { if (isFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("dragging");
    add(event.dataTransfer.files);
  });
  addEventListener("beforeunload", (event) => { if (uploads.some((each) => ["sending", "broken"].includes(each.state))) event.preventDefault(); });
}

// ---- The list of jobs. ----
const GROUPS = { "": () => true, active: (job) => ["running", "paused", "queued", "held"].includes(job.state), done: (job) => job.state === "done", problem: (job) => ["partial", "failed", "unreadable"].includes(job.state) || job.failed > 0 };
const NAMES = { "": "all", active: "in progress", done: "done", problem: "with problems" };
const SHOWN = 200;
let jobs = [], isKnown = false;
const view = { state: "", find: "" };
let most = SHOWN;

function readHash() {
  const words = new URLSearchParams(location.hash.slice(1));
  view.state = words.get("state") in GROUPS ? words.get("state") : "";
  view.find = words.get("find") ?? "";
  $("search").value = view.find;
  list();
}

function writeHash() {
  const words = new URLSearchParams(Object.entries(view).filter(([, value]) => value)).toString();
  try { history.replaceState(null, "", words ? `#${words}` : location.pathname); } catch { /* too many at a time */ }
}

for (const [state, text] of Object.entries(NAMES)) {
  $("chips").append(make("button", { type: "button", "data-state": state, text, onclick: () => { view.state = state; writeHash(); list(); } }));
}

function words(job) {
  const parts = [];
  if (job.total) parts.push(`${(job.done + job.suspect).toLocaleString("en")} of ${count(job.total, "page")}`);
  if (job.failed) parts.push(`${job.failed} failed`);
  if (job.left !== null && job.state === "running") parts.push(`${lasting(job.left)} left`);
  if (data.all && job.owner) parts.push(job.owner.replace(/^web:/, ""));
  return parts.join(", ");
}

// When it was submitted, and when it ended: how long ago, and as dates in the time of this browser.
function dates(job) {
  const parts = [["submitted", job.submitted], ["ended", job.ended]].filter(([, moment]) => moment);
  return parts.flatMap(([word, moment], at) => [`${at ? ", " : ""}${word} `, make("time", { datetime: moment, title: localTime(moment), text: ago(moment) })]);
}

function row(job) {
  const done = job.total ? (job.done + job.suspect) / job.total : 0;
  return make("li", { class: `job ${job.state}${fresh.has(job.name) ? " fresh" : ""}`, "data-name": job.name },
    make("a", { href: `${root}jobs/${encodeURIComponent(job.name)}/`, class: "name", title: job.name }, job.name),
    make("span", { class: "state", title: MEANING[job.state] ?? "" }, make("span", { class: "sign", "aria-hidden": "true", text: SIGN[job.state] ?? "" }), job.state),
    make("progress", { max: "1", value: String(done), "aria-label": `${Math.floor(100 * done)} % of ${job.name}` }),
    make("span", { class: "quiet words" }, [words(job), plain(job.note) || job.waits].filter(Boolean).join("; "), make("span", { class: "when" }, ...dates(job))));
}

function list() {
  const text = view.find.toLowerCase();
  for (const button of $("chips").children) {
    const state = button.dataset.state;
    button.textContent = `${NAMES[state]} ${jobs.filter(GROUPS[state]).length}`;
    button.setAttribute("aria-pressed", String(state === view.state));
  }
  const found = jobs.filter(GROUPS[view.state]).filter((job) => !text || `${job.name} ${job.owner} ${job.state}`.toLowerCase().includes(text));
  const focused = document.activeElement?.closest?.(".job")?.dataset.name;
  const rows = found.slice(0, most).map(row);
  if (found.length > most) rows.push(make("li", {}, make("button", { type: "button", text: `Show ${count(found.length - most, "more job")}`, onclick: () => { most += SHOWN; list(); } })));
  $("jobs").replaceChildren(...rows);
  if (focused) $("jobs").querySelector(`[data-name="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
  $("loading").hidden = isKnown || !$("offline").hidden;
  $("empty").hidden = !isKnown || jobs.length > 0;
  $("none").hidden = !jobs.length || found.length > 0;
  $("chips").hidden = $("search").parentElement.hidden = !jobs.length && !view.find;
}

async function refresh() {
  try {
    const found = await call("GET", "api/v1/queue");
    // Another user has logged in: this page and its uploads are not theirs.
    if (found.user !== data.user) { location.reload(); return; }
    // A server whose view of the folder is old does not list what another one has just made.
    for (const name of fresh) if (found.jobs.some((job) => job.name === name)) fresh.delete(name);
    jobs = [...[...fresh].map((name) => ({ name, state: "queued", total: 0, done: 0, suspect: 0, failed: 0, left: null, owner: "", note: "", submitted: "", ended: "" })), ...found.jobs];
    $("untaken").hidden = !found.is_untaken || !$("untaken").textContent;
    $("offline").hidden = isKnown = true;
    list();
    for (const each of uploads) if (each.isLoggedOut) each.resume();
  } catch (error) {
    // A page with uploads stays: it has the files.
    if (error.status === 401 && !uploads.length) location.reload();
    const words = error.status === 401 ? `${sentence(error.message)} Your uploads continue when you are logged in again.` : retold(error);
    // Only once: screen readers read it, and the link may have the focus.
    if ($("offline").hidden || !$("offline").textContent.startsWith(words)) {
      $("offline").replaceChildren(words);
      if (error.status === 401) $("offline").append(" ", make("a", { href: root, target: "_blank", text: "Log in in another tab" }));
    }
    $("offline").hidden = false;
    $("loading").hidden = true;
  }
}

$("all").addEventListener("click", () => { Object.assign(view, { state: "", find: "" }); $("search").value = ""; writeHash(); list(); $("search").focus(); });
$("search").addEventListener("input", () => { view.find = $("search").value; writeHash(); list(); });
addEventListener("hashchange", readHash);
readHash();
(async () => {
  for (;;) {
    if (!document.hidden) await refresh();
    document.documentElement.dataset.built = "yes";
    await pause(3);
  }
})();
