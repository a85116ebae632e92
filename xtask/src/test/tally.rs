//! Counts what test programs report: the text form of libtest, which libtest-mimic writes too.

/// What one or more test programs reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    /// Tests that did not run, with the reason where one was given.
    pub(crate) skips: Vec<(String, String)>,
    pub(crate) failures: Vec<String>,
}

impl Tally {
    /// Takes one line of output into account.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |word: &str| {
                let part = counts.split([';', '.']).find(|part| part.trim_end().ends_with(word))?;
                part.split_whitespace().next()?.parse::<usize>().ok()
            };
            self.passed += count("passed").unwrap_or_default();
            self.failed += count("failed").unwrap_or_default();
            self.skipped += count("ignored").unwrap_or_default();
            return;
        }
        let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return;
        };
        let name = name.trim().to_owned();
        if let Some(reason) = outcome.strip_prefix("ignored") {
            // libtest writes `ignored, reason`, libtest-mimic `ignored (reason)`.
            let reason = reason.trim_start_matches(',').trim();
            let reason = reason.strip_prefix('(').and_then(|it| it.strip_suffix(')')).unwrap_or(reason);
            self.skips.push((name, if reason.is_empty() { "no reason given" } else { reason }.to_owned()));
        } else if outcome.starts_with("FAILED") {
            self.failures.push(name);
        }
    }

    /// One more check of this command itself.
    pub(crate) fn check(name: &str, is_passed: bool) -> Self {
        let failures = if is_passed { Vec::new() } else { vec![name.to_owned()] };
        Self { passed: usize::from(is_passed), failed: usize::from(!is_passed), failures, ..Self::default() }
    }

    /// A check of this command itself that did not apply.
    pub(crate) fn skip(name: &str, reason: &str) -> Self {
        Self { skipped: 1, skips: vec![(name.to_owned(), reason.to_owned())], ..Self::default() }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.skips.extend_from_slice(&other.skips);
        self.failures.extend_from_slice(&other.failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_summed_and_reasons_kept() {
        let mut tally = Tally::default();
        let output = "\nrunning 3 tests\n\
            test a::b ... ok\n\
            test a::c ... FAILED\n\
            test a::d ... ignored, needs cgroup v2\n\
            test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test NS-01         ... ignored (this kernel has no x (y))\n\
            test NS-02         ... ignored\n\
            test [x] y ... ok\n\
            test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 3 filtered out; finished in 1.50s\n";
        output.lines().for_each(|line| tally.line(line));
        assert_eq!((tally.passed, tally.failed, tally.skipped), (13, 1, 3));
        assert_eq!(tally.failures, ["a::c"]);
        let skip = |name: &str, why: &str| (name.to_owned(), why.to_owned());
        let expected = [
            skip("a::d", "needs cgroup v2"),
            skip("NS-01", "this kernel has no x (y)"),
            skip("NS-02", "no reason given"),
        ];
        assert_eq!(tally.skips, expected);
    }
}
