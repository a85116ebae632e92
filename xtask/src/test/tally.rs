//! Counts what test programs report: the text form of libtest, which libtest-mimic writes too.

/// What one or more test programs reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    /// Tests that did not run, with the reason where one was given.
    pub(crate) skips: Vec<(String, String)>,
    /// Tests that failed, with the beginning of what they say, which is empty where they say nothing.
    pub(crate) failures: Vec<(String, String)>,
    /// Whose words the next lines of output are: an index into `failures`.
    speaker: Option<usize>,
}

/// Characters of a reason that are kept: the whole of it is in the output.
const REASON: usize = 400;

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
            self.speaker = None;
            return;
        }
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" ----")) {
            let name = name.strip_suffix(" stdout").unwrap_or(name);
            self.speaker = self.failures.iter().rposition(|(failed, _)| is_the_same(failed, name));
            return;
        }
        if line == "failures:" {
            self.speaker = None;
        }
        if let Some((_, reason)) = self.speaker.and_then(|index| self.failures.get_mut(index)) {
            let room = REASON.saturating_sub(reason.chars().count());
            let gap = if reason.is_empty() { "" } else { " " };
            reason.extend(gap.chars().chain(line.trim().chars()).take(if line.is_empty() {
                0
            } else {
                room
            }));
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
            self.failures.push((name, String::new()));
        }
    }

    /// One more check of this command itself.
    pub(crate) fn check(name: &str, is_passed: bool) -> Self {
        let failures = if is_passed { Vec::new() } else { vec![(name.to_owned(), String::new())] };
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

/// A failed test may have the name of its program before its own.
fn is_the_same(failed: &str, name: &str) -> bool {
    failed.strip_suffix(name).is_some_and(|program| program.is_empty() || program.ends_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_keep_what_they_say() {
        let mut tally = Tally::default();
        let output = "test p_6.1::a::c ... FAILED\ntest p_6.1::b ... FAILED\ntest p_6.1::d ... FAILED\n\n\
            failures:\n\n\
            ---- a::c ----\nforks: counted 3,\n  did 2\n\n\
            ---- b stdout ----\n\nthread 'b' panicked at x.rs:1:2:\ntest x ... ok\n\n\n\
            failures:\n    a::c\n    b\n    d\n\n\
            test result: FAILED. 0 passed; 3 failed; 0 ignored\ntest e ... FAILED\n";
        output.lines().for_each(|line| tally.line(line));
        let failure = |name: &str, why: &str| (name.to_owned(), why.to_owned());
        let expected = [
            failure("p_6.1::a::c", "forks: counted 3, did 2"),
            failure("p_6.1::b", "thread 'b' panicked at x.rs:1:2: test x ... ok"),
            failure("p_6.1::d", ""),
            failure("e", ""),
        ];
        assert_eq!(tally.failures, expected);
        let mut long = Tally::default();
        let flood = format!("test a ... FAILED\n---- a ----\n{}\n{}", "é".repeat(300), "x".repeat(300));
        flood.lines().for_each(|line| long.line(line));
        assert_eq!(long.failures[0].1.chars().count(), REASON);
    }

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
        assert_eq!(tally.failures, [("a::c".to_owned(), String::new())]);
        let skip = |name: &str, why: &str| (name.to_owned(), why.to_owned());
        let expected = [
            skip("a::d", "needs cgroup v2"),
            skip("NS-01", "this kernel has no x (y)"),
            skip("NS-02", "no reason given"),
        ];
        assert_eq!(tally.skips, expected);
    }
}
