//! `podrt update`: limits by flags, or as a document like `linux.resources`.

use std::fs;
use std::io::Read;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::args::UpdateArgs;
use super::log::Log;
use crate::launch;
use crate::state::StateRoot;

/// Changes the limits of a container.
///
/// # Errors
/// Why nothing has changed.
pub fn update(root: &StateRoot, args: &UpdateArgs, log: &Log) -> anyhow::Result<()> {
    if args.l3_cache_schema.is_some() || args.mem_bw_schema.is_some() {
        bail!("--l3-cache-schema, --mem-bw-schema: not supported; podrt does not manage resctrl groups");
    }
    let resources = match args.resources.as_deref() {
        Some(file) => read(file)?,
        None => from_flags(args)?,
    };
    for warning in launch::update(root, &args.id.parse()?, &resources)? {
        log.warning(&warning);
    }
    Ok(())
}

/// Reads a document; with one, flags are ignored, as by custom.
fn read(file: &str) -> anyhow::Result<Value> {
    let text = if file == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("read the resources from stdin")?;
        text
    } else {
        fs::read_to_string(file).with_context(|| format!("read the resources from {file}"))?
    };
    serde_json::from_str(&text).with_context(|| format!("--resources {file}: not JSON"))
}

fn from_flags(args: &UpdateArgs) -> anyhow::Result<Value> {
    let bytes = |flag, text: &Option<String>| text.as_deref().map(|text| parse_bytes(flag, text)).transpose();
    let mut resources = json!({
        "memory": {
            "limit": bytes("--memory", &args.memory)?,
            "reservation": bytes("--memory-reservation", &args.memory_reservation)?,
            "swap": bytes("--memory-swap", &args.memory_swap)?,
            "kernel": bytes("--kernel-memory", &args.kernel_memory)?,
            "kernelTCP": bytes("--kernel-memory-tcp", &args.kernel_memory_tcp)?,
        },
        "cpu": {
            "shares": args.cpu_share,
            "quota": args.cpu_quota,
            "period": args.cpu_period,
            "burst": args.cpu_burst,
            "idle": args.cpu_idle,
            "cpus": args.cpuset_cpus,
            "mems": args.cpuset_mems,
            "realtimeRuntime": args.cpu_rt_runtime,
            "realtimePeriod": args.cpu_rt_period,
        },
        "blockIO": {"weight": args.blkio_weight},
    });
    if let Some(limit) = args.pids_limit {
        resources["pids"] = json!({"limit": limit});
    }
    Ok(resources)
}

/// Reads a size: a number, which may have a point, and a binary unit (`k`, `KB`, `KiB` to `P`), or -1 for none.
fn parse_bytes(flag: &str, text: &str) -> anyhow::Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    let lower = text.to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let shift = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => bail!("{flag} {text}: {unit:?} is no unit; use k, m, g, t or p"),
    };
    let bytes = if number.contains('.') {
        let value: f64 = number.parse().with_context(|| format!("{flag} {text}: not a size"))?;
        let bytes = value * 2_f64.powi(shift);
        if bytes >= 2_f64.powi(63) {
            bail!("{flag} {text}: too large");
        }
        #[expect(clippy::cast_possible_truncation, reason = "a whole number of bytes below 2^63")]
        let bytes = bytes as i64;
        Some(bytes)
    } else {
        let value: i64 = number.parse().with_context(|| format!("{flag} {text}: not a size"))?;
        value.checked_mul(1 << shift)
    };
    bytes.with_context(|| format!("{flag} {text}: too large"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Units with their powers of two.
    const UNITS: [(&str, u32); 9] =
        [("", 0), ("b", 0), ("K", 10), ("kib", 10), ("MB", 20), ("g", 30), ("GiB", 30), ("t", 40), ("P", 50)];

    proptest! {
        #[test]
        fn a_size_is_its_number_times_its_unit_or_refused(number: u64, unit in 0..UNITS.len()) {
            let (name, shift) = UNITS[unit];
            let exact = u128::from(number) << shift;
            let read = parse_bytes("--memory", &format!("{number}{name}")).ok();
            prop_assert_eq!(read, i64::try_from(exact).ok());
        }

        #[test]
        fn a_half_of_a_unit_is_exact(number in 0..1_i64 << 10, unit in 2..UNITS.len()) {
            let (name, shift) = UNITS[unit];
            let read = parse_bytes("--memory", &format!("{number}.5{name}")).unwrap();
            prop_assert_eq!(read, (number << shift) + (1 << (shift - 1)));
        }

        #[test]
        fn no_text_makes_it_panic_or_negative(text in "\\PC*") {
            if let Ok(bytes) = parse_bytes("--memory", &text) {
                prop_assert!(bytes >= -1, "{} is {}", text, bytes);
            }
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("-1", -1),
            ("1000", 1000),
            ("64k", 65_536),
            ("512M", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("2 kb", 2048),
            ("7b", 7),
        ] {
            assert_eq!(parse_bytes("--memory", text).unwrap(), bytes, "{text}");
        }
        for text in ["", "-2", "5x", "m", "1..5k", "9999999999p", "99999999.9p"] {
            assert!(parse_bytes("--memory", text).is_err(), "{text}");
        }
    }
}
