//! The manifests, read by the API's own types; a field that these do not know is an error.

mod monitor;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::str::FromStr as _;

use clap::Parser as _;
use exporter::cli::{Address, Cli};
use exporter::web::Web;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Container, Namespace, PodSpec, Probe, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use oci_spec::runtime::LinuxSeccomp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use syscalls::x86_64::Sysno;

use crate::{Case, Res, dir, expect, none, text};

pub(crate) const CASES: &[Case] = &[
    ("kubernetes::every_manifest_is_listed_and_of_its_type", every_manifest_is_listed_and_of_its_type),
    ("kubernetes::the_exporter_has_no_more_rights_than_it_needs", no_more_rights_than_it_needs),
    ("kubernetes::the_host_s_directories_cannot_be_written", the_host_s_directories_cannot_be_written),
    ("kubernetes::the_options_are_the_exporter_s_and_fit_the_mounts", the_options_fit_the_mounts),
    ("kubernetes::the_file_of_passwords_is_one_that_the_exporter_takes", the_file_of_passwords_is_taken),
    ("kubernetes::the_manifests_speak_of_each_other", the_manifests_speak_of_each_other),
    ("kubernetes::the_seccomp_profile_is_one_and_lets_probes_in", the_seccomp_profile_lets_probes_in),
];

/// A file of `deploy/kubernetes/`; without any field that its type does not know.
fn read<T: DeserializeOwned>(name: &str) -> Res<T> {
    let text = text(&format!("kubernetes/{name}"))?;
    // A tree first: what a scalar is does not depend on the field that it is written for.
    let tree: Value = serde_saphyr::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    strict(tree, name)
}

fn strict<T: DeserializeOwned>(tree: Value, name: &str) -> Res<T> {
    let mut unknown = Vec::new();
    let value =
        serde_ignored::deserialize(tree, |path| unknown.push(format!("{name}: unknown field {path}")))
            .map_err(|error| format!("{name}: {error}"))?;
    none(&unknown)?;
    Ok(value)
}

/// kustomization.yaml, as far as it is used.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kustomization {
    api_version: String,
    kind: String,
    namespace: String,
    resources: BTreeSet<String>,
    images: Vec<Image>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Image {
    name: String,
    new_tag: String,
}

fn every_manifest_is_listed_and_of_its_type() -> Res<()> {
    let kustomization: Kustomization = read("kustomization.yaml")?;
    let head = (&*kustomization.api_version, &*kustomization.kind);
    expect("its type", head, ("kustomize.config.k8s.io/v1beta1", "Kustomization"))?;
    let image = kustomization.images.first().map(|image| (&*image.name, &*image.new_tag));
    expect("the image", image, Some(("podproof-exporter", env!("CARGO_PKG_VERSION"))))?;
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(dir().join("kubernetes"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yaml") && name != "kustomization.yaml" {
            files.insert(name);
        }
    }
    expect("the resources", &kustomization.resources, &files)?;
    let mut namespaces = BTreeMap::new();
    for name in &files {
        let metadata = match &**name {
            "namespace.yaml" => {
                let metadata = read::<Namespace>(name)?.metadata;
                expect("the namespace's name", metadata.name.as_ref(), Some(&kustomization.namespace))?;
                continue;
            }
            "serviceaccount.yaml" => read::<ServiceAccount>(name)?.metadata,
            "daemonset.yaml" => read::<DaemonSet>(name)?.metadata,
            "networkpolicy.yaml" => read::<NetworkPolicy>(name)?.metadata,
            "podmonitor.yaml" => read::<monitor::PodMonitor>(name)?.metadata,
            other => return Err(format!("of which type is {other}?").into()),
        };
        namespaces.insert(name, metadata.namespace);
    }
    let elsewhere: Vec<_> =
        namespaces.iter().filter(|(_, of)| of.as_ref() != Some(&kustomization.namespace)).collect();
    expect("manifests of other namespaces", elsewhere, vec![])
}

/// The pod of the DaemonSet, and its one container.
fn pod() -> Res<(PodSpec, Container)> {
    let set: DaemonSet = read("daemonset.yaml")?;
    let pod = set.spec.and_then(|spec| spec.template.spec).ok_or("no pod")?;
    let [container] = &*pod.containers else { return Err("not just one container".into()) };
    let container = container.clone();
    Ok((pod, container))
}

