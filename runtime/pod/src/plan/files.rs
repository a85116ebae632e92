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

/// What resolvers look at (resolv.conf(5)), and the API server allows: the kubelet leaves out what is more, with an event.
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_BYTES: usize = 2048;

/// Why there can be no such `/etc/resolv.conf`: what the manifest adds would not be looked at.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// Too many servers.
    #[error(
        "spec.dnsConfig.nameservers: with those of the node's /etc/resolv.conf there are {n}, and resolvers ask {MAX_NAMESERVERS}; \
         write dnsPolicy: None, or name fewer"
    )]
    Nameservers {
        /// How many there are.
        n: usize,
    },
    /// Too many domains.
    #[error(
        "spec.dnsConfig.searches: with those of the node's /etc/resolv.conf there are more than {MAX_SEARCHES} domains, or more than \
         {MAX_SEARCH_BYTES} bytes; write dnsPolicy: None, or name fewer"
    )]
    Searches,
}

/// `/etc/resolv.conf`: the node's, where the policy says so, with what the manifest adds, as the kubelet's `appendDNSConfig` has it:
/// the node's come first, nothing is there twice, and an option of the manifest replaces the node's of that name.
///
/// # Errors
/// What the manifest adds and nobody would look at.
pub fn resolv_conf(dns: &DnsSpec, node: &str) -> Result<String, DnsError> {
    let node = if dns.is_from_node { node } else { "" };
    if dns.nameservers.is_empty() && dns.searches.is_empty() && dns.options.is_empty() {
        return Ok(node.to_owned());
    }
    let Resolver { others, mut nameservers, mut searches, mut options } = Resolver::read(node);
    for server in dns.nameservers.iter().map(ToString::to_string) {
        // The node may have written the same address in another way.
        let is_it =
            |have: &String| have.parse::<IpAddr>().map_or(*have == server, |ip| ip.to_string() == server);
        if !nameservers.iter().any(is_it) {
            nameservers.push(server);
        }
    }
    if !dns.nameservers.is_empty() && nameservers.len() > MAX_NAMESERVERS {
        return Err(DnsError::Nameservers { n: nameservers.len() });
    }
    for search in &dns.searches {
        if !searches.iter().any(|have| undotted(have) == undotted(search)) {
            searches.push(search.clone());
        }
    }
    let n_bytes = searches.iter().map(|search| search.len() + 1).sum::<usize>();
    if !dns.searches.is_empty() && (searches.len() > MAX_SEARCHES || n_bytes > MAX_SEARCH_BYTES + 1) {
        return Err(DnsError::Searches);
    }
    for option in &dns.options {
        match options.iter_mut().find(|have| option_name(have) == option_name(option)) {
            Some(have) => option.clone_into(have),
            None => options.push(option.clone()),
        }
    }
    let mut text = others;
    for server in nameservers {
        let _infallible = writeln!(text, "nameserver {server}");
    }
    for (word, list) in [("search", searches), ("options", options)] {
        if !list.is_empty() {
            let _infallible = writeln!(text, "{word} {}", list.join(" "));
        }
    }
    Ok(text)
}

/// What a `resolv.conf` says.
#[derive(Default)]
struct Resolver {
    /// Lines of other words, and comments.
    others: String,
    nameservers: Vec<String>,
    /// Of `search`, or of `domain`, which is a list of one: the last line counts.
    searches: Vec<String>,
    options: Vec<String>,
}

impl Resolver {
    fn read(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => all.nameservers.extend(words.next()),
                // The root alone, as systemd-resolved writes it, is no domain to try.
                Some("search") => all.searches = words.filter(|word| word != ".").collect(),
                Some("domain") => all.searches = words.take(1).collect(),
                Some("options") => all.options.extend(words),
                Some(_) => all.others.push_str(&format!("{line}\n")),
                None => {}
            }
        }
        all
    }
}

/// A domain means the same with a dot at the end; the root is nothing but the dot.
fn undotted(search: &str) -> &str {
    search.strip_suffix('.').filter(|rest| !rest.is_empty()).unwrap_or(search)
}

fn option_name(option: &str) -> &str {
    option.split_once(':').map_or(option, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "# by dhcp\nnameserver 10.0.0.1\ndomain old.example\nsearch node.example lan.\n\
        options ndots:1 rotate\nsortlist 10.0.0.0/8\nnameserver fd00:0::1";

    fn dns(nameservers: &[&str], searches: &[&str], options: &[&str]) -> DnsSpec {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        DnsSpec {
            is_from_node: true,
            nameservers: nameservers.iter().map(|text| text.parse().unwrap()).collect(),
            searches: owned(searches),
            options: owned(options),
        }
    }

    #[test]
    fn what_the_manifest_adds_is_merged_with_the_nodes() {
        let added = dns(
            &["10.0.0.2", "10.0.0.1", "fd00::1"],
            &["lan", "pod.example", "pod.example."],
            &["ndots:5", "edns0"],
        );
        assert_eq!(
            resolv_conf(&added, NODE).unwrap(),
            "# by dhcp\nsortlist 10.0.0.0/8\nnameserver 10.0.0.1\nnameserver fd00:0::1\nnameserver 10.0.0.2\n\
             search node.example lan. pod.example\noptions ndots:5 rotate edns0\n"
        );
        assert_eq!(resolv_conf(&dns(&[], &["a.example"], &[]), "search .\n").unwrap(), "search a.example\n");
        assert_eq!(
            resolv_conf(&dns(&[], &["."], &[]), "domain a.example\n").unwrap(),
            "search a.example .\n"
        );
    }

    #[test]
    fn without_additions_the_file_is_the_nodes() {
        assert_eq!(resolv_conf(&dns(&[], &[], &[]), NODE).unwrap(), NODE);
        let own = DnsSpec { is_from_node: false, ..dns(&["10.0.0.9"], &["a.example"], &["edns0"]) };
        assert_eq!(
            resolv_conf(&own, NODE).unwrap(),
            "nameserver 10.0.0.9\nsearch a.example\noptions edns0\n"
        );
    }

    #[test]
    fn what_nobody_would_look_at_is_refused() {
        let error = resolv_conf(&dns(&["10.0.0.2", "10.0.0.3"], &[], &[]), NODE).unwrap_err();
        assert_eq!(error, DnsError::Nameservers { n: 4 });
        // The node's own excess is the node's.
        let four = "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n";
        assert!(resolv_conf(&dns(&[], &["a"], &[]), four).unwrap().starts_with(four));
        let many: Vec<String> = (0..32).map(|n| format!("d{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(resolv_conf(&dns(&[], &many[..30], &[]), NODE).is_ok());
        assert_eq!(resolv_conf(&dns(&[], &many, &[]), NODE), Err(DnsError::Searches));
    }
}
