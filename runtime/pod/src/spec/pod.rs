//! The pod as a whole.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodOS, PodSpec as ApiPodSpec};

use super::container::PodContext;
use super::env::Allowance;
use super::error::{Offences, is_filled, is_written};
use super::{ContainerSpec, PodSpec};
use super::{container, dns, meta, names, resources, restart, security, sysctl, volumes};

/// The API's default of `terminationGracePeriodSeconds`.
const GRACE_SECONDS: i64 = 30;
/// The longest time of the API, 68 years.
const MAX_SECONDS: i64 = i32::MAX as i64;
/// The longest name that the kernel takes for a host (`__NEW_UTS_LEN`), which `hostnameOverride` may fill.
const MAX_HOSTNAME: usize = 64;

const NO_CLUSTER: &str = "there is no cluster domain for the name to be in; remove it, and use hostAliases";

/// Reads a pod. Fields that offend have placeholders in what is returned.
pub(super) fn read(pod: Pod, base: &Path, offences: &mut Offences) -> PodSpec {
    let Pod { metadata, spec, status: _ } = pod;
    let meta = meta::read(metadata, offences);
    if spec.is_none() {
        offences.missing("spec");
    }
    let ApiPodSpec {
        active_deadline_seconds,
        affinity,
        automount_service_account_token,
        containers,
        dns_config,
        dns_policy,
        // There are no services whose addresses could be put into the environment.
        enable_service_links: _,
        ephemeral_containers,
        host_aliases,
        host_ipc,
        host_network,
        host_pid,
        host_users,
        hostname,
        hostname_override,
        // For registries.
        image_pull_secrets: _,
        init_containers,
        // Where the pod runs is settled: here. So are its turn and its company.
        node_name: _,
        node_selector: _,
        os,
        overhead,
        preemption_policy: _,
        priority: _,
        priority_class_name: _,
        readiness_gates,
        resource_claims,
        resources,
        restart_policy,
        runtime_class_name,
        scheduler_name: _,
        scheduling_gates,
        security_context,
        service_account,
        service_account_name,
        set_hostname_as_fqdn,
        share_process_namespace,
        subdomain,
        termination_grace_period_seconds,
        tolerations: _,
        topology_spread_constraints: _,
        volumes,
        workload_ref: _,
    } = spec.unwrap_or_default();
    // `default` is what every pod has that the API server prints.
    let is_account =
        |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty() && name != "default");
    const NO_ACCOUNT: &str = "there is no API server that an account would be known to; remove it";
    offences.refuse(
        "spec",
        &[
            ("affinity", affinity.is_some(), "podrt does not know which pods may share a node; remove it"),
            ("automountServiceAccountToken", automount_service_account_token == Some(true), NO_ACCOUNT),
            (
                "ephemeralContainers",
                is_filled(ephemeral_containers.as_ref()),
                "they are added to a pod that runs; use podrt pod exec",
            ),
            (
                "hostUsers",
                host_users == Some(false),
                "pods have no user namespace of their own yet; write true",
            ),
            (
                "overhead",
                overhead.is_some_and(|list| !list.is_empty()),
                "it belongs to a RuntimeClass; remove it",
            ),
            (
                "readinessGates",
                is_filled(readiness_gates.as_ref()),
                "nobody would ever set the condition; remove it",
            ),
            ("resourceClaims", is_filled(resource_claims.as_ref()), "podrt allocates no devices; remove it"),
            (
                "runtimeClassName",
                is_written(runtime_class_name.as_ref()),
                "podrt is the only runtime; remove it",
            ),
            (
                "schedulingGates",
                is_filled(scheduling_gates.as_ref()),
                "nobody would ever remove the gate, and the pod never begin; remove it",
            ),
            ("serviceAccount", is_account(&service_account), NO_ACCOUNT),
            ("serviceAccountName", is_account(&service_account_name), NO_ACCOUNT),
            ("setHostnameAsFQDN", set_hostname_as_fqdn == Some(true), NO_CLUSTER),
            ("subdomain", is_written(subdomain.as_ref()), NO_CLUSTER),
        ],
    );
    let has_os = os.is_some();
    if let Some(PodOS { name }) = os
        && name != "linux"
    {
        offences.unsupported(
            "spec.os.name",
            format!("{name:?} is not linux, the only system that podrt runs on"),
        );
    }
    let is_host_network = host_network.unwrap_or(false);
    let is_host_pid = host_pid.unwrap_or(false);
    let is_host_ipc = host_ipc.unwrap_or(false);
    let shares_pids = share_process_namespace.unwrap_or(false);
    if is_host_pid && shares_pids {
        offences.invalid("spec.shareProcessNamespace", "and hostPID are both true; remove one");
    }
    let hostname = host_name(&meta.name, hostname, hostname_override, is_host_network, offences);
    let grace_period = seconds(
        termination_grace_period_seconds.unwrap_or(GRACE_SECONDS),
        0,
        "spec.terminationGracePeriodSeconds",
        offences,
    );
    let active_deadline =
        active_deadline_seconds.map(|deadline| seconds(deadline, 1, "spec.activeDeadlineSeconds", offences));
    let restart_policy = restart::read_pod(restart_policy.as_deref(), "spec.restartPolicy", offences);
    let mut security = security::read_pod(security_context, "spec.securityContext", base, offences);
    let list = std::mem::take(&mut security.sysctls);
    let sysctls = sysctl::read(list, "spec.securityContext.sysctls", is_host_network, is_host_ipc, offences);
    let volumes = volumes::read(volumes, "spec.volumes", offences);
    let context = PodContext {
        base,
        restart_policy,
        grace_period,
        has_os,
        is_host_network,
        security: &security,
        volumes: volumes.iter().map(|volume| volume.name.as_str()).collect(),
    };
    let containers = all_containers(init_containers.unwrap_or_default(), containers, &context, offences);
    let fs_group = security.fs_group;
    PodSpec {
        name: meta.name,
        namespace: meta.namespace,
        labels: meta.labels,
        annotations: meta.annotations,
        hostname,
        host_aliases: dns::aliases(host_aliases, offences),
        dns: dns::read(dns_policy.as_deref(), dns_config, offences),
        is_host_network,
        is_host_pid,
        is_host_ipc,
        shares_pids,
        restart_policy,
        grace_period,
        active_deadline,
        sysctls,
        fs_group,
        resources: resources::read_pod(resources, "spec.resources", &containers, offences),
        volumes,
        containers,
    }
}

