//! Requests and limits as cgroup settings, the way the kubelet computes them.
//!
//! Source: the Kubernetes documentation, "Resource Management for Pods and Containers" and "Pod Quality of Service Classes";
//! `shares` become `cpu.weight` by the container layer.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::spec::{ContainerKind, ContainerSpec, PodSpec, Resources};

/// Length of a CPU period in microseconds.
const PERIOD_US: u64 = 100_000;
/// The kubelet's least quota and least shares.
const MIN_QUOTA_US: u64 = 1_000;
const MIN_SHARES: u64 = 2;
const MAX_SHARES: u64 = 262_144;

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

/// `oom_score_adj` of a container, given the node's memory in bytes.
#[must_use]
pub fn oom_score_adj(spec: &PodSpec, container: &ContainerSpec, node_memory_bytes: u64) -> i64 {
    match qos_class(spec) {
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let request = container.resources.memory_request_bytes.unwrap_or(0);
            let used = u128::from(request) * 1000 / u128::from(node_memory_bytes.max(1));
            (1000 - i64::try_from(used).unwrap_or(1000)).clamp(2, 999)
        }
    }
}

/// `linux.resources` of a container.
#[must_use]
pub fn of_container(resources: &Resources) -> Value {
    let mut value = settings(resources);
    if resources.memory_limit_bytes.is_some() {
        // A container that is out of memory goes as a whole, as the kubelet wants it with cgroup v2.
        value.insert("unified".to_owned(), json!({"memory.oom.group": "1"}));
    }
    Value::Object(value)
}

/// `linux.resources` of the pod's cgroup.
#[must_use]
pub fn of_pod(spec: &PodSpec) -> Value {
    Value::Object(settings(&pod_resources(spec)))
}

/// What the containers together may ask for and use: `spec.resources` where it is set, else the sum.
///
/// Sidecars run beside all that comes after them; other init containers run alone, so that only the largest counts. A limit
/// of the pod exists only when every container has one.
#[must_use]
pub fn pod_resources(spec: &PodSpec) -> Resources {
    let total = |get: fn(&Resources) -> Option<u64>, needs_all: bool| -> Option<u64> {
        if let Some(value) = get(&spec.resources) {
            return Some(value);
        }
        let values = spec.containers.iter().map(|container| get(&container.resources));
        if needs_all && values.clone().any(|value| value.is_none()) {
            return None;
        }
        values.clone().flatten().next()?;
        let (mut sidecars, mut peak, mut main) = (0_u64, 0_u64, 0_u64);
        for (container, value) in spec.containers.iter().zip(values) {
            let value = value.unwrap_or(0);
            match container.kind {
                ContainerKind::Sidecar => sidecars = sidecars.saturating_add(value),
                ContainerKind::Init => peak = peak.max(sidecars.saturating_add(value)),
                ContainerKind::Main => main = main.saturating_add(value),
            }
        }
        Some(peak.max(sidecars.saturating_add(main)))
    };
    Resources {
        cpu_request_milli: total(|r| r.cpu_request_milli, false),
        cpu_limit_milli: total(|r| r.cpu_limit_milli, true),
        memory_request_bytes: total(|r| r.memory_request_bytes, false),
        memory_limit_bytes: total(|r| r.memory_limit_bytes, true),
    }
}

fn settings(resources: &Resources) -> Map<String, Value> {
    let shares = resources
        .cpu_request_milli
        .map_or(MIN_SHARES, |milli| (milli.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES));
    let mut cpu = json!({"shares": shares});
    if let Some(milli) = resources.cpu_limit_milli.filter(|milli| *milli > 0) {
        cpu["period"] = json!(PERIOD_US);
        cpu["quota"] = json!((milli.saturating_mul(PERIOD_US) / 1000).max(MIN_QUOTA_US));
    }
    let mut map = Map::new();
    map.insert("cpu".to_owned(), cpu);
    if let Some(bytes) = resources.memory_limit_bytes.filter(|bytes| *bytes > 0) {
        map.insert("memory".to_owned(), json!({"limit": bytes}));
    }
    map
}
