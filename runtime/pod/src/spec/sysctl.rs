//! `securityContext.sysctls`: parameters of the pod's own network and ipc namespaces (sysctl/net.rst, sysctl/kernel.rst).
//!
//! Any other would change the node.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::api::core::v1::Sysctl;
use runtime::spec::NsKind;
use runtime::spec::sysctl::owner;

use super::error::Offences;
use super::names;
use crate::net::POD_INTERFACE;

/// Checks names, and that the pod does not use the node's namespace of any.
pub(super) fn read(
    list: Vec<Sysctl>,
    at: &str,
    is_host_network: bool,
    is_host_ipc: bool,
    offences: &mut Offences,
) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    let mut seen = HashSet::new();
    for (index, sysctl) in list.into_iter().enumerate() {
        let Sysctl { name, value } = sysctl;
        let path = format!("{at}[{index}].name");
        if name.is_empty() {
            offences.missing(path);
            continue;
        }
        if let Some(fault) = names::sysctl_fault(&name) {
            offences.invalid(path, format!("{name:?} {fault}"));
            continue;
        }
        offences.check_no_nul(|| format!("{at}[{index}].value"), &value);
        let dotted = dotted(&name);
        let owner = owner(&dotted);
        let (is_net, is_ipc) = (owner == Some(NsKind::Network), owner == Some(NsKind::Ipc));
        if !is_net && !is_ipc {
            offences.invalid(
                path,
                format!("{name:?} is not a parameter of a namespace of the pod; set it on the node"),
            );
        } else if (is_net && is_host_network) || (is_ipc && is_host_ipc) {
            let field = if is_net { "hostNetwork" } else { "hostIPC" };
            offences
                .invalid(path, format!("{name:?} would change the node, since {field} is true; remove one"));
        } else if dotted.split('.').any(|part| part == POD_INTERFACE) {
            let of_all = dotted.replace(&format!(".{POD_INTERFACE}."), ".default.");
            offences.invalid(
                path,
                format!("{name:?} is of an interface that the pod does not have yet when this is set; use {of_all:?}"),
            );
        } else if seen.contains(&dotted) {
            offences.invalid(path, format!("{name:?} is already in the list"));
        } else {
            sysctls.insert(name, value);
        }
        seen.insert(dotted);
    }
    sysctls
}

/// The spelling with dots. Whichever of `.` and `/` comes first separates (sysctl.d(5)); the other is part of a name.
fn dotted(name: &str) -> String {
    let swap = |c| match c {
        '/' => '.',
        '.' => '/',
        c => c,
    };
    match name.find(['.', '/']).and_then(|place| name.as_bytes().get(place)) {
        Some(b'/') => name.chars().map(swap).collect(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::spec::samples::{read, refused, set, with_spec};

    fn with_sysctls(list: &[&str]) -> Value {
        let list: Vec<_> = list.iter().map(|name| json!({"name": name, "value": "1"})).collect();
        with_spec("securityContext", json!({"sysctls": list}))
    }

    #[test]
    fn parameters_of_the_pods_namespaces_are_taken_as_written() {
        let names = [
            "fs.mqueue.msg_max",
            "kernel.shm_rmid_forced",
            "net.ipv4.ip_forward",
            "net/ipv4/conf/eth0.1/rp_filter",
        ];
        let spec = read(&with_sysctls(&names)).unwrap();
        assert_eq!(spec.sysctls.into_keys().collect::<Vec<_>>(), names);
    }

    #[test]
    fn those_of_the_node_of_eth0_and_those_written_twice_are_refused() {
        for (names, index, message) in [
            (&["net.ipv4.conf.eth0.rp_filter"][..], 0, "use \"net.ipv4.conf.default.rp_filter\""),
            (&["net/ipv6/neigh/eth0/retrans_time_ms"], 0, "does not have yet"),
            (&["vm.swappiness"], 0, "is not a parameter of a namespace"),
            (&["kernel.hostname"], 0, "is not a parameter of a namespace"),
            (&["kernel/../vm"], 0, "is not the name of a kernel parameter"),
            (&["net.core.somaxconn", "net/core/somaxconn"], 1, "is already in the list"),
        ] {
            let text = refused(&with_sysctls(names));
            assert!(text.starts_with(&format!("spec.securityContext.sysctls[{index}].name: ")), "{text}");
            assert!(text.contains(message), "{text}");
        }
    }

    #[test]
    fn a_namespace_of_the_node_takes_none() {
        for (field, name) in [("hostNetwork", "net.core.somaxconn"), ("hostIPC", "kernel.shmmax")] {
            let mut manifest = with_sysctls(&[name]);
            set(&mut manifest, &format!("/spec/{field}"), json!(true));
            let text = refused(&manifest);
            assert!(text.contains(&format!("since {field} is true")), "{text}");
        }
    }
}
