//! Names: DNS labels and subdomains (RFC 1123), keys and values of labels, names of variables, ports and sysctls.
//!
//! Each function returns why a text is none, without the text and the field, which the caller knows.

/// The longest DNS label.
pub const MAX_LABEL: usize = 63;
/// The longest DNS subdomain that the API takes.
pub const MAX_SUBDOMAIN: usize = 253;

/// Why a text is not a DNS label: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, up to 63 bytes.
#[must_use]
pub fn label_fault(text: &str) -> Option<&'static str> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_good = (1..=MAX_LABEL).contains(&text.len())
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    (!is_good).then_some(
        "is not a DNS label: 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit",
    )
}

/// Why a text is not a DNS subdomain: labels joined by dots, up to 253 bytes.
///
/// The API limits the whole and not each label; so does this.
#[must_use]
pub fn subdomain_fault(text: &str) -> Option<&'static str> {
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_good = text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_label);
    (!is_good).then_some(
        "is not a DNS subdomain: 1 to 253 of a-z, 0-9, - and ., each part beginning and ending with a letter or digit",
    )
}

/// What the files in a directory of cgroup v2 begin with, up to their first dot: the core's, and each controller's.
const CGROUP_FILES: [&str; 11] =
    ["cgroup", "cpu", "cpuset", "dmem", "hugetlb", "io", "irq", "memory", "misc", "pids", "rdma"];

/// Why a DNS subdomain cannot be that of a cgroup: it may be, or become with another controller, a file of the cgroup above.
#[must_use]
pub fn cgroup_fault(text: &str) -> Option<&'static str> {
    let is_file = text.split_once('.').is_some_and(|(first, _)| CGROUP_FILES.contains(&first));
    is_file.then_some(
        "begins as the files of a cgroup do, and the pod's own cgroup has the pod's name; write another word before the first dot",
    )
}

/// Why a text is not the name of an environment variable: printable ASCII but `=`.
#[must_use]
pub fn variable_fault(text: &str) -> Option<&'static str> {
    let is_good = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=');
    (!is_good)
        .then_some("is not the name of a variable: printable ASCII characters other than =, at least one")
}

/// Why a text is not the name part of a key, or a value: `([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]`, up to 63 bytes.
fn qualified_fault(text: &str) -> Option<&'static str> {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let is_good = bytes.len() <= MAX_LABEL
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    (!is_good).then_some("up to 63 of A-Z, a-z, 0-9, -, _ and ., beginning and ending with a letter or digit")
}

/// Why a text is not the key of a label: a name, or a DNS subdomain, a slash and a name.
#[must_use]
pub fn key_fault(text: &str) -> Option<String> {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let prefix = prefix.and_then(subdomain_fault).map(|fault| format!("has a prefix that {fault}"));
    prefix.or_else(|| qualified_fault(name).map(|rule| format!("has a name that is not {rule}")))
}

/// Why a text is not the value of a label: empty, or a name.
#[must_use]
pub fn label_value_fault(text: &str) -> Option<String> {
    (!text.is_empty())
        .then(|| qualified_fault(text))
        .flatten()
        .map(|rule| format!("is neither empty nor {rule}"))
}

/// Why a text is not the name of a port (RFC 6335): up to 15 of a-z, 0-9 and single `-` inside, one a letter.
#[must_use]
pub fn port_fault(text: &str) -> Option<&'static str> {
    let is_good = label_fault(text).is_none()
        && text.len() <= 15
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.contains("--");
    (!is_good).then_some(
        "is not the name of a port: 1 to 15 of a-z, 0-9 and single - inside, with at least one letter",
    )
}

