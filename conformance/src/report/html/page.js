// The matrix with its filters and its keys. Every text becomes a text node or an attribute's value.
const report = JSON.parse(document.getElementById("report").textContent);
const requirements = JSON.parse(document.getElementById("requirements").textContent);

// An element with attributes, and children that are elements or texts.
function make(name, attributes, ...children) {
  return filled(document.createElement(name), attributes, children);
}
function draw(name, attributes, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}
function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  for (const child of children.flat()) {
    if (child !== undefined && child !== null) element.append(child instanceof Node ? child : visible(String(child)));
  }
  return element;
}
// Control characters and marks of direction would hide what a text is.
function visible(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");
}

const series = (kernel) => (kernel.match(/^\d+\.\d+/) || [kernel])[0];
const runName = (run) => (run.runtime.name + " " + run.runtime.version).trim();
const byId = report.runs.map((run) => new Map(run.checks.map((check) => [check.id, check])));
function kindOf(check) {
  if (check.known !== undefined) return "known";
  if (check.verdict === "fail" && check.level !== "MUST") return "should";
  return ["pass", "fail", "skip"].includes(check.verdict) ? check.verdict : "inconclusive";
}
const WORDS = { pass: "pass", fail: "FAIL", should: "fail", skip: "skip", inconclusive: "unclear", known: "known" };
const LONG = {
  pass: "pass", fail: "failed MUST", should: "failed SHOULD", skip: "skipped", inconclusive: "inconclusive", known: "known failure",
};

function drawRuns() {
  const place = document.getElementById("runs");
  for (const run of report.runs) {
    const sums = {};
    for (const check of run.checks) sums[kindOf(check)] = (sums[kindOf(check)] || 0) + 1;
    const kinds = Object.keys(LONG).filter((kind) => sums[kind]);
    const bar = make("div", { class: "bar", "aria-hidden": "true" },
      kinds.map((kind) => make("span", { class: kind, style: "flex:" + sums[kind] })));
    place.append(make("section", { class: "run" },
      make("h2", {}, runName(run)),
      make("p", {}, "kernel " + run.kernel + ", " + run.machine + ", " + (run.wall_ms / 1000).toFixed(1) + " s"),
      bar,
      make("div", { class: "sums" }, kinds.map((kind) => make("span", {}, make("b", {}, sums[kind]), " " + LONG[kind]))),
      run.ended_early ? make("p", { class: "bad" }, "ended early: " + run.ended_early) : null,
      (run.left_behind || []).length ? make("p", { class: "bad" }, "left behind: " + run.left_behind.join("; ")) : null));
  }
  document.getElementById("what").textContent = "Judged by podproof " + visible(String(report.podproof)) + ".";
}

const filters = Object.fromEntries(
  ["search", "verdict", "area", "runtime", "kernel", "differing"].map((id) => [id, document.getElementById(id)]));
function fillFilters() {
  const fill = (select, all, values) => {
    select.append(make("option", { value: "" }, all), ...values.map(([value, text]) => make("option", { value }, text)));
  };
  const distinct = (values) => [...new Set(values)].map((value) => [value, value]);
  fill(filters.verdict, "all", [["red", "all that is red"], ...Object.entries(LONG)]);
  fill(filters.area, "all", distinct(requirements.map((it) => it.id.split("-")[0])));
  fill(filters.runtime, "all", distinct(report.runs.map(runName)));
  fill(filters.kernel, "all", distinct(report.runs.map((run) => series(run.kernel))));
  for (const control of Object.values(filters)) control.addEventListener("input", drawMatrix);
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
}