fn all_containers(
    init: Vec<Container>,
    main: Vec<Container>,
    pod: &PodContext<'_>,
    offences: &mut Offences,
) -> Vec<ContainerSpec> {
    if main.is_empty() {
        offences.missing("spec.containers");
    }
    let mut allowance = Allowance::default();
    let mut names = HashSet::new();
    let mut all = Vec::new();
    for (field, is_init, list) in [("initContainers", true, init), ("containers", false, main)] {
        for (index, api) in list.into_iter().enumerate() {
            let at = format!("spec.{field}[{index}]");
            let container = container::read(api, &at, is_init, pod, &mut allowance, offences);
            if !container.name.is_empty() && !names.insert(container.name.clone()) {
                let reason = format!("{:?} is already a container's", container.name);
                offences.invalid(format!("{at}.name"), reason);
            }
            all.push(container);
        }
    }
    all
}

/// `hostnameOverride`, or `hostname`, or the pod's name cut to a DNS label as the kubelet cuts it.
fn host_name(
    name: &str,
    hostname: Option<String>,
    hostname_override: Option<String>,
    is_host_network: bool,
    offences: &mut Offences,
) -> String {
    if let Some(name) = hostname_override.filter(|name| !name.is_empty()) {
        let path = "spec.hostnameOverride";
        if is_host_network {
            offences.invalid(path, "and hostNetwork are both set; remove one");
        }
        if let Some(fault) = names::subdomain_fault(&name) {
            offences.invalid(path, format!("{name:?} {fault}"));
        } else if name.len() > MAX_HOSTNAME {
            offences.invalid(path, format!("{name:?} has more than {MAX_HOSTNAME} bytes"));
        }
        return name;
    }
    if let Some(name) = hostname.filter(|name| !name.is_empty()) {
        if let Some(fault) = names::label_fault(&name) {
            offences.invalid("spec.hostname", format!("{name:?} {fault}"));
        }
        return name;
    }
    let cut: String = name.chars().take(names::MAX_LABEL).collect();
    if cut.len() < name.len() { cut.trim_end_matches(['-', '.']).to_owned() } else { cut }
}

