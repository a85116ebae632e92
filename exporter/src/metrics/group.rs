//! Series that are shown as one, when labels are dropped.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::cgroups::FileCounters;
use crate::model::{Names, Role, Series, Sums};
use crate::observe::{View, Zombies};

/// Series that are shown under the same names.
pub(super) struct Group<'a> {
    series: Vec<(&'a Names, &'a Series)>,
    /// What others of them had counted.
    ended: Option<&'a Series>,
    /// A label is left empty, so there may be several.
    is_cut: bool,
}

/// All series, by the names under which they are shown.
pub(super) fn groups<'a>(view: &View<'a>) -> BTreeMap<Cow<'a, Names>, Group<'a>> {
    let mut groups = BTreeMap::<_, Group<'a>>::new();
    for (names, series) in view.model.series() {
        let shown = names.without(view.model.dropped());
        let (ended, is_cut) = (view.model.ended(&shown), matches!(shown, Cow::Owned(_)));
        let group = || Group { series: Vec::new(), ended, is_cut };
        groups.entry(shown).or_insert_with(group).series.push((names, series));
    }
    groups
}

impl<'a> Group<'a> {
    /// All of them.
    pub(super) fn series(&self) -> impl Iterator<Item = &'a Series> {
        self.series.iter().map(|(_, series)| *series)
    }

    /// Those of containers and pods.
    pub(super) fn containers(&self) -> impl Iterator<Item = &'a Series> {
        let is_one = |series: &&Series| !matches!(series.owner.role, Role::Host | Role::Overflow);
        self.series().filter(is_one)
    }

    /// `None` when the counters could not be read: 0 would be another answer.
    pub(super) fn sums(&self, view: &View<'_>) -> Option<Sums> {
        let snapshot = view.snapshot?;
        let all = self.series().chain(self.ended).map(|series| view.model.sums(series, snapshot));
        let sum = all.reduce(|mut sum, other| {
            sum.merge(&other);
            sum
        });
        Some(sum.unwrap_or_else(|| Sums::zero(&snapshot.rest)))
    }

    /// `None` when they could not be read.
    pub(super) fn zombies(&self, view: &View<'_>) -> Option<Zombies> {
        let mut all = Zombies::default();
        for (names, _) in &self.series {
            all.add(&view.zombies(names)?);
        }
        Some(all)
    }

    /// What the files say. Where there may be several a pod's own is left out, as it has those of its containers already.
    pub(super) fn files(&self, view: &View<'_>) -> FileCounters {
        let mut files = self.ended.map_or_else(FileCounters::default, |ended| view.model.files(ended));
        for series in self.containers().filter(|series| !self.is_cut || series.owner.role != Role::Pod) {
            files.add(&view.model.files(series));
        }
        files
    }
}