fn no_more_rights_than_it_needs() -> Res<()> {
    let (pod, container) = pod()?;
    // The exporter starts in no other PID namespace.
    expect(
        "hostPID, hostNetwork, hostIPC",
        (pod.host_pid, pod.host_network, pod.host_ipc),
        (Some(true), None, None),
    )?;
    expect("the token", pod.automount_service_account_token, Some(false))?;
    expect("the pod's security context", pod.security_context, None)?;
    expect("other containers", (pod.init_containers, pod.ephemeral_containers), (None, None))?;
    let rights = container.security_context.ok_or("no security context")?;
    expect("privileged", rights.privileged, Some(false))?;
    expect("allowPrivilegeEscalation", rights.allow_privilege_escalation, Some(false))?;
    expect("readOnlyRootFilesystem", rights.read_only_root_filesystem, Some(true))?;
    let capabilities = rights.capabilities.ok_or("no capabilities")?;
    expect("dropped capabilities", capabilities.drop, Some(vec!["ALL".to_owned()]))?;
    let wanted = ["BPF", "PERFMON", "SYS_PTRACE"].map(str::to_owned);
    expect("added capabilities", capabilities.add, Some(wanted.to_vec()))?;
    let profile = rights.seccomp_profile.ok_or("no seccomp profile")?;
    let profile = (&*profile.type_, profile.localhost_profile.as_deref());
    expect("the seccomp profile", profile, ("Localhost", Some("podproof-exporter.json")))?;
    let resources = container.resources.and_then(|resources| resources.limits).unwrap_or_default();
    expect("a limit of memory", resources.contains_key("memory"), true)
}

/// Where a host's directory is in the container.
fn mounts() -> Res<BTreeMap<String, String>> {
    let (pod, container) = pod()?;
    let mut mounts = BTreeMap::new();
    for volume in pod.volumes.into_iter().flatten() {
        let Some(host) = volume.host_path else { continue };
        for mount in container.volume_mounts.iter().flatten().filter(|mount| mount.name == volume.name) {
            if mount.read_only != Some(true) {
                return Err(format!("{} can be written", mount.mount_path).into());
            }
            mounts.insert(host.path.clone(), mount.mount_path.clone());
        }
    }
    Ok(mounts)
}

fn the_host_s_directories_cannot_be_written() -> Res<()> {
    let mounts = mounts()?;
    let wanted = ["/sys/fs/cgroup", "/var/log/containers", "/var/log/pods"];
    expect("the host's directories", mounts.keys().map(String::as_str).collect::<Vec<_>>(), wanted.to_vec())?;
    let moved: Vec<_> = mounts.iter().filter(|(host, own)| **own != format!("/host{host}")).collect();
    expect("directories that are elsewhere", moved, vec![])
}

/// The command line, with an address in the place of the pod's.
fn options() -> Res<Cli> {
    let (_, container) = pod()?;
    expect("the command is the image's", container.command, None)?;
    let options = container.args.into_iter().flatten().map(|option| option.replace("$(POD_IP)", "10.1.2.3"));
    Ok(Cli::try_parse_from(["podproof-exporter".to_owned()].into_iter().chain(options))?)
}

fn the_options_fit_the_mounts() -> Res<()> {
    let (cli, (pod, container), mounts) = (options()?, pod()?, mounts()?);
    let port = container.ports.as_ref().and_then(|ports| ports.first()).ok_or("no port")?;
    expect("the port's name", port.name.as_deref(), Some("metrics"))?;
    let wanted = Address::from_str(&format!("10.1.2.3:{}", port.container_port))?;
    expect("the address", cli.listen, vec![wanted])?;
    expect("an address without TLS", cli.insecure, false)?;
    let cgroups = cli.cgroupfs.ok_or("no --path.cgroupfs")?;
    expect("the hierarchy", cgroups.to_str(), mounts.get("/sys/fs/cgroup").map(String::as_str))?;
    for name in ["pods", "containers"] {
        let path = cli.logs.join(name);
        expect(name, path.to_str(), mounts.get(&format!("/var/log/{name}")).map(String::as_str))?;
    }
    let secret =
        pod.volumes.iter().flatten().find_map(|volume| Some((&volume.name, volume.secret.as_ref()?)));
    let (name, secret) = secret.ok_or("no secret")?;
    let found = (secret.secret_name.as_deref(), secret.default_mode);
    expect("the secret", found, (Some("podproof-exporter-web"), Some(0o400)))?;
    let mount = container.volume_mounts.iter().flatten().find(|mount| mount.name == *name);
    let file = mount.map(|mount| format!("{}/web.yml", mount.mount_path));
    expect("the file of passwords", cli.web_config.and_then(|path| path.to_str().map(str::to_owned)), file)?;
    let probes = [
        ("startupProbe", container.startup_probe, "/readyz"),
        ("readinessProbe", container.readiness_probe, "/readyz"),
        ("livenessProbe", container.liveness_probe, "/livez"),
    ];
    for (name, probe, path) in probes {
        let get = probe.and_then(|probe: Probe| probe.http_get).ok_or_else(|| format!("no {name}"))?;
        let found = (get.path.as_deref(), get.port, get.scheme.as_deref());
        expect(name, found, (Some(path), IntOrString::String("metrics".to_owned()), Some("HTTPS")))?;
    }
    Ok(())
}

