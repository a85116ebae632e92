//! How long a container waits before it is started again.
//!
//! The kubelet's rule: the first restart comes at once, the second waits for the base, each further one twice as long, up to the
//! maximum; a container that ran long enough begins again with a restart at once. The wait counts from the end of the container.

use std::time::Duration;

use super::Settings;

/// The waits of one container.
#[derive(Debug, Clone, Default)]
pub(super) struct Backoff {
    /// The last restart: when, and what the next one waits.
    last: Option<(Duration, Duration)>,
}

impl Backoff {
    /// The wait of a container that ended at `now`.
    pub(super) fn wait(&self, settings: &Settings, now: Duration) -> Duration {
        match self.last {
            Some((at, wait)) if now.saturating_sub(at) <= settings.backoff_reset => wait,
            _ => Duration::ZERO,
        }
    }

    /// Notes that the container, which had waited for `waited`, is started again at `now`.
    pub(super) fn restarted(&mut self, settings: &Settings, waited: Duration, now: Duration) {
        let next = if waited.is_zero() { settings.backoff_base } else { waited.saturating_mul(2) };
        self.last = Some((now, next.min(settings.backoff_max)));
    }
}

/// A duration as the kubelet writes it: `10s`, `1m20s`, `1.5s`, `250ms`.
pub(super) fn duration_text(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    if duration < Duration::from_secs(1) {
        let (unit, name) = match duration.as_nanos() {
            1_000_000.. => (1_000_000, "ms"),
            1_000.. => (1_000, "µs"),
            _ => (1, "ns"),
        };
        return format!("{}{name}", decimal(duration.as_nanos(), unit));
    }
    let mut text = String::new();
    let minutes = duration.as_secs() / 60;
    if minutes >= 60 {
        text.push_str(&format!("{}h", minutes / 60));
    }
    if minutes > 0 {
        text.push_str(&format!("{}m", minutes % 60));
    }
    let rest = duration.saturating_sub(Duration::from_secs(minutes.saturating_mul(60)));
    text.push_str(&decimal(rest.as_nanos(), 1_000_000_000));
    text.push('s');
    text
}

/// `value / unit` without trailing zeros; `unit` is a power of ten.
fn decimal(value: u128, unit: u128) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    let fraction = format!("{rest:0digits$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (250_000_000, "250ms"),
            (1_000_000_000, "1s"),
            (1_050_000_000, "1.05s"),
            (10_000_000_000, "10s"),
            (80_000_000_000, "1m20s"),
            (300_000_000_000, "5m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (5_025_500_000_000, "1h23m45.5s"),
        ] {
            assert_eq!(duration_text(Duration::from_nanos(nanos)), text);
        }
    }
}
