//! A look at the System V shared memory of the node (shmget(2)).

use anyhow::Result;

/// Prints the id of the segment, or the error.
pub(super) fn find(key: i32) -> Result<()> {
    let found = shmget(key).map_or_else(|error| error.to_string(), |id| id.to_string());
    println!("{found}");
    Ok(())
}

#[expect(unsafe_code, reason = "nix has no System V shared memory")]
fn shmget(key: i32) -> std::io::Result<i32> {
    // SAFETY: shmget takes numbers only and touches no memory of this process.
    let id = unsafe { libc::shmget(key, 0, 0) };
    if id < 0 { Err(std::io::Error::last_os_error()) } else { Ok(id) }
}
