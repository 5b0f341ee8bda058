"use strict";
const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const make = (name, text, attributes = {}) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  return element;
};
const draw = (name, attributes, text) => {
  const element = document.createElementNS(SVG, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  return element;
};

// Numbers as people read them.
const steps = (value, units, by) => {
  let unit = 0;
  while (value >= by * 0.9995 && unit + 1 < units.length) { value /= by; unit += 1; }
  const digits = value >= 100 || (unit === 0 && value === Math.round(value)) ? 0 : value >= 10 ? 1 : 2;
  return value.toFixed(digits) + units[unit];
};
const count = value => steps(value, ["", " k", " M", " G"], 1000);
const whole = value => value.toLocaleString("en");
const bytes = value => steps(value, [" B", " KiB", " MiB", " GiB", " TiB"], 1024);
const time = seconds => {
  if (seconds === 0) return "0 s";
  if (seconds < 0.9995) return seconds < 0.0009995 ? steps(seconds * 1e6, [" µs"], 1e9) : steps(seconds * 1e3, [" ms"], 1e9);
  if (seconds < 60) return steps(seconds, [" s"], 1e9);
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].map(([size, unit]) => {
    const n = Math.floor(seconds / size);
    seconds -= n * size;
    return n ? `${n} ${unit}` : "";
  });
  return parts.filter(part => part).slice(0, 2).join(" ");
};
const micros = value => time(value / 1e6);
const percent = value => steps(value, [" %"], 1e9);
const date = seconds => new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ") + " UTC";
const shown = (value, unit) => {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  return unit === "bytes" ? bytes(value) : unit === "seconds" ? time(value) : unit === "date" ? date(value) : whole(value);
};

// What happened of late: one object a moment.
let columns = [], moments = [], span = 60, offset = 0;
const moment = row => {
  const figures = Object.fromEntries(columns.map((name, place) => [name, row[place]]));
  figures.protocols = row[columns.length] || {};
  return figures;
};
// How much a total grew in a second; nothing across a new beginning.
const rate = (now, before, name) => {
  const seconds = (now.time - before.time) / 1000, grown = now[name] - before[name];
  return seconds > 0 && grown >= 0 && now.uptime >= before.uptime ? grown / seconds : null;
};
const per = name => (now, before) => rate(now, before, name);
const is = name => now => now[name];
const CHARTS = [
  { title: "Requests a second", show: count, lines: [
    ["all", per("requests_total")], ["4xx", per("replies_4xx_total"), "s2"], ["5xx", per("replies_5xx_total"), "s3"]] },
  { title: "Bytes a second", show: bytes, lines: [["sent", per("sent_bytes_total")], ["received", per("received_bytes_total"), "s1"]] },
  { title: "Connections", show: count, low: 4, lines: [["all", is("connections")]], protocols: true },
  { title: "Latency of the loop", show: micros, low: 1000, head: 1, lines: [
    ["longest", is("turn_longest"), "s2"], ["p99", is("turn_p99")], ["p50", is("turn_p50"), "s1"]] },
  { title: "Memory", show: bytes, low: 1 << 20, lines: [["private", is("private_bytes")], ["resident", is("resident_bytes"), "s1"]] },
  { title: "Processor", show: percent, low: 10, lines: [["of one core", (now, before) => {
    const used = rate(now, before, "processor_time_total");
    return used === null ? null : used / 1e4;
  }]] },
];
for (const chart of CHARTS) {
  const figure = make("figure"), caption = make("figcaption");
  chart.value = make("output", "–");
  chart.key = make("ul", undefined, { class: "key" });
  chart.svg = draw("svg", { role: "img", "aria-label": chart.title });
  caption.append(make("b", chart.title), chart.value);
  figure.append(caption, chart.key, chart.svg);
  $("charts").append(figure);
  const point = event => {
    const box = chart.svg.getBoundingClientRect();
    chart.at = (event.clientX - box.left) / box.width;
    plot(chart);
  };
  chart.svg.addEventListener("pointermove", point);
  chart.svg.addEventListener("pointerdown", point);
  chart.svg.addEventListener("pointerleave", () => { chart.at = undefined; plot(chart); });
}

