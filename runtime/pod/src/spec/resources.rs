//! `resources`: requests and limits of a container, and of the pod as a whole.
//!
//! A limit without a request requests as much. A limit of 0 is none, as the kubelet has it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::error::{Offences, is_filled, visible};
use super::quantity::{self, Unit};
use super::{ContainerKind, ContainerSpec, Resources};

/// What is written of one resource.
#[derive(Debug, Clone, Copy, Default)]
struct Amounts {
    request: Option<u64>,
    limit: Option<u64>,
}

impl Amounts {
    fn check(self, name: &str, unit: &str, at: &str, offences: &mut Offences) {
        if let (Some(request), Some(limit)) = (self.request, self.limit)
            && request > limit
        {
            offences.invalid(
                format!("{at}.requests.{name}"),
                format!("is {request}{unit}, more than the limit of {limit}{unit}"),
            );
        }
    }

    /// The limit, unless it is none.
    fn limit(self) -> Option<u64> {
        self.limit.filter(|limit| *limit > 0)
    }
}

/// Reads what a container asks for.
pub(super) fn read(resources: Option<ResourceRequirements>, at: &str, offences: &mut Offences) -> Resources {
    let (cpu, memory) = amounts(resources, at, offences);
    Resources {
        cpu_request_milli: cpu.request.or(cpu.limit),
        cpu_limit_milli: cpu.limit(),
        memory_request_bytes: memory.request.or(memory.limit),
        memory_limit_bytes: memory.limit(),
    }
}

/// Reads what the pod asks for. A limit without a request requests what the containers do together, or as much as the limit
/// when they request nothing.
pub(super) fn read_pod(
    resources: Option<ResourceRequirements>,
    at: &str,
    containers: &[ContainerSpec],
    offences: &mut Offences,
) -> Resources {
    if resources.is_none() {
        return Resources::default();
    }
    let (cpu, memory) = amounts(resources, at, offences);
    let mut check = |name: &str,
                     unit: &str,
                     pod: Amounts,
                     of: fn(&Resources) -> (Option<u64>, Option<u64>)| {
        let together = at_one_time(containers, |resources| of(resources).0);
        // A pod without any amount has none of this resource.
        if pod.request.is_none() && pod.limit.is_none() {
            return None;
        }
        if let (Some(request), Some(together)) = (pod.request.or(pod.limit), together)
            && request < together
        {
            let field = if pod.request.is_some() { "requests" } else { "limits" };
            offences.invalid(
                format!("{at}.{field}.{name}"),
                format!(
                    "is {request}{unit}, less than the {together}{unit} that the containers request together"
                ),
            );
        }
        for container in containers {
            if let (Some(limit), Some(own)) = (pod.limit(), of(&container.resources).1)
                && own > limit
            {
                let name_of = &container.name;
                offences.invalid(
                    format!("{at}.limits.{name}"),
                    format!("is {limit}{unit}, less than the limit of container {name_of:?}, {own}{unit}"),
                );
            }
        }
        pod.request.or(together).or(pod.limit)
    };
    Resources {
        cpu_request_milli: check("cpu", "m", cpu, |r| (r.cpu_request_milli, r.cpu_limit_milli)),
        cpu_limit_milli: cpu.limit(),
        memory_request_bytes: check("memory", "", memory, |r| (r.memory_request_bytes, r.memory_limit_bytes)),
        memory_limit_bytes: memory.limit(),
    }
}

/// What the containers have together at most at one time; `None` when none has any.
///
/// Sidecars run beside all that comes after them; other init containers run alone, so that only the largest counts.
pub(crate) fn at_one_time(
    containers: &[ContainerSpec],
    of: impl Fn(&Resources) -> Option<u64>,
) -> Option<u64> {
    let (mut main, mut sidecars, mut peak) = (0_u64, 0_u64, 0_u64);
    for container in containers {
        let amount = of(&container.resources).unwrap_or(0);
        match container.kind {
            ContainerKind::Main => main = main.saturating_add(amount),
            ContainerKind::Sidecar => sidecars = sidecars.saturating_add(amount),
            ContainerKind::Init => peak = peak.max(sidecars.saturating_add(amount)),
        }
    }
    let is_any = containers.iter().any(|container| of(&container.resources).is_some());
    is_any.then(|| peak.max(sidecars.saturating_add(main)))
}

fn amounts(resources: Option<ResourceRequirements>, at: &str, offences: &mut Offences) -> (Amounts, Amounts) {
    let ResourceRequirements { claims, limits, requests } = resources.unwrap_or_default();
    if is_filled(claims.as_ref()) {
        offences.unsupported(format!("{at}.claims"), "podrt allocates no devices; remove it");
    }
    let (mut cpu, mut memory) = (Amounts::default(), Amounts::default());
    (cpu.limit, memory.limit) = list(limits, &format!("{at}.limits"), offences);
    (cpu.request, memory.request) = list(requests, &format!("{at}.requests"), offences);
    cpu.check("cpu", "m", at, offences);
    memory.check("memory", "", at, offences);
    (cpu, memory)
}

