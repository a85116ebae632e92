//! Another sandbox program than podproof's own, to be judged.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::setup::{Tool, Toolbox};

/// The options that name it.
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    /// Judge this sandbox program instead of podproof's own, with the checks of REAP and SIG: catatonit, tini, or the path of a
    /// static program
    #[arg(long, value_name = "NAME|PATH")]
    pause: Option<String>,
    /// An argument that it is called with; may be given several times. By default what catatonit and tini need to hold a
    /// sandbox, and none for others
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, requires = "pause")]
    pause_arg: Vec<String>,
}

impl PauseArgs {
    pub(super) fn is_given(&self) -> bool {
        self.pause.is_some()
    }

    /// What has to be fetched for it, when it is known by name; a path is looked at.
    pub(super) fn tool(&self) -> Result<Option<Tool>> {
        let Some(name) = &self.pause else { return Ok(None) };
        let tool = Tool::sandbox(name);
        ensure!(
            tool.is_some() || Path::new(name).is_file(),
            "--pause {name}: no such file, and not one of catatonit, tini; give the path of a static program"
        );
        Ok(tool)
    }

    /// The program on this machine.
    pub(super) fn find(&self, tools: &Toolbox) -> Result<Option<Pause>> {
        let Some(name) = &self.pause else { return Ok(None) };
        let path = match Tool::sandbox(name) {
            Some(tool) => tools.tool(tool)?.path.clone(),
            None => std::path::absolute(name).with_context(|| format!("--pause {name}"))?,
        };
        Ok(Some(Pause { path, arguments: self.arguments() }))
    }

    /// The options again, as they were given.
    pub(super) fn words(&self) -> Vec<String> {
        let name = self.pause.iter().flat_map(|name| ["--pause".to_owned(), name.clone()]);
        name.chain(self.arguments()).collect()
    }

    fn arguments(&self) -> Vec<String> {
        self.pause_arg.iter().map(|argument| format!("--pause-arg={argument}")).collect()
    }
}

/// A sandbox program to judge.
#[derive(Debug)]
pub(super) struct Pause {
    pub(super) path: PathBuf,
    arguments: Vec<String>,
}

impl Pause {
    /// Where it is in the guest; the report has its name from there.
    pub(super) fn in_guest(&self) -> String {
        let name = self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        // Known by its name, without what a package adds.
        let name = if name == "tini-static" { "tini" } else { name.as_str() };
        format!("/opt/sandbox/{name}")
    }

    /// The options that name it to podproof, at this path.
    pub(super) fn options(&self, path: String) -> Vec<String> {
        ["--pause".to_owned(), path].into_iter().chain(self.arguments.iter().cloned()).collect()
    }
}
