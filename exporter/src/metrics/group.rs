//! Series that are shown as one, when labels are dropped.

use std::borrow::Cow;
use std::collections::BTreeMap;

use clap::ValueEnum;

use crate::cgroups::FileCounters;
use crate::model::{Names, Role, Series, Sums};
use crate::observe::{View, Zombies};

/// A label that is left empty, so that what differs in it is shown together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dropped {
    /// All containers of a pod are one.
    Container,
    /// All pods of a namespace are one.
    Pod,
}

/// Series of the same names.
pub(super) struct Group<'a>(Vec<(&'a Names, &'a Series)>);

/// All series, by the names under which they are shown. Only names in a namespace are cut: without one, the host's would be left.
pub(super) fn groups<'a>(view: &View<'a>, dropped: Option<Dropped>) -> BTreeMap<Cow<'a, Names>, Group<'a>> {
    let mut groups = BTreeMap::<_, Group<'a>>::new();
    for (names, series) in view.model.series() {
        groups.entry(shown(names, dropped)).or_insert_with(|| Group(Vec::new())).0.push((names, series));
    }
    groups
}

fn shown(names: &Names, dropped: Option<Dropped>) -> Cow<'_, Names> {
    match dropped {
        Some(dropped) if !names.namespace.is_empty() => {
            let pod = if dropped == Dropped::Pod { "" } else { &names.pod };
            Cow::Owned(Names::new(&names.namespace, pod, ""))
        }
        _ => Cow::Borrowed(names),
    }
}

impl<'a> Group<'a> {
    /// All of them.
    pub(super) fn series(&self) -> impl Iterator<Item = &'a Series> {
        self.0.iter().map(|(_, series)| *series)
    }

    /// Those of containers and pods.
    pub(super) fn containers(&self) -> impl Iterator<Item = &'a Series> {
        let is_one = |series: &&Series| !matches!(series.owner.role, Role::Host | Role::Overflow);
        self.series().filter(is_one)
    }

    /// `None` when the counters could not be read: 0 would be another answer.
    pub(super) fn sums(&self, view: &View<'_>) -> Option<Sums> {
        let snapshot = view.snapshot?;
        let mut sums = Sums::zero(&snapshot.rest);
        for (_, series) in &self.0 {
            sums.merge(&view.model.sums(series, snapshot));
        }
        Some(sums)
    }

    /// `None` when they could not be read.
    pub(super) fn zombies(&self, view: &View<'_>) -> Option<Zombies> {
        let mut all = Zombies::default();
        for (names, _) in &self.0 {
            all.add(&view.zombies(names)?);
        }
        Some(all)
    }

    /// What the files say. Beside its containers a pod's own is left out, as it has theirs already.
    pub(super) fn files(&self, view: &View<'_>) -> FileCounters {
        let mut files = FileCounters::default();
        for series in self.containers().filter(|series| self.0.len() == 1 || series.owner.role != Role::Pod) {
            files.add(&view.model.files(series));
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_dropped_within_a_namespace() {
        let of = |names: [&str; 3], dropped| {
            shown(&Names::new(names[0], names[1], names[2]), dropped).labels().map(str::to_owned)
        };
        let web = ["shop", "web-0", "nginx"];
        assert_eq!(of(web, None), web);
        assert_eq!(of(web, Some(Dropped::Container)), ["shop", "web-0", ""]);
        assert_eq!(of(web, Some(Dropped::Pod)), ["shop", "", ""]);
        for alone in [["", "", "9bca8d63d5fa"], ["", "", ""], ["", "2c48913c", "9bca8d63d5fa"]] {
            assert_eq!(of(alone, Some(Dropped::Pod)), alone);
        }
    }
}
