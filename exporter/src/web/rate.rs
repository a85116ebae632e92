//! How many requests are answered: a token bucket, as exporter-toolkit has for `rate_limit`.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A token comes back each `interval`, which is not 0, and there are at most `burst` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) interval: Duration,
    pub(super) burst: NonZeroU32,
}

/// Its tokens; all are there at the start.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// When all tokens will be there again: each that is taken puts it off by an interval.
    full_at: Mutex<Option<Instant>>,
}

impl Rate {
    /// `None` when there is no such time, as that of the longest intervals.
    fn after(self, full_at: Option<Instant>, now: Instant) -> Option<Instant> {
        let from = full_at.map_or(now, |full_at| full_at.max(now));
        let until_full = from - now;
        let has_token = until_full <= self.interval.saturating_mul(self.burst.get() - 1);
        if has_token { from.checked_add(self.interval) } else { None }
    }
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, full_at: Mutex::default() }
    }

    /// Takes a token; false when there is none.
    pub(super) fn take(&self, now: Instant) -> bool {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(later) = self.rate.after(*full_at, now) else { return false };
        *full_at = Some(later);
        true
    }
}

/// A duration as Go writes it: numbers with `h`, `m`, `s`, `ms`, `us` or `ns`, one after the other. 0 needs no unit.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    if rest == "0" {
        return Some(sum);
    }
    while !rest.is_empty() || text.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len()));
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = number.parse::<f64>().ok()? * seconds;
        sum = sum.checked_add(Duration::try_from_secs_f64(part).ok()?)?;
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_an_interval() {
        let interval = Duration::from_secs(2);
        let bucket = Bucket::new(Rate { interval, burst: NonZeroU32::new(3).unwrap() });
        let start = Instant::now();
        let takes = |after_ms: u64, n: usize| {
            let now = start + Duration::from_millis(after_ms);
            (0..n).filter(|_| bucket.take(now)).count()
        };
        assert_eq!(takes(0, 5), 3);
        assert_eq!(takes(1_999, 2), 0);
        assert_eq!(takes(2_000, 2), 1);
        assert_eq!(takes(3_000, 2), 0);
        // It holds no more than the burst, however long nobody asks.
        assert_eq!(takes(100_000, 5), 3);
        assert_eq!(takes(104_000, 5), 2);
    }

    #[test]
    fn durations_as_go_has_them() {
        for (text, ms) in
            [("1s", 1_000), ("250ms", 250), ("1m30s", 90_000), ("1.5h", 5_400_000), ("0", 0), ("0s", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(duration("7us3ns"), Some(Duration::from_nanos(7_003)));
        for wrong in ["", "5", "s", "-1s", "1d", "1s5", "1..2s", " 1s", "1e3s", "99999999999999999999999h"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
