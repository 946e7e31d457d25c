
// ---- The hosts, for operators. ----
function row(host, drain) {
  const words = plain([drain ? `drained by ${drain.by}` : host.state || "not used", drain?.note || host.reason].filter(Boolean).join(": "));
  const verb = drain ? "Put back into use" : "Drain";
  return make("tr", { "data-host": host.name }, make("th", { scope: "row", text: host.name }), make("td", { class: "words", text: words }),
    make("td", { class: "n", text: host.slots || "–" }), make("td", { class: "n", text: host.running }),
    make("td", { class: "n", text: host.others === null ? "–" : host.others.toFixed(2) }), make("td", { class: "words", text: host.jobs.join(", ") }),
    make("td", {}, make("button", { type: "button", text: verb, "aria-label": `${verb}: ${host.name}`, onclick: () => change(host.name, !drain) })));
}

function poolRow(pool) {
  return make("tr", {}, make("th", { scope: "row", text: pool.name }), make("td", { class: "n", text: pool.running }),
    make("td", { class: "n", text: pool.waiting }), make("td", { class: "words", text: pool.reason || "–" }),
    make("td", { text: pool.start || "–" }), make("td", { class: "words", text: pool.jobs.join(", ") }));
}

async function change(name, isDrain) {
  if (isDrain && !await confirmed(`Drain ${name}?`, "Its pages go to other hosts; it gets no more until it is put back into use.", "Drain")) return;
  try {
    await call("POST", `api/v1/hosts/${encodeURIComponent(name)}/${isDrain ? "drain" : "undrain"}`, {});
    notify(isDrain ? `${name} is drained.` : `${name} is in use again.`);
    await refresh();
  } catch (error) { notify(told(error), true); }
}

async function refresh() {
  try {
    const found = await call("GET", "api/v1/hosts");
    const drained = new Map(found.drained.map((each) => [each.host, each]));
    const focused = document.activeElement?.closest?.("tr")?.dataset.host;
    $("hosts").tBodies[0].replaceChildren(...found.hosts.map((host) => row(host, drained.get(host.name))));
    if (focused) $("hosts").querySelector(`[data-host="${CSS.escape(focused)}"] button`)?.focus({ preventScroll: true });
    $("pools").tBodies[0].replaceChildren(...found.pools.map(poolRow));
    $("batch").hidden = found.pools.length === 0;
    $("host-box").hidden = found.hosts.length === 0;
    $("empty").hidden = found.hosts.length > 0 || found.pools.length > 0;
    $("offline").hidden = true;
  } catch (error) {
    $("offline").textContent = retold(error);
    $("offline").hidden = false;
  }
}

(async () => {
  for (;;) {
    if (!document.hidden) await refresh();
    document.documentElement.dataset.built = "yes";
    await pause(3);
  }
})();
