//! What a test asks of a value.

use crate::Res;

/// Fails unless the two are the same.
pub(crate) fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Res<()> {
    if found == wanted { Ok(()) } else { Err(format!("{what}: found {found:?}, wanted {wanted:?}").into()) }
}
