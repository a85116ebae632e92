//! Ranges of ids of the node, as the maps of a user namespace give them (user_namespaces(7)).

use std::ops::Range;

use crate::evidence::{Gap, Side};
use crate::judge::Finding;

/// A finding of two containers whose users, or groups, are those of the node in these maps: no id is in both.
pub(super) fn apart(side: &Side<'_>, file: &str, names: [&str; 2]) -> Result<Finding, Gap> {
    let [first, second] = names.map(|name| {
        let key = format!("{file}.{name}");
        let map = side.text(&key)?;
        let ranges = ranges(map).ok_or_else(|| Gap(format!("{key} (lines of three numbers)")))?;
        Ok((name, map, ranges))
    });
    let ((a, of_a, first), (b, of_b, second)) = (first?, second?);
    let overlaps =
        |range: &Range<u64>| second.iter().any(|other| range.start < other.end && other.start < range.end);
    Ok(Finding::new(
        !first.iter().any(overlaps),
        format!("no id of the node is in {file} of {a} and of {b}"),
        format!("{file} of {a} is `{of_a}`, of {b} `{of_b}`"),
    ))
}

/// The ids outside that a map, as [`super::users::words`] writes it, gives away; `None` for an empty one or another text.
fn ranges(map: &str) -> Option<Vec<Range<u64>>> {
    let range = |line: &str| {
        let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let [_inside, outside, length] = numbers[..] else { return None };
        Some(outside..outside.checked_add(length)?)
    };
    map.split(", ").map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::super::users;
    use super::*;
    use crate::evidence::Evidence;

    fn holds(a: &str, b: &str) -> Option<bool> {
        let mut evidence = Evidence::default();
        for (name, map) in [("a", a), ("b", b)] {
            evidence.inside(&format!("uid_map.{name}"), users::words(map), "a test");
        }
        apart(&Side::new(&evidence.inside), "uid_map", ["a", "b"]).ok().map(|finding| finding.holds)
    }

    #[test]
    fn neighbours_are_apart() {
        assert_eq!(holds("0 100000 65536", "0 165536 65536"), Some(true));
        assert_eq!(holds("0 165536 65536\n", "         0     100000      65536\n"), Some(true));
    }

    #[test]
    fn one_common_id_is_an_overlap() {
        assert_eq!(holds("0 100000 65536", "0 165535 65536"), Some(false));
        assert_eq!(holds("0 100000 65536", "0 100000 65536"), Some(false));
        assert_eq!(holds("0 0 4294967295", "0 100000 65536"), Some(false));
    }

    #[test]
    fn every_line_counts() {
        assert_eq!(holds("0 100000 10\n10 500000 10", "0 200000 10\n10 500009 1"), Some(false));
        assert_eq!(holds("0 100000 10\n10 500000 10", "0 200000 10\n10 500010 1"), Some(true));
    }

    #[test]
    fn an_empty_or_broken_map_proves_nothing() {
        for map in ["", "0 100000", "0 x 65536", "0 18446744073709551615 2"] {
            assert_eq!(holds(map, "0 100000 65536"), None, "{map}");
        }
    }
}
