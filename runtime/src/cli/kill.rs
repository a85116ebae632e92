//! The signal argument of `podrt kill`.

use anyhow::bail;
use nix::sys::signal::Signal;

use crate::sys::process::SIGNAL_MAX;

/// Reads a signal: a number from 1 to 64, or the name of one from 1 to 31. Realtime signals have no name that
/// means the same number everywhere.
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
        Err(_unknown) => {
            bail!(
                "signal {text:?}: not known; use a name as in kill -l, or a number (realtime signals: 34 to 64)"
            )
        }
    }
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
        ] {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in ["", "0", "65", "-9", "SIG", "SIGFOO", "SIGSIGTERM", "9x"] {
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