// The rows and columns that the filters leave.
function chosen() {
  const columns = report.runs.map((run, index) => ({ run, index })).filter(({ run }) =>
    (!filters.runtime.value || runName(run) === filters.runtime.value) &&
    (!filters.kernel.value || series(run.kernel) === filters.kernel.value));
  const needle = filters.search.value.trim().toLowerCase();
  const rows = requirements.filter((it) => {
    if (filters.area.value && it.id.split("-")[0] !== filters.area.value) return false;
    const checks = columns.map(({ index }) => byId[index].get(it.id)).filter(Boolean);
    const said = [it.id, it.name, ...checks.flatMap((check) => [check.reason, check.statement, check.known || ""])];
    if (needle && !said.some((text) => text.toLowerCase().includes(needle))) return false;
    const wanted = filters.verdict.value;
    const fits = (check) => wanted === "red" ? !["pass", "skip"].includes(check.verdict) : kindOf(check) === wanted;
    if (wanted && !checks.some(fits)) return false;
    return !filters.differing.checked || new Set(checks.map((check) => check.verdict)).size > 1;
  });
  return { columns, rows };
}

function drawMatrix() {
  const { columns, rows } = chosen();
  const [head, body] = [document.querySelector("#matrix thead"), document.querySelector("#matrix tbody")];
  head.replaceChildren(make("tr", {}, make("th", { scope: "col" }, "check"), make("th", { scope: "col" }, "requirement"),
    columns.map(({ run }) => make("th", { scope: "col" }, runName(run),
      make("small", {}, series(run.kernel) + " · " + run.machine)))));
  body.replaceChildren();
  let area = "";
  rows.forEach((it) => {
    const own = it.id.split("-")[0];
    if (own !== area) {
      area = own;
      body.append(make("tr", { class: "area" },
        make("th", { colspan: columns.length + 2, scope: "rowgroup" }, it.area ? own + " · " + it.area : own)));
    }
    const level = columns.map(({ index }) => byId[index].get(it.id)).find(Boolean)?.level;
    body.append(make("tr", { class: "row" },
      make("th", { class: "id", scope: "row" }, it.id),
      make("td", { class: "name" }, it.name, level && level !== "MUST" ? make("span", { class: "level" }, level) : null),
      columns.map(({ run, index }) => make("td", { class: "cell" }, cell(it, run, index)))));
  });
  if (!rows.length) {
    body.append(make("tr", {}, make("td", { colspan: columns.length + 2, class: "empty" }, "Nothing matches these filters.")));
  }
  document.getElementById("count").value = rows.length + " of " + requirements.length + " requirements";
  const first = document.querySelector("button.verdict");
  if (first) first.tabIndex = 0;
}

function cell(it, run, index) {
  const check = byId[index].get(it.id);
  if (!check) return make("span", { class: "none" }, "–");
  const kind = kindOf(check);
  const label = it.id + ", " + runName(run) + ", kernel " + series(run.kernel) + ": " + LONG[kind];
  const button = make("button", {
    class: "verdict " + kind, type: "button", tabindex: "-1", "aria-label": visible(label), "aria-haspopup": "dialog",
    "data-id": it.id, "data-run": index, title: check.known || check.reason || null,
  }, WORDS[kind]);
  button.addEventListener("click", () => open(it.id, index));
  return button;
}

// Arrow keys go from verdict to verdict; one of them is in the order of the Tab key.
function go(from, rowStep, columnStep) {
  const rows = [...document.querySelectorAll("#matrix tr.row")].map((row) => [...row.querySelectorAll("td.cell")]);
  const row = rows.findIndex((cells) => cells.includes(from.parentElement));
  let [y, x] = [row + rowStep, rows[row].indexOf(from.parentElement) + columnStep];
  while (rows[y] && rows[y][x]) {
    const next = rows[y][x].querySelector("button");
    if (next) {
      from.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
      return;
    }
    [y, x] = [y + rowStep, x + columnStep];
  }
}
document.getElementById("matrix").addEventListener("keydown", (event) => {
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!steps || !event.target.matches("button.verdict")) return;
  event.preventDefault();
  go(event.target, ...steps);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, select") || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  filters.search.focus();
});
