//! Names and addresses that the pod knows: `dnsPolicy`, `dnsConfig` and `hostAliases`.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{HostAlias as ApiHostAlias, PodDNSConfig, PodDNSConfigOption};

use super::error::Offences;
use super::{DnsSpec, HostAlias, names};

/// The API server's limits; resolv.conf(5) has its own, which are lower or the same.
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_BYTES: usize = 2048;

/// Reads policy and configuration.
pub(super) fn read(policy: Option<&str>, config: Option<PodDNSConfig>, offences: &mut Offences) -> DnsSpec {
    let policies =
        [("ClusterFirst", true), ("ClusterFirstWithHostNet", true), ("Default", true), ("None", false)];
    let is_from_node = offences.word("spec.dnsPolicy", policy, &policies).unwrap_or(true);
    let PodDNSConfig { nameservers, options, searches } = config.unwrap_or_default();
    let at = "spec.dnsConfig";
    let (nameservers, searches) = (nameservers.unwrap_or_default(), searches.unwrap_or_default());
    if nameservers.len() > MAX_NAMESERVERS {
        let reason = format!("has {} servers, more than {MAX_NAMESERVERS}", nameservers.len());
        offences.invalid(format!("{at}.nameservers"), reason);
    } else if nameservers.is_empty() && !is_from_node {
        offences.invalid(format!("{at}.nameservers"), "must name a server when dnsPolicy is None");
    }
    let n_bytes = searches.iter().map(|search| search.len() + 1).sum::<usize>();
    if searches.len() > MAX_SEARCHES || n_bytes > MAX_SEARCH_BYTES + 1 {
        let reason = format!("has more than {MAX_SEARCHES} domains, or more than {MAX_SEARCH_BYTES} bytes");
        offences.invalid(format!("{at}.searches"), reason);
    }
    for (index, search) in searches.iter().enumerate() {
        // The API takes a dot at the end, the root alone, and underscores.
        let domain = search.strip_suffix('.').unwrap_or(search).replace('_', "0");
        if let Some(fault) = names::subdomain_fault(&domain).filter(|_| search != ".") {
            offences.invalid(format!("{at}.searches[{index}]"), format!("{search:?} {fault}"));
        }
    }
    let nameservers = nameservers
        .iter()
        .enumerate()
        .filter_map(|(index, text)| address(text, format!("{at}.nameservers[{index}]"), offences))
        .collect();
    let options = options
        .unwrap_or_default()
        .into_iter()
        .enumerate()
        .filter_map(|(index, option)| read_option(option, &format!("{at}.options[{index}]"), offences))
        .collect();
    DnsSpec { is_from_node, nameservers, searches, options }
}

fn read_option(option: PodDNSConfigOption, at: &str, offences: &mut Offences) -> Option<String> {
    let PodDNSConfigOption { name, value } = option;
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        offences.missing(format!("{at}.name"));
        return None;
    };
    // A line of resolv.conf: what separates words or lines would be an option, or a server, of its own.
    let mut check = |field: &str, text: &str| {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            offences.invalid(
                format!("{at}.{field}"),
                format!("{text:?} is not a word of visible ASCII characters"),
            );
        }
    };
    check("name", &name);
    match value.filter(|value| !value.is_empty()) {
        Some(value) => {
            check("value", &value);
            Some(format!("{name}:{value}"))
        }
        None => Some(name),
    }
}

/// Reads further lines of `/etc/hosts`.
pub(super) fn aliases(list: Option<Vec<ApiHostAlias>>, offences: &mut Offences) -> Vec<HostAlias> {
    let mut aliases = Vec::new();
    for (index, alias) in list.unwrap_or_default().into_iter().enumerate() {
        let ApiHostAlias { hostnames, ip } = alias;
        let at = format!("spec.hostAliases[{index}]");
        let names = hostnames.unwrap_or_default();
        for (index, name) in names.iter().enumerate() {
            if let Some(fault) = names::subdomain_fault(name) {
                offences.invalid(format!("{at}.hostnames[{index}]"), format!("{name:?} {fault}"));
            }
        }
        if ip.is_empty() {
            offences.missing(format!("{at}.ip"));
        } else if let Some(ip) = address(&ip, format!("{at}.ip"), offences) {
            aliases.push(HostAlias { ip, names });
        }
    }
    aliases
}

