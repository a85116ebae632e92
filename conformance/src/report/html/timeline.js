// The life of a pod, drawn: processes, namespaces and cgroups over time.
const WIDTH = 1100, GUTTER = 250, RIGHT = 36, ROW = 20, BAR = 12;

function timeline(data) {
  const span = Math.max(data.length_us, 1);
  const x = (us) => GUTTER + (WIDTH - GUTTER - RIGHT) * Math.min(Math.max(us, 0), span) / span;
  const parts = [];
  let y = 26;
  const rows = { task: [], group: [] };
  const section = (text) => {
    parts.push(draw("text", { x: 10, y: y + 14, class: "section" }, text));
    y += 22;
  };
  const label = (text, row) => parts.push(draw("text", { x: 10, y: row + 10 }, cut(text, 40), draw("title", {}, text)));
  const bar = (from, until, row, kind, text, height = BAR) => {
    const width = Math.max(x(until) - x(from), 1.5);
    parts.push(draw("rect", { x: x(from), y: row + (BAR - height) / 2, width, height, rx: 2, class: kind }, draw("title", {}, text)));
    return width;
  };

  section("PROCESSES");
  data.tasks.forEach((task, index) => {
    rows.task[index] = y;
    drawTask(data, task, index, { x, bar, label, parts, rows });
    y += ROW;
  });
  if (data.omitted_tasks) {
    label(data.omitted_tasks + " more processes", y);
    y += ROW;
  }
  if (data.namespaces.length) section("NAMESPACES");
  for (const it of data.namespaces) {
    const until = it.until_us ?? span;
    label(it.kind + " " + it.inode, y);
    bar(it.since_us, until, y, "namespace", it.kind + " namespace " + it.inode + ", " + during(it.since_us, it.until_us), 8);
    y += ROW;
  }
  if (data.cgroups.length) section("CGROUPS");
  data.cgroups.forEach((group, index) => {
    rows.group[index] = y;
    label(shortened(group.path, 38), y);
    bar(group.made_us ?? 0, group.removed_us ?? span, y, "cgroup",
      group.path + ", " + during(group.made_us ?? 0, group.removed_us), 6);
    for (const [from, until] of group.populated) bar(from, until ?? span, y, "populated", group.path + " has processes, " + during(from, until), 6);
    y += ROW;
  });
  for (const mark of data.marks) drawMark(mark, x, rows, parts, y);

  const height = y + 8;
  const svg = draw("svg", { viewBox: "0 0 " + WIDTH + " " + height, role: "img", "aria-label": summary(data) },
    axis(span, x, height), parts);
  return make("div", {}, make("div", { class: "timeline", tabindex: "0" }, svg), legend(), moments(data));
}

function drawTask(data, task, index, { x, bar, label, parts, rows }) {
  const row = rows.task[index], span = Math.max(data.length_us, 1);
  const end = task.end_us ?? span;
  const numbers = task.ns_pid === undefined ? String(task.tgid) : task.tgid + "/" + task.ns_pid;
  const name = task.programs.length ? task.programs[task.programs.length - 1].name : "process";
  label(cut(name, 26) + "  " + numbers, row);
  if (task.parent !== undefined && rows.task[task.parent] !== undefined) {
    parts.push(draw("path", { class: "link", d: "M" + x(task.since_us) + " " + (rows.task[task.parent] + BAR) + "V" + row }));
  }
  const how = (task.end || "alive at the end") + (task.reaped ? "; " + task.reaped : "");
  task.programs.forEach((program, place) => {
    const until = place + 1 < task.programs.length ? task.programs[place + 1].since_us : end;
    const width = bar(program.since_us, until, row, place % 2 ? "process odd" : "process",
      program.name + " " + numbers + ", " + during(program.since_us, until) + "; " + how);
    if (width > program.name.length * 6.5 + 10) {
      parts.push(draw("text", { x: x(program.since_us) + 5, y: row + 9.5, class: "inside" }, program.name));
    }
  });
  if (task.end_us !== undefined && task.reaped_us !== undefined && task.reaped_us > task.end_us) {
    bar(task.end_us, task.reaped_us, row, "zombie", "zombie, " + during(task.end_us, task.reaped_us) + "; " + task.reaped);
  } else if (task.end_us !== undefined && task.reaped_us === undefined) {
    bar(task.end_us, span, row, "zombie", "not reaped while the check looked");
  }
  if (task.killed) parts.push(draw("rect", { x: x(end) - 2, y: row - 1, width: 4, height: BAR + 2, class: "killed" }, draw("title", {}, how)));
}

