//! A certificate for the tests.

use std::fs;
use std::path::Path;

/// Writes one, signed by itself, and its key into a directory, as `cert` and `key`; the key's text.
pub(super) fn write_certificate(dir: &Path) -> String {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let key = signing_key.serialize_pem();
    fs::write(dir.join("cert"), cert.pem()).unwrap();
    fs::write(dir.join("key"), &key).unwrap();
    key
}