fn address(text: &str, path: String, offences: &mut Offences) -> Option<IpAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        offences.invalid(path, format!("{text:?} is not an IP address"));
    }
    address
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::samples::{minimal, read as read_manifest, refused, set, with_spec};

    #[test]
    fn without_a_word_the_nodes_file_is_the_pods() {
        let dns = read_manifest(&minimal()).unwrap().dns;
        assert_eq!(dns, DnsSpec { is_from_node: true, ..DnsSpec::default() });
    }

    #[test]
    fn a_configuration_of_the_pods_own() {
        let mut manifest = with_spec("dnsPolicy", json!("None"));
        set(
            &mut manifest,
            "/spec/dnsConfig",
            json!({
                "nameservers": ["10.0.0.1", "fd00::1"], "searches": ["a.b", "c.", ".", "_sip.d"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
            }),
        );
        let dns = read_manifest(&manifest).unwrap().dns;
        assert!(!dns.is_from_node);
        assert_eq!(dns.nameservers, ["10.0.0.1", "fd00::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        assert_eq!(dns.searches, ["a.b", "c.", ".", "_sip.d"]);
        assert_eq!(dns.options, ["ndots:2", "edns0"]);
    }

    #[test]
    fn lines_of_hosts_are_names_and_addresses_only() {
        let list = json!([{"ip": "127.0.0.2", "hostnames": ["db", "db.local"]}]);
        let aliases = read_manifest(&with_spec("hostAliases", list)).unwrap().host_aliases;
        assert_eq!(
            aliases,
            [HostAlias { ip: "127.0.0.2".parse().unwrap(), names: vec!["db".into(), "db.local".into()] }]
        );
        let list = json!([{"ip": "127.0.0.2\n", "hostnames": ["a\n10.0.0.1 b"]}, {"hostnames": []}]);
        let text = refused(&with_spec("hostAliases", list));
        for message in [
            "spec.hostAliases[0].hostnames[0]: \"a\\n10.0.0.1 b\" is not a DNS subdomain",
            "spec.hostAliases[0].ip: \"127.0.0.2\\n\" is not an IP address",
            "spec.hostAliases[1].ip: required",
        ] {
            assert!(text.contains(message), "{text}");
        }
    }

    #[test]
    fn each_bad_configuration_is_named() {
        for (config, message) in [
            (json!({"nameservers": ["dns.example"]}), "nameservers[0]: \"dns.example\" is not an IP address"),
            (json!({"nameservers": vec!["1.1.1.1"; 4]}), "nameservers: has 4 servers"),
            (json!({"searches": vec!["a"; 33]}), "searches: has more than 32 domains"),
            (json!({"searches": vec!["a".repeat(250); 9]}), "searches: has more than"),
            (json!({"searches": ["a b"]}), "searches[0]: \"a b\" is not a DNS subdomain"),
            (json!({"options": [{"value": "2"}]}), "options[0].name: required"),
            (
                json!({"options": [{"name": "a\nnameserver", "value": "1"}]}),
                "options[0].name: \"a\\nnameserver\"",
            ),
            (json!({"options": [{"name": "a", "value": "1 b"}]}), "options[0].value: \"1 b\" is not a word"),
        ] {
            let text = refused(&with_spec("dnsConfig", config));
            assert!(text.starts_with(&format!("spec.dnsConfig.{message}")), "{text}");
        }
        let text = refused(&with_spec("dnsPolicy", json!("None")));
        assert_eq!(text, "spec.dnsConfig.nameservers: must name a server when dnsPolicy is None");
    }
}
