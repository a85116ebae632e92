//! Requests and limits as cgroup settings, the way the kubelet computes them.
//!
//! Source: the Kubernetes documentation, "Resource Management for Pods and Containers" and "Pod Quality of Service Classes";
//! `shares` become `cpu.weight` by the container layer.

use serde::Serialize;
use serde_json::{Value, json};

use crate::spec::{ContainerKind, ContainerSpec, PodSpec, Resources, at_one_time};

/// Length of a CPU period in microseconds.
const PERIOD_US: u64 = 100_000;
/// The kubelet's least quota and least shares.
const MIN_QUOTA_US: u64 = 1_000;
const MIN_SHARES: u64 = 2;
const MAX_SHARES: u64 = 262_144;

/// Which cgroups have where the kernel counts swap; that of the root never has it.
pub const SWAP_MAX: &str = "memory.swap.max";

/// `status.qosClass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum QosClass {
    /// Every container has limits of CPU and memory, and requests as much.
    Guaranteed,
    /// Some container has a request or a limit.
    Burstable,
    /// None has.
    BestEffort,
}

/// The class of a pod.
#[must_use]
pub fn qos_class(spec: &PodSpec) -> QosClass {
    let of = |resources: &Resources| -> (bool, bool) {
        let Resources { cpu_request_milli, cpu_limit_milli, memory_request_bytes, memory_limit_bytes } =
            *resources;
        let has_any = [cpu_request_milli, cpu_limit_milli, memory_request_bytes, memory_limit_bytes]
            .into_iter()
            .flatten()
            .any(|value| value > 0);
        let is_full =
            |request: Option<u64>, limit: Option<u64>| limit.is_some_and(|l| l > 0) && request == limit;
        let is_guaranteed =
            is_full(cpu_request_milli, cpu_limit_milli) && is_full(memory_request_bytes, memory_limit_bytes);
        (has_any, is_guaranteed)
    };
    // Resources of the pod as a whole decide alone.
    let all: Vec<(bool, bool)> = if spec.resources == Resources::default() {
        spec.containers.iter().map(|container| of(&container.resources)).collect()
    } else {
        vec![of(&spec.resources)]
    };
    if !all.iter().any(|(has_any, _)| *has_any) {
        QosClass::BestEffort
    } else if all.iter().all(|(_, is_guaranteed)| *is_guaranteed) {
        QosClass::Guaranteed
    } else {
        QosClass::Burstable
    }
}

/// `oom_score_adj` of a container, given the node's memory in bytes. A sidecar is ended no sooner than the main containers that it
/// serves: it counts as if it asked for as much as the least of them, at least. What the pod asks for beyond its containers is
/// shared out among them all.
#[must_use]
pub fn oom_score_adj(spec: &PodSpec, container: &ContainerSpec, node_memory_bytes: u64) -> i64 {
    match qos_class(spec) {
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let asks = |container: &ContainerSpec| container.resources.memory_request_bytes.unwrap_or(0);
            let main = spec.containers.iter().filter(|container| container.kind == ContainerKind::Main);
            let least = main.map(asks).min().filter(|_| container.kind == ContainerKind::Sidecar);
            let request = asks(container).max(least.unwrap_or(0)).saturating_add(unclaimed_share(spec));
            let used = u128::from(request) * 1000 / u128::from(node_memory_bytes.max(1));
            (1000 - i64::try_from(used).unwrap_or(1000)).clamp(2, 999)
        }
    }
}

/// What each container gets of the memory that the pod requests beyond what its containers do, in bytes. As the kubelet has it, init
/// containers count as the others (KEP-2837, "OOM Score Adjustment"; `remainingPodMemReqPerContainer`).
fn unclaimed_share(spec: &PodSpec) -> u64 {
    let together = at_one_time(&spec.containers, |resources| resources.memory_request_bytes).unwrap_or(0);
    let unclaimed = spec.resources.memory_request_bytes.unwrap_or(0).saturating_sub(together);
    unclaimed / u64::try_from(spec.containers.len().max(1)).unwrap_or(u64::MAX)
}

/// `linux.resources` of a container, on a kernel that has `memory.swap.max` or not.
#[must_use]
pub fn of_container(resources: &Resources, has_swap_max: bool) -> Value {
    let mut value = settings(resources, has_swap_max);
    // A container that is out of memory goes as a whole, as the kubelet wants it with cgroup v2: also one without a limit, for
    // the limit may be the pod's.
    value["unified"]["memory.oom.group"] = json!("1");
    value
}

