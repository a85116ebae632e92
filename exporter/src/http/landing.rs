//! The landing page.

use std::fmt::Write as _;
use std::time::Duration;

use podproof_ebpf::ProbeStatus;

use crate::check::is_needless;
use crate::metrics::OOM_KILLS;
use crate::model::Names;
use crate::observe::View;

/// Seconds after which a page with pods asks for itself again.
const REFRESH: u8 = 5;

const STYLE: &str = include_str!("landing.css");

/// Should a name ever become markup, it brings neither scripts nor pictures.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The containers of the node.
#[derive(Debug, Default)]
pub(super) struct Containers {
    rows: Vec<Row>,
    /// Containers, sandboxes and pods beside them, for which `--series.max` has no room.
    n_overflow: usize,
}

/// A container, as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    namespace: String,
    pod: String,
    container: String,
    /// It is gone, and its numbers are kept for a while.
    is_removed: bool,
    processes: usize,
    zombies: u64,
    oldest: Duration,
    restarts: u64,
    /// `None` where this kernel does not show them.
    oom_kills: Option<u64>,
}

/// The containers of the node in the order of their names.
pub(super) fn containers(view: &View<'_>) -> Containers {
    let series = view.model.series().filter(|(_, series)| series.owner.role.is_container());
    let row = |(names, series): (&Names, &crate::model::Series)| {
        let zombies = view.zombies(names).unwrap_or_default();
        Row {
            namespace: names.namespace.clone(),
            pod: names.pod.clone(),
            container: names.container.clone(),
            is_removed: view.model.live(series).next().is_none(),
            processes: view.n_processes(series),
            zombies: zombies.count(),
            oldest: zombies.oldest,
            restarts: series.n_runs.saturating_sub(1),
            oom_kills: view.snapshot.and_then(|snapshot| view.model.sums(series, snapshot).of(OOM_KILLS)),
        }
    };
    Containers { rows: series.map(row).collect(), n_overflow: view.model.n_overflow() }
}

/// The page; without containers it says nothing of pods, since everybody may read it. In a hybrid layout a container may be in v1 only.
pub(super) fn page(
    telemetry_path: &str,
    probes: &[ProbeStatus],
    pods: Option<&Containers>,
    is_hybrid: bool,
) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let refresh =
        pods.map_or_else(String::new, |_| format!("<meta http-equiv=\"refresh\" content=\"{REFRESH}\">\n"));
    let pods = pods.map_or_else(String::new, |pods| table(pods, is_hybrid));
    let probes = table_of_probes(probes);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n{refresh}<title>podproof-exporter</title>\n\
         <style>\n{STYLE}</style>\n<h1>podproof-exporter <small>{version}</small></h1>\n\
         <p><a href=\"{telemetry_path}\">Metrics</a> · <a href=\"/-/healthy\">health</a> · <a href=\"/-/ready\">readiness</a></p>\n\
         {pods}{probes}</html>\n"
    )
}

fn table(Containers { rows, n_overflow }: &Containers, is_hybrid: bool) -> String {
    let mut html = "<h2>Containers</h2>\n".to_owned();
    if *n_overflow > 0 {
        // Writing to a string cannot fail.
        _ = writeln!(
            html,
            "<p>{n_overflow} containers, sandboxes and pods are counted together as {} and not shown here: --series.max has no room for \
             them.</p>",
            Names::OVERFLOW
        );
    } else if rows.is_empty() {
        html.push_str(if is_hybrid {
            "<p>No container is in the cgroup v2 hierarchy. This node mounts cgroup v1 beside it (hybrid): containers that are only \
             there are not seen.</p>\n"
        } else {
            "<p>No container runs on this node.</p>\n"
        });
    }
    if rows.is_empty() {
        return html;
    }
    html.push_str(
        "<div class=\"wide\"><table class=\"pods\">\n<tr><th>Namespace<th>Pod<th>Container<th class=\"n\">Processes<th class=\"n\">Zombies\
         <th class=\"n\">Oldest<th class=\"n\">Restarts<th class=\"n\">OOM kills</tr>\n",
    );
    for row in rows {
        let class = if row.zombies > 0 { " class=\"bad\"" } else { "" };
        let mark = if row.is_removed { " <small>removed</small>" } else { "" };
        let oldest = if row.zombies > 0 { age(row.oldest) } else { String::new() };
        let oom_kills = row.oom_kills.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
        _ = writeln!(
            html,
            "<tr{class}><td>{}<td>{}<td>{}{mark}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{oldest}<td class=\"n\">{}\
             <td class=\"n\">{oom_kills}</tr>",
            escaped(&row.namespace),
            escaped(&row.pod),
            escaped(&row.container),
            row.processes,
            row.zombies,
            row.restarts
        );
    }
    html.push_str(
        "</table></div>\n<p class=\"note\">POD is the sandbox of a pod. Oldest is the age of the oldest zombie. Restarts and OOM \
         kills are counted since this exporter started. What was removed is shown for as long as its series are kept.</p>\n",
    );
    html
}

/// What is attached for good, and what could be; the rest is there for evidence only, which this program does not take. A probe without
/// which nothing is missed here is none of those that could be.
fn table_of_probes(probes: &[ProbeStatus]) -> String {
    let probes: Vec<_> = probes.iter().filter(|probe| !probe.on_demand).collect();
    let n_attached = probes.iter().filter(|probe| probe.attached).count();
    let n = probes.iter().filter(|probe| probe.attached || !is_needless(probe)).count();
    let mut html = format!(
        "<h2>Probes</h2>\n<p>{n_attached} of {n} are attached.</p>\n<div class=\"wide\"><table>\n\
         <tr><th>Probe<th>Hook<th>Needed<th>State</tr>\n"
    );
    for probe in probes {
        let (class, state) = match (probe.attached, &probe.reason) {
            (true, _) => ("", "attached"),
            (false, reason) if is_needless(probe) => ("", reason.as_deref().unwrap_or("not needed")),
            (false, reason) => (" class=\"bad\"", reason.as_deref().unwrap_or("not attached")),
        };
        _ = writeln!(
            html,
            "<tr{class}><td>{}<td>{}/{}<td>{}<td>{}</tr>",
            escaped(&probe.name),
            probe.mechanism,
            escaped(&probe.hook),
            if probe.required { "required" } else { "optional" },
            escaped(state),
        );
    }
    html.push_str("</table></div>\n");
    html
}

