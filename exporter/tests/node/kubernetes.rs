//! The exporter as the manifests of Kubernetes have it run: their arguments, capabilities, limits, and system calls.

use std::fs;
use std::rc::Rc;

use procfs::process::Process;
use serde_json::{Value, json};

use crate::exporter::{SERVE, raise_loopback, until};
use crate::pods::Pod;
use crate::support::samples;
use crate::web::Authority;
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] =
    &[("kubernetes::the_profile_and_the_capabilities_of_the_manifests_are_enough", manifests_are_enough)];

const DAEMON_SET: &str = include_str!("../../deploy/kubernetes/daemonset.yaml");
const PROFILE: &str = include_str!("../../deploy/kubernetes/seccomp.json");

/// A client that the certificates of the tests let in.
const CLIENT: Option<&str> = Some("prometheus.test");

fn manifests_are_enough() -> Res<()> {
    raise_loopback()?;
    let dir = Rc::new(tempfile::tempdir()?);
    let set: Value = serde_saphyr::from_str(DAEMON_SET)?;
    let spec = &set["spec"]["template"]["spec"];
    let mut container = spec["containers"][0].clone();
    let main = container.as_object_mut().ok_or("the DaemonSet has no container")?;
    // What a kubelet does apart, or knows of a node.
    for field in ["name", "image", "startupProbe", "readinessProbe", "livenessProbe"] {
        main.remove(field).ok_or_else(|| format!("the container has no {field}"))?;
    }
    main.insert("command".to_owned(), json!(["/bin/podproof-exporter", SERVE]));
    main.insert("env".to_owned(), json!([{ "name": "POD_IP", "value": "127.0.0.1" }]));
    let profile = dir.path().join("seccomp.json");
    fs::write(&profile, PROFILE)?;
    let context = &mut container["securityContext"];
    context["seccompProfile"]["localhostProfile"] = json!(profile);
    context.as_object_mut().ok_or("no securityContext")?.remove("seLinuxOptions");
    let mut volumes = Vec::new();
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let name = volume["name"].as_str().ok_or("a volume without a name")?;
        let path = match name {
            "cgroup" => "/sys/fs/cgroup".into(),
            _ => dir.path().join(name),
        };
        fs::create_dir_all(&path)?;
        volumes.push(json!({ "name": name, "hostPath": { "path": path, "type": "Directory" } }));
    }
    let pod = json!({ "hostPID": spec["hostPID"], "hostNetwork": true, "volumes": volumes });
    let web = dir.path().join("web");
    let (old, new) = (Authority::new()?, Authority::new()?);
    old.write(&web)?;

    let (pod, manifest) = Pod::written(Rc::clone(&dir), "exporting", "", pod, container)?;
    fs::copy(std::env::current_exe()?, dir.path().join("exporting-image/bin/podproof-exporter"))?;
    pod.podrt(&["run", &manifest])?;
    let text = until("a scrape", || {
        let answer = old.get(CLIENT, "/metrics");
        Ok(answer.ok().filter(|(code, _)| *code == 200).map(|(_, text)| text))
    })?;
    let scrape = samples(&text)?;
    let of = |family: &str| {
        let names = scrape.iter().filter(|(sample, _)| sample.starts_with(&format!("podproof_{family}{{")));
        names.map(|(sample, value)| (sample.as_str(), *value)).collect::<Vec<_>>()
    };
    let probes = of("probe_attached");
    let missing: Vec<_> = probes.iter().filter(|(_, value)| *value < 1.0).collect();
    expect("probes that are not attached", (probes.is_empty(), missing), (false, vec![]))?;
    expect("joined namespaces are counted", of("namespaces_joined_total").is_empty(), false)?;
    let failed = of("scrape_collector_success").into_iter().filter(|(_, value)| *value < 1.0);
    expect("collectors that failed", failed.collect::<Vec<_>>(), vec![])?;

    new.write(&web)?;
    until("the new certificate", || {
        Ok(new.get(CLIENT, "/readyz").is_ok_and(|(code, _)| code == 200).then_some(()))
    })?;
    // It was under the filter all the time.
    let procs = fs::read_to_string("/sys/fs/cgroup/podrt-pods/exporting/main/cgroup.procs")?;
    let status = Process::new(procs.trim().parse()?)?.status()?;
    expect("user and filter", (status.euid, status.seccomp), (0, Some(2)))
}