/// `linux.resources` of the pod's cgroup, on a kernel that has `memory.swap.max` or not.
#[must_use]
pub fn of_pod(spec: &PodSpec, has_swap_max: bool) -> Value {
    settings(&pod_resources(spec), has_swap_max)
}

/// What the containers together may ask for and use: `spec.resources` where it is set, else the sum. A limit of the pod exists only
/// when every container has one.
#[must_use]
pub fn pod_resources(spec: &PodSpec) -> Resources {
    let total = |get: fn(&Resources) -> Option<u64>, needs_all: bool| -> Option<u64> {
        if let Some(value) = get(&spec.resources) {
            return Some(value);
        }
        if needs_all && spec.containers.iter().any(|container| get(&container.resources).is_none()) {
            return None;
        }
        at_one_time(&spec.containers, get)
    };
    Resources {
        cpu_request_milli: total(|r| r.cpu_request_milli, false),
        cpu_limit_milli: total(|r| r.cpu_limit_milli, true),
        memory_request_bytes: total(|r| r.memory_request_bytes, false),
        memory_limit_bytes: total(|r| r.memory_limit_bytes, true),
    }
}

fn settings(resources: &Resources, has_swap_max: bool) -> Value {
    let shares = resources
        .cpu_request_milli
        .map_or(MIN_SHARES, |milli| (milli.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES));
    let mut value = json!({"cpu": {"shares": shares}});
    if let Some(milli) = resources.cpu_limit_milli.filter(|milli| *milli > 0) {
        value["cpu"]["period"] = json!(PERIOD_US);
        value["cpu"]["quota"] = json!((milli.saturating_mul(PERIOD_US) / 1000).max(MIN_QUOTA_US));
    }
    if let Some(bytes) = resources.memory_limit_bytes.filter(|bytes| *bytes > 0) {
        value["memory"] = json!({"limit": bytes});
    }
    if has_swap_max {
        // `NoSwap`, the kubelet's default: what could go to the node's swap would be no part of a limit of memory.
        value["unified"] = json!({SWAP_MAX: "0"});
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::samples::{read, set, with_spec};

    /// A pod of containers with these resources; the names tell what they are.
    fn pod(init: &[(&str, Value)], main: &[(&str, Value)]) -> PodSpec {
        let list = |containers: &[(&str, Value)]| -> Value {
            let of = |(name, resources): &(&str, Value)| {
                let mut container = json!({"name": name, "image": "/rootfs", "resources": resources});
                if name.starts_with("sidecar") {
                    container["restartPolicy"] = json!("Always");
                }
                container
            };
            containers.iter().map(of).collect()
        };
        let mut manifest = with_spec("containers", list(main));
        set(&mut manifest, "/spec/initContainers", list(init));
        read(&manifest).unwrap()
    }

    fn limits(cpu: &str, memory: &str) -> Value {
        json!({"limits": {"cpu": cpu, "memory": memory}})
    }

    #[test]
    fn classes_are_those_of_kubernetes() {
        let burstable = json!({"requests": {"cpu": "1m"}});
        assert_eq!(qos_class(&pod(&[], &[("a", json!({}))])), QosClass::BestEffort);
        assert_eq!(qos_class(&pod(&[], &[("a", limits("1", "1Gi"))])), QosClass::Guaranteed);
        assert_eq!(qos_class(&pod(&[], &[("a", limits("1", "1Gi")), ("b", json!({}))])), QosClass::Burstable);
        assert_eq!(qos_class(&pod(&[("i", burstable)], &[("a", json!({}))])), QosClass::Burstable);
    }

    #[test]
    fn a_small_limit_is_the_smallest_quota_that_the_kernel_takes() {
        for (cpu, quota) in [("1m", 1000), ("9m", 1000), ("10m", 1000), ("11m", 1100), ("1.5", 150_000)] {
            let spec = pod(&[], &[("a", limits(cpu, "1Gi"))]);
            assert_eq!(of_container(&spec.containers[0].resources, true)["cpu"]["quota"], quota, "{cpu}");
            let cpu = &of_pod(&spec, true)["cpu"];
            assert_eq!(*cpu, json!({"shares": cpu["shares"], "period": 100_000, "quota": quota}));
        }
    }

    #[test]
    fn shares_follow_the_request() {
        for (cpu, shares) in [("0", 2), ("1m", 2), ("500m", 512), ("2", 2048), ("1000", 262_144)] {
            let spec = pod(&[], &[("a", json!({"requests": {"cpu": cpu}}))]);
            let cpu_of = &of_container(&spec.containers[0].resources, true)["cpu"];
            assert_eq!(*cpu_of, json!({"shares": shares}), "{cpu}");
        }
    }

    #[test]
    fn memory_is_no_swap_and_a_container_goes_as_a_whole() {
        for resources in [json!({}), limits("1", "1Gi"), json!({"limits": {"cpu": "1"}})] {
            let spec = pod(&[], &[("a", resources.clone())]);
            let container = |has_swap_max| of_container(&spec.containers[0].resources, has_swap_max);
            let (swap, group) = (json!({"memory.swap.max": "0"}), json!({"memory.oom.group": "1"}));
            let both = json!({"memory.swap.max": "0", "memory.oom.group": "1"});
            assert_eq!(container(true)["unified"], both, "{resources}");
            assert_eq!(container(false)["unified"], group, "{resources}");
            assert_eq!(of_pod(&spec, true)["unified"], swap, "{resources}");
            assert_eq!(of_pod(&spec, false)["unified"], Value::Null, "{resources}");
        }
    }

    #[test]
    fn the_pod_has_what_runs_at_one_time() {
        let init = [("i", limits("3", "1Gi")), ("sidecar", limits("1", "1Gi")), ("j", limits("1", "4Gi"))];
        let spec = pod(&init, &[("a", limits("1", "1Gi")), ("b", limits("500m", "1Gi"))]);
        let sum = pod_resources(&spec);
        // i alone; j with the sidecar.
        assert_eq!((sum.cpu_limit_milli, sum.memory_limit_bytes), (Some(3000), Some(5 << 30)));
        let spec = pod(&[], &[("a", limits("1", "1Gi")), ("b", json!({"limits": {"cpu": "1"}}))]);
        let sum = pod_resources(&spec);
        assert_eq!(
            (sum.cpu_limit_milli, sum.memory_limit_bytes),
            (Some(2000), None),
            "b has no limit of memory"
        );
    }

    #[test]
    fn whom_the_kernel_ends_first() {
        let adj = |resources: Value| {
            let spec = pod(&[], &[("a", resources)]);
            oom_score_adj(&spec, &spec.containers[0], 10 << 30)
        };
        assert_eq!(adj(json!({})), 1000);
        assert_eq!(adj(limits("1", "1Gi")), -997);
        for (memory, score) in [("1Ki", 999), ("5Gi", 500), ("20Gi", 2)] {
            assert_eq!(adj(json!({"requests": {"memory": memory}})), score, "{memory}");
        }
        // What the pod asks for, and nobody in it, is shared out.
        let asks = |memory: &str| json!({"requests": {"memory": memory}});
        let (one, none) = (("a", asks("1Gi")), ("b", json!({})));
        for (of_pod, init, main, scores) in [
            (json!({"requests": {"cpu": "1"}}), None, vec![&one, &none], vec![900, 999]),
            (asks("1Gi"), None, vec![&one, &none], vec![900, 999]),
            (asks("3Gi"), None, vec![&one, &none], vec![800, 900]),
            (asks("40Gi"), None, vec![&one, &none], vec![2, 2]),
            (asks("8Gi"), Some(("sidecar", asks("1Gi"))), vec![&one, &none], vec![700, 700, 800]),
            // It counts as if it asked for as much as the only main container.
            (asks("3Gi"), Some(("sidecar", json!({}))), vec![&one], vec![800, 800]),
            // An init container has its share as well, and asks for nothing while the main containers run.
            (asks("4Gi"), Some(("init", asks("1Gi"))), vec![&one, &none], vec![800, 800, 900]),
            (asks("5Gi"), Some(("init", asks("2Gi"))), vec![&one, &none], vec![700, 800, 900]),
        ] {
            let main: Vec<(&str, Value)> = main.into_iter().cloned().collect();
            let mut spec = pod(init.as_slice(), &main);
            spec.resources = read(&with_spec("resources", of_pod.clone())).unwrap().resources;
            let found = spec.containers.iter().map(|container| oom_score_adj(&spec, container, 10 << 30));
            assert_eq!(found.collect::<Vec<i64>>(), scores, "{of_pod} {init:?} {main:?}");
        }
    }

    #[test]
    fn a_sidecar_is_ended_no_sooner_than_whom_it_serves() {
        let asks = |memory: &str| json!({"requests": {"memory": memory}});
        let init = [("init", json!({})), ("sidecar-a", asks("1Gi")), ("sidecar-b", asks("8Gi"))];
        let spec = pod(&init, &[("a", asks("4Gi")), ("b", asks("2Gi"))]);
        let scores: Vec<i64> =
            spec.containers.iter().map(|container| oom_score_adj(&spec, container, 10 << 30)).collect();
        assert_eq!(scores, [999, 800, 200, 600, 800]);
    }
}
