//! Which checks: the filters that users of `cargo test` know.

use anyhow::{Result, bail};
use clap::Args;

use crate::checks::{self, Check};

/// Filters of checks.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ChoiceArgs {
    /// Only checks whose id or name contains one of these (`REAP`, `NS-01`, `hostname`).
    filter: Vec<String>,
    /// A filter is the whole id or the whole name of a check.
    #[arg(long)]
    exact: bool,
    /// Without those whose id or name contains this; may be given several times.
    #[arg(long, value_name = "FILTER")]
    skip: Vec<String>,
}

impl ChoiceArgs {
    /// The checks, in the order of the catalog.
    ///
    /// # Errors
    /// When there are none.
    pub(super) fn checks(&self) -> Result<Vec<Check>> {
        let chosen: Vec<Check> = checks::all().copied().filter(|check| self.wants(check)).collect();
        if chosen.is_empty() {
            let skipped: String = self.skip.iter().map(|filter| format!(" --skip {filter}")).collect();
            bail!("no check matches {}{skipped}; `podproof list` shows them all", self.filter.join(" "));
        }
        Ok(chosen)
    }

    /// Whether one of the filters is the id of a check itself.
    pub(super) fn names(&self, id: &str) -> bool {
        self.filter.iter().any(|filter| filter.eq_ignore_ascii_case(id))
    }

    /// These and those of the other.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.filter.extend(other.filter);
        self.skip.extend(other.skip);
        self.exact |= other.exact;
        self
    }

    /// These, where there is no filter.
    pub(super) fn or_only(mut self, filters: &[&str]) -> Self {
        if self.filter.is_empty() && !self.exact {
            self.filter = filters.iter().map(|filter| (*filter).to_owned()).collect();
        }
        self
    }

    fn wants(&self, check: &Check) -> bool {
        let matches = |filter: &String| matches(check, filter, self.exact);
        (self.filter.is_empty() || self.filter.iter().any(matches)) && !self.skip.iter().any(matches)
    }
}

fn matches(check: &Check, filter: &str, exact: bool) -> bool {
    let (name, filter) = (check.test_name().to_lowercase(), filter.to_lowercase());
    if !exact {
        return name.contains(&filter);
    }
    let parts = name.split_once("::");
    name == filter || parts.is_some_and(|(id, short)| id == filter || short == filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(filter: &[&str], exact: bool, skip: &[&str]) -> Vec<&'static str> {
        let owned = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
        let choice = ChoiceArgs { filter: owned(filter), exact, skip: owned(skip) };
        choice.checks().unwrap_or_default().iter().map(|check| check.requirement.id).collect()
    }

    #[test]
    fn filters_are_those_of_cargo_test() {
        assert_eq!(ids(&[], false, &[]).len(), checks::all().count());
        assert_eq!(ids(&["reap-15"], false, &[]), ["REAP-15"]);
        assert!(ids(&["REAP", "NS-01"], false, &[]).len() > 3);
        assert!(ids(&["REAP"], true, &[]).is_empty());
        assert_eq!(ids(&["ns-01"], true, &[]), ["NS-01"]);
        let name = checks::find("NS-01").unwrap();
        assert_eq!(ids(&[name.requirement.name], true, &[]), ["NS-01"]);
        assert_eq!(ids(&[&name.test_name()], true, &[]), ["NS-01"]);
        assert!(!ids(&["NS"], false, &["ns-01"]).contains(&"NS-01"));
        assert!(!ids(&[], false, &["NS-"]).iter().any(|id| id.starts_with("NS-")));
        assert!(ids(&["NS-01"], false, &["NS"]).is_empty());
    }

    #[test]
    fn a_choice_is_narrowed_only_where_nothing_is_chosen() {
        let ids = |filter: &[&str]| -> Vec<&'static str> {
            let filter = filter.iter().map(|it| (*it).to_owned()).collect();
            let choice = ChoiceArgs { filter, ..ChoiceArgs::default() }.or_only(&["REAP-"]);
            choice.checks().unwrap_or_default().iter().map(|check| check.requirement.id).collect()
        };
        assert!(ids(&[]).iter().all(|id| id.starts_with("REAP-")));
        assert_eq!(ids(&["NS-01"]), ["NS-01"]);
    }
}
