//! The shipped rules and scrape configuration with less patience: what is an hour there takes four minutes here.
//!
//! One rule makes the one from the other: divided by [`FACTOR`] is every word that is a duration (`10m`, `30s`), every age in seconds
//! that an expression compares with (`..._age_seconds > 900`), and every sum of rates (`...[2m])) > 200`), since an emulated machine does
//! not make hundreds of processes a second. Nothing else changes: the exporter is not hurried, but for how long it keeps what is deleted.

use std::time::Duration;

use crate::Res;

const FACTOR: u64 = 15;

/// Divides the durations of a text.
pub(crate) fn shrink(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(is_word) {
        let (before, from) = rest.split_at(begin);
        short.push_str(before);
        let (word, after) = from.split_at(from.find(|c| !is_word(c)).unwrap_or(from.len()));
        let is_divided = ["_age_seconds > ", "ms])) > "].iter().any(|before| short.ends_with(before));
        match (milliseconds(word), word.parse::<u64>()) {
            (Some(ms), _) => short.push_str(&format!("{}ms", ms / FACTOR)),
            (None, Ok(number)) if is_divided => short.push_str(&(number / FACTOR).to_string()),
            _ => short.push_str(word),
        }
        rest = after;
    }
    short + rest
}

/// A duration as Prometheus writes it, of one unit.
pub(crate) fn duration(word: &str) -> Option<Duration> {
    milliseconds(word).map(Duration::from_millis)
}

fn milliseconds(word: &str) -> Option<u64> {
    let (number, unit) = word.split_at(word.find(|c: char| !c.is_ascii_digit())?);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

pub(crate) fn test() -> Res<()> {
    for (text, wanted) in [
        ("sum(rate(a_total{b=\"c\"}[2m])) > 200", "sum(rate(a_total{b=\"c\"}[8000ms])) > 13"),
        ("sum(increase(a_total[30m])) >= 3", "sum(increase(a_total[120000ms])) >= 3"),
        ("sum(podproof_zombie_processes) > 20", "sum(podproof_zombie_processes) > 20"),
        ("(rate(a_total[1h] offset 5m))", "(rate(a_total[240000ms] offset 20000ms))"),
        ("for: 0m\nscrape_interval: 30s\n", "for: 0ms\nscrape_interval: 2000ms\n"),
        ("podproof_zombie_oldest_age_seconds > 900", "podproof_zombie_oldest_age_seconds > 60"),
        (
            "in 15 min {{ $value | printf \"%.0f\" }}, tcp9s",
            "in 15 min {{ $value | printf \"%.0f\" }}, tcp9s",
        ),
        ("time() - a_timestamp_seconds > 900", "time() - a_timestamp_seconds > 900"),
        ("127.0.0.1:9478", "127.0.0.1:9478"),
    ] {
        let found = shrink(text);
        if found != wanted {
            return Err(format!("{text:?} became {found:?} instead of {wanted:?}").into());
        }
    }
    Ok(())
}
