//! `lifecycle`: hooks, and the signal that asks a container to stop.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ExecAction, Lifecycle, LifecycleHandler, SleepAction};
use runtime::cli::kill::parse_signal;

use super::error::Offences;
use super::{ContainerKind, HookSpec};

/// The first and the last real-time signal that a program can use: libc keeps two for its threads (signal(7)).
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;
/// The last that the API names from the first.
const RTMIN_LAST: i32 = RTMIN + 15;

/// What is read of a container's `lifecycle`.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) post_start: Option<HookSpec>,
    pub(super) pre_stop: Option<HookSpec>,
    pub(super) stop_signal: Option<i32>,
}

/// Reads hooks and signal. `has_os` is whether `spec.os` is set.
pub(super) fn read(
    lifecycle: Option<Lifecycle>,
    at: &str,
    kind: ContainerKind,
    has_os: bool,
    grace_period: Duration,
    offences: &mut Offences,
) -> Hooks {
    let Some(Lifecycle { post_start, pre_stop, stop_signal }) = lifecycle else { return Hooks::default() };
    if kind == ContainerKind::Init {
        let reason =
            "is not for init containers, which run to their end, but for those with restartPolicy: Always";
        offences.invalid(at, reason);
        return Hooks::default();
    }
    let mut hook = |name: &str, handler: Option<LifecycleHandler>| {
        handler.and_then(|handler| hook(handler, &format!("{at}.{name}"), grace_period, offences))
    };
    let (post_start, pre_stop) = (hook("postStart", post_start), hook("preStop", pre_stop));
    let stop_signal = stop_signal.and_then(|name| {
        let path = format!("{at}.stopSignal");
        let number = signal(&name);
        if number.is_none() {
            offences.invalid(path, format!("{name:?} is not a signal, as SIGTERM or SIGRTMIN+3"));
        } else if !has_os {
            offences.invalid(path, "may only be set when spec.os.name is; write os: {name: linux}");
        }
        number
    });
    Hooks { post_start, pre_stop, stop_signal }
}

/// The number of a signal by the name that the API has for it: with `SIG`, in capitals, and a real-time one from the nearer end.
#[must_use]
pub fn signal(name: &str) -> Option<i32> {
    let is_plain = name.starts_with("SIG") && !name.bytes().any(|byte| byte.is_ascii_lowercase());
    let number = parse_signal(name).ok().filter(|_| is_plain)?;
    let is_of_api = match number {
        ..RTMIN => true,
        RTMIN => name == "SIGRTMIN",
        RTMAX => name == "SIGRTMAX",
        _ if number <= RTMIN_LAST => name == format!("SIGRTMIN+{}", number - RTMIN),
        _ => name == format!("SIGRTMAX-{}", RTMAX - number),
    };
    is_of_api.then_some(number)
}

