//! Which controllers the v2 hierarchy has: one is in a hierarchy of v1 or in that of v2, never in both.

use std::fs;
use std::path::Path;

use super::mode;

/// Those whose files are read.
const READ: [&str; 3] = ["cpu", "memory", "pids"];

/// What is not seen in this hierarchy, in words; `None` when nothing is missing.
pub(crate) fn lack(mount_point: &Path) -> Option<String> {
    // One that does not tell has nothing that could be said to be missing.
    let there = fs::read_to_string(mount_point.join("cgroup.controllers")).ok()?;
    describe(mount_point, &there, is_hybrid())
}

/// Whether v1 is mounted beside v2.
pub(crate) fn is_hybrid() -> bool {
    mode() == "hybrid"
}

fn describe(mount_point: &Path, there: &str, is_hybrid: bool) -> Option<String> {
    let there: Vec<&str> = there.split_whitespace().collect();
    let missing: Vec<&str> = READ.into_iter().filter(|controller| !there.contains(controller)).collect();
    if missing.is_empty() {
        return None;
    }
    let (missing, mount_point) = (missing.join(", "), mount_point.display());
    let beside = if is_hybrid {
        "; cgroup v1 is mounted beside it (hybrid), and containers that are only there are not seen"
    } else {
        ""
    };
    Some(format!(
        "{mount_point} lacks the controllers {missing}, whose limits and events are not shown{beside}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let of = |there, is_hybrid| describe(Path::new("/c"), there, is_hybrid);
        assert_eq!(of("cpuset cpu io memory hugetlb pids rdma misc\n", true), None);
        assert_eq!(
            of("cpu io\n", false).as_deref(),
            Some("/c lacks the controllers memory, pids, whose limits and events are not shown")
        );
        let hybrid = of("\n", true).unwrap();
        assert!(hybrid.starts_with("/c lacks the controllers cpu, memory, pids, "), "{hybrid}");
        assert!(hybrid.ends_with("(hybrid), and containers that are only there are not seen"), "{hybrid}");
        assert_eq!(lack(Path::new("/nonexistent/cgroup")), None);
    }
}
