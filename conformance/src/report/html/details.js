// What a verdict rests on. The address of the page leads to it: report.html#REAP-15@0.
const dialog = document.getElementById("details");
let opener = null;

function open(id, index) {
  const run = report.runs[index];
  const check = run && byId[index].get(id);
  if (!check) return;
  opener = document.activeElement;
  dialog.replaceChildren(sheet(run, check));
  history.replaceState(null, "", "#" + encodeURIComponent(id) + "@" + index);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}
dialog.addEventListener("close", () => {
  history.replaceState(null, "", location.pathname + location.search);
  if (opener && opener.isConnected) opener.focus();
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

function sheet(run, check) {
  const kind = kindOf(check);
  const close = make("button", { class: "close", type: "button" }, "Close");
  close.addEventListener("click", () => dialog.close());
  const shared = new Set(check.inside.map((fact) => fact.key).filter((key) => check.kernel.some((fact) => fact.key === key)));
  const pair = (term, text) => text ? [make("dt", {}, term), make("dd", {}, text)] : [];
  return make("div", { class: "sheet" },
    make("div", { class: "top" },
      make("h2", { id: "title" }, check.id + " " + (check.name || ""),
        make("small", {}, check.level + " · " + runName(run) + " · kernel " + run.kernel + " · " + run.machine +
          " · " + (check.wall_ms / 1000).toFixed(2) + " s")),
      make("span", { class: "verdict " + kind }, LONG[kind]), close),
    make("p", { class: "statement" }, check.statement),
    make("p", { class: "clause" }, check.clause),
    check.known !== undefined ? make("p", { class: "why known" }, "Known: " + (check.known || "not explained yet")) : null,
    check.reason ? make("p", { class: "why " + kind }, check.reason) : null,
    make("dl", { class: "pair" }, pair("expected", check.expected), pair("observed", check.observed)),
    check.inside.length + check.kernel.length === 0 ? null : make("div", { class: "witnesses" },
      facts("Witness inside", check.inside, shared), facts("Witness kernel", check.kernel, shared)),
    check.timeline ? [make("h3", {}, "Timeline"), timeline(check.timeline)] : [],
    (check.trace || []).length ? [make("h3", {}, "Trace"), make("pre", { tabindex: "0" }, check.trace.join("\n"))] : [],
    (check.leaked || []).length ? [make("h3", {}, "Left behind by the runtime"), make("pre", {}, check.leaked.join("\n"))] : [],
    check.events_lost ? make("p", { class: "why inconclusive" }, "Records of this check were lost.") : null,
    run.again ? [make("h3", {}, "Judge this again"), make("span", { class: "again" }, make("code", {}, run.again + " " + check.id))] : []);
}

function facts(title, list, shared) {
  if (!list.length) return make("section", {}, make("h3", {}, title), make("p", { class: "clause" }, "gave nothing"));
  const text = (value) => Array.isArray(value) && !value.some((it) => it !== null && typeof it === "object")
    ? "[" + value.map((it) => JSON.stringify(it)).join(", ") + "]"
    : typeof value === "string" ? value : JSON.stringify(value);
  return make("section", {}, make("h3", {}, title),
    make("table", { class: "facts" },
      make("thead", {}, make("tr", {}, ["measured", "value"].map((it) => make("th", { scope: "col" }, it)))),
      make("tbody", {}, list.map((fact) => make("tr", {
        class: shared.has(fact.key) ? "both" : null, title: shared.has(fact.key) ? "both witnesses measured this" : null,
      },
        make("td", {}, make("code", {}, fact.key)),
        make("td", {}, make("code", {}, text(fact.value)), make("div", { class: "source" }, fact.source)))))));
}

function fromAddress() {
  const match = decodeURIComponent(location.hash.slice(1)).match(/^(.+)@(\d+)$/);
  if (match) open(match[1], Number(match[2]));
}

