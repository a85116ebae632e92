//! Lines for people, for whoever debugs these programs: only with the feature `log`, else nothing of them is compiled.
//!
//! Each line is a function of its own, so that its buffers do not add to the stack of every place that it is called from.

/// Writes one of the lines below: `log!(tagged(scope, tgid))`. Without the feature not even its arguments are evaluated.
#[cfg(feature = "log")]
macro_rules! log {
    ($line:ident($($value:expr),*)) => { $crate::log::$line($($value),*) };
}
#[cfg(not(feature = "log"))]
macro_rules! log {
    ($($line:tt)*) => {};
}
pub(crate) use log;

#[cfg(feature = "log")]
macro_rules! lines {
    ($($(#[$doc:meta])* $line:ident($($value:ident),*) $text:literal;)*) => {
        $(
            $(#[$doc])*
            #[inline(never)]
            pub(crate) fn $line($($value: u32),*) {
                aya_log_ebpf::debug!(&(), $text, $($value),*);
            }
        )*
    };
}

#[cfg(feature = "log")]
lines! {
    /// A task exists.
    born(scope, tgid, tid) "scope {}: task {}/{} is born";
    /// It runs another program.
    executed(scope, tgid) "scope {}: {} executes a program";
    /// It ends, with its wait status.
    ended(scope, tgid, tid, status) "scope {}: task {}/{} ends with status {:x}";
    /// A thread group belongs to a scope.
    tagged(scope, tgid) "scope {}: {} belongs to it";
    /// A record found no room.
    lost(scope) "scope {}: a record is lost";
}