// The next round number above, so that the scale does not jump with each value.
const round = (value, by) => {
  let top = 1;
  while (top < value) top *= by;
  while (top / 2 >= value && top > 1) top /= 2;
  return top;
};
const linesOf = chart => {
  if (!chart.protocols) return chart.lines;
  const names = [...new Set(moments.flatMap(m => Object.keys(m.protocols)))].sort();
  return chart.lines.concat(names.map((name, n) => [name, m => m.protocols[name] ?? 0, "s" + (1 + n % 4)]));
};
function plot(chart) {
  const { width, height } = chart.svg.getBoundingClientRect();
  if (!width || !moments.length) return;
  const end = moments.at(-1).time, begin = end - span * 1000, bottom = height - 16;
  const x = at => (at - begin) / (end - begin) * width;
  let from = moments.findIndex(m => m.time >= begin);
  if (from > 0) from -= 1;
  const times = moments.slice(from).map(m => m.time);
  const lines = linesOf(chart).map(([name, value, style]) => ({ name, style: style || "", isRate: value.length > 1, values: moments.slice(from).map((m, n) => {
    const before = moments[from + n - 1];
    const v = value.length > 1 ? (before ? value(m, before) : null) : value(m);
    return v === undefined ? null : v;
  }) }));
  const highest = Math.max(chart.low || 1, ...lines.flatMap(line => line.values.filter(v => v !== null)));
  const top = round(highest, chart.show === bytes ? 1024 : 10), y = value => bottom - value / top * (bottom - 12);
  const parts = [];
  for (const level of [0, 0.5, 1]) {
    parts.push(draw("line", { x1: 0, x2: width, y1: y(top * level), y2: y(top * level) }));
  }
  lines.forEach((line, n) => {
    // Where nobody looked for a while, a rate is its average, and anything else is not known.
    let path = "", under = "", last = null, first = null;
    const to = (at, value) => {
      const step = `${first === null ? "M" : "L"}${x(at).toFixed(1)},${y(value).toFixed(1)}`;
      path += step;
      under += step;
      last = x(at).toFixed(1);
      if (first === null) first = last;
    };
    const finish = () => { if (first !== null) under += `L${last},${bottom}L${first},${bottom}Z`; first = null; };
    line.values.forEach((value, place) => {
      if (value === null) return finish();
      if (place && times[place] - times[place - 1] > 5000) {
        finish();
        if (line.isRate) to(times[place - 1], value);
      }
      to(times[place], value);
    });
    finish();
    if (n === 0) parts.push(draw("path", { d: under, class: "under " + line.style }));
    parts.push(draw("path", { d: path, class: line.style }));
  });
  parts.push(draw("text", { x: 0, y: 9 }, chart.show(top)));
  parts.push(draw("text", { x: 0, y: height - 2 }, span > 60 ? `${span / 60} min ago` : `${span} s ago`));
  let seen = times.length - 1;
  if (chart.at === undefined) {
    parts.push(draw("text", { x: width, y: height - 2, "text-anchor": "end" }, "now"));
  } else {
    const wanted = begin + chart.at * (end - begin);
    times.forEach((at, place) => { if (Math.abs(at - wanted) < Math.abs(times[seen] - wanted)) seen = place; });
    const at = x(times[seen]);
    parts.push(draw("line", { x1: at, x2: at, y1: 0, y2: bottom, class: "at" }));
    parts.push(draw("text", { x: width, y: height - 2, "text-anchor": "end" }, new Date(times[seen]).toLocaleTimeString()));
  }
  // What leads out of the picture stays within it.
  const clip = draw("svg", { x: 0, y: 0, width, height });
  clip.append(...parts);
  chart.svg.replaceChildren(clip);
  const told = line => line.values[seen] === null || line.values[seen] === undefined ? "–" : chart.show(line.values[seen]);
  chart.value.textContent = told(lines[chart.head || 0]);
  chart.key.replaceChildren(...lines.map(line => make("li", lines.length > 1 ? `${line.name} ${told(line)}` : line.name, { class: line.style })));
  const most = Math.max(0, ...lines[0].values.filter(v => v !== null));
  chart.svg.setAttribute("aria-label", `${chart.title}, the last ${span} seconds: ` +
    lines.map(line => `${line.name} ${told(line)}`).join(", ") + `; highest ${chart.show(most)}`);
}
const plotAll = () => CHARTS.forEach(plot);
addEventListener("resize", plotAll);
for (const button of document.querySelectorAll("[data-span]")) {
  button.addEventListener("click", () => {
    span = Number(button.dataset.span);
    for (const other of document.querySelectorAll("[data-span]")) other.setAttribute("aria-pressed", other === button);
    plotAll();
    tabulate();
  });
}

// The charts' figures for who cannot see them: some moments, the newest first.
function tabulate() {
  if (!$("figures").open) return;
  const lines = CHARTS.flatMap(chart => linesOf(chart).map(line => [chart, ...line]));
  const head = make("tr");
  head.append(make("th", "Time", { scope: "col" }), ...lines.map(([chart, name]) => make("th", `${chart.title}: ${name}`, { scope: "col", class: "n" })));
  const every = span / 10, rows = [];
  for (let place = moments.length - 1; place > 0 && rows.length < 10; place -= every) {
    const row = make("tr");
    row.append(make("th", new Date(moments[place].time).toLocaleTimeString(), { scope: "row" }), ...lines.map(([chart, , value]) => {
      const v = value(moments[place], moments[place - 1]);
      return make("td", v === null || v === undefined ? "–" : chart.show(v), { class: "n" });
    }));
    rows.push(row);
  }
  $("figures").querySelector("thead").replaceChildren(head);
  $("figures").querySelector("tbody").replaceChildren(...rows);
}
$("figures").addEventListener("toggle", tabulate);

