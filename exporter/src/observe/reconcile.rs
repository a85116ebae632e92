//! What is known of zombies against /proc: a hook may have missed a death or a release.

use std::collections::BTreeSet;

use podproof_ebpf::counters::ZombieView;

use super::zombies::Old;

/// What comparisons with /proc and the hierarchy have corrected since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Differences {
    pub(crate) zombies: u64,
    pub(crate) cgroups: u64,
}

/// Where the kernel side is wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Corrections {
    /// Known, and no zombies any more.
    pub(super) gone: Vec<ZombieView>,
    /// Zombies that are not known.
    pub(super) unknown: Vec<Old>,
}

/// `before` and `after` are known to the kernel side before and after `found` was read from /proc: who is in one of them only was born
/// or reaped meanwhile. Of whom `is_hidden` from /proc nothing is known there.
pub(super) fn compare(
    before: &[ZombieView],
    found: Vec<Old>,
    after: &[ZombieView],
    is_hidden: impl Fn(u32) -> bool,
) -> Corrections {
    let key = |zombie: &ZombieView| (zombie.tgid, zombie.since_ns);
    let still: BTreeSet<_> = after.iter().map(key).collect();
    let there: BTreeSet<u32> = found.iter().map(Old::tgid).collect();
    let is_gone = |zombie: &&ZombieView| {
        let ZombieView { tgid, .. } = **zombie;
        still.contains(&key(zombie)) && !there.contains(&tgid) && !is_hidden(tgid)
    };
    let gone = before.iter().filter(is_gone).copied().collect();
    let known: BTreeSet<u32> = before.iter().chain(after).map(|zombie| zombie.tgid).collect();
    let unknown = found.into_iter().filter(|zombie| !known.contains(&zombie.tgid())).collect();
    Corrections { gone, unknown }
}

#[cfg(test)]
mod tests {
    use podproof_ebpf::counters::ZombieParent;

    use super::*;

    fn view(tgid: u32, since_ns: u64) -> ZombieView {
        ZombieView { tgid, since_ns, cgroup_id: 1, parent_tgid: 1, parent: ZombieParent::Other }
    }

    #[test]
    fn only_what_lasts_is_a_difference() {
        let before = [view(1, 5), view(2, 5), view(3, 5), view(4, 5), view(7, 5)];
        // 2 was reaped meanwhile, 3 was and its number is another's now, 5 has just ended; 4 is not in /proc, 6 not in the map; /proc hides 7.
        let after = [view(1, 5), view(3, 9), view(4, 5), view(5, 9), view(7, 5)];
        let found = [1, 3, 5, 6].map(Old::of_tgid).into();
        let corrections = compare(&before, found, &after, |tgid| tgid == 7);
        assert_eq!(corrections, Corrections { gone: vec![view(4, 5)], unknown: vec![Old::of_tgid(6)] });
    }
}
