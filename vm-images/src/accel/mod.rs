//! Which accelerator runs the guest. Never KVM merely because /dev/kvm opens: there are hosts where it opens,
//! creates machines, and then interprets or refuses what guests execute.
//!
//! Cheapest first, and the first that fails is the reason for emulation: the device and its API version; a
//! processor with `vmx` or `svm`; what an earlier run in this boot of the host found; a small guest of our own
//! ([`probe`]). A real machine under KVM is then still guarded until its hello, see [`crate::Vm::run`].

mod probe;
mod verdict;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::qemu::Engine;
use verdict::VerdictStore;

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

/// No accelerator has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no accelerator; there are auto, kvm and tcg")]
pub struct UnknownAccel(String);

impl FromStr for Accel {
    type Err = UnknownAccel;

    fn from_str(name: &str) -> Result<Self, UnknownAccel> {
        match name {
            "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Kvm),
            "tcg" => Ok(Self::Tcg),
            _ => Err(UnknownAccel(name.to_owned())),
        }
    }
}

impl fmt::Display for Accel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Auto => "auto",
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// A machine under KVM is up in about a second; one that is not up by then never will be.
pub(crate) const KVM_HELLO: Duration = Duration::from_secs(10);

/// The only version of the API since Linux 2.6.22.
const API_VERSION: i32 = 12;

/// What runs the guest.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) engine: Engine,
    /// Why it is not KVM, when that was looked at.
    pub(crate) reason: Option<String>,
}

/// Chooses; an error is the reason why a demanded KVM is not usable.
pub(crate) fn choose(accel: Accel, qemu: &Path, cache_dir: &Path) -> Result<Choice, String> {
    if accel == Accel::Tcg {
        return Ok(Choice { engine: Engine::Tcg, reason: None });
    }
    match (usable(qemu, cache_dir), accel) {
        (Ok(()), _) => Ok(Choice { engine: Engine::Kvm, reason: None }),
        (Err(reason), Accel::Kvm) => Err(reason),
        (Err(reason), _) => {
            Ok(Choice { engine: Engine::Tcg, reason: Some(format!("KVM is not usable: {reason}")) })
        }
    }
}

/// Keeps later runs from trying again what just failed in a real machine.
pub(crate) fn remember_failure(qemu: &Path, cache_dir: &Path, reason: &str) {
    VerdictStore::open(qemu, cache_dir).keep(&Err(format!("a machine under it failed: {reason}")));
}

fn usable(qemu: &Path, cache_dir: &Path) -> Result<(), String> {
    let kvm = kvm_ioctls::Kvm::new().map_err(|error| format!("open /dev/kvm: {error}"))?;
    match kvm.get_api_version() {
        API_VERSION => {}
        other => return Err(format!("/dev/kvm speaks API version {other}, not {API_VERSION}")),
    }
    let cpuinfo =
        std::fs::read_to_string("/proc/cpuinfo").map_err(|error| format!("read /proc/cpuinfo: {error}"))?;
    let flags = Flags::parse(&cpuinfo);
    if !flags.has_virtualization {
        return Err("/dev/kvm opens, but the processor has neither vmx nor svm".to_owned());
    }
    let store = VerdictStore::open(qemu, cache_dir);
    if let Some(verdict) = store.recall() {
        return verdict;
    }
    let verdict = probe::run(kvm, flags.has_bmi2).map_err(|error| error.to_string());
    store.keep(&verdict);
    verdict
}

/// The processor's flags that matter.
#[derive(Debug, PartialEq, Eq)]
struct Flags {
    has_virtualization: bool,
    has_bmi2: bool,
}

impl Flags {
    fn parse(cpuinfo: &str) -> Self {
        let line = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        let has = |flag: &str| line.split_whitespace().any(|word| word == flag);
        Self { has_virtualization: has("vmx") || has("svm"), has_bmi2: has("bmi2") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_whole_words_of_the_flags_line() {
        let parse =
            |line: &str| Flags::parse(&format!("processor\t: 0\nvmx flags\t: ept vpid svm\n{line}\n"));
        assert_eq!(parse("flags\t\t: fpu bmi2 svm"), Flags { has_virtualization: true, has_bmi2: true });
        assert_eq!(
            parse("flags\t\t: fpu vmx_x bmi1 svmlike"),
            Flags { has_virtualization: false, has_bmi2: false }
        );
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for accel in [Accel::Auto, Accel::Kvm, Accel::Tcg] {
            assert_eq!(accel.to_string().parse(), Ok(accel));
        }
        let error = "hvf".parse::<Accel>().unwrap_err().to_string();
        assert_eq!(error, "\"hvf\" is no accelerator; there are auto, kvm and tcg");
    }

    #[test]
    fn emulation_is_never_questioned() {
        let choice = choose(Accel::Tcg, Path::new("/nonexistent"), Path::new("/nonexistent")).unwrap();
        assert_eq!((choice.engine, choice.reason), (Engine::Tcg, None));
    }
}