/// In the largest two units.
fn age(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

/// As text of HTML: names come from others.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(row: Row) -> String {
        let containers = Containers { rows: vec![row], n_overflow: 0 };
        page("/metrics", &[], Some(&containers), false)
    }

    fn row(pod: &str) -> Row {
        Row {
            is_removed: false,
            namespace: "shop".into(),
            pod: pod.into(),
            container: "main".into(),
            processes: 3,
            zombies: 2,
            oldest: Duration::from_secs(754),
            restarts: 1,
            oom_kills: None,
        }
    }

    #[test]
    fn a_name_cannot_become_markup() {
        let html = shown(row("<script>alert(1)</script>\u{7}\"'&"));
        assert!(
            html.contains("<td>&lt;script&gt;alert(1)&lt;/script&gt;\u{fffd}&quot;&#39;&amp;<td>main"),
            "{html}"
        );
        assert!(!html.contains("<script"));
    }

    #[test]
    fn zombies_have_an_age() {
        let html = shown(row("web"));
        assert!(
            html.contains(
                "<td class=\"n\">2<td class=\"n\">12 min 34 s<td class=\"n\">1<td class=\"n\">unknown"
            ),
            "{html}"
        );
        let html = shown(Row { zombies: 0, oom_kills: Some(4), ..row("web") });
        assert!(html.contains("<tr><td>shop<td>web<td>main<td class=\"n\">3<td class=\"n\">0<td class=\"n\"><td class=\"n\">1<td class=\"n\">4"), "{html}");
    }

    #[test]
    fn without_leave_no_pod_is_shown() {
        let html = page("/own", &[], None, false);
        assert!(html.contains("href=\"/own\"") && !html.contains("<th>Pod") && !html.contains("refresh"));
        assert!(page("/own", &[], Some(&Containers::default()), false).contains("No container runs"));
        let hybrid = page("/own", &[], Some(&Containers::default()), true);
        assert!(
            hybrid.contains("This node mounts cgroup v1 beside it") && !hybrid.contains("No container runs")
        );
        let one = Containers { rows: vec![row("web")], n_overflow: 0 };
        assert!(!page("/own", &[], Some(&one), true).contains("No container"));
    }

    #[test]
    fn probes_are_told_of_with_the_reason_of_a_refusal() {
        let mut probes = podproof_ebpf::programs();
        probes.retain(|probe| ["task_newtask", "do_wait"].contains(&probe.name.as_str()));
        for probe in &mut probes {
            probe.attached = probe.name == "task_newtask";
            probe.reason = (!probe.attached).then(|| "load: <EPERM>".to_owned());
        }
        let html = page("/metrics", &probes, None, false);
        for line in [
            "<tr><td>task_newtask<td>tp_btf/task_newtask<td>required<td>attached</tr>",
            "<tr class=\"bad\"><td>do_wait<td>fexit/do_wait<td>optional<td>load: &lt;EPERM&gt;</tr>",
        ] {
            assert!(html.contains(line), "{html}");
        }
    }

    #[test]
    fn who_is_gone_is_told_from_who_is_there() {
        assert!(shown(Row { is_removed: true, ..row("web") }).contains("<td>main <small>removed</small><td"));
        assert!(shown(row("web")).contains("<td>main<td"));
    }

    #[test]
    fn who_has_no_room_is_told_of() {
        let of = |rows, n_overflow| page("/metrics", &[], Some(&Containers { rows, n_overflow }), false);
        let told = "<p>3 containers, sandboxes and pods are counted together as _overflow ";
        assert!(of(vec![row("web")], 3).contains(told) && !of(vec![row("web")], 0).contains("_overflow"));
        let html = of(vec![], 3);
        assert!(html.contains(told) && !html.contains("No container runs"), "{html}");
    }

    #[test]
    fn a_probe_that_is_not_needed_is_no_lack() {
        let mut probes = podproof_ebpf::programs();
        probes.retain(|probe| {
            ["task_newtask"].contains(&probe.name.as_str()) || probe.hook == "__ia32_sys_setns"
        });
        for probe in &mut probes {
            probe.attached = probe.name == "task_newtask";
            probe.on_demand = false;
            probe.reason =
                (!probe.attached).then(|| "this kernel has no function __ia32_sys_setns".to_owned());
        }
        let html = page("/metrics", &probes, None, false);
        assert!(html.contains("<p>1 of 1 are attached.</p>") && !html.contains("bad\"><td>"), "{html}");
        assert!(html.contains("<td>this kernel has no function __ia32_sys_setns</tr>"), "{html}");
        // Where it is there and refused, it is missed.
        probes.iter_mut().filter(|probe| !probe.attached).for_each(|probe| probe.errno = Some(1));
        let n = probes.len();
        let html = page("/metrics", &probes, None, false);
        assert!(
            html.contains(&format!("<p>1 of {n} are attached.</p>")) && html.contains("<tr class=\"bad\">")
        );
    }

    #[test]
    fn ages() {
        let of = |s: u64| age(Duration::from_secs(s));
        assert_eq!([of(0), of(61), of(3_661), of(90_000)], ["0 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }
}
