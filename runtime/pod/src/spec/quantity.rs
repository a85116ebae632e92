//! Quantities: `100m`, `1Gi`, `1e3`, `0.5`, in exact arithmetic.
//!
//! Reference: the documentation of `Quantity` in apimachinery. A quantity is a decimal number and a suffix: a power of 1000 (`n` to
//! `E`), a power of 1024 (`Ki` to `Ei`) or an exponent of ten (`e3`, `E-2`). What is finer than the unit asked for is rounded up,
//! as Kubernetes does: a request is never less than what was written. Beyond 2^63 - 1, where Kubernetes takes the largest number,
//! is an error.

/// The largest quantity of the API, in units.
const MAX: u64 = i64::MAX as u64;

/// More digits than any number that is meant, and few enough to be read quickly.
const MAX_LEN: usize = 64;

/// What a quantity counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The result is in units: bytes.
    One,
    /// The result is in thousandths: of a CPU.
    Milli,
}

/// Why a text is not a quantity that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It does not have the form of one.
    #[error(
        "{text:?} is not a quantity, which is a number with an optional suffix: n u m k M G T P E, Ki Mi Gi Ti Pi Ei, or e3"
    )]
    Form {
        /// As written, cut.
        text: String,
    },
    /// It is less than 0.
    #[error("{text:?} is negative")]
    Negative {
        /// As written.
        text: String,
    },
    /// It is more than the API can express.
    #[error("{text:?} is more than the largest quantity, 2^63 - 1")]
    Overflow {
        /// As written.
        text: String,
    },
}

/// Reads a quantity as a whole number of a unit, rounded up.
///
/// # Errors
/// The text is not a quantity, is negative, or is more than 2^63 - 1 of the unit.
pub fn parse(text: &str, unit: Unit) -> Result<u64, QuantityError> {
    let form = || QuantityError::Form { text: text.chars().take(MAX_LEN).collect() };
    if text.len() > MAX_LEN {
        return Err(form());
    }
    let (is_negative, unsigned) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(form());
    }
    let scale = Scale::read(suffix).ok_or_else(form)?;
    // The value is digits * 10^ten * 2^two.
    let digits = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    if is_negative {
        return Err(QuantityError::Negative { text: text.to_owned() });
    }
    // Zeros at the end are no precision, and would only make the number too large to be held.
    let significant = digits.trim_end_matches('0');
    let n_zeros = exponent(digits.len() - significant.len());
    let ten = scale.ten - exponent(fraction.len()) + n_zeros + if unit == Unit::Milli { 3 } else { 0 };
    let overflow = || QuantityError::Overflow { text: text.to_owned() };
    round_up(significant, ten, scale.two).filter(|value| *value <= MAX).ok_or_else(overflow)
}