// Parts of the tree. What has not changed is left alone, so that what is open stays so.
const nameOf = text => text.charAt(0).toUpperCase() + text.slice(1);
const table = (rows, first) => {
  const names = [...new Set(rows.flatMap(([, part]) => Object.keys(part.fields || {})))];
  const head = make("tr"), body = make("tbody"), all = make("table"), top = make("thead"), wide = make("div", undefined, { class: "wide" });
  const isNumber = name => rows.every(([, part]) => typeof (part.fields || {})[name] !== "string");
  if (first) head.append(make("th", first, { scope: "col" }));
  head.append(...names.map(name => make("th", nameOf(name), { scope: "col", class: isNumber(name) ? "n" : "" })));
  for (const [name, part] of rows) {
    const row = make("tr");
    if (first) row.append(make("td", name));
    row.append(...names.map(field => {
      const value = (part.fields || {})[field];
      return make("td", value === undefined ? "" : shown(value, (part.units || {})[field]), { class: isNumber(field) ? "n" : "w" });
    }));
    body.append(row);
  }
  top.append(head);
  all.append(top, body);
  wide.append(all);
  if (names.every(isNumber)) wide.classList.add("figures");
  return wide;
};
const list = part => {
  const all = make("dl");
  for (const name in part.fields) {
    const one = make("div");
    one.append(make("dt", nameOf(name)), make("dd", shown(part.fields[name], (part.units || {})[name])));
    all.append(one);
  }
  return all;
};
const kept = new Map();
const keep = (path, what, build) => {
  const text = JSON.stringify(what);
  let one = kept.get(path);
  if (!one) kept.set(path, one = {});
  if (one.text !== text) { one.element = build(one.element); one.text = text; }
  one.seen = true;
  return one.element;
};
// Puts these elements in their place and moves only what is elsewhere.
const arrange = (into, elements) => {
  elements.forEach((element, place) => {
    if (into.children[place] !== element) into.insertBefore(element, into.children[place] || null);
  });
  while (into.children.length > elements.length) into.lastChild.remove();
};
const inside = (path, part) => {
  const elements = [];
  if (part.fields) elements.push(keep(path + " fields", [part.fields, part.units], () => list(part)));
  const below = Object.entries(part.parts || {});
  const alike = below.length && below.every(([, one]) => one.kind === below[0][1].kind && one.fields && !one.parts);
  if (alike) {
    elements.push(keep(path + " table", below, () => table(below, nameOf(below[0][1].kind))));
  } else {
    for (const [name, one] of below) elements.push(branch(`${path}/${name}`, name, one));
  }
  if (part.more) elements.push(keep(path + " more", 1, () => make("p", "There is more below it, which is not shown here.", { class: "none" })));
  return elements;
};
const branch = (path, name, part) => {
  const all = keep(path, [name, part.about], old => {
    const details = old || make("details", undefined, { class: "part" });
    const summary = make("summary", nameOf(name));
    summary.append(make("small", part.about || ""));
    const inner = details.querySelector(":scope > .inner") || make("div", undefined, { class: "inner" });
    details.replaceChildren(summary, inner);
    return details;
  });
  arrange(all.querySelector(":scope > .inner"), inside(path, part));
  return all;
};
const find = (part, kind, found = []) => {
  if (part.kind === kind) found.push(part);
  for (const name in part.parts) find(part.parts[name], kind, found);
  return found;
};
const slowest = (id, tree, kind, none) => {
  const rows = find(tree, kind).sort((a, b) => b.fields.took - a.fields.took).slice(0, 10).map(part => ["", part]);
  arrange($(id), [keep(id, rows, () => rows.length ? table(rows) : make("p", none, { class: "none" }))]);
};
function show(tree) {
  for (const one of kept.values()) one.seen = false;
  slowest("requests", tree, "request", "There was none.");
  slowest("turns", tree, "turn", "There was none.");
  arrange($("parts"), Object.entries(tree.parts || {}).map(([name, part]) => branch(name, name, part)));
  for (const [path, one] of kept) if (!one.seen) kept.delete(path);
}

// The stream: everything of late at first, then each second what is.
const say = (state, text) => {
  $("state").className = state;
  // Only what has changed is read out.
  if ($("state").lastChild.textContent !== text) $("state").lastChild.textContent = text;
};
const events = new EventSource(location.pathname + "?format=events");
events.addEventListener("history", event => {
  const past = JSON.parse(event.data);
  columns = past.columns;
  moments = past.rows.map(moment);
  $("program").textContent = nameOf(past.program);
  $("version").textContent = past.version;
  document.title = `${nameOf(past.program)} · status`;
});
events.addEventListener("now", event => {
  const now = JSON.parse(event.data);
  moments.push(moment(now.row));
  while (moments.length > 700) moments.shift();
  const uptime = moments.at(-1).uptime;
  $("version").textContent = $("version").textContent.split(",")[0] + (uptime === null ? "" : `, up ${micros(uptime)}`);
  say("live", "live");
  plotAll();
  tabulate();
  show(now.tree);
});
events.addEventListener("error", () => {
  const gone = events.readyState === EventSource.CLOSED;
  say("lost", gone ? "not connected; load the page again" : "the server does not answer; trying again");
});
