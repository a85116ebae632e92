//! The files of `/etc` that all containers of a pod share.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::spec::{DnsSpec, PodSpec};

/// `/etc/hosts`: the pod's own name and the aliases. `node` is the node's file, for a pod in the node's network.
#[must_use]
pub fn hosts(spec: &PodSpec, address: Option<IpAddr>, node: Option<&str>) -> String {
    let mut text = match node {
        Some(node) => format!("# The node's file, and the pod's aliases.\n{node}"),
        None => "# Written for this pod by podrt.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned(),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    if node.is_none() {
        let address = address.unwrap_or(IpAddr::from([127, 0, 0, 1]));
        let _infallible = writeln!(text, "{address}\t{}", spec.hostname);
    }
    if !spec.host_aliases.is_empty() {
        text.push_str("# spec.hostAliases\n");
        for alias in &spec.host_aliases {
            let _infallible = writeln!(text, "{}\t{}", alias.ip, alias.names.join("\t"));
        }
    }
    text
}

/// `/etc/resolv.conf`: the node's, where the policy says so, and what the manifest adds.
#[must_use]
pub fn resolv_conf(dns: &DnsSpec, node: &str) -> String {
    let mut text = if dns.is_from_node { node.to_owned() } else { String::new() };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for server in &dns.nameservers {
        let _infallible = writeln!(text, "nameserver {server}");
    }
    if !dns.searches.is_empty() {
        let _infallible = writeln!(text, "search {}", dns.searches.join(" "));
    }
    if !dns.options.is_empty() {
        let _infallible = writeln!(text, "options {}", dns.options.join(" "));
    }
    text
}
