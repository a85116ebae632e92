//! Images from layouts that are made here, unpacked into a store and looked at as overlayfs shows them.
//!
//! A test needs root, for the owners, devices and attributes of files; without it, it is skipped.

mod documents;
mod fixture;
mod hostile;
mod layers;
mod sharing;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// A test and its name.
type Case = (&'static str, fn() -> Result<(), Failed>);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, word, store, image] = &args[..]
        && word == "--resolve"
    {
        return sharing::resolve(store, image);
    }
    let arguments = Arguments::from_args();
    let missing = fixture::missing_prerequisite();
    let cases = [documents::CASES, layers::CASES, hostile::CASES, sharing::CASES];
    let trial = |(name, case): &Case| {
        let (case, missing) = (*case, missing.clone());
        Trial::ignorable_test(*name, move || match missing {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => case().map(|()| Completion::Completed),
        })
    };
    libtest_mimic::run(&arguments, cases.into_iter().flatten().map(trial).collect()).exit_code()
}
