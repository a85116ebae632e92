//! The grammar.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs pods from Kubernetes manifests, on Linux with cgroup v2, without a daemon.
#[derive(Debug, Parser)]
#[command(name = "podrt pod", version)]
pub struct Cli {
    /// Directory for pods, images and addresses
    #[arg(long, value_name = "DIR", default_value = "/var/lib/podrt", global = true)]
    pub root: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create a pod and start its containers; returns once all have been started, or one fails again and again
    Run(CreateArgs),
    /// Create a pod up to its sandbox; its containers wait for start
    Create(CreateArgs),
    /// Start the containers of a created pod; returns as run does
    Start(PodArgs),
    /// End the containers in order: preStop hooks, stop signals, SIGKILL after the grace period
    Stop {
        /// Pod
        pod: String,
        /// Seconds, in place of the manifest's terminationGracePeriodSeconds
        #[arg(short, long, value_name = "S")]
        time: Option<u64>,
        /// Form of the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Send a signal to the main process of containers
    Kill {
        /// Pod
        pod: String,
        /// Name, with or without SIG, or number
        #[arg(default_value = "SIGTERM")]
        signal: String,
        /// One container; all that run without it
        #[arg(short, long, value_name = "NAME")]
        container: Option<String>,
        /// Form of the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Remove a pod that has ended
    Rm {
        /// End it first if need be, without grace; an unknown pod is no error
        #[arg(short, long)]
        force: bool,
        /// Pods
        #[arg(required = true)]
        pods: Vec<String>,
        /// Form of the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// List the pods
    Ps {
        /// Form of the list
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// Names only
        #[arg(short, long)]
        quiet: bool,
    },
    /// Show what is known about a pod
    Inspect {
        /// Pod
        pod: String,
        /// The only form that there is
        #[arg(long, value_enum, default_value_t)]
        format: JsonFormat,
    },
    /// Execute a program in a container
    Exec(ExecArgs),
    /// Show the output of a container
    Logs(LogsArgs),
    /// Wait until a pod has ended; the exit status is 0 when it succeeded
    Wait(PodArgs),
    /// Show sandbox, containers, processes, namespaces and cgroups of a pod
    Tree {
        /// Pod
        pod: String,
        /// Form of the tree
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Remove what interrupted commands left, and images that no pod uses
    Gc {
        /// Form of the report
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// The process that stays with a pod; started by run and create
    #[command(hide = true)]
    Supervise {
        /// Pod
        pod: String,
    },
}

/// A pod by its name.
#[derive(Debug, Args)]
pub struct PodArgs {
    /// Pod
    pub pod: String,
    /// Form of the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How a document is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum JsonFormat {
    /// For programs, and people
    #[default]
    Json,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// What run and create take.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The manifest: a v1/Pod as YAML or JSON; - for standard input
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// Network of pods without hostNetwork: none, bridge, or bridge:NAME,SUBNET
    #[arg(long, value_name = "NETWORK", default_value = "bridge")]
    pub network: String,
    /// Wait before the second restart in a row, in seconds: the first comes at once, and the wait doubles with each, up to 300 or this one where it is longer
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub restart_backoff: Duration,
    /// Program of the sandbox; pause beside podrt-pod without it
    #[arg(long, value_name = "PATH")]
    pub pause: Option<PathBuf>,
    /// The cgroup that pods are in
    #[arg(long, value_name = "PATH", default_value = "/podrt-pods")]
    pub cgroup_parent: PathBuf,
    /// Size at which a log is rotated, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 10 << 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub log_max_size: u64,
    /// How many files the log of one run of a container has at most
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..))]
    pub log_max_files: u32,
    /// Form of the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What exec takes.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Pod
    pub pod: String,
    /// Container; the first of spec.containers without it
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// With a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// With the caller's standard input
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Program and arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// What logs takes.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Pod
    pub pod: String,
    /// Container; the first of spec.containers without it
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// Go on until the container has ended
    #[arg(short, long)]
    pub follow: bool,
    /// Of the run before the last
    #[arg(short, long)]
    pub previous: bool,
    /// The last N lines only
    #[arg(long, value_name = "N")]
    pub tail: Option<usize>,
    /// What is younger than this many seconds only
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub since: Option<Duration>,
    /// With the time of each line, which JSON always has
    #[arg(long)]
    pub timestamps: bool,
    /// As it was written, or each record as a line of JSON: {"time", "stream", "log", "partial", "container"}
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 =
        text.parse().map_err(|error| format!("{text:?} is not a number of seconds: {error}"))?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_result_has_a_form_for_programs() {
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let format = verb.get_arguments().find(|argument| argument.get_id() == "format");
            let has_json = format.is_some_and(|format| {
                format.get_possible_values().iter().any(|value| value.get_name() == "json")
            });
            // What it prints is the program's.
            assert_eq!(has_json, verb.get_name() != "exec", "{}", verb.get_name());
        }
    }

    #[test]
    fn the_readme_has_every_option_with_its_default() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (_, text) = text.split_once("### Options").unwrap();
        let (text, _) = text.split_once("### Network").unwrap();
        let (create, text) = text.split_once("and `logs`").unwrap();
        let (logs, others) = text.split_once("and the others").unwrap();
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let (text, prefix) = match verb.get_name() {
                "run" | "create" => (create, String::new()),
                "logs" => (logs, String::new()),
                // Their --format is told once for all.
                name => (others, format!("{name} ")),
            };
            let is_told = |id: &str| id == "help" || (id == "format" && !prefix.is_empty());
            for argument in verb.get_arguments().filter(|argument| !is_told(argument.get_id().as_str())) {
                let Some(name) = argument.get_long() else { continue };
                let row = text.lines().find(|line| line.starts_with(&format!("| `{prefix}--{name}`")));
                let row = row.unwrap_or_else(|| panic!("no row of {prefix}--{name}"));
                if let Some(short) = argument.get_short() {
                    assert!(row.contains(&format!("`-{short}`")), "--{name}: {row}");
                }
                for default in
                    argument.get_default_values().iter().filter(|_| argument.get_action().takes_values())
                {
                    assert!(row.contains(default.to_str().unwrap()), "--{name}: {row}");
                }
            }
        }
        for line in others.lines().filter(|line| line.starts_with("| `")) {
            let (verb, name) = line.trim_start_matches("| `").split_once(" --").unwrap();
            let (name, _) = name.split_once('`').unwrap();
            let command = Cli::command();
            let verb = command.find_subcommand(verb).unwrap();
            assert!(verb.get_arguments().any(|argument| argument.get_long() == Some(name)), "{line}");
        }
    }

    proptest! {
        #[test]
        fn seconds_are_as_they_were_written(whole in any::<u32>(), millis in 0_u32..1000) {
            let wanted = Duration::from_millis(u64::from(whole) * 1000 + u64::from(millis));
            let taken = seconds(&format!("{whole}.{millis:03}")).unwrap();
            prop_assert!(taken.abs_diff(wanted) < Duration::from_micros(1), "{taken:?}");
        }

        #[test]
        fn what_is_no_time_is_refused(text in "-[1-9][0-9]{0,9}|[1-9][0-9]{20,29}|inf|NaN|[0-9]{0,4}[a-z ]{1,4}|") {
            prop_assert!(seconds(&text).is_err(), "{:?}", seconds(&text));
        }
    }
}