/// A length as an exponent; no text here is longer than [`MAX_LEN`].
fn exponent(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// `significant * 10^ten * 2^two`, rounded up; `None` when it is too large.
fn round_up(significant: &str, ten: i32, two: u32) -> Option<u64> {
    let (kept, below) = if ten >= 0 { (significant, "") } else { split(significant, ten.unsigned_abs()) };
    if two == 0 {
        // `significant` does not end with 0, so whatever is cut off is more than nothing.
        let whole = if kept.is_empty() { 0 } else { kept.parse::<u128>().ok()? };
        let whole =
            if ten > 0 { whole.checked_mul(10_u128.checked_pow(ten.unsigned_abs())?)? } else { whole };
        return u64::try_from(whole.checked_add(u128::from(ten < 0))?).ok();
    }
    // A binary suffix takes no exponent of ten, so there is only the fraction, or the unit's 3.
    let factor = 1_u128.checked_shl(two)?;
    if ten >= 0 {
        let whole =
            significant.parse::<u128>().ok()?.checked_mul(10_u128.checked_pow(ten.unsigned_abs())?)?;
        return u64::try_from(whole.checked_mul(factor)?).ok();
    }
    let whole = if kept.is_empty() { 0 } else { kept.parse::<u128>().ok()?.checked_mul(factor)? };
    let (fraction, has_more) = fraction_of(below, ten.unsigned_abs(), factor);
    u64::try_from(whole.checked_add(fraction)?.checked_add(u128::from(has_more))?).ok()
}

/// The digits before and behind the point that is moved `places` to the left.
fn split(digits: &str, places: u32) -> (&str, &str) {
    let places = usize::try_from(places).unwrap_or(usize::MAX);
    digits.split_at(digits.len().saturating_sub(places))
}

/// `0.00below * factor` for a fraction of `places` digits: the whole part, and whether something is left.
///
/// Long multiplication from the last digit on, so that no digit is lost however many there are.
fn fraction_of(below: &str, places: u32, factor: u128) -> (u128, bool) {
    let n_leading_zeros = usize::try_from(places).unwrap_or(usize::MAX).saturating_sub(below.len());
    let digits = below.bytes().rev().map(|byte| u128::from(byte - b'0'));
    let mut carry = 0_u128;
    let mut has_rest = false;
    // carry < factor <= 2^60 throughout, so nothing overflows.
    for digit in digits.chain(std::iter::repeat_n(0, n_leading_zeros)) {
        let product = digit * factor + carry;
        has_rest |= !product.is_multiple_of(10);
        carry = product / 10;
    }
    (carry, has_rest)
}

/// What a suffix multiplies by: `10^ten * 2^two`.
struct Scale {
    ten: i32,
    two: u32,
}

impl Scale {
    fn read(suffix: &str) -> Option<Self> {
        let (ten, two) = match suffix {
            "n" => (-9, 0),
            "u" => (-6, 0),
            "m" => (-3, 0),
            "" => (0, 0),
            "k" => (3, 0),
            "M" => (6, 0),
            "G" => (9, 0),
            "T" => (12, 0),
            "P" => (15, 0),
            "E" => (18, 0),
            "Ki" => (0, 10),
            "Mi" => (0, 20),
            "Gi" => (0, 30),
            "Ti" => (0, 40),
            "Pi" => (0, 50),
            "Ei" => (0, 60),
            _ => {
                let digits = suffix.strip_prefix(['e', 'E'])?;
                let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
                let is_number = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit());
                // Beyond this the number is too large or rounds to 1, whatever its digits.
                let ten = digits.parse::<i64>().unwrap_or(if digits.starts_with('-') { -9999 } else { 9999 });
                return is_number
                    .then_some(Self { ten: i32::try_from(ten.clamp(-9999, 9999)).ok()?, two: 0 });
            }
        };
        Some(Self { ten, two })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &str) -> u64 {
        parse(text, Unit::One).unwrap()
    }

    fn milli(text: &str) -> u64 {
        parse(text, Unit::Milli).unwrap()
    }

    #[test]
    fn the_forms_of_the_documentation() {
        for (text, value) in [
            ("0", 0),
            ("128974848", 128_974_848),
            ("129e6", 129_000_000),
            ("129M", 129_000_000),
            ("128974848000m", 128_974_848),
            ("123Mi", 128_974_848),
            ("1.5Gi", 1_610_612_736),
            (".5Ki", 512),
            ("5.", 5),
            ("+1k", 1000),
            ("1E3", 1000),
            ("1E", 1_000_000_000_000_000_000),
            ("7Ei", 7 << 60),
            ("1e+3", 1000),
            ("1000e-3", 1),
            ("9223372036854775807", u64::try_from(i64::MAX).unwrap()),
        ] {
            assert_eq!(bytes(text), value, "{text}");
        }
        for (text, value) in
            [("100m", 100), ("0.1", 100), ("1", 1000), ("2.5", 2500), ("1e-3", 1), ("1Ki", 1_024_000)]
        {
            assert_eq!(milli(text), value, "{text}");
        }
    }

    #[test]
    fn what_is_finer_than_the_unit_is_rounded_up() {
        for (text, value) in
            [("1m", 1), ("1001m", 2), ("0.0000001Ki", 1), ("1n", 1), ("1e-9999999999999999999", 1)]
        {
            assert_eq!(bytes(text), value, "{text}");
        }
        for (text, value) in [("1u", 1), ("100500u", 101), ("0.0001", 1), ("1.0001", 1001), ("1n", 1)] {
            assert_eq!(milli(text), value, "{text}");
        }
    }

    #[test]
    fn zero_is_zero_whatever_its_sign_and_suffix() {
        for text in ["0", "-0", "+0.0", "0Ei", "0e99999999999999999999", "00000000000000000000000000000m"] {
            assert_eq!(bytes(text), 0, "{text}");
        }
    }

    #[test]
    fn bad_quantities_say_what_is_wrong() {
        for text in [
            "",
            " ",
            "1 Gi",
            "Gi",
            ".",
            "+",
            "1.2.3",
            "1KB",
            "1gi",
            "1e",
            "1e+",
            "1e1.5",
            "0x10",
            "1K",
            "1mi",
            "1_000",
            "٣",
            "--1",
            "1e3Ki",
            "inf",
            "NaN",
            "1\0",
            &"1".repeat(65),
        ] {
            let error = parse(text, Unit::One).unwrap_err();
            assert!(matches!(error, QuantityError::Form { .. }), "{text:?}: {error}");
        }
        for text in ["-1", "-1m", "-0.5Gi"] {
            let error = parse(text, Unit::One).unwrap_err();
            assert!(matches!(error, QuantityError::Negative { .. }), "{text}: {error}");
        }
        for text in ["8Ei", "9223372036854775808", "1e19", "1e99999999999", "9223372036854775807.1", "100E"] {
            let error = parse(text, Unit::One).unwrap_err();
            assert!(matches!(error, QuantityError::Overflow { .. }), "{text}: {error}");
        }
        assert!(matches!(parse("10P", Unit::Milli), Err(QuantityError::Overflow { .. })));
    }

    /// The same by fractions of whole numbers: digits * 2^two * 10^ten / 10^places, for what fits into 128 bits.
    fn by_fraction(digits: u128, places: u32, ten: i32, two: u32) -> Option<u64> {
        let numerator =
            digits.checked_mul(1 << two)?.checked_mul(10_u128.checked_pow(ten.max(0).unsigned_abs())?)?;
        let denominator =
            10_u128.checked_pow(places)?.checked_mul(10_u128.checked_pow(ten.min(0).unsigned_abs())?)?;
        Some(u64::try_from(numerator.div_ceil(denominator)).unwrap_or(u64::MAX))
    }

    const SUFFIXES: [(&str, i32, u32); 18] = [
        ("n", -9, 0),
        ("u", -6, 0),
        ("m", -3, 0),
        ("", 0, 0),
        ("k", 3, 0),
        ("M", 6, 0),
        ("G", 9, 0),
        ("T", 12, 0),
        ("P", 15, 0),
        ("E", 18, 0),
        ("Ki", 0, 10),
        ("Mi", 0, 20),
        ("Gi", 0, 30),
        ("Ti", 0, 40),
        ("Pi", 0, 50),
        ("Ei", 0, 60),
        ("e2", 2, 0),
        ("E-4", -4, 0),
    ];

    proptest! {
        #[test]
        fn exact_as_a_fraction(
            digits in prop_oneof![0_u64..10_000, any::<u64>()],
            places in 0_u32..9,
            suffix in proptest::sample::select(&SUFFIXES[..]),
            is_milli in any::<bool>(),
        ) {
            let (name, ten, two) = suffix;
            let padded = format!("{digits:0width$}", width = usize::try_from(places).unwrap() + 1);
            let (whole, fraction) = padded.split_at(padded.len() - usize::try_from(places).unwrap());
            let text = if places == 0 { format!("{whole}{name}") } else { format!("{whole}.{fraction}{name}") };
            let (unit, ten) = if is_milli { (Unit::Milli, ten + 3) } else { (Unit::One, ten) };
            if let Some(expected) = by_fraction(digits.into(), places, ten, two) {
                match parse(&text, unit) {
                    Ok(value) => prop_assert_eq!(value, expected, "{}", text),
                    Err(QuantityError::Overflow { .. }) => prop_assert!(expected > MAX, "{}", text),
                    Err(error) => prop_assert!(false, "{}", error),
                }
            }
        }

        #[test]
        fn a_fraction_of_many_digits_rounds_up(n_zeros in 1_usize..50) {
            let text = format!("1.{}1Ki", "0".repeat(n_zeros));
            // 1024 and a fraction: a whole byte more, unless the fraction is whole bytes itself.
            let more = if n_zeros < 3 { 1024_u64.div_ceil(10_u64.pow(u32::try_from(n_zeros).unwrap() + 1)) } else { 1 };
            prop_assert_eq!(bytes(&text), 1024 + more);
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            for unit in [Unit::One, Unit::Milli] {
                if let Ok(value) = parse(&text, unit) {
                    prop_assert!(value <= MAX);
                }
            }
        }

        #[test]
        fn nearly_quantities_are_read_or_refused(text in "[-+]?[0-9.]{0,66}([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{0,30})?") {
            for unit in [Unit::One, Unit::Milli] {
                if let Ok(value) = parse(&text, unit) {
                    prop_assert!(value <= MAX);
                }
            }
        }
    }
}
