//! A call of a runtime, taken apart as far as a defect has to see it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Options that take a value in the next argument (runc's command line).
const WITH_VALUE: [&str; 23] = [
    "--root",
    "--log",
    "--log-format",
    "--criu",
    "--bundle",
    "-b",
    "--pid-file",
    "--console-socket",
    "--preserve-fds",
    "--process",
    "-p",
    "--cwd",
    "--env",
    "-e",
    "--user",
    "-u",
    "--additional-gids",
    "-g",
    "--cap",
    "-c",
    "--apparmor",
    "--process-label",
    "--cgroup",
];

/// The arguments of one call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// All arguments, as they came; a defect may change them.
    pub(crate) arguments: Vec<String>,
}

impl Call {
    pub(crate) fn parse(arguments: Vec<String>) -> Self {
        Self { arguments }
    }

    /// The words that are neither options nor their values: the verb, the id, what follows.
    fn words(&self) -> impl Iterator<Item = &str> {
        let mut value_follows = false;
        self.arguments.iter().filter_map(move |argument| {
            if std::mem::take(&mut value_follows) {
                return None;
            }
            value_follows = WITH_VALUE.contains(&argument.as_str());
            (!argument.starts_with('-')).then_some(argument.as_str())
        })
    }

    /// `create`, `start`, ...; empty without one.
    pub(crate) fn verb(&self) -> &str {
        self.words().next().unwrap_or_default()
    }

    /// Id of the container.
    pub(crate) fn id(&self) -> &str {
        self.words().nth(1).unwrap_or_default()
    }

    /// What follows the id: the signal of `kill`.
    pub(crate) fn operand(&self) -> Option<&str> {
        self.words().nth(2)
    }

    /// Whether the caller of `exec` does not wait for what is executed.
    pub(crate) fn is_detached(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "--detach")
    }

    /// Everything after the id: of `exec` the program and its arguments.
    pub(crate) fn after_id(&self) -> &[String] {
        let at = self.arguments.iter().position(|argument| argument == self.id());
        at.map_or(&[], |at| &self.arguments[at + 1..])
    }

    /// A file beside the state directory, for what a defect has to remember from one call to the next.
    pub(crate) fn memory(&self, name: &str) -> Result<PathBuf> {
        Ok(self.root().context("--root is needed to remember something")?.with_extension(name))
    }

    /// How often this was asked before for the same state directory and name.
    pub(crate) fn count(&self, name: &str) -> Result<usize> {
        let path = self.memory(name)?;
        let failed = || format!("count in {}", path.display());
        let mut file = OpenOptions::new().create(true).append(true).open(&path).with_context(failed)?;
        let before = usize::try_from(file.metadata().with_context(failed)?.len())?;
        file.write_all(b"+").with_context(failed)?;
        Ok(before)
    }

    fn option(&self, names: &[&str]) -> Option<&str> {
        let at = self.arguments.iter().position(|argument| names.contains(&argument.as_str()))?;
        self.arguments.get(at + 1).map(String::as_str)
    }

    /// `--root`: the state directory.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.option(&["--root"]).map(Path::new)
    }

    /// `--pid-file`.
    pub(crate) fn pid_file(&self) -> Option<&Path> {
        self.option(&["--pid-file"]).map(Path::new)
    }

    /// `--bundle`, by default the working directory.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.option(&["--bundle", "-b"]).map_or_else(|| PathBuf::from("."), PathBuf::from)
    }

    /// The same call with another verb and operands, for the same state directory.
    pub(crate) fn other(&self, words: &[&str]) -> Self {
        let mut arguments = Vec::new();
        if let Some(root) = self.root() {
            arguments.extend(["--root".to_owned(), root.display().to_string()]);
        }
        arguments.extend(words.iter().map(|word| (*word).to_owned()));
        Self { arguments }
    }

    /// Puts the wrapper in front of what an `exec` call executes; `create` has put it into the root file system.
    pub(crate) fn wrap_executed(&mut self, mode: &str) {
        let id = self.id().to_owned();
        if let Some(at) = self.arguments.iter().position(|argument| *argument == id) {
            let wrapper = [format!("/{}", crate::inside::WRAPPER), mode.to_owned()];
            self.arguments.splice(at + 1..at + 1, wrapper);
        }
    }

    /// Has a `kill` by a number above this ask for another one.
    pub(crate) fn renumber(&mut self, above: u32, by: impl FnOnce(u32) -> u32) {
        if self.verb() == "kill"
            && let Some(asked) = self.operand().map(str::to_owned)
            && let Ok(signal) = asked.parse()
            && signal > above
        {
            self.replace(&asked, &by(signal).to_string());
        }
    }

    /// Replaces one word (the verb, the id, an operand) of the call.
    pub(crate) fn replace(&mut self, word: &str, by: &str) {
        if let Some(found) = self.arguments.iter_mut().rev().find(|argument| *argument == word) {
            by.clone_into(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Call;

    fn call(line: &str) -> Call {
        Call::parse(line.split(' ').map(str::to_owned).collect())
    }

    #[test]
    fn verb_id_and_options_are_found() {
        let call = call("--root /r create --bundle /b --pid-file /p x-1");
        assert_eq!((call.verb(), call.id()), ("create", "x-1"));
        assert_eq!(call.bundle(), std::path::Path::new("/b"));
        assert_eq!(call.pid_file(), Some(std::path::Path::new("/p")));
        assert_eq!(call.other(&["state", "x-1"]).arguments, ["--root", "/r", "state", "x-1"]);
    }

    #[test]
    fn the_value_of_an_option_of_exec_is_not_the_container() {
        let mut call = call("--root /r exec --detach --cwd /tmp -u 1:1 x-1 /witness serve");
        assert_eq!(call.id(), "x-1");
        assert_eq!(call.after_id(), ["/witness", "serve"]);
        assert!(call.is_detached());
        call.wrap_executed("new-ipc");
        let expected =
            "--root /r exec --detach --cwd /tmp -u 1:1 x-1 /saboteur-wrapper new-ipc /witness serve";
        assert_eq!(call.arguments.join(" "), expected);
    }

    #[test]
    fn the_wrapper_comes_between_the_container_and_what_it_executes() {
        let mut call = call("--root /r exec --detach --pid-file /p x-1 /witness serve");
        call.wrap_executed("new-ipc");
        let expected = "--root /r exec --detach --pid-file /p x-1 /saboteur-wrapper new-ipc /witness serve";
        assert_eq!(call.arguments.join(" "), expected);
    }

    #[test]
    fn only_a_kill_by_a_number_above_the_bound_is_renumbered() {
        for (line, expected) in [
            ("kill x-1 32", "kill x-1 33"),
            ("kill x-1 31", "kill x-1 31"),
            ("kill x-1 TERM", "kill x-1 TERM"),
            ("exec x-1 32", "exec x-1 32"),
        ] {
            let mut call = call(line);
            call.renumber(31, |signal| signal + 1);
            assert_eq!(call.arguments.join(" "), expected);
        }
    }

    #[test]
    fn an_operand_is_replaced_and_not_the_id() {
        let mut call = call("--root /r kill x-1 TERM");
        assert_eq!(call.operand(), Some("TERM"));
        call.replace("TERM", "KILL");
        assert_eq!(call.arguments, ["--root", "/r", "kill", "x-1", "KILL"]);
    }
}
