//! The landing page.

use std::fmt::Write as _;
use std::time::Duration;

use podproof_ebpf::ProbeStatus;

use crate::metrics::OOM_KILLS;
use crate::observe::View;

/// Seconds after which a page with pods asks for itself again.
const REFRESH: u8 = 5;

const STYLE: &str = include_str!("landing.css");

/// Should a name ever become markup, it brings neither scripts nor pictures.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// A container, as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    namespace: String,
    pod: String,
    container: String,
    processes: usize,
    zombies: u64,
    oldest: Duration,
    restarts: u64,
    /// `None` where this kernel does not show them.
    oom_kills: Option<u64>,
}

/// The containers of the node in the order of their names.
pub(super) fn rows(view: &View<'_>) -> Vec<Row> {
    let series = view.model.series().filter(|(_, series)| series.owner.role.is_container());
    let row = |(names, series): (&crate::model::Names, &crate::model::Series)| {
        let zombies = view.zombies(names).unwrap_or_default();
        Row {
            namespace: names.namespace.clone(),
            pod: names.pod.clone(),
            container: names.container.clone(),
            processes: view.n_processes(series),
            zombies: zombies.count(),
            oldest: zombies.oldest,
            restarts: series.n_runs.saturating_sub(1),
            oom_kills: view.snapshot.and_then(|snapshot| view.model.sums(series, snapshot).of(OOM_KILLS)),
        }
    };
    series.map(row).collect()
}

/// The page; without rows it says nothing of pods, since everybody may read it. In a hybrid layout a container may be in v1 only.
pub(super) fn page(
    telemetry_path: &str,
    probes: &[ProbeStatus],
    rows: Option<&[Row]>,
    is_hybrid: bool,
) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let refresh =
        rows.map_or_else(String::new, |_| format!("<meta http-equiv=\"refresh\" content=\"{REFRESH}\">\n"));
    let pods = rows.map_or_else(String::new, |rows| table(rows, is_hybrid));
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

fn table(rows: &[Row], is_hybrid: bool) -> String {
    let mut html = "<h2>Containers</h2>\n".to_owned();
    if rows.is_empty() {
        html.push_str(if is_hybrid {
            "<p>No container is in the cgroup v2 hierarchy. This node mounts cgroup v1 beside it (hybrid): containers that are only \
             there are not seen.</p>\n"
        } else {
            "<p>No container runs on this node.</p>\n"
        });
        return html;
    }
    html.push_str(
        "<div class=\"wide\"><table class=\"pods\">\n<tr><th>Namespace<th>Pod<th>Container<th class=\"n\">Processes<th class=\"n\">Zombies\
         <th class=\"n\">Oldest<th class=\"n\">Restarts<th class=\"n\">OOM kills</tr>\n",
    );
    for row in rows {
        let class = if row.zombies > 0 { " class=\"bad\"" } else { "" };
        let oldest = if row.zombies > 0 { age(row.oldest) } else { String::new() };
        let oom_kills = row.oom_kills.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
        // Writing to a string cannot fail.
        _ = writeln!(
            html,
            "<tr{class}><td>{}<td>{}<td>{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{oldest}<td class=\"n\">{}\
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
         kills are counted since this exporter started.</p>\n",
    );
    html
}

/// What is attached for good; the rest is there for evidence only, which this program does not take.
fn table_of_probes(probes: &[ProbeStatus]) -> String {
    let probes: Vec<_> = probes.iter().filter(|probe| !probe.on_demand).collect();
    let (n_attached, n) = (probes.iter().filter(|probe| probe.attached).count(), probes.len());
    let mut html = format!(
        "<h2>Probes</h2>\n<p>{n_attached} of {n} are attached.</p>\n<div class=\"wide\"><table>\n\
         <tr><th>Probe<th>Hook<th>Needed<th>State</tr>\n"
    );
    for probe in probes {
        let (class, state) = match (probe.attached, &probe.reason) {
            (true, _) => ("", "attached"),
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

    fn row(pod: &str) -> Row {
        Row {
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
        let html = page("/metrics", &[], Some(&[row("<script>alert(1)</script>\u{7}\"'&")]), false);
        assert!(
            html.contains("<td>&lt;script&gt;alert(1)&lt;/script&gt;\u{fffd}&quot;&#39;&amp;<td>main"),
            "{html}"
        );
        assert!(!html.contains("<script"));
    }

    #[test]
    fn zombies_have_an_age() {
        let html = page("/metrics", &[], Some(&[row("web")]), false);
        assert!(
            html.contains(
                "<td class=\"n\">2<td class=\"n\">12 min 34 s<td class=\"n\">1<td class=\"n\">unknown"
            ),
            "{html}"
        );
        let html =
            page("/metrics", &[], Some(&[Row { zombies: 0, oom_kills: Some(4), ..row("web") }]), false);
        assert!(html.contains("<tr><td>shop<td>web<td>main<td class=\"n\">3<td class=\"n\">0<td class=\"n\"><td class=\"n\">1<td class=\"n\">4"), "{html}");
    }

    #[test]
    fn without_leave_no_pod_is_shown() {
        let html = page("/own", &[], None, false);
        assert!(html.contains("href=\"/own\"") && !html.contains("<th>Pod") && !html.contains("refresh"));
        assert!(page("/own", &[], Some(&[]), false).contains("No container runs"));
        let hybrid = page("/own", &[], Some(&[]), true);
        assert!(
            hybrid.contains("This node mounts cgroup v1 beside it") && !hybrid.contains("No container runs")
        );
        assert!(!page("/own", &[], Some(&[row("web")]), true).contains("No container"));
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
    fn ages() {
        let of = |s: u64| age(Duration::from_secs(s));
        assert_eq!([of(0), of(61), of(3_661), of(90_000)], ["0 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }
}