fn the_file_of_passwords_is_taken() -> Res<()> {
    let dir = tempfile::tempdir()?;
    let key = rcgen::generate_simple_self_signed([monitor::SERVER_NAME.to_owned()])?;
    fs::write(dir.path().join("tls.crt"), key.cert.pem())?;
    fs::write(dir.path().join("tls.key"), key.signing_key.serialize_pem())?;
    let path = dir.path().join("web.yml");
    let template = text("kubernetes/web.yml")?;
    fs::write(&path, template.replace("PASSWORD_HASH", &bcrypt::hash("secret", 4)?))?;
    drop(Web::read(Some(&path))?);
    // As it is, it lets nobody in.
    fs::write(&path, template)?;
    expect("the template is refused", Web::read(Some(&path)).is_err(), true)
}

fn the_manifests_speak_of_each_other() -> Res<()> {
    let set: DaemonSet = read("daemonset.yaml")?;
    let account: ServiceAccount = read("serviceaccount.yaml")?;
    let policy: NetworkPolicy = read("networkpolicy.yaml")?;
    let monitor: monitor::PodMonitor = read("podmonitor.yaml")?;
    monitor.check()?;
    let spec = set.spec.ok_or("a DaemonSet without a spec")?;
    let labels = spec.template.metadata.and_then(|metadata| metadata.labels).unwrap_or_default();
    expect("what the DaemonSet selects", spec.selector.match_labels.as_ref(), Some(&labels))?;
    expect("what the PodMonitor selects", monitor.spec.selector.match_labels.as_ref(), Some(&labels))?;
    let pod = spec.template.spec.ok_or("no pod")?;
    expect("the account", pod.service_account_name, account.metadata.name)?;
    expect("the account's token", account.automount_service_account_token, Some(false))?;
    let port = pod.containers[0].ports.as_ref().and_then(|ports| ports.first()).ok_or("no port")?;
    expect(
        "the port that is scraped",
        Some(&monitor.spec.pod_metrics_endpoints[0].port),
        port.name.as_ref(),
    )?;
    let policy = policy.spec.ok_or("a NetworkPolicy without a spec")?;
    let selected = policy.pod_selector.and_then(|selector| selector.match_labels);
    expect("what the NetworkPolicy selects", selected.as_ref(), Some(&labels))?;
    expect("where it lets the exporter go", policy.egress, None)?;
    let ports = policy.ingress.into_iter().flatten().flat_map(|rule| rule.ports.unwrap_or_default());
    let ports: Vec<_> = ports.map(|port| port.port).collect();
    expect("the ports that it opens", ports, vec![Some(IntOrString::Int(port.container_port))])
}

/// What no exporter needs, and what gives a container away.
const REFUSED: [&str; 9] =
    ["add_key", "clone3", "init_module", "kexec_load", "mount", "move_mount", "ptrace", "setns", "unshare"];

fn the_seccomp_profile_lets_probes_in() -> Res<()> {
    let text = text("kubernetes/seccomp.json")?;
    let profile: LinuxSeccomp = strict(serde_json::from_str(&text)?, "seccomp.json")?;
    expect("what is refused by default", profile.default_action().to_string(), "SCMP_ACT_ERRNO".to_owned())?;
    let mut allowed = BTreeSet::new();
    for rule in profile.syscalls().iter().flatten() {
        for name in rule.names() {
            Sysno::from_str(name).map_err(|()| format!("there is no system call {name}"))?;
            if rule.action().to_string() == "SCMP_ACT_ALLOW" {
                allowed.insert(name.as_str());
            }
        }
    }
    for name in ["bpf", "capset", "perf_event_open", "prctl"] {
        expect(name, allowed.contains(name), true)?;
    }
    let open: Vec<_> = REFUSED.into_iter().filter(|name| allowed.contains(name)).collect();
    expect("system calls that need not be open", open, vec![])
}