const SHAPES = {
  signal: "M0 -6L5 4H-5Z", cgroup: "M-4 -4H4V4H-4Z", namespace: "M0 -5L5 0L0 5L-5 0Z", reparent: "M-5 -4L5 0L-5 4Z",
  oom: "M-4 -4H4V4H-4Z", gap: "M-3 -12H3V12H-3Z",
};
const DOT = "M-3 0A3 3 0 1 0 3 0A3 3 0 1 0 -3 0";
const TOLD_BY_BARS = ["clone", "exit", "exec", "reap"];
function drawMark(mark, x, rows, parts, bottom) {
  if (TOLD_BY_BARS.includes(mark.kind)) return;
  const row = rows.group[mark.cgroup] ?? rows.task[mark.kind === "signal" ? mark.to ?? mark.task : mark.task];
  const y = mark.kind === "gap" ? bottom / 2 : row + BAR / 2;
  if (!Number.isFinite(y)) return;
  parts.push(draw("path", {
    d: SHAPES[mark.kind] || DOT, class: "mark " + mark.kind, transform: "translate(" + x(mark.at_us) + " " + y + ")",
  }, draw("title", {}, time(mark.at_us) + "  " + mark.text)));
}

function axis(span, x, height) {
  const step = [1, 2, 5].flatMap((n) => [0, 1, 2, 3, 4, 5, 6, 7, 8].map((power) => n * 10 ** power)).sort((a, b) => a - b)
    .find((it) => span / it <= 9) || span;
  const ticks = [];
  for (let at = 0; at <= span; at += step) {
    ticks.push(draw("line", { x1: x(at), x2: x(at), y1: 22, y2: height, class: "grid" }),
      draw("text", { x: x(at), y: 15, "text-anchor": "middle", class: "soft" }, time(at)));
  }
  return ticks;
}

function legend() {
  const entry = (shape, text) => make("span", {}, draw("svg", { viewBox: "-7 -6 14 12", "aria-hidden": "true" }, shape), text);
  const box = (kind) => draw("rect", { x: -7, y: -4, width: 14, height: 8, rx: 2, class: kind });
  const mark = (kind) => draw("path", { d: SHAPES[kind] || DOT, class: "mark " + kind });
  return make("div", { class: "legend" },
    entry(box("process"), "process, by program"), entry(box("zombie"), "zombie"), entry(box("killed"), "killed"),
    entry(box("namespace"), "namespace"), entry(box("cgroup"), "cgroup"), entry(box("populated"), "with processes"),
    entry(mark("signal"), "signal"), entry(mark("namespace"), "namespace changed"), entry(mark("cgroup"), "cgroup changed"),
    entry(mark("reparent"), "adopted"), entry(mark("mount"), "other"));
}

function moments(data) {
  const rows = data.marks.map((mark) => make("tr", {}, make("td", {}, time(mark.at_us)), make("td", {}, mark.text)));
  const more = data.omitted_marks ? " (" + data.omitted_marks + " more are not in the report)" : "";
  return make("details", {}, make("summary", {}, data.marks.length + " moments in words" + more),
    make("div", { class: "moments", tabindex: "0" }, make("table", {}, make("tbody", {}, rows))));
}

function summary(data) {
  return data.tasks.length + " processes, " + data.namespaces.length + " namespaces and " + data.cgroups.length +
    " cgroups within " + time(data.length_us) + "; the moments are listed below";
}
const time = (us) => us >= 1e6 ? +(us / 1e6).toFixed(2) + " s" : us >= 1e3 ? +(us / 1e3).toFixed(2) + " ms" : us + " µs";
const during = (from, until) => "from " + time(from) + (until === undefined || until === null ? " on" : " to " + time(until));
const cut = (text, length) => text.length > length ? text.slice(0, length - 1) + "…" : text;
const shortened = (path, length) => path.length > length ? "…" + path.slice(path.length - length + 1) : path;

drawRuns();
fillFilters();
drawMatrix();
fromAddress();
window.addEventListener("hashchange", fromAddress);