fn hook(
    handler: LifecycleHandler,
    at: &str,
    grace_period: Duration,
    offences: &mut Offences,
) -> Option<HookSpec> {
    const NO_PROBE: &str =
        "podrt opens no connections to containers; run a client in the container with exec";
    let LifecycleHandler { exec, http_get, sleep, tcp_socket } = handler;
    let n_set = [exec.is_some(), http_get.is_some(), sleep.is_some(), tcp_socket.is_some()];
    let n_set = n_set.into_iter().filter(|is_set| *is_set).count();
    offences.refuse(
        at,
        &[("httpGet", http_get.is_some(), NO_PROBE), ("tcpSocket", tcp_socket.is_some(), NO_PROBE)],
    );
    if n_set != 1 {
        offences.invalid(at, format!("has {n_set} actions, and must have one: exec or sleep"));
        return None;
    }
    match (exec, sleep) {
        (Some(ExecAction { command }), _) => {
            let command = command.unwrap_or_default();
            let path = format!("{at}.exec.command");
            if command.is_empty() {
                offences.missing(path);
                return None;
            }
            for (index, argument) in command.iter().enumerate() {
                offences.check_no_nul(|| format!("{path}[{index}]"), argument);
            }
            Some(HookSpec::Exec(command))
        }
        (None, Some(SleepAction { seconds })) => {
            let grace = grace_period.as_secs();
            let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds <= grace).or_else(|| {
                let reason = format!(
                    "{seconds} is not from 0 to {grace}, the value of spec.terminationGracePeriodSeconds"
                );
                offences.invalid(format!("{at}.sleep.seconds"), reason);
                None
            })?;
            Some(HookSpec::Sleep(Duration::from_secs(seconds)))
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::samples::{read as read_manifest, refused, set, with_container, with_spec};

    /// The signals of the API that have names of their own, by their numbers on x86-64 and arm64 (signal(7)).
    const SIGNALS: &[(&str, i32)] = &[
        ("SIGHUP", 1),
        ("SIGINT", 2),
        ("SIGQUIT", 3),
        ("SIGILL", 4),
        ("SIGTRAP", 5),
        ("SIGABRT", 6),
        ("SIGIOT", 6),
        ("SIGBUS", 7),
        ("SIGFPE", 8),
        ("SIGKILL", 9),
        ("SIGUSR1", 10),
        ("SIGSEGV", 11),
        ("SIGUSR2", 12),
        ("SIGPIPE", 13),
        ("SIGALRM", 14),
        ("SIGTERM", 15),
        ("SIGSTKFLT", 16),
        ("SIGCHLD", 17),
        ("SIGCLD", 17),
        ("SIGCONT", 18),
        ("SIGSTOP", 19),
        ("SIGTSTP", 20),
        ("SIGTTIN", 21),
        ("SIGTTOU", 22),
        ("SIGURG", 23),
        ("SIGXCPU", 24),
        ("SIGXFSZ", 25),
        ("SIGVTALRM", 26),
        ("SIGPROF", 27),
        ("SIGWINCH", 28),
        ("SIGIO", 29),
        ("SIGPOLL", 29),
        ("SIGPWR", 30),
        ("SIGSYS", 31),
    ];

    #[test]
    fn signals_have_the_numbers_of_this_kernel() {
        for (name, number) in SIGNALS {
            assert_eq!(signal(name), Some(*number), "{name}");
            match name.parse::<nix::sys::signal::Signal>() {
                Ok(signal) => assert_eq!(signal as i32, *number, "{name}"),
                // Other names for a signal, which nix does not have.
                Err(_) => assert!(["SIGIOT", "SIGCLD", "SIGPOLL"].contains(name), "{name}"),
            }
        }
        assert_eq!((RTMIN, RTMAX), (libc::SIGRTMIN(), libc::SIGRTMAX()));
    }

    #[test]
    fn real_time_signals_count_from_both_ends() {
        for (name, number) in [
            ("SIGRTMIN", 34),
            ("SIGRTMIN+1", 35),
            ("SIGRTMIN+15", 49),
            ("SIGRTMAX-14", 50),
            ("SIGRTMAX-1", 63),
            ("SIGRTMAX", 64),
        ] {
            assert_eq!(signal(name), Some(number), "{name}");
        }
        for name in [
            "",
            "TERM",
            "sigterm",
            "15",
            "SIGRTMIN+16",
            "SIGRTMIN+0",
            "SIGRTMIN-1",
            "SIGRTMIN+",
            "SIGRTMIN++1",
            "SIGRTMIN+01",
            "SIGRTMAX-15",
            "SIGRTMAX+1",
            "SIG",
            "SIGTERM ",
        ] {
            assert_eq!(signal(name), None, "{name:?}");
        }
    }

    fn with_lifecycle(lifecycle: Value) -> Value {
        let mut manifest = with_spec("os", json!({"name": "linux"}));
        set(&mut manifest, "/spec/containers/0/lifecycle", lifecycle);
        manifest
    }

    #[test]
    fn hooks_and_signal_of_a_main_container() {
        let manifest = with_lifecycle(json!({
            "postStart": {"exec": {"command": ["touch", "$(A)"]}},
            "preStop": {"sleep": {"seconds": 30}},
            "stopSignal": "SIGRTMIN+3",
        }));
        let container = read_manifest(&manifest).unwrap().containers.remove(0);
        assert_eq!(container.post_start, Some(HookSpec::Exec(vec!["touch".to_owned(), "$(A)".to_owned()])));
        assert_eq!(container.pre_stop, Some(HookSpec::Sleep(Duration::from_secs(30))));
        assert_eq!(container.stop_signal, Some(37));
    }

    #[test]
    fn each_bad_hook_is_named() {
        for (lifecycle, message) in [
            (json!({"preStop": {}}), "preStop: has 0 actions"),
            (
                json!({"preStop": {"exec": {"command": ["x"]}, "sleep": {"seconds": 1}}}),
                "preStop: has 2 actions",
            ),
            (json!({"preStop": {"exec": {}}}), "preStop.exec.command: required"),
            (
                json!({"preStop": {"exec": {"command": ["a", "\0"]}}}),
                "preStop.exec.command[1]: \"\\0\" contains a NUL",
            ),
            (json!({"preStop": {"sleep": {"seconds": 31}}}), "preStop.sleep.seconds: 31 is not from 0 to 30"),
            (json!({"preStop": {"sleep": {"seconds": -1}}}), "preStop.sleep.seconds: -1 is not from 0 to 30"),
            (json!({"postStart": {"httpGet": {"port": 80}}}), "postStart.httpGet: not supported"),
            (json!({"stopSignal": "TERM"}), "stopSignal: \"TERM\" is not a signal"),
        ] {
            let text = refused(&with_lifecycle(lifecycle));
            assert!(text.starts_with(&format!("spec.containers[0].lifecycle.{message}")), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
        let text = refused(&with_container("lifecycle", json!({"stopSignal": "SIGTERM"})));
        assert_eq!(
            text,
            "spec.containers[0].lifecycle.stopSignal: may only be set when spec.os.name is; write os: {name: linux}"
        );
    }

    #[test]
    fn init_containers_have_hooks_only_as_sidecars() {
        let hook = json!({"preStop": {"sleep": {"seconds": 1}}});
        let mut manifest =
            with_spec("initContainers", json!([{"name": "i", "image": "/rootfs", "lifecycle": hook}]));
        let text = refused(&manifest);
        assert!(text.starts_with("spec.initContainers[0].lifecycle: is not for init containers"), "{text}");
        set(&mut manifest, "/spec/initContainers/0/restartPolicy", json!("Always"));
        assert!(read_manifest(&manifest).unwrap().containers[0].pre_stop.is_some());
    }
}
