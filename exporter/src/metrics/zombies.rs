//! Zombies by the container that they died in.

use std::collections::BTreeMap;

use super::catalogue as all;
use super::family::{Sheet, as_f64};
use crate::model::Names;
use crate::observe::{View, boot_ns};

/// Who should reap, in the order of [`PARENTS`].
type ByParent = [u64; 2];

const PARENTS: [&str; 2] = ["init", "other"];

pub(super) struct Zombies<'a> {
    by_names: BTreeMap<&'a Names, (ByParent, u64)>,
    now_ns: u64,
}

impl<'a> Zombies<'a> {
    pub(super) fn of(view: &View<'a>) -> Self {
        let mut by_names = BTreeMap::<_, (ByParent, u64)>::new();
        for zombie in view.zombies {
            let Some(names) = view.model.names_of(zombie.cgroup_id) else { continue };
            let (counts, oldest_ns) = by_names.entry(names).or_insert(([0; 2], u64::MAX));
            counts[usize::from(!zombie.parent_is_init)] += 1;
            *oldest_ns = zombie.since_ns.min(*oldest_ns);
        }
        Self { by_names, now_ns: boot_ns() }
    }

    pub(super) fn show(&self, sheet: &mut Sheet, names: &Names) {
        let common = [names.namespace.as_str(), &names.pod, &names.container];
        let (counts, since_ns) = self.by_names.get(names).copied().unwrap_or(([0; 2], u64::MAX));
        for (parent, count) in PARENTS.iter().zip(counts) {
            sheet.count(&all::ZOMBIE_PROCESSES, &[&common[..], &[parent]].concat(), count);
        }
        let age = as_f64(self.now_ns.saturating_sub(since_ns)) / 1e9;
        sheet.set(&all::ZOMBIE_OLDEST_AGE_SECONDS, &common, age);
    }
}
