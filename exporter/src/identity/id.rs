//! What counts as an id or a name.

/// Bytes of a UUID in text (RFC 9562, section 4) before each dash.
const UUID_DASHES: [usize; 4] = [8, 13, 18, 23];
const UUID_LEN: usize = 36;
/// The kubelet names a static pod by the MD5 of its manifest.
const STATIC_UID_LEN: usize = 32;
/// What containerd, CRI-O, docker and podman make: 32 random bytes.
pub(crate) const FULL_ID_LEN: usize = 64;
/// `NAME_MAX`.
pub(crate) const MAX_NAME: usize = 255;
/// Most bytes of a DNS label.
pub(crate) const MAX_LABEL: usize = 63;

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// An id that no engine of its own is needed for to believe in.
pub(crate) fn is_full(text: &str) -> bool {
    text.len() == FULL_ID_LEN && text.bytes().all(is_lower_hex)
}

/// Splits a full id off the end.
pub(super) fn split_full(text: &str) -> Option<(&str, &str)> {
    let (head, id) = text.split_at_checked(text.len().checked_sub(FULL_ID_LEN)?)?;
    is_full(id).then_some((head, id))
}

/// An id that runc and its like accept (`^[\w+\-.]+$`); it begins with a letter or digit, as those of containerd do.
pub(super) fn is_oci(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-' | b'.');
    text.len() <= MAX_NAME
        && text.bytes().all(is_inner)
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// An id of podrt's container layer; a `.` or `..` is never a component of a path here.
pub(super) fn is_podrt(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-' | b'.');
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_inner)
}

/// A pod's uid with its dashes, from either form: systemd's names have underscores in place of them.
///
/// A manifest of a static pod may set any text as `metadata.uid`; such a pod has no uid here.
pub(crate) fn pod_uid(text: &str) -> Option<String> {
    if text.len() == STATIC_UID_LEN && text.bytes().all(is_lower_hex) {
        return Some(text.to_owned());
    }
    let separator = *text.as_bytes().get(UUID_DASHES[0])?;
    let is_uuid = text.len() == UUID_LEN
        && matches!(separator, b'-' | b'_')
        && text.bytes().enumerate().all(|(index, byte)| {
            if UUID_DASHES.contains(&index) { byte == separator } else { is_lower_hex(byte) }
        });
    is_uuid.then(|| text.replace('_', "-"))
}

/// A DNS label (RFC 1123): name of a namespace or a container.
pub(crate) fn is_label(text: &str) -> bool {
    text.len() <= MAX_LABEL && is_dns_part(text)
}

/// A DNS subdomain as the API takes it: name of a pod.
pub(crate) fn is_subdomain(text: &str) -> bool {
    const MAX: usize = 253;
    text.len() <= MAX && text.split('.').all(is_dns_part)
}

fn is_dns_part(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(is_inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_have_one_form() {
        let dashed = "2c48913c-b29f-11e7-9350-020968147796";
        assert_eq!(pod_uid(dashed).as_deref(), Some(dashed));
        assert_eq!(pod_uid(&dashed.replace('-', "_")).as_deref(), Some(dashed));
        let hash = "7690535ab745cd438a6b753796ac489f";
        assert_eq!(pod_uid(hash).as_deref(), Some(hash));
    }

    #[test]
    fn what_is_no_uid() {
        for text in [
            "",
            "2c48913c",
            "2c48913c-b29f-11e7-9350_020968147796",
            "2C48913C-B29F-11E7-9350-020968147796",
            "2c48913cb-29f-11e7-9350-020968147796",
            "7690535ab745cd438a6b753796ac489",
            "7690535ab745cd438a6b753796ac489g",
            "ääääääääääääääää",
        ] {
            assert_eq!(pod_uid(text), None, "{text}");
        }
    }

    #[test]
    fn a_full_id_is_64_lower_case_digits() {
        assert!(is_full(&"a1".repeat(32)));
        for text in ["a1".repeat(31), "A1".repeat(32), "g1".repeat(32), "ä".repeat(32), "a1".repeat(33)] {
            assert!(!is_full(&text), "{text}");
        }
        assert_eq!(split_full(&format!("x-{}", "a1".repeat(32))), Some(("x-", "a1".repeat(32).as_str())));
        // The place to split at is inside a character.
        assert_eq!(split_full(&format!("ä{}", "a".repeat(63))), None);
    }

    #[test]
    fn names_are_those_of_the_api() {
        assert!(is_label("web-1") && is_subdomain("web-1.example"));
        for text in ["", "-a", "a-", "A", "a_b", "a.b", &"x".repeat(64)] {
            assert!(!is_label(text), "{text}");
        }
        for text in ["", ".", "a..b", "a.", &"x".repeat(254)] {
            assert!(!is_subdomain(text), "{text}");
        }
    }
}
