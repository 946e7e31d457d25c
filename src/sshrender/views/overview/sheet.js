"use strict";
(() => {
  const sheet = JSON.parse(document.getElementById("sheet").textContent);
  const $ = (id) => document.getElementById(id);
  const SIGNS = { done: "✓", suspect: "?", failed: "✕", missing: "…" };
  const STATES = ["done", "suspect", "failed", "missing"];
  const CHUNK = 400;

  // Everything that was said somewhere else becomes text, never markup.
  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(properties)) {
      if (key === "class") element.className = value;
      else if (key === "text") element.textContent = value;
      else if (key === "on") for (const [name, does] of Object.entries(value)) element.addEventListener(name, does);
      else if (value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  }

  // Only files in the two folders beside this one.
  function local(path) {
    return typeof path === "string" && /^(thumbs|pages)\/[^/\\]+$/.test(path) ? encodeURI(path) : null;
  }

  const duration = (s) =>
    s < 60 ? `${s.toFixed(1)} s` : s < 3600 ? `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`
      : `${Math.floor(s / 3600)} h ${Math.round((s % 3600) / 60)} min`;
  const size = (n) => (n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1048576).toFixed(1)} MiB`);
  const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
  const when = (text) => { const t = new Date(text); return isNaN(t) ? text : t.toLocaleString(); };

  // The scheme: the system's, until the button is used. A file has no storage to remember it in.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  function setScheme(isDark) {
    document.documentElement.dataset.scheme = isDark ? "dark" : "light";
    $("scheme").textContent = isDark ? "Light" : "Dark";
    drawTime();
  }

  function fillHead() {
    const c = sheet.counts;
    $("title").textContent = `${sheet.job}: ${sheet.state}`;
    const parts = [`${c.done + c.suspect} of ${count(c.total, "page")} delivered`];
    for (const state of ["suspect", "failed", "missing"]) if (c[state]) parts.push(`${SIGNS[state]} ${c[state]} ${state}`);
    const used = sheet.hosts.filter((host) => host.pages > 0).length;
    parts.push(`${duration(sheet.seconds)} on ${count(used, "host")}`);
    if (sheet.reason) parts.push(sheet.reason);
    $("summary").textContent = parts.join(", ");
    $("when").textContent = `${sheet.document.name}, ${size(sheet.document.bytes)}; begun ${when(sheet.created)}, `
      + `last event ${when(sheet.updated)}, ${count(sheet.runs, "run")}`;
    for (const note of sheet.notes) $("when").after(make("p", { text: `The document: ${note}` }));
  }

  function fillProblems() {
    const troubled = sheet.pages.filter((page) => page.state !== "done");
    if (!troubled.length) return;
    $("problems").hidden = false;
    const shown = troubled.slice(0, 50);
    for (const page of shown) {
      const why = page.reason || page.said[0] || (page.state === "missing" ? "not delivered" : "");
      const text = `page ${page.page} ${page.state}${why ? `: ${why}` : ""}`;
      $("problem-list").append(make("li", { class: page.state },
        make("span", { class: "sign", "aria-hidden": "true", text: SIGNS[page.state] }),
        make("button", { type: "button", text, on: { click: () => open(page) } })));
    }
    if (troubled.length > shown.length) {
      $("problem-list").append(make("li", { text: `and ${troubled.length - shown.length} more; the filters below show them` }));
    }
  }

  // The grid, a part at a time so that the first screen is there at once.
  const cells = new Map();
  let shown = sheet.pages;

  function cell(page) {
    const frame = make("span", { class: "frame" });
    if (page.size) frame.style.setProperty("--ratio", `${page.size[0]} / ${page.size[1]}`);
    const source = local(page.thumb) || (sheet.viewable ? local(page.file) : null);
    if (source) {
      const image = make("img", { loading: "lazy", decoding: "async", alt: "", width: page.size?.[0], height: page.size?.[1] });
      image.addEventListener("error", () => image.replaceWith(String(page.page)));
      image.src = source;
      frame.append(image);
    } else frame.append(String(page.page));
    const label = `page ${page.page}, ${page.state}${page.host ? `, from ${page.host}` : ""}`;
    const button = make("button", { type: "button", class: "page", tabindex: "-1", "aria-label": label },
      frame, make("span", { class: "sign", "aria-hidden": "true", text: SIGNS[page.state] }), String(page.page));
    button.addEventListener("click", () => open(page));
    button.addEventListener("focus", () => rove(button));
    const item = make("li", { class: page.state }, button);
    cells.set(page.page, item);
    return item;
  }

  function build(at = 0) {
    const part = document.createDocumentFragment();
    for (const page of sheet.pages.slice(at, at + CHUNK)) part.append(cell(page));
    $("pages").append(part);
    if (at === 0) rove(document.querySelector(".page"));
    if (at + CHUNK < sheet.pages.length) setTimeout(build, 0, at + CHUNK);
    else { document.documentElement.dataset.built = "yes"; if (location.hash) readHash(); }
  }

  let roving = null;
  function rove(button) {
    if (roving) roving.tabIndex = -1;
    roving = button;
    if (button) button.tabIndex = 0;
  }

  function columns() {
    return getComputedStyle($("pages")).gridTemplateColumns.split(" ").length;
  }

  $("pages").addEventListener("keydown", (event) => {
    const at = shown.findIndex((page) => cells.get(page.page)?.firstChild === document.activeElement);
    if (at < 0) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns(), Home: -at, End: shown.length - 1 - at };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = shown[Math.max(0, Math.min(shown.length - 1, at + step))];
    cells.get(next.page)?.firstChild.focus();
  });

  // Filters, kept in the address so that a view can be passed on.
  const filter = { state: "", host: "", find: "" };

  function wanted(page) {
    if (filter.state && page.state !== filter.state) return false;
    if (filter.host && page.host !== filter.host) return false;
    const text = filter.find.trim().toLowerCase();
    if (!text) return true;
    const range = /^(\d+)(?:\s*-\s*(\d+))?$/.exec(text);
    if (range) return page.page >= +range[1] && page.page <= +(range[2] || range[1]);
    return [page.reason, page.host, ...page.said, ...page.story].some((words) => words.toLowerCase().includes(text));
  }

  function apply() {
    shown = sheet.pages.filter(wanted);
    const kept = new Set(shown.map((page) => page.page));
    for (const [number, item] of cells) item.hidden = !kept.has(number);
    for (const button of $("states").children) button.setAttribute("aria-pressed", String(button.dataset.state === filter.state));
    const isFiltered = shown.length !== sheet.pages.length;
    $("found").textContent = isFiltered ? `${shown.length} of ${count(sheet.pages.length, "page")}` : "";
    if (!roving || roving.parentElement.hidden) rove(shown.length ? cells.get(shown[0].page)?.firstChild : null);
    const words = new URLSearchParams(Object.entries(filter).filter(([, value]) => value)).toString();
    if (words !== location.hash.slice(1)) history.replaceState(null, "", words ? `#${words}` : location.pathname);
  }

  function readHash() {
    const words = new URLSearchParams(location.hash.slice(1));
    for (const key of Object.keys(filter)) filter[key] = words.get(key) || "";
    $("host").value = filter.host;
    $("find").value = filter.find;
    apply();
  }

  function fillFilters() {
    const totals = { "": sheet.pages.length };
    for (const page of sheet.pages) totals[page.state] = (totals[page.state] || 0) + 1;
    for (const state of ["", ...STATES]) {
      if (state && !totals[state]) continue;
      const text = state ? `${SIGNS[state]} ${state} ${totals[state]}` : `all ${totals[""]}`;
      const button = make("button", { type: "button", text, "aria-pressed": String(!state), "data-state": state });
      button.addEventListener("click", () => { filter.state = state; apply(); });
      $("states").append(button);
    }
    for (const host of sheet.hosts) $("host").append(make("option", { value: host.name, text: `${host.name} (${host.pages})` }));
    $("host").addEventListener("change", () => { filter.host = $("host").value; apply(); });
    $("find").addEventListener("input", () => { filter.find = $("find").value; apply(); });
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    addEventListener("hashchange", readHash);
  }

  // One page, large.
  const viewer = $("viewer");
  let open_ = null;
  let before = null;

  function open(page) {
    if (!viewer.open) { before = document.activeElement; viewer.showModal(); }
    open_ = page;
    $("viewer-title").textContent = `${SIGNS[page.state]} page ${page.page}, ${page.state}`;
    const large = (sheet.viewable && local(page.file)) || local(page.thumb);
    $("picture").replaceChildren();
    if (large) {
      const image = make("img", { alt: `page ${page.page}`, width: page.width || null, height: page.height || null });
      image.src = large;
      $("picture").append(image);
    } else $("picture").append(make("p", { class: "quiet", text: "there is no picture of this page" }));
    $("facts").replaceChildren(...facts(page));
    for (const step of [1, -1]) {
      const other = neighbour(step);
      const source = other && sheet.viewable && local(other.file);
      if (source) new Image().src = source;
    }
  }

  function facts(page) {
    const rows = [["from", page.host], ["drawn in", page.file && `${page.seconds} s`], ["attempts", page.attempts],
      ["pixels", page.width && `${page.width} × ${page.height}`], ["file", page.file && size(page.bytes)], ["failed", page.reason]];
    const list = make("dl");
    for (const [name, value] of rows) if (value) list.append(make("dt", { text: name }), make("dd", { text: String(value) }));
    const parts = [list];
    const link = local(page.file);
    if (link) parts.push(make("p", {}, make("a", { href: link, text: "open the file" })));
    if (page.said.length) parts.push(make("h3", { text: "What Ghostscript said" }), make("ul", {}, ...page.said.map((text) => make("li", { text }))));
    if (page.story.length) parts.push(make("h3", { text: "What happened" }), make("ol", {}, ...page.story.map((text) => make("li", { text }))));
    return parts;
  }

  function neighbour(step) {
    const at = shown.indexOf(open_);
    return at < 0 ? shown[0] : shown[at + step];
  }

  function leaf(step) {
    const next = neighbour(step);
    if (next) open(next);
  }

  viewer.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, j: 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1, k: -1 };
    if (event.key in moves) { event.preventDefault(); leaf(moves[event.key]); }
    else if (event.key === "Home" && shown.length) { event.preventDefault(); open(shown[0]); }
    else if (event.key === "End" && shown.length) { event.preventDefault(); open(shown[shown.length - 1]); }
  });
  viewer.addEventListener("close", () => {
    const here = open_ && cells.get(open_.page)?.firstChild;
    const target = before && before.isConnected && !before.classList.contains("page") ? before : here;
    target?.focus();
  });
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  $("before").addEventListener("click", () => leaf(-1));
  $("after").addEventListener("click", () => leaf(1));
  $("close").addEventListener("click", () => viewer.close());

  function fillHosts() {
    const total = Math.max(1, ...sheet.hosts.map((host) => host.pages));
    for (const host of sheet.hosts) {
      const bar = make("meter", { min: 0, max: total, value: host.pages, "aria-label": `${host.pages} pages` });
      const state = host.reason ? `${host.state}: ${host.reason}` : host.state;
      $("hosts").tBodies[0].append(make("tr", {}, make("th", { scope: "row", text: host.name }), make("td", {}, bar),
        make("td", { class: "n", text: String(host.pages) }), make("td", { class: "n", text: host.median === null ? "" : host.median.toFixed(2) }),
        make("td", { class: "n", text: duration(host.seconds) }), make("td", { class: "n", text: String(host.failures || "") }),
        make("td", { text: state })));
    }
  }

  // The timeline: a lane for each host. Where a pixel holds many pages, it is as dark as they are many.
  const LANE = 18, LEFT = 110, TOP = 4, BOTTOM = 20;
  let spans = null;

  function lanes() {
    if (spans) return spans;
    const names = sheet.hosts.map((host) => host.name);
    spans = { names, end: Math.max(0.001, sheet.seconds), by: new Map(names.map((name) => [name, []])) };
    for (const span of sheet.timeline) { spans.by.get(span.host)?.push(span); spans.end = Math.max(spans.end, span.to); }
    return spans;
  }

  function drawTime() {
    const canvas = $("time");
    const { names, end, by } = lanes();
    const width = Math.max(320, canvas.parentElement.clientWidth), height = TOP + BOTTOM + LANE * Math.max(1, names.length);
    const scale = devicePixelRatio || 1;
    canvas.width = width * scale; canvas.height = height * scale; canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
    pen.font = "12px system-ui, sans-serif";
    const room = width - LEFT - 6;
    names.forEach((name, lane) => {
      const y = TOP + lane * LANE;
      pen.fillStyle = colour("--ink");
      pen.fillText(name.length > 15 ? `${name.slice(0, 14)}…` : name, 4, y + 13);
      const density = new Float32Array(room + 1), bad = new Uint8Array(room + 1);
      for (const span of by.get(name)) {
        const from = span.from / end * room, to = Math.max(from + 0.5, span.to / end * room);
        for (let x = Math.floor(from); x <= Math.min(room, Math.floor(to)); x++) {
          density[x] += Math.min(to, x + 1) - Math.max(from, x);
          if (!span.ok) bad[x] = 1;
        }
      }
      const most = Math.max(1, ...density);
      pen.fillStyle = colour("--accent");
      for (let x = 0; x <= room; x++) if (density[x] > 0) {
        pen.globalAlpha = 0.25 + 0.75 * Math.min(1, density[x] / most);
        pen.fillRect(LEFT + x, y + 3, 1, LANE - 6);
      }
      pen.globalAlpha = 1;
      pen.fillStyle = colour("--failed");
      for (let x = 0; x <= room; x++) if (bad[x]) pen.fillRect(LEFT + x - 1, y, 3, LANE - 1);
    });
    pen.fillStyle = colour("--quiet");
    pen.fillText("0", LEFT, height - 5);
    const last = duration(end);
    pen.fillText(last, width - 8 - pen.measureText(last).width, height - 5);
    const busiest = sheet.hosts.reduce((best, host) => (host.pages > (best?.pages || 0) ? host : best), null);
    canvas.setAttribute("aria-label", `${count(sheet.timeline.length, "attempt")} on ${count(names.length, "host")} in ${duration(end)}`
      + (busiest ? `; most pages, ${busiest.pages}, came from ${busiest.name}` : ""));
  }

  $("time").addEventListener("mousemove", (event) => {
    const { names, end, by } = lanes();
    const name = names[Math.floor((event.offsetY - TOP) / LANE)];
    const at = (event.offsetX - LEFT) / ($("time").clientWidth - LEFT - 6) * end;
    if (!name || at < 0) { $("time-hint").textContent = ""; return; }
    const here = by.get(name).filter((span) => span.from <= at + end / 500 && span.to >= at - end / 500);
    const words = here.slice(0, 6).map((span) => `page ${span.page}${span.ok ? "" : " (failed)"}`).join(", ");
    $("time-hint").textContent = `${duration(at)}  ${name}: ${words || "nothing"}${here.length > 6 ? ` and ${here.length - 6} more` : ""}`;
  });

  function fillSettings() {
    const rows = Object.entries(sheet.settings).filter(([, value]) => value !== null && String(value) !== "");
    rows.push(["output", sheet.output || "–"], ["pages of the document", sheet.document.pages]);
    for (const [name, value] of rows) $("settings").append(make("dt", { text: name }), make("dd", { text: String(value) }));
  }

  fillHead(); fillProblems(); fillFilters(); build(); fillHosts(); fillSettings(); setScheme(dark.matches);
  dark.addEventListener("change", () => setScheme(dark.matches));
  $("scheme").addEventListener("click", () => setScheme(document.documentElement.dataset.scheme !== "dark"));
  addEventListener("resize", drawTime);
})();
