//! The signal argument of `podrt kill`.

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;

use crate::sys::process::SIGNAL_MAX;

/// Reads a signal: a number from 1 to 64, or the name of one, with or without `SIG`. A realtime signal is named from the first
/// or the last, as in `RTMIN+3`; which those are is the C library's choice (signal(7)).
///
/// # Errors
/// What is neither.
pub fn parse_signal(text: &str) -> anyhow::Result<i32> {
    if let Ok(number) = text.parse::<i32>() {
        if (1..=SIGNAL_MAX).contains(&number) {
            return Ok(number);
        }
        bail!("signal {number}: must be from 1 to {SIGNAL_MAX}");
    }
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    // Names of older systems that the kernel's headers still have.
    let name = match name.as_str() {
        "SIGCLD" => "SIGCHLD",
        "SIGIOT" => "SIGABRT",
        "SIGPOLL" => "SIGIO",
        name => name,
    };
    match name.parse::<Signal>() {
        Ok(signal) => Ok(signal as i32),
        Err(_unknown) => real_time(name).with_context(|| {
            format!(
                "signal {text:?}: not known; use a name as in kill -l, or a number (realtime signals: 34 to 64)"
            )
        }),
    }
}

/// `SIGRTMIN`, `SIGRTMIN+3`, `SIGRTMAX-1` (signal(7)).
fn real_time(name: &str) -> Option<i32> {
    let offset = |text: &str, sign: char| {
        let digits = if text.is_empty() { "0" } else { text.strip_prefix(sign)? };
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u8>().ok().filter(|_| is_plain).map(i32::from)
    };
    let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    let number = match name.strip_prefix("SIGRTMIN") {
        Some(rest) => first + offset(rest, '+')?,
        None => last - offset(name.strip_prefix("SIGRTMAX")?, '-')?,
    };
    (first..=last).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_numbers_are_the_same_signal() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigterm", 15),
            ("15", 15),
            ("KILL", 9),
            ("SIGUSR1", 10),
            ("SIGSTKFLT", 16),
            ("CLD", 17),
            ("POLL", 29),
            ("PWR", 30),
            ("SYS", 31),
            ("32", 32),
            ("34", 34),
            ("64", 64),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmin+30", 64),
            ("SIGRTMAX", 64),
            ("SIGRTMAX-14", 50),
        ] {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in [
            "",
            "0",
            "65",
            "-9",
            "SIG",
            "SIGFOO",
            "SIGSIGTERM",
            "9x",
            "RTMIN+31",
            "RTMIN-1",
            "RTMIN++1",
            "RTMIN+",
            "RTMAX-31",
        ] {
            assert!(parse_signal(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_a_signal(text in any::<String>()) {
            if let Ok(number) = parse_signal(&text) {
                prop_assert!((1..=SIGNAL_MAX).contains(&number));
            }
        }

        #[test]
        fn numbers_are_taken_as_they_are(number in -100_i32..200) {
            prop_assert_eq!(parse_signal(&number.to_string()).ok(), (1..=SIGNAL_MAX).contains(&number).then_some(number));
        }
    }
}