/// The CPU in thousandths, and the memory in bytes.
fn list(
    list: Option<BTreeMap<String, Quantity>>,
    at: &str,
    offences: &mut Offences,
) -> (Option<u64>, Option<u64>) {
    let (mut cpu, mut memory) = (None, None);
    for (name, Quantity(text)) in list.unwrap_or_default() {
        let path = format!("{at}.{}", visible(&name));
        match name.as_str() {
            "cpu" => cpu = amount(&text, Unit::Milli, path, offences),
            "memory" => memory = amount(&text, Unit::One, path, offences),
            "ephemeral-storage" => offences.unsupported(
                path,
                "podrt does not measure what a container writes; give an emptyDir volume a sizeLimit",
            ),
            _ => offences.unsupported(path, "podrt limits cpu and memory only; remove it"),
        }
    }
    (cpu, memory)
}

/// Reads one quantity.
pub(super) fn amount(text: &str, unit: Unit, path: String, offences: &mut Offences) -> Option<u64> {
    quantity::parse(text, unit).map_err(|error| offences.invalid(path, error.to_string())).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::samples::{read as read_manifest, refused, set, with_container, with_spec};

    fn resources(value: Value) -> Resources {
        read_manifest(&with_container("resources", value)).unwrap().containers.remove(0).resources
    }

    #[test]
    fn a_limit_implies_a_request_and_zero_is_no_limit() {
        let both = resources(json!({"limits": {"cpu": "0.5", "memory": "1Gi"}, "requests": {"cpu": "100m"}}));
        assert_eq!((both.cpu_request_milli, both.cpu_limit_milli), (Some(100), Some(500)));
        assert_eq!((both.memory_request_bytes, both.memory_limit_bytes), (Some(1 << 30), Some(1 << 30)));
        let zero = resources(json!({"limits": {"cpu": 0}, "requests": {"memory": 0}}));
        assert_eq!((zero.cpu_request_milli, zero.cpu_limit_milli), (Some(0), None));
        assert_eq!((zero.memory_request_bytes, zero.memory_limit_bytes), (Some(0), None));
        assert_eq!(resources(json!({})), Resources::default());
    }

    #[test]
    fn numbers_are_quantities_too() {
        let numbers = resources(json!({"limits": {"cpu": 1.5, "memory": 1e6}}));
        assert_eq!((numbers.cpu_limit_milli, numbers.memory_limit_bytes), (Some(1500), Some(1_000_000)));
    }

    #[test]
    fn each_bad_amount_is_named() {
        let text = refused(&with_container(
            "resources",
            json!({
                "limits": {"cpu": "1x", "memory": "-1", "ephemeral-storage": "1Gi"},
                "requests": {"memory": "8Ei", "nvidia.com/gpu": 1},
                "claims": [{"name": "gpu"}],
            }),
        ));
        for message in [
            "resources.claims: not supported",
            "resources.limits.cpu: \"1x\" is not a quantity",
            "resources.limits.memory: \"-1\" is negative",
            "resources.limits.ephemeral-storage: not supported",
            "resources.requests.memory: \"8Ei\" is more than the largest quantity",
            "resources.requests.nvidia.com/gpu: not supported",
        ] {
            assert!(text.contains(&format!("spec.containers[0].{message}")), "{text}");
        }
        let text = refused(&with_container(
            "resources",
            json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1001m"}}),
        ));
        assert_eq!(text, "spec.containers[0].resources.requests.cpu: is 1001m, more than the limit of 1000m");
    }

    #[test]
    fn the_pod_requests_what_its_containers_do_at_most_at_one_time() {
        let mut manifest = with_spec("resources", json!({"limits": {"cpu": "2", "memory": "1Gi"}}));
        let container = |name: &str, cpu: &str| json!({"name": name, "image": "/rootfs", "resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = container("s", "200m");
        sidecar["restartPolicy"] = json!("Always");
        set(&mut manifest, "/spec/containers", json!([container("a", "300m"), container("b", "100m")]));
        set(
            &mut manifest,
            "/spec/initContainers",
            json!([container("i", "500m"), sidecar, container("j", "450m")]),
        );
        let resources = read_manifest(&manifest).unwrap().resources;
        // j with the sidecar before it.
        assert_eq!(resources.cpu_request_milli, Some(650));
        assert_eq!(resources.memory_request_bytes, Some(1 << 30));

        set(&mut manifest, "/spec/resources", json!({"requests": {"cpu": "600m"}}));
        let text = refused(&manifest);
        assert_eq!(
            text,
            "spec.resources.requests.cpu: is 600m, less than the 650m that the containers request together"
        );
    }

    #[test]
    fn no_container_has_more_than_the_pod() {
        let mut manifest = with_spec("resources", json!({"limits": {"memory": "1Mi"}}));
        set(
            &mut manifest,
            "/spec/containers/0/resources",
            json!({"limits": {"memory": "2Mi"}, "requests": {"memory": "1Mi"}}),
        );
        let text = refused(&manifest);
        assert_eq!(
            text,
            "spec.resources.limits.memory: is 1048576, less than the limit of container \"c\", 2097152"
        );
    }
}
