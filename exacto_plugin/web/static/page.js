"use strict";
// The page: asks for a key, gets views as HTML that the server has escaped, and draws their charts.
(() => {
  const base = document.currentScript.src.replace(/\/static\/[^/]*$/, "");
  const KEY = "exacto-key";
  const EVERY_MS = 15000;
  const $ = (id) => document.getElementById(id);
  const view = $("view");
  let charts = [];
  let shown = { address: "", html: "" };
  let asked = 0;
  let freshAt = 0;

  let session = null; // given for LiteLLM's sign-in; in memory only
  let claimed = null;

  const key = () => session ?? sessionStorage.getItem(KEY);
  const say = (text) => { $("status").textContent = text; };

  async function get(path, options = {}) {
    const headers = { Authorization: `Bearer ${key()}`, ...options.headers };
    return fetch(`${base}/${path}`, { ...options, headers, credentials: "omit", cache: "no-store" });
  }

  async function reason(answer) {
    try {
      const told = await answer.json();
      const detail = told.detail ?? told.error?.message ?? told.error ?? "";
      return typeof detail === "string" ? detail : JSON.stringify(detail);
    } catch { return ""; }
  }

  // --- the key ---------------------------------------------------------------------------------------------------

  function askForKey(text = "") {
    sessionStorage.removeItem(KEY);
    session = null;
    clear();
    shown = { address: "", html: "" };
    $("key").hidden = false;
    for (const one of document.querySelectorAll("header nav, header .session")) one.hidden = true;
    document.title = "exacto";
    $("refused").textContent = text;
    $("secret").focus();
  }

  $("key").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, $("secret").value.trim());
    $("secret").value = "";
    show();
  });
  // In LiteLLM's sidebar its UI, on the same origin, tells who has signed in; once or twice with the same claim.
  addEventListener("message", async ({ source, origin, data }) => {
    const claim = data?.type === "litellm-auth" ? data.session_claim : null;
    if (source !== parent || parent === window || origin !== location.origin || !claim || claim === claimed) return;
    claimed = claim;
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ session_claim: claim }) };
    const answer = await fetch(`${base}/api/plugin-auth`, { ...options, credentials: "omit" });
    if (!answer.ok) { if (!key()) askForKey(await reason(answer)); return; }
    session = (await answer.json()).session;
    show();
  });
  $("leave").addEventListener("click", () => askForKey());
  $("skip").addEventListener("click", () => $("main").focus());

  // --- views -----------------------------------------------------------------------------------------------------

  function address() {
    const [name, query = ""] = location.hash.slice(1).split(/\?(.*)/s);
    return `page/${/^[a-z]+$/.test(name) ? name : "overview"}?${query}`;
  }

  function clear() {
    for (const chart of charts) chart.destroy();
    charts = [];
    view.replaceChildren();
  }

  async function show(again = false) {
    if (!key()) return askForKey();
    const number = ++asked;
    const wanted = address();
    let answer;
    try {
      answer = await get(wanted);
    } catch {
      $("fresh").textContent = `The proxy does not answer; shown is the state of ${clock(freshAt)}`;
      if (!again) fail("The proxy does not answer. The page tries again every 15 seconds.");
      return;
    }
    if (number !== asked) return;
    if (answer.status === 401 || answer.status === 403) return askForKey(`${session ? "" : "This key was refused. "}${await reason(answer)}`);
    if (!answer.ok) return again ? undefined : fail(`The proxy answered ${answer.status}. ${await reason(answer)}`);
    const html = await answer.text();
    if (number !== asked) return;
    freshAt = Date.now();
    $("fresh").textContent = `as of ${clock(freshAt)}`;
    $("key").hidden = true;
    for (const one of document.querySelectorAll("header nav, header .session")) one.hidden = false;
    for (const link of document.querySelectorAll("header nav a")) {
      if (wanted.startsWith(`page/${link.hash.slice(1)}?`)) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (again && html === shown.html && wanted === shown.address) return;
    place(html, wanted);
  }

  function place(html, wanted) {
    const same = wanted === shown.address;
    const open = same ? [...view.querySelectorAll("details")].map((one) => one.open) : [];
    const then = same && $("why") ? $("why").innerHTML : "";
    const focused = same && view.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const top = window.scrollY;
    clear();
    view.innerHTML = html;
    shown = { address: wanted, html };
    view.querySelectorAll("details").forEach((one, place) => { one.open = Boolean(open[place]); });
    if (then && $("why")) $("why").innerHTML = then;
    draw();
    const title = view.querySelector("h1");
    document.title = title ? `${title.textContent} – exacto` : "exacto";
    if (same) {
      window.scrollTo(0, top);
      if (focused) [...view.querySelectorAll("a")].find((one) => one.getAttribute("href") === focused)?.focus({ preventScroll: true });
    } else {
      window.scrollTo(0, 0);
      title?.focus({ preventScroll: true });
    }
  }

  function fail(text) {
    clear();
    shown = { address: "", html: "" };
    const title = document.createElement("h1");
    title.textContent = "Nothing to show";
    const told = document.createElement("p");
    told.className = "alert";
    told.textContent = text;
    view.append(title, told);
  }

  const clock = (at) => at ? `${new Date(at).toISOString().slice(11, 19)} UTC` : "nothing yet";

  function busy() {
    const active = document.activeElement;
    return active && view.contains(active) && active.matches("input, select, button, textarea, .scroll");
  }

  addEventListener("hashchange", () => show());
  setInterval(() => {
    if (!document.hidden && key() && $("key").hidden && !busy()) show(true);
  }, EVERY_MS);

  // --- charts ----------------------------------------------------------------------------------------------------

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const FORMATS = {
    percent: (value) => `${+(100 * value).toPrecision(3)} %`,
    "tokens/s": (value) => `${+value.toPrecision(3)}`,
  };

  function seriesOf(line) {
    const shared = { label: line.name, scale: "y", spanGaps: false, points: { show: lonely(line.values), size: 5 } };
    if (line.style === "band") return { ...shared, stroke: "transparent", width: 0, points: { show: false } };
    const dash = line.dash ? line.dash.split(" ").map(Number) : undefined;
    const width = line.strong ? 3.5 : line.style === "threshold" ? 2 : 1.5;
    return { ...shared, stroke: color(line.style), width, dash };
  }

  // A value between two gaps has no line; it is drawn as a point.
  const lonely = (values) => values.filter((one) => one !== null).length < 3;

  // Text that lines behind it do not make unreadable.
  function write(ctx, text, x, y, paint) {
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textBaseline = "alphabetic";
    ctx.setLineDash([]);
    ctx.lineWidth = 4 * devicePixelRatio;
    ctx.strokeStyle = color("panel");
    ctx.strokeText(text, x, y);
    ctx.fillStyle = color(paint);
    ctx.fillText(text, x, y);
  }

  const drawn = (paint) => (plot) => { plot.ctx.save(); paint(plot, devicePixelRatio); plot.ctx.restore(); };

  // Bands of common causes, behind the lines; words as well as colour, where they do not overlap.
  const causes = (chart) => drawn(({ ctx, bbox, valToPos, scales }, unit) => {
    const within = (at) => Math.min(Math.max(valToPos(at, "x", true), bbox.left), bbox.left + bbox.width);
    const bands = chart.causes.map(([begin, end]) => [within(begin), within(end ?? scales.x.max)]);
    ctx.fillStyle = color("cause");
    for (const [from, to] of bands) ctx.fillRect(from, bbox.top, Math.max(to - from, 2), bbox.height);
    ctx.textAlign = "left";
    let free = 0;
    for (const [from] of bands) {
      const x = Math.min(from, bbox.left + bbox.width - 90 * unit);
      if (x >= free) write(ctx, "common cause", x, bbox.top + 12 * unit, "wait");
      free = Math.max(free, x + 90 * unit);
    }
  });

  // Calls of an hour with their counts; a triangle at the upper end stands for a share beyond it.
  const points = (chart) => drawn(({ ctx, bbox, valToPos }, unit) => {
    const places = chart.points.map(([at]) => valToPos(at, "x", true));
    ctx.textAlign = "center";
    for (const [place, [, value, style, part, whole]] of chart.points.entries()) {
      const [x, exact] = [places[place], valToPos(value, "y", true)];
      const y = Math.max(exact, bbox.top + 8 * unit);
      // Where there is room; the table has all of them.
      if (places.every((other, at) => at === place || Math.abs(other - x) > 42 * unit)) {
        write(ctx, `${part} of ${whole}`, x, y > bbox.top + 24 * unit ? y - 9 * unit : y + 18 * unit, style);
      }
      ctx.setLineDash([]);
      ctx.strokeStyle = color(style);
      ctx.lineWidth = 2 * unit;
      ctx.beginPath();
      if (y > exact) for (const [right, down] of [[-5, 4], [0, -5], [5, 4], [-5, 4]]) ctx.lineTo(x + right * unit, y + down * unit);
      else ctx.arc(x, y, 4 * unit, 0, 2 * Math.PI);
      ctx.stroke();
    }
  });

  // Changes with their words, in as many rows as keep them apart; the last one stands left of its line at the edge.
  const marks = (chart) => drawn(({ ctx, bbox, valToPos }, unit) => {
    const free = [0, 0, 0, 0];
    for (const [at, label] of chart.marks) {
      const x = Math.round(valToPos(at, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = color("mark");
      ctx.lineWidth = unit;
      ctx.setLineDash([2 * unit, 3 * unit]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.font = `${11 * unit}px system-ui, sans-serif`;
      const width = ctx.measureText(label).width + 8 * unit;
      const left = Math.max(bbox.left, Math.min(x + 4 * unit, bbox.left + bbox.width - width));
      const row = free.findIndex((end) => end <= left);
      if (row < 0) continue;
      free[row] = left + width;
      ctx.textAlign = "left";
      write(ctx, label, left, bbox.top + (26 + 13 * row) * unit, "mark");
    }
  });

  function moment(at, place, step) {
    const iso = new Date(at * 1000).toISOString();
    const [day, time] = [iso.slice(5, 10), iso.slice(11, 16)];
    if (step >= 86400) return day;
    return place === 0 || time === "00:00" ? `${time}\n${day}` : time;
  }

  function optionsOf(chart, place) {
    const format = FORMATS[chart.unit] ?? ((value) => `${value}`);
    const axis = { stroke: color("quiet"), grid: { stroke: color("grid"), width: 1 }, ticks: { stroke: color("grid") }, font: "12px system-ui, sans-serif" };
    const low = chart.lines.findIndex((line) => line.name === "median - MAD") + 1;
    const high = chart.lines.findIndex((line) => line.name === "median + MAD") + 1;
    return {
      width: Math.max(200, place.clientWidth),
      height: place.clientWidth < 500 ? 220 : 260,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      legend: { show: false },
      // Without dragging uPlot would take every click for the end of a drag, and stop it.
      cursor: { drag: { setScale: false, x: false, y: false, click: () => {} }, points: { show: false } },
      scales: {
        x: { time: true, range: (_, from, to) => from === to ? [from - 1800, to + 1800] : [from, to] },
        y: { range: (_, from, to) => [0, Math.max(Math.max(to, chart.top) * 1.08, chart.unit === "percent" ? 0.01 : 1)] },
      },
      axes: [
        { ...axis, space: 70, values: (_, ticks, __, ___, step) => ticks.map((at, place) => moment(at, place, step)) },
        { ...axis, size: 62, values: (_, ticks) => ticks.map(format) },
      ],
      series: [{}, ...chart.lines.map(seriesOf)],
      bands: low && high ? [{ series: [high, low], fill: color("band") }] : [],
      hooks: { drawAxes: [causes(chart)], draw: [marks(chart), points(chart)] },
    };
  }

  function draw() {
    for (const chart of charts) chart.destroy();
    charts = [];
    for (const place of view.querySelectorAll(".plot")) {
      const chart = JSON.parse(place.dataset.chart);
      const plot = new uPlot(optionsOf(chart, place), [chart.times, ...chart.lines.map((line) => line.values)], place);
      if (chart.clicked === "why") {
        plot.over.addEventListener("click", (event) => why(plot.posToVal(event.offsetX, "x")));
      }
      charts.push(plot);
    }
  }

  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) { width = innerWidth; draw(); }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  // --- forms -----------------------------------------------------------------------------------------------------

  async function why(at) {
    const { group, name } = $("then").dataset;
    $("then-at").value = new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ");
    const query = new URLSearchParams({ group, name, at: String(at) });
    const answer = await get(`page/why?${query}`);
    if (answer.ok) $("why").innerHTML = await answer.text();
    else $("why").textContent = await reason(answer);
  }

  async function override(form) {
    const word = $("word").value;
    const body = { deployment: form.dataset.name, model_group: form.dataset.group, word, reason: $("reason").value };
    if (word !== "reset") body.for_s = 3600 * Number($("hours").value);
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await get("page/overrides", options);
    if (!answer.ok) { $("told").textContent = `Not set: ${await reason(answer)}`; return; }
    await show(true);
    const ended = word === "reset" && ((await answer.json()).overrides.length ? "The override was ended." : "There is nothing to reset.");
    if ($("told")) $("told").textContent = ended || `The override to ${word} was set.`;
  }

  view.addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target;
    if (form.id === "then") why(Date.parse(`${$("then-at").value.replace(" ", "T")}Z`) / 1000);
    if (form.id === "find") location.hash = `request?id=${encodeURIComponent($("request-id").value.trim())}`;
    if (form.id === "override-form") override(form);
  });

  view.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-download]");
    if (!button) return;
    const text = JSON.stringify(JSON.parse(button.dataset.file), null, 1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = button.dataset.download;
    link.click();
    URL.revokeObjectURL(link.href);
    say("The file was saved.");
  });

  // In a frame the sign-in comes after the page is loaded.
  if (parent === window) show();
  else setTimeout(() => { if (!session) show(); }, 1500);
})();
