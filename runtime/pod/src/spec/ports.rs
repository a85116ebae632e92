//! `ports`: said for people and tools, since every port of a pod is reached at its address. A port of the node is not supported.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::ContainerPort;

use super::error::{Offences, is_written};
use super::names;

/// Checks what is said; nothing is done with it.
pub(super) fn check(
    ports: Option<Vec<ContainerPort>>,
    at: &str,
    is_host_network: bool,
    offences: &mut Offences,
) {
    let mut names_seen = HashSet::new();
    for (index, port) in ports.unwrap_or_default().into_iter().enumerate() {
        let ContainerPort { container_port, host_ip, host_port, name, protocol } = port;
        let at = format!("{at}[{index}]");
        if container_port == 0 {
            offences.missing(format!("{at}.containerPort"));
        } else if !(1..=65535).contains(&container_port) {
            offences.invalid(
                format!("{at}.containerPort"),
                format!("{container_port} is not a port from 1 to 65535"),
            );
        }
        // On the node's network the container has the port itself, and the API server writes it down so.
        let is_own = is_host_network && host_port == Some(container_port);
        if host_port.is_some_and(|port| port != 0) && !is_own {
            offences.unsupported(
                format!("{at}.hostPort"),
                "podrt forwards no ports of the node; reach the pod at its address, or write hostNetwork: true",
            );
        }
        if is_written(host_ip.as_ref()) {
            offences.unsupported(format!("{at}.hostIP"), "it belongs to hostPort; remove it");
        }
        let name = name.filter(|name| !name.is_empty());
        if let Some(name) = name {
            if let Some(fault) = names::port_fault(&name) {
                offences.invalid(format!("{at}.name"), format!("{name:?} {fault}"));
            }
            if !names_seen.insert(name.clone()) {
                offences.invalid(format!("{at}.name"), format!("{name:?} is already a port's"));
            }
        }
        let protocols = [("TCP", ()), ("UDP", ()), ("SCTP", ())];
        offences.word(&format!("{at}.protocol"), protocol.as_deref(), &protocols);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::spec::samples::{minimal, read, refused, set, with_container};

    #[test]
    fn ports_change_nothing() {
        let ports = json!([{"containerPort": 80, "name": "web"}, {"containerPort": 80, "protocol": "UDP", "hostPort": 0}]);
        assert_eq!(read(&with_container("ports", ports)).unwrap(), read(&minimal()).unwrap());
    }

    #[test]
    fn each_bad_port_is_named() {
        for (port, message) in [
            (json!({}), "containerPort: required"),
            (json!({"containerPort": 65536}), "containerPort: 65536 is not a port"),
            (json!({"containerPort": 80, "hostPort": 80}), "hostPort: not supported"),
            (json!({"containerPort": 80, "hostIP": "127.0.0.1"}), "hostIP: not supported"),
            (json!({"containerPort": 80, "name": "80"}), "name: \"80\" is not the name of a port"),
            (json!({"containerPort": 80, "protocol": "tcp"}), "protocol: \"tcp\" is none of TCP, UDP, SCTP"),
        ] {
            let text = refused(&with_container("ports", json!([port])));
            assert!(text.starts_with(&format!("spec.containers[0].ports[0].{message}")), "{text}");
        }
    }

    #[test]
    fn on_the_nodes_network_a_port_of_the_node_is_the_containers() {
        let mut manifest = with_container("ports", json!([{"containerPort": 80, "hostPort": 80}]));
        set(&mut manifest, "/spec/hostNetwork", json!(true));
        assert!(read(&manifest).unwrap().is_host_network);
        set(&mut manifest, "/spec/containers/0/ports/0/hostPort", json!(81));
        assert!(refused(&manifest).starts_with("spec.containers[0].ports[0].hostPort: not supported"));
    }
}
