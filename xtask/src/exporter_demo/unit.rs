//! Values as Grafana would show them, by its names of units.

/// A value with its unit.
pub(super) fn text(unit: &str, value: f64) -> String {
    match unit {
        "percentunit" => format!("{} %", number(value * 100.0)),
        "cps" => format!("{} /s", number(value)),
        "bytes" => format!("{} MiB", number(value / 1_048_576.0)),
        "s" if value >= 120.0 => format!("{} min", number(value / 60.0)),
        "s" if value >= 1.0 || value == 0.0 => format!("{} s", number(value)),
        "s" if value >= 1e-3 => format!("{} ms", number(value * 1e3)),
        "s" => format!("{} us", number(value * 1e6)),
        _ => number(value),
    }
}

/// Two digits that say something, and no more behind the point.
fn number(value: f64) -> String {
    let magnitude = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    let decimals = (1.0 - magnitude).clamp(0.0, 4.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_that_say_nothing_are_left_out() {
        for (unit, value, wanted) in [
            ("", 0.0, "0"),
            ("short", 5.0, "5"),
            ("short", 1234.6, "1235"),
            ("short", 3.02, "3"),
            ("cps", 0.256, "0.26 /s"),
            ("percentunit", 1.0, "100 %"),
            ("percentunit", 0.0127, "1.3 %"),
            ("s", 0.0, "0 s"),
            ("s", 0.0154, "15 ms"),
            ("s", 0.000_02, "20 us"),
            ("s", 45.0, "45 s"),
            ("s", 600.0, "10 min"),
            ("bytes", 26.0 * 1_048_576.0, "26 MiB"),
        ] {
            assert_eq!(text(unit, value), wanted, "{value} {unit}");
        }
    }
}
