"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const sheet = JSON.parse($("sheet").textContent);
  const SIGNS = { done: "✓", suspect: "?", failed: "✕", missing: "…" };
  const STATES = ["done", "suspect", "failed", "missing"];
  const PROBLEMS = 50;
  const pages = new Map(sheet.pages.map((page) => [page.page, page]));
  const viewer = $("viewer");

  // Create an element. Every text from elsewhere becomes text, never markup.
  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(properties)) {
      if (key === "class") element.className = value;
      else if (key === "text") element.textContent = value;
      else if (key === "onclick") element.addEventListener("click", value);
      else if (value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  }

  // Return a relative address, only for files in the two folders beside this one.
  function local(path) {
    const parts = typeof path === "string" && /^(thumbs|pages)\/([^/\\]+)$/.exec(path);
    return parts && !/^\.+$/.test(parts[2]) ? `${parts[1]}/${encodeURIComponent(parts[2].toWellFormed?.() ?? parts[2])}` : null;
  }

  // The images of a page, the smallest first. A file that is mailed contains them all.
  const sources = (page) => sheet.images ? [sheet.images[page.page]].filter(Boolean).map((data) => `data:image/${data.startsWith("iVBORw") ? "png" : "jpeg"};base64,${data}`) : [local(page.thumb), sheet.viewable ? local(page.file) : null].filter(Boolean);
  const two = (n) => String(n).padStart(2, "0");
  const size = (n) => (n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1048576).toFixed(1)} MiB`);
  const grouped = (n) => n.toLocaleString("en");
  const count = (n, noun) => `${grouped(n)} ${noun}${n === 1 ? "" : "s"}`;
  // A job that can still deliver its missing pages.
  const isLive = () => ["queued", "running", "paused", "held"].includes(sheet.state);
  const why = (page) => page.reason || page.diagnostics[0] || (page.state === "missing" ? (isLive() ? "not rendered yet" : "not delivered") : "");

  function duration(seconds) {
    if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
    const whole = Math.round(seconds);
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
    const minutes = Math.round(seconds / 60);
    return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  }

  function when(text) {
    const t = new Date(text);
    if (isNaN(t)) return text;
    return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
  }

  // The colour scheme is the system's until the button is used. A local file has no storage to keep it in.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.scheme ?? (dark.matches ? "dark" : "light")) === "dark";

  function showScheme() {
    $("scheme").textContent = isDark() ? "Light colours" : "Dark colours";
    drawSoon();
  }

  dark.addEventListener("change", showScheme);
  $("scheme").addEventListener("click", () => {
    document.documentElement.dataset.scheme = isDark() ? "light" : "dark";
    showScheme();
  });

  function fillHead() {
    const c = sheet.counts;
    const parts = [`${grouped(c.done + c.suspect)} of ${count(c.total, "page")} delivered`];
    for (const state of ["suspect", "failed", "missing"]) if (c[state]) parts.push(`${SIGNS[state]} ${grouped(c[state])} ${state}`);
    const used = sheet.hosts.filter((host) => host.pages > 0).length;
    parts.push(`${duration(sheet.seconds)} on ${count(used, "host")}`);
    if (sheet.reason) parts.push(sheet.reason);
    $("summary").textContent = parts.join(", ");
    document.querySelector("h1").textContent = document.title = `${sheet.job}: ${sheet.state}`;
    for (const note of document.querySelectorAll("header .note")) note.remove();
    $("when").replaceChildren(`${sheet.document.name}, ${size(sheet.document.bytes)}; submitted `,
      make("time", { datetime: sheet.created, text: when(sheet.created) }), ", last event ",
      make("time", { datetime: sheet.updated, text: when(sheet.updated) }), sheet.runs ? `, ${count(sheet.runs, "run")}` : "");
    $("when").after(...sheet.notes.map((note) => make("p", { class: "note", text: `Document: ${note}` })));
  }

  // Make a link that scrolls without changing the address: the address holds the filters.
  function link(anchor, target) {
    anchor.addEventListener("click", (event) => {
      event.preventDefault();
      target.scrollIntoView();
      target.focus({ preventScroll: true });
    });
    return anchor;
  }

  function fillSections() {
    $("sections").replaceChildren();
    for (const title of document.querySelectorAll("main h2")) {
      if (title.closest("section").hidden) continue;
      title.tabIndex = -1;
      $("sections").append(make("li", {}, link(make("a", { href: `#${title.id}`, text: title.textContent }), title)));
    }
  }

  // Group neighbouring pages that have the same problem.
  function problems() {
    const found = [];
    let last = null;
    sheet.pages.forEach((page, at) => {
      if (page.state === "done" || (page.state === "missing" && isLive())) return;
      if (last && last.at + last.pages.length === at && last.pages[0].state === page.state && why(last.pages[0]) === why(page)) last.pages.push(page);
      else found.push(last = { at, pages: [page] });
    });
    return found;
  }

  function fillProblems() {
    const found = problems();
    $("problems").hidden = !found.length;
    $("problem-list").replaceChildren();
    for (const { pages } of found.slice(0, PROBLEMS)) {
      const [first, last] = [pages[0], pages[pages.length - 1]];
      const numbers = first === last ? `page ${first.page}` : `pages ${first.page}–${last.page}`;
      const text = `${numbers} ${first.state}${why(first) ? `: ${why(first)}` : ""}`;
      $("problem-list").append(make("li", { class: first.state },
        make("span", { class: "sign", "aria-hidden": "true", text: SIGNS[first.state] }),
        make("button", { type: "button", text, onclick: () => open(first) })));
    }
    const more = found.slice(PROBLEMS).reduce((sum, { pages }) => sum + pages.length, 0);
    if (more) $("problem-list").append(make("li", { text: `and ${count(more, "more page")}; use the filters below to see them` }));
  }

  // The grid. A frame has time for some dozens of new cells, not for 20,000: of a long sheet, only the rows near
  // the window exist, as many screenfuls before and after it as NEAR says, and STEP rows of those come with each
  // frame. Images, which take longest, wait until less than a row passes in a frame, for CALM milliseconds.
  // A short sheet exists as a whole. While each frame passes more than a window, as when the bar at the edge is
  // dragged, no cells are made: those of one frame would be gone in the next.
  const WHOLE = 400, NEAR = 1.5, STEP = 1, IMAGES = 6, CALM = 100;
  const cells = new Map();
  const waiting = new Map();
  let calm = 0;
  const grid = { columns: 1, pitch: 1, gap: 0, width: 0, top: 0, from: 0, to: 0, isWhole: false };
  let shown = sheet.pages;

  // Aspect ratio of the cells: the median of all pages. Other pages are fitted into it.
  const ratio = (() => {
    const all = sheet.pages.filter((page) => page.size).map((page) => page.size[0] / page.size[1]).sort((a, b) => a - b);
    return Math.min(2, Math.max(0.5, all.length ? all[all.length >> 1] : Math.SQRT1_2));
  })();
  $("pages").style.setProperty("--box", String(1 / ratio));

  // Where the web front end shows the job live, a thumbnail may come after its page: try again.
  const isServed = "root" in document.body.dataset;
  const RETRY = 2000, TRIES = 2;

  function retry(image, url, number) {
    const tries = Number(image.dataset.tries ?? 0) + 1;
    if (!isServed || !isLive() || tries > TRIES) return false;
    image.dataset.tries = String(tries);
    setTimeout(() => { image.src = `${url}?try=${tries}`; }, RETRY * tries);
    return number;
  }

  function frameOf(page) {
    const frame = make("span", { class: "frame" });
    const own = page.size ? page.size[0] / page.size[1] : ratio;
    if (own < ratio * 0.99) frame.style.width = `${100 * own / ratio}%`;
    if (own > ratio * 1.01) frame.style.height = `${100 * ratio / own}%`;
    const number = () => make("b", { text: String(page.page) });
    if (!sources(page).length) { frame.append(number()); return frame; }
    if (!isPart()) { show(frame, page, number); return frame; }
    frame.append(number());
    if (!waiting.size) requestAnimationFrame(showSome);
    waiting.set(page.page, () => show(frame, page, number));
    return frame;
  }

  function showSome() {
    const some = performance.now() < calm ? [] : [...waiting.keys()].slice(0, IMAGES);
    for (const number of some) { waiting.get(number)(); waiting.delete(number); }
    if (waiting.size) requestAnimationFrame(showSome);
  }

  function show(frame, page, number) {
    const from = sources(page);
    const image = make("img", { loading: "lazy", decoding: "async", alt: "", width: page.size?.[0], height: page.size?.[1] });
    image.addEventListener("error", () => {
      if (from.length && retry(image, from[0], true)) return;
      if (from.length > 1) image.src = from.splice(0, 2)[1]; else image.replaceWith(number());
    });
    image.src = from[0];
    frame.replaceChildren(image);
  }

  function cell(page) {
    const label = `page ${page.page}, ${page.state}${page.host ? `, from ${page.host}` : ""}`;
    const button = make("button", { type: "button", class: "page", tabindex: "-1", "aria-label": label, title: why(page) || null },
      make("span", { class: "box" }, frameOf(page)),
      make("span", { class: "sign", "aria-hidden": "true", text: SIGNS[page.state] }), String(page.page));
    button.addEventListener("click", () => open(page));
    button.addEventListener("focus", () => { if (roving !== page) rove(page); });
    const item = make("li", { class: page.state }, button);
    cells.set(page.page, item);
    return item;
  }

  // Read the number of columns and the height of a row, which the style and the width of the window decide.
  function measure() {
    const style = getComputedStyle($("pages")), first = $("pages").firstElementChild;
    grid.columns = style.gridTemplateColumns.split(" ").length;
    grid.gap = parseFloat(style.rowGap) || 0;
    if (first) grid.pitch = first.getBoundingClientRect().height + grid.gap;
  }

  const isPart = () => !grid.isWhole && shown.length > WHOLE;

  // Return which of the pages that are shown get a cell: those in the window, and some more that are near. There
  // is always a row, for the Tab key to stop at.
  function near() {
    if (!isPart()) return [0, shown.length];
    const top = -$("pages").getBoundingClientRect().top, rows = Math.ceil(shown.length / grid.columns);
    const row = (y) => Math.max(0, Math.min(rows - 1, Math.floor(y / grid.pitch)));
    const first = row(top), last = row(top + innerHeight) + 1;
    let [held, end] = [grid.from, grid.to].map((at) => Math.floor(at / grid.columns));
    if (held > last || end < first) [held, end] = [first, last];
    const from = Math.max(row(top - NEAR * innerHeight), Math.min(first, held - STEP));
    const to = Math.min(row(top + (1 + NEAR) * innerHeight) + 1, Math.max(last, end + STEP));
    return [from, to].map((at) => at * grid.columns);
  }

  // Bring the cells in line with the pages that are shown and near. Cells that stay are not touched.
  function lay() {
    const list = $("pages");
    list.style.height = isPart() ? `${Math.ceil(shown.length / grid.columns) * grid.pitch - grid.gap}px` : "";
    [grid.from, grid.to] = near();
    list.style.paddingTop = isPart() ? `${grid.from / grid.columns * grid.pitch}px` : "";
    const wanted = shown.slice(grid.from, grid.to), numbers = new Set(wanted.map((page) => page.page));
    for (const [number, item] of cells) {
      if (numbers.has(number)) continue;
      // The focus waits on the list until its cell comes back; the arrow keys go on from there.
      if (item.contains(document.activeElement)) { list.focus({ preventScroll: true }); isParked = true; }
      item.remove();
      cells.delete(number);
      waiting.delete(number);
    }
    let next = list.firstElementChild;
    wanted.forEach((page, at) => {
      const item = cells.get(page.page) ?? cell(page);
      item.setAttribute("aria-posinset", String(grid.from + at + 1));
      item.setAttribute("aria-setsize", String(shown.length));
      if (item === next) next = next.nextElementSibling; else list.insertBefore(item, next);
    });
    keepRoving();
    laySoon();
  }

  let isDue = false, isRushing = false;
  function laySoon() {
    if (isDue || !isPart()) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      const { top } = $("pages").getBoundingClientRect(), moved = Math.abs(top - grid.top);
      if (moved > grid.pitch) calm = performance.now() + CALM;
      grid.top = top;
      const wasRushing = isRushing;
      isRushing = moved > innerHeight;
      if (isRushing && wasRushing) { laySoon(); return; }
      const [from, to] = near();
      if (from !== grid.from || Math.min(to, shown.length) !== Math.min(grid.to, shown.length)) lay();
    });
  }

  // After a change of width, the page that was at the top of the window is there again.
  function fit() {
    const list = $("pages"), before = { ...grid }, top = -list.getBoundingClientRect().top;
    if (list.clientWidth === grid.width) return;
    grid.width = list.clientWidth;
    measure();
    if (shown.length > WHOLE && top > 0 && before.columns !== grid.columns) {
      const row = Math.floor(Math.floor(top / before.pitch) * before.columns / grid.columns);
      list.style.height = `${Math.ceil(shown.length / grid.columns) * grid.pitch}px`;
      scrollBy({ top: row * grid.pitch - top, behavior: "instant" });
    }
    lay();
  }

  function build() {
    grid.pitch = innerHeight;
    lay();
    measure();
    lay();
    grid.width = $("pages").clientWidth;
    addEventListener("scroll", laySoon, { passive: true });
    new ResizeObserver(fit).observe($("pages"));
    // Paper gets all pages.
    const whole = (isWhole) => {
      grid.isWhole = isWhole;
      if (isWhole) for (const put of waiting.values()) put();
      if (isWhole) waiting.clear();
      lay();
    };
    addEventListener("beforeprint", () => whole(true));
    addEventListener("afterprint", () => whole(false));
    // The web front end's own script comes after this one.
    addEventListener("DOMContentLoaded", () => { document.documentElement.dataset.built = "yes"; });
  }

  // The page that the Tab key stops at, and whether the focus waits on the list for its cell.
  let roving = null;
  let isParked = false;
  $("pages").addEventListener("blur", () => { isParked = false; });

  function rove(page) {
    const before = $("pages").querySelector('.page[tabindex="0"]');
    if (before) before.tabIndex = -1;
    roving = page;
    const button = buttonOf(page) ?? $("pages").firstElementChild?.firstElementChild;
    if (button) button.tabIndex = 0;
    if (isParked && buttonOf(page)) buttonOf(page).focus({ preventScroll: true });
  }

  const buttonOf = (page) => cells.get(page?.page)?.firstChild ?? null;

  function keepRoving() {
    rove(shown.includes(roving) ? roving : shown[0]);
  }

  // Focus a page's cell, also of one that is far away.
  function focusPage(page) {
    const at = shown.indexOf(page);
    if (at < 0) return;
    if (!cells.has(page.page)) {
      const y = Math.floor(at / grid.columns) * grid.pitch + grid.pitch / 2 - innerHeight / 2;
      scrollBy({ top: $("pages").getBoundingClientRect().top + y, behavior: "instant" });
      lay();
    }
    buttonOf(page)?.focus();
  }

  const isPlain = (event) => !(event.ctrlKey || event.altKey || event.metaKey || event.shiftKey);

  $("pages").addEventListener("keydown", (event) => {
    const at = shown.indexOf(roving);
    if (at < 0 || !isPlain(event)) return;
    const end = shown.length - 1;
    const next = {
      ArrowLeft: () => at - 1, ArrowRight: () => at + 1, ArrowUp: () => (at < grid.columns ? at : at - grid.columns),
      ArrowDown: () => at + grid.columns, Home: () => 0, End: () => end,
    }[event.key];
    if (!next) return;
    event.preventDefault();
    focusPage(shown[Math.max(0, Math.min(end, next()))]);
  });

  // Filters. They are part of the address, so that a link can include them.
  const filter = { state: "", host: "", find: "" };

  // Parse `7`, `10-20`, `10-` or a list of these; return null for text.
  function ranges(text) {
    const found = text.split(",").map((part) => /^\s*(\d*)\s*([-–]?)\s*(\d*)\s*$/.exec(part));
    if (!found.every((part) => part && (part[1] || part[3]))) return null;
    return found.map(([, from, dash, to]) => {
      const ends = dash ? [Number(from || 1), to ? Number(to) : Infinity] : [Number(from), Number(from)];
      return ends.sort((a, b) => a - b);
    });
  }

  function test() {
    const text = filter.find.trim().toLowerCase();
    const wanted = text ? ranges(text) : null;
    return (page) => {
      if (filter.state && page.state !== filter.state) return false;
      if (filter.host && page.host !== filter.host) return false;
      if (!text) return true;
      if (wanted) return wanted.some(([from, to]) => page.page >= from && page.page <= to);
      return [page.reason, page.host, ...page.diagnostics, ...page.history].some((words) => words.toLowerCase().includes(text));
    };
  }

  function apply() {
    shown = sheet.pages.filter(test());
    if (grid.width) lay();
    for (const button of $("states").children) button.setAttribute("aria-pressed", String(button.dataset.state === filter.state));
    const all = count(sheet.pages.length, "page");
    $("found").textContent = shown.length === sheet.pages.length ? all : `${shown.length ? grouped(shown.length) : "none"} of ${all}`;
    const set = Object.entries(filter).filter(([, value]) => value);
    $("printed").textContent = set.length ? `Shown here: ${$("found").textContent} (${set.map(([key, value]) => `${key} ${value}`).join(", ")})` : "";
    if (viewer.open && large) set.push(["page", String(large.page)]);
    const words = new URLSearchParams(set).toString();
    // Browsers refuse too many changes in a short time; a later one will succeed.
    if (words !== location.hash.slice(1)) try { history.replaceState(null, "", words ? `#${words}` : location.pathname); } catch { /* */ }
  }

  function readHash() {
    const words = new URLSearchParams(location.hash.slice(1));
    const known = { state: STATES, host: sheet.hosts.map((host) => host.name) };
    for (const key of Object.keys(filter)) {
      const value = words.get(key) || "";
      filter[key] = !known[key] || known[key].includes(value) ? value : "";
    }
    $("host").value = filter.host;
    $("find").value = filter.find;
    const wanted = pages.get(Number(words.get("page")));
    apply();
    if (wanted && (!viewer.open || wanted !== large)) open(wanted);
  }

  function fillCounts() {
    const totals = { "": sheet.pages.length };
    for (const page of sheet.pages) totals[page.state] = (totals[page.state] || 0) + 1;
    for (const button of $("states").children) {
      const state = button.dataset.state;
      button.textContent = state ? `${SIGNS[state]} ${state} ${grouped(totals[state] || 0)}` : `all ${grouped(totals[""])}`;
    }
    $("host").replaceChildren($("host").options[0], ...sheet.hosts.map((host) => make("option", { value: host.name, text: `${host.name} (${grouped(host.pages)})` })));
    $("host").value = filter.host;
  }

  function fillFilters() {
    for (const state of ["", ...STATES]) $("states").append(make("button", { type: "button", "data-state": state, onclick: () => { filter.state = state; apply(); } }));
    fillCounts();
    $("host").addEventListener("change", () => { filter.host = $("host").value; apply(); });
    $("find").addEventListener("input", () => { filter.find = $("find").value; apply(); });
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    addEventListener("hashchange", readHash);
  }

  // The viewer: one page, large. Zoomed, each pixel of the file is one of the screen.
  let large = null;
  let opener = null;
  let isZoomed = false;

  function zoom(x = 0.5, y = 0.5) {
    const box = $("image"), image = box.querySelector("img");
    isZoomed = !isZoomed && Boolean(image);
    box.classList.toggle("zoomed", isZoomed);
    $("zoom").setAttribute("aria-pressed", String(isZoomed));
    if (isZoomed) box.scrollTo({ left: x * box.scrollWidth - box.clientWidth / 2, top: y * box.scrollHeight - box.clientHeight / 2, behavior: "instant" });
  }

  $("zoom").addEventListener("click", () => zoom());
  $("image").addEventListener("dblclick", (event) => {
    const place = event.target.getBoundingClientRect();
    if (event.target.tagName === "IMG") zoom((event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height);
  });

  // Swipe to turn pages, unless the finger moves over a zoomed page or with another one.
  let touch = null;
  $("image").addEventListener("touchstart", (event) => { touch = event.touches.length === 1 && !isZoomed ? event.touches[0] : null; }, { passive: true });
  $("image").addEventListener("touchend", (event) => {
    if (!touch) return;
    const x = event.changedTouches[0].clientX - touch.clientX, y = event.changedTouches[0].clientY - touch.clientY;
    if (Math.abs(x) > 60 && Math.abs(x) > 2 * Math.abs(y)) turn(x < 0 ? 1 : -1);
    touch = null;
  }, { passive: true });

  function open(page) {
    if (!viewer.open) opener = document.activeElement;
    large = page;
    $("viewer-title").textContent = `${SIGNS[page.state]} page ${page.page}, ${page.state}`;
    const at = shown.indexOf(page);
    $("position").textContent = at < 0 ? "" : `${at + 1} / ${shown.length}`;
    $("previous").setAttribute("aria-disabled", String(!neighbour(-1)));
    $("next").setAttribute("aria-disabled", String(!neighbour(1)));
    if (isZoomed) zoom();
    $("image").replaceChildren(imageOf(page));
    $("zoom").hidden = !$("image").querySelector("img") || Boolean(sheet.images);
    $("facts").replaceChildren(...facts(page));
    $("facts").scrollTop = 0;
    for (const step of [1, -1]) {
      const source = sources(neighbour(step) ?? {}).pop();
      if (source) new Image().src = source;
    }
    if (!viewer.open) {
      viewer.showModal();
      $("viewer-title").focus();
    }
    apply();
  }

  function imageOf(page) {
    const none = (text) => make("p", { class: "quiet", text });
    const source = sources(page).pop();
    if (!source) return none(!page.file ? "there is no image of this page" : sheet.images ? "the image of this page is not in this file" : "browsers cannot show this format");
    const isFile = source === local(page.file);
    const [width, height] = isFile && page.width ? [page.width, page.height] : page.size ?? [];
    const image = make("img", { alt: `page ${page.page}`, width, height });
    image.addEventListener("error", () => image.replaceWith(none("the image of this page cannot be read")));
    image.src = source;
    return image;
  }

  function facts(page) {
    const rows = [["host", page.host], ["rendered in", page.file && `${page.seconds} s`], ["attempts", page.attempts],
      ["pixels", page.width && `${page.width} × ${page.height}`], ["file", page.file && (sheet.images ? `${page.file}, ${size(page.bytes)}` : size(page.bytes))], ["reason", page.reason]];
    const list = make("dl");
    for (const [name, value] of rows) if (value) list.append(make("dt", { text: name }), make("dd", { text: String(value) }));
    const parts = [list];
    const href = local(page.file);
    if (href) parts.push(make("p", {}, make("a", { href, text: "open the file" })));
    for (const [title, tag, lines] of [["Messages from Ghostscript", "ul", page.diagnostics], ["History", "ol", page.history]]) {
      if (lines.length) parts.push(make("h3", { text: title }), make(tag, {}, ...lines.map((text) => make("li", { text }))));
    }
    parts.push(...(globalThis.overview?.beside?.(page) ?? []));
    parts.push(make("p", { class: "quiet", text: "Arrow keys turn pages, Home and End go to the first and the last page, z shows real pixels, Esc closes." }));
    return parts;
  }

  // Return the next page that the filters show, also from a page that they hide.
  function neighbour(step) {
    const at = shown.indexOf(large);
    if (at >= 0) return shown[at + step];
    const here = sheet.pages.indexOf(large);
    const beyond = (page) => Math.sign(sheet.pages.indexOf(page) - here) === step;
    return step > 0 ? shown.find(beyond) : shown.findLast(beyond);
  }

  function turn(step) {
    const next = neighbour(step);
    if (next) open(next);
  }

  viewer.addEventListener("keydown", (event) => {
    if (!isPlain(event)) return;
    const facts = $("facts");
    if (isZoomed && event.key.startsWith("Arrow")) {
      $("image").scrollBy({ left: { ArrowLeft: -80, ArrowRight: 80 }[event.key] ?? 0, top: { ArrowUp: -80, ArrowDown: 80 }[event.key] ?? 0 });
      event.preventDefault();
      return;
    }
    if (event.key.startsWith("Arrow") && event.target === facts && facts.scrollHeight > facts.clientHeight && /Up|Down/.test(event.key)) return;
    const does = {
      ArrowRight: () => turn(1), ArrowDown: () => turn(1), PageDown: () => turn(1), j: () => turn(1),
      ArrowLeft: () => turn(-1), ArrowUp: () => turn(-1), PageUp: () => turn(-1), k: () => turn(-1),
      z: () => zoom(), Home: () => shown.length && open(shown[0]), End: () => shown.length && open(shown[shown.length - 1]),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  });
  // Return the focus to the opener, or in the grid to the page that was shown last.
  viewer.addEventListener("close", () => {
    if (opener?.classList.contains("page") && shown.includes(large)) focusPage(large); else opener?.focus();
    apply();
  });
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  $("previous").addEventListener("click", () => turn(-1));
  $("next").addEventListener("click", () => turn(1));
  $("close").addEventListener("click", () => viewer.close());

  function fillHosts() {
    $("hosts").tBodies[0].replaceChildren();
    const total = Math.max(1, sheet.hosts.reduce((sum, host) => sum + host.pages, 0));
    const most = Math.max(1, ...sheet.hosts.map((host) => host.pages));
    for (const host of sheet.hosts) {
      const filled = make("i");
      filled.style.width = `${100 * host.pages / most}%`;
      const numbers = [host.pages, host.median?.toFixed(2) ?? "–", duration(host.seconds), host.cores || "–", host.failures];
      $("hosts").tBodies[0].append(make("tr", {}, make("th", { scope: "row", text: host.name, title: host.name }),
        make("td", { class: "n" }, make("span", { class: "bar", "aria-hidden": "true" }, filled), `${(100 * host.pages / total).toFixed(1)} %`),
        ...numbers.map((value) => make("td", { class: "n", text: String(value) })),
        make("td", { class: "words", text: [host.word ?? host.state, host.reason].filter(Boolean).join(": ") })));
    }
  }

  // The timeline: one lane per host. The more pages a pixel stands for, the darker it is.
  const LANE = 18, TOP = 4, BOTTOM = 22, RIGHT = 8;
  const timeOf = () => {
    const names = sheet.hosts.map((host) => host.name);
    const by = new Map(names.map((name) => [name, []]));
    let end = Math.max(0.001, sheet.seconds);
    for (const span of sheet.timeline) { by.get(span.host)?.push(span); end = Math.max(end, span.to); }
    for (const spans of by.values()) spans.sort((a, b) => a.from - b.from);
    return { names, by, end, left: 0, room: 0 };
  };
  let time = timeOf();

  function fitted(pen, text, room) {
    if (pen.measureText(text).width <= room) return text;
    let length = text.length;
    while (length && pen.measureText(`${text.slice(0, length)}…`).width > room) length--;
    return `${text.slice(0, length)}…`;
  }

  // Compute how many attempts each column of pixels covers, and where attempts failed.
  function densities(spans) {
    const density = new Float32Array(time.room + 1), failed = new Uint8Array(time.room + 1);
    for (const span of spans) {
      const from = span.from / time.end * time.room, to = Math.max(from + 0.5, span.to / time.end * time.room);
      for (let x = Math.floor(from); x <= Math.min(time.room, Math.floor(to)); x++) density[x] += Math.min(to, x + 1) - Math.max(from, x);
      if (!span.ok) failed[Math.min(time.room, Math.floor(to))] = 1;
    }
    return { density, failed, most: Math.max(1, ...density) };
  }

  // Return the step of the scale: a round number of seconds, at least 80 pixels wide.
  function step() {
    const least = time.end / Math.max(1, time.room / 80);
    const round = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400];
    return round.find((seconds) => seconds >= least) ?? Math.ceil(least / 86400) * 86400;
  }

  function tick(seconds) {
    if (time.end < 60) return `${Number(seconds.toFixed(1))} s`;
    const whole = Math.round(seconds), hours = Math.floor(whole / 3600);
    return `${hours ? `${hours}:${two(Math.floor(whole / 60) % 60)}` : Math.floor(whole / 60)}:${two(whole % 60)}`;
  }

  function drawTime() {
    const canvas = $("time"), pen = canvas.getContext("2d"), scale = devicePixelRatio || 1;
    const width = Math.max(240, canvas.parentElement.clientWidth), height = TOP + BOTTOM + LANE * Math.max(1, time.names.length);
    canvas.width = width * scale; canvas.height = height * scale; canvas.style.height = `${height}px`;
    pen.scale(scale, scale);
    const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
    pen.font = '12px system-ui, "Liberation Sans", sans-serif';
    const most = width < 500 ? 84 : 160;
    time.left = Math.ceil(Math.min(most, Math.max(0, ...time.names.map((name) => pen.measureText(name.slice(0, 40)).width)))) + 14;
    time.room = Math.floor(width - time.left - RIGHT);
    const bottom = height - BOTTOM + 2;
    for (let at = 0; at <= time.end * 1.0001; at += step()) {
      const x = time.left + Math.round(at / time.end * time.room), text = tick(at);
      pen.fillStyle = colour("--line"); pen.fillRect(x, TOP, 1, bottom - TOP);
      pen.fillStyle = colour("--quiet");
      pen.fillText(text, Math.min(x, width - 4 - pen.measureText(text).width), height - 6);
    }
    time.names.forEach((name, lane) => drawLane(pen, name, TOP + lane * LANE, colour));
    const busiest = sheet.hosts.reduce((best, host) => (host.pages > (best?.pages || 0) ? host : best), null);
    canvas.setAttribute("aria-label", `${count(sheet.timeline.length, "attempt")} on ${count(time.names.length, "host")} in ${duration(time.end)}`
      + (busiest ? `; most pages, ${busiest.pages}, came from ${busiest.name}` : ""));
  }

  function drawLane(pen, name, y, colour) {
    pen.fillStyle = colour("--ink");
    pen.fillText(fitted(pen, name.slice(0, 40), time.left - 12), 5, y + 13);
    const { density, failed, most } = densities(time.by.get(name));
    pen.fillStyle = colour("--accent");
    density.forEach((value, x) => {
      if (!value) return;
      pen.globalAlpha = 0.25 + 0.75 * Math.min(1, value / most);
      pen.fillRect(time.left + x, y + 4, 1, LANE - 8);
    });
    pen.globalAlpha = 1;
    pen.fillStyle = colour("--failed");
    failed.forEach((value, x) => { if (value) pen.fillRect(time.left + x - 1, y, 3, LANE - 1); });
  }

  let drawing = 0;
  function drawSoon() {
    cancelAnimationFrame(drawing);
    drawing = requestAnimationFrame(drawTime);
  }

  // The selected attempt: under the mouse, or chosen with the keys.
  let lane = -1;
  let current = null;

  function point(name, span, others = 0) {
    current = span;
    const mark = $("time-mark"), tip = $("time-tip");
    const [x, right] = [span.from, span.to].map((at) => time.left + at / time.end * time.room);
    const y = TOP + lane * LANE;
    Object.assign(mark.style, { left: `${x - 2}px`, top: `${y}px`, width: `${Math.max(5, right - x + 4)}px`, height: `${LANE}px` });
    tip.textContent = `${name}: page ${span.page}${span.ok ? "" : ", failed"}, ${duration(span.from)} to ${duration(span.to)}`
      + (others ? `, and ${count(others, "other attempt")} here` : "");
    mark.hidden = tip.hidden = false;
    const width = $("time-box").clientWidth;
    tip.style.left = `${Math.max(0, Math.min(x, width - tip.offsetWidth))}px`;
    tip.style.top = `${y + LANE + 6}px`;
  }

  function unpoint() {
    current = null;
    $("time-mark").hidden = $("time-tip").hidden = true;
    $("time-tip").textContent = "";
  }

  function pointAt(event) {
    const place = $("time").getBoundingClientRect();
    const at = (event.clientX - place.left - time.left) / Math.max(1, time.room) * time.end;
    const slack = 3 / Math.max(1, time.room) * time.end;
    const row = Math.floor((event.clientY - place.top - TOP) / LANE), name = time.names[row];
    const here = name === undefined ? [] : time.by.get(name).filter((span) => span.from <= at + slack && span.to >= at - slack);
    if (!here.length) { unpoint(); return; }
    lane = row;
    const distance = (span) => Math.max(span.from - at, at - span.to, 0);
    // A failed attempt is more interesting than the others.
    const nearest = here.find((span) => !span.ok) ?? here.reduce((best, span) => (distance(span) < distance(best) ? span : best));
    point(name, nearest, here.length - 1);
  }

  function openCurrent() {
    const page = current && pages.get(current.page);
    if (page) open(page);
  }

  function moveBy(key) {
    const used = time.names.map((name, row) => row).filter((row) => time.by.get(time.names[row]).length);
    if (!used.length) return;
    const at = current ? current.from : 0;
    let next = current ? lane : used[0];
    if (current && key === "ArrowDown") next = used.find((row) => row > lane) ?? lane;
    if (current && key === "ArrowUp") next = used.findLast((row) => row < lane) ?? lane;
    const spans = time.by.get(time.names[next]);
    let index = next === lane ? spans.indexOf(current) : Math.max(0, spans.findIndex((span) => span.to >= at));
    if (key === "Home" || index < 0) index = 0;
    else if (key === "End") index = spans.length - 1;
    else if (current && key === "ArrowRight") index++;
    else if (current && key === "ArrowLeft") index--;
    lane = next;
    point(time.names[lane], spans[Math.max(0, Math.min(spans.length - 1, index))]);
  }

  $("time").addEventListener("mousemove", pointAt);
  $("time").addEventListener("mouseleave", unpoint);
  $("time").addEventListener("click", (event) => { pointAt(event); openCurrent(); });
  $("time-box").addEventListener("blur", unpoint);
  $("time-box").addEventListener("keydown", (event) => {
    if (!isPlain(event)) return;
    if (event.key === "Enter") openCurrent();
    else if (/^(Arrow(Left|Right|Up|Down)|Home|End)$/.test(event.key)) moveBy(event.key);
    else return;
    event.preventDefault();
  });

  function fillSettings() {
    // 0: as the horizontal resolution, and no parts.
    const isUnset = ([name, value]) => value === null || String(value) === "" || (value === 0 && ["vertical_dpi", "split"].includes(name));
    const rows = Object.entries(sheet.settings).filter((row) => !isUnset(row));
    rows.push(["output", sheet.output || "–"], ["pages of the document", sheet.document.pages]);
    for (const [name, value] of rows) $("settings").append(make("dt", { text: name.replaceAll("_", " ") }), make("dd", { text: String(value) }));
  }

  // Take the new states of some pages, and what has changed of the job (web front end).
  function update(changed, standing) {
    Object.assign(sheet, standing);
    let focused = null;
    for (const fresh of changed) {
      const page = pages.get(fresh.page);
      if (!page) continue;
      const before = JSON.stringify([page.state, page.file]);
      Object.assign(page, fresh);
      const old = cells.get(page.page);
      if (!old || before === JSON.stringify([page.state, page.file])) continue;
      if (old.contains(document.activeElement)) focused = page;
      old.replaceWith(cell(page));
    }
    fillHead(); fillCounts(); fillHosts();
    if (changed.length) { fillProblems(); apply(); }
    if (focused) buttonOf(focused)?.focus({ preventScroll: true });
    if (viewer.open && changed.some((page) => page.page === large.page)) open(large);
  }

  // Take the whole sheet anew, as after the end of a job.
  function replace(fresh) {
    const { pages: changed, ...rest } = fresh;
    update(changed, rest);
    time = timeOf();
    fillSections();
    dispatchEvent(new Event("resize"));
  }

  globalThis.overview = { sheet, update, replace, open: (number) => open(pages.get(number)), reopen: () => { if (viewer.open) open(large); }, shown: () => shown, make, duration, count, isDark };
  link(document.querySelector(".skip"), $("pages"));
  fillHead(); fillProblems(); fillSections(); fillFilters(); readHash(); build(); fillHosts(); fillSettings(); showScheme();
  addEventListener("resize", drawSoon);
})();