/// Why a text is not the name of a sysctl: parts of a-z, 0-9, - and _ joined by `.` or `/`, up to 253 bytes.
///
/// The parts begin and end with a letter or digit, and all but the first two may have what a network interface's name has.
#[must_use]
pub fn sysctl_fault(text: &str) -> Option<&'static str> {
    let is_end = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        part.bytes().all(|byte| is_end(byte) || matches!(byte, b'-' | b'_'))
            && part.bytes().next().is_some_and(is_end)
            && part.bytes().last().is_some_and(is_end)
    };
    let is_good = text.len() <= MAX_SUBDOMAIN && text.split(['.', '/']).all(is_part);
    (!is_good).then_some(
        "is not the name of a kernel parameter, as net.ipv4.ip_forward or net/ipv4/conf/eth0.1/rp_filter",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_are_names() {
        for text in ["a", "web-1", "0", &"x".repeat(63)] {
            assert_eq!(label_fault(text), None, "{text}");
        }
        for text in ["a", "a.b-c.d", &"x".repeat(253)] {
            assert_eq!(subdomain_fault(text), None, "{text}");
        }
        for text in ["app", "app.kubernetes.io/name", "A_b.c"] {
            assert_eq!(key_fault(text), None, "{text}");
        }
        for text in ["A", "a b", "x-y.z", "~!\"#", "1st"] {
            assert_eq!(variable_fault(text), None, "{text}");
        }
        for text in ["net.ipv4.ip_forward", "net/ipv4/conf/eth0.1/rp_filter", "kernel.shm_rmid_forced"] {
            assert_eq!(sysctl_fault(text), None, "{text}");
        }
    }

    #[test]
    fn what_could_be_a_path_or_an_option_is_no_name() {
        for text in ["", ".", "..", "a/b", "-a", "a-", "A", "a_b", "a\n", "ä", "a.b", &"x".repeat(64)] {
            assert!(label_fault(text).is_some(), "{text:?}");
        }
        for text in ["", ".", "..", "a..b", ".a", "a.", "a/b", "a.-b", "a\0", &"x".repeat(254)] {
            assert!(subdomain_fault(text).is_some(), "{text:?}");
        }
        for text in ["", "/a", "a/", "a/b/c", "A.B/c", "-a"] {
            assert!(key_fault(text).is_some(), "{text:?}");
        }
        for text in ["", "A=B", "a\tb", "é", "\u{7f}"] {
            assert!(variable_fault(text).is_some(), "{text:?}");
        }
        for text in ["", "80", "a--b", "-a", "sixteen-letters-", "HTTP"] {
            assert!(port_fault(text).is_some(), "{text:?}");
        }
        for text in ["", "net..x", "../x", "net/../x", "Net.x", "net.x "] {
            assert!(sysctl_fault(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn a_file_of_a_cgroup_is_no_name_of_one() {
        for text in ["cpu.max", "memory.high", "cgroup.procs", "io.bfq.weight", "irq.pressure", "pids.x"] {
            assert_eq!(subdomain_fault(text), None, "{text}");
            assert!(cgroup_fault(text).is_some(), "{text}");
        }
        for text in ["cpu", "web.cpu.max", "cpus.max", "memory-high", "a.b"] {
            assert_eq!(cgroup_fault(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_label_is_a_subdomain_without_dots(text in "\\PC{0,70}") {
            let is_short_subdomain =
                subdomain_fault(&text).is_none() && !text.contains('.') && text.len() <= MAX_LABEL;
            prop_assert_eq!(label_fault(&text).is_none(), is_short_subdomain);
        }

        #[test]
        fn names_of_the_documented_form_are_taken(
            label in "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
            subdomain in "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?){0,5}",
            key in "([a-z0-9]{1,9}\\.[a-z0-9]{1,9}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?",
            variable in "[ -<>-~]{1,40}",
        ) {
            prop_assert_eq!(label_fault(&label), None);
            prop_assert_eq!(subdomain_fault(&subdomain), None);
            prop_assert_eq!(key_fault(&key), None);
            prop_assert_eq!(variable_fault(&variable), None);
        }

        #[test]
        fn a_name_holds_nothing_that_a_path_or_a_shell_reads(text in any::<String>()) {
            if subdomain_fault(&text).is_none() {
                prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'));
                prop_assert!(text != "." && text != ".." && !text.is_empty());
            }
        }
    }
}
