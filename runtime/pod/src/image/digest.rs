//! What was read, by its SHA-256.

use std::fmt::Write as _;
use std::io::{self, Read};

use oci_spec::image::{Digest, DigestAlgorithm};
use sha2::{Digest as _, Sha256};

/// A SHA-256 as 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sum(String);

impl Sum {
    /// The digits.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The sum that a digest names; `None` when it is one of another algorithm.
    pub(super) fn named(digest: &Digest) -> Option<Self> {
        matches!(digest.algorithm(), DigestAlgorithm::Sha256).then(|| Self(digest.digest().to_owned()))
    }

    /// The sum of some bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self::from(Sha256::new_with_prefix(bytes))
    }
}

impl From<Sha256> for Sum {
    fn from(hasher: Sha256) -> Self {
        let mut text = String::with_capacity(64);
        for byte in hasher.finalize() {
            // Writing to a string cannot fail.
            let _always_ok = write!(text, "{byte:02x}");
        }
        Self(text)
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// A reader that takes the sum of what passes.
pub(super) struct Hashed<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Hashed<R> {
    /// Nothing has passed yet.
    pub(super) fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new() }
    }

    /// The sum of all that passed.
    pub(super) fn sum(self) -> Sum {
        self.hasher.into()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_summed() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Sum::of(b"").as_str(), empty);
        let mut hashed = Hashed::new(&b"abc"[..]);
        io::copy(&mut hashed, &mut io::sink()).unwrap();
        assert_eq!(hashed.sum(), Sum::of(b"abc"));
        let digest: Digest = format!("sha256:{empty}").parse().unwrap();
        assert_eq!(Sum::named(&digest).unwrap().to_string(), format!("sha256:{empty}"));
        assert_eq!(Sum::named(&format!("sha512:{}", "0".repeat(128)).parse().unwrap()), None);
    }
}