/// A time of at least `min` seconds.
fn seconds(number: i64, min: i64, path: &str, offences: &mut Offences) -> Duration {
    if !(min..=MAX_SECONDS).contains(&number) {
        offences.invalid(path, format!("{number} is not from {min} to {MAX_SECONDS} seconds"));
    }
    Duration::from_secs(u64::try_from(number).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::spec::DnsSpec;
    use crate::spec::samples::{minimal, read as read_manifest, refused, set, with, with_spec};
    use crate::spec::{Resources, RestartPolicy};

    #[test]
    fn the_smallest_manifest_gets_the_defaults() {
        let spec = read_manifest(&minimal()).unwrap();
        assert_eq!(spec.containers.len(), 1);
        assert_eq!(
            spec,
            PodSpec {
                name: "p".to_owned(),
                namespace: "default".to_owned(),
                labels: Default::default(),
                annotations: Default::default(),
                hostname: "p".to_owned(),
                host_aliases: Vec::new(),
                dns: DnsSpec { is_from_node: true, ..DnsSpec::default() },
                is_host_network: false,
                is_host_pid: false,
                is_host_ipc: false,
                shares_pids: false,
                restart_policy: RestartPolicy::Always,
                grace_period: Duration::from_secs(30),
                active_deadline: None,
                sysctls: Default::default(),
                fs_group: None,
                resources: Resources::default(),
                volumes: Vec::new(),
                containers: spec.containers.clone(),
            }
        );
    }

    #[test]
    fn names_of_containers_are_unique_over_all() {
        let container = |name: &str| json!({"name": name, "image": "/rootfs"});
        let mut manifest = with_spec("initContainers", json!([container("a"), container("b")]));
        set(&mut manifest, "/spec/containers", json!([container("c"), container("a")]));
        assert_eq!(refused(&manifest), "spec.containers[1].name: \"a\" is already a container's");
        set(&mut manifest, "/spec/containers/1/name", json!("d"));
        let names: Vec<_> =
            read_manifest(&manifest).unwrap().containers.into_iter().map(|c| c.name).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }

    #[test]
    fn the_host_name_is_the_pods_name_cut_to_a_label() {
        for (name, hostname) in [
            ("web", "web".to_owned()),
            ("web.example", "web.example".to_owned()),
            (&"x".repeat(70), "x".repeat(63)),
            (&format!("{}.y", "x".repeat(62)), "x".repeat(62)),
            (&format!("{}--y", "x".repeat(62)), "x".repeat(62)),
        ] {
            assert_eq!(read_manifest(&with("/metadata/name", json!(name))).unwrap().hostname, hostname);
        }
        assert_eq!(read_manifest(&with_spec("hostname", json!("own"))).unwrap().hostname, "own");
        let mut manifest = with_spec("hostname", json!("own"));
        set(&mut manifest, "/spec/hostnameOverride", json!("other.example"));
        assert_eq!(read_manifest(&manifest).unwrap().hostname, "other.example");
    }

    #[test]
    fn each_bad_field_is_named() {
        for (field, value, message) in [
            ("containers", json!([]), ": required"),
            ("hostname", json!("a.b"), ": \"a.b\" is not a DNS label"),
            ("hostname", json!("a\nb"), ": \"a\\nb\" is not a DNS label"),
            ("hostnameOverride", json!("A"), ": \"A\" is not a DNS subdomain"),
            ("hostnameOverride", json!("a".repeat(65)), ": \"aaa"),
            ("os", json!({"name": "windows"}), ".name: not supported: \"windows\" is not linux"),
            ("terminationGracePeriodSeconds", json!(-1), ": -1 is not from 0 to 2147483647 seconds"),
            ("terminationGracePeriodSeconds", json!(i64::MAX), ": 9223372036854775807 is not from"),
            ("activeDeadlineSeconds", json!(0), ": 0 is not from 1"),
            ("hostUsers", json!(false), ": not supported"),
            ("serviceAccountName", json!("builder"), ": not supported"),
            ("subdomain", json!("x"), ": not supported"),
            ("runtimeClassName", json!("gvisor"), ": not supported"),
        ] {
            let text = refused(&with_spec(field, value));
            assert!(text.starts_with(&format!("spec.{field}{message}")), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
        let mut manifest = with_spec("hostPID", json!(true));
        set(&mut manifest, "/spec/shareProcessNamespace", json!(true));
        assert!(refused(&manifest).starts_with("spec.shareProcessNamespace: and hostPID are both true"));
        let mut manifest = minimal();
        manifest["spec"].take();
        assert_eq!(refused(&manifest), "spec: required, and missing\nspec.containers: required, and missing");
    }

    proptest! {
        #[test]
        fn seconds_are_taken_within_their_range(number in any::<i64>()) {
            let result = read_manifest(&with_spec("activeDeadlineSeconds", json!(number)));
            match u64::try_from(number) {
                Ok(seconds) if (1..=i64::from(i32::MAX)).contains(&number) => {
                    prop_assert_eq!(result.unwrap().active_deadline, Some(Duration::from_secs(seconds)));
                }
                _ => prop_assert!(result.unwrap_err().to_string().contains(&number.to_string())),
            }
        }

        #[test]
        fn short_times_are_taken(number in 0_i64..100_000) {
            let spec = read_manifest(&with_spec("terminationGracePeriodSeconds", json!(number))).unwrap();
            prop_assert_eq!(i64::try_from(spec.grace_period.as_secs()).unwrap(), number);
        }
    }
}
