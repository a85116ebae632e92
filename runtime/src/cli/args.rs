//! The grammar.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use super::log::LogFormat;

/// Runs containers from OCI bundles, on Linux with cgroup v2.
#[derive(Debug, Parser)]
#[command(name = "podrt", version = concat!("version ", env!("CARGO_PKG_VERSION"), "\nspec: 1.2.1"))]
pub struct Args {
    /// Directory for the state of containers
    #[arg(long, value_name = "DIR", default_value = "/run/podrt")]
    pub root: PathBuf,
    /// File to write messages to, beside stderr
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Format of that file
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Write the plan of a create to the log
    #[arg(long)]
    pub debug: bool,
    /// Not supported: podrt manages cgroup directories itself
    #[arg(long, hide = true)]
    pub systemd_cgroup: bool,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create a container; its program waits for start
    Create(BundleArgs),
    /// Execute the program of a created container
    Start {
        /// Container id
        id: String,
    },
    /// Print the state of a container as JSON
    State {
        /// Container id
        id: String,
    },
    /// Send a signal to the container's process
    Kill {
        /// To every process of the container
        #[arg(short, long)]
        all: bool,
        /// Container id
        id: String,
        /// Name, with or without SIG, or number from 1 to 64
        #[arg(default_value = "SIGTERM")]
        signal: String,
    },
    /// Remove a stopped container
    Delete {
        /// Kill it first if need be; an unknown id is no error
        #[arg(short, long)]
        force: bool,
        /// Container id
        id: String,
    },
    /// Create, start, wait, delete
    Run {
        /// The bundle
        #[command(flatten)]
        bundle: BundleArgs,
        /// Do not wait, and do not delete
        #[arg(short, long)]
        detach: bool,
    },
    /// Execute a further process in a running container
    Exec(Box<ExecArgs>),
    /// List the containers
    List {
        /// Form of the list
        #[arg(short, long, value_enum, default_value_t = ListFormat::Table)]
        format: ListFormat,
        /// Ids only
        #[arg(short, long)]
        quiet: bool,
    },
    /// Show the processes of a container
    Ps {
        /// Form of the list; json has the process ids only
        #[arg(short, long, value_enum, default_value_t = ListFormat::Table)]
        format: ListFormat,
        /// Container id
        id: String,
        /// Options for ps, for the table
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, default_value = "-ef")]
        options: Vec<String>,
    },
    /// Write a config.json to begin with
    Spec {
        /// Directory for it
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        bundle: PathBuf,
    },
    /// Stop every process of a container
    Pause {
        /// Container id
        id: String,
    },
    /// Let the processes of a paused container go on
    Resume {
        /// Container id
        id: String,
    },
    /// Change the limits of a container, all or none
    Update(Box<UpdateArgs>),
    /// Remove what interrupted commands left
    Gc,
    /// Work on pods, by Kubernetes manifests; see podrt pod --help
    #[command(disable_help_flag = true)]
    Pod {
        /// What to do, as for podrt-pod
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Print what podrt can do as JSON (the specification's features document)
    Features,
}

/// What create and run have in common.
#[derive(Debug, clap::Args)]
pub struct BundleArgs {
    /// Directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// File to write the pid of the container's process to
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Pass this many descriptors, from 3 on, to the program
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Unix socket to send the master of the terminal to
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Change the root by chroot, as the initial ramfs needs it; weaker than pivot_root
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Container id
    pub id: String,
}

/// Form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What exec has.
#[derive(Debug, Default, clap::Args)]
pub struct ExecArgs {
    /// File with the process as JSON, in place of the container's own
    #[arg(short, long, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Unix socket to send the master of the terminal to
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Do not wait
    #[arg(short, long)]
    pub detach: bool,
    /// File to write the pid of the process to
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Environment variable, NAME=value; may be repeated
    #[arg(short, long, value_name = "ENV")]
    pub env: Vec<String>,
    /// User, UID or UID:GID
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// Supplementary group to add; may be repeated
    #[arg(short = 'g', long, value_name = "GID")]
    pub additional_gids: Vec<u32>,
    /// Capability to add, CAP_NAME; may be repeated
    #[arg(short, long, value_name = "CAP")]
    pub cap: Vec<String>,
    /// Set no_new_privs
    #[arg(long)]
    pub no_new_privs: bool,
    /// Pass this many descriptors, from 3 on, to the program
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// Not supported: SELinux is not
    #[arg(long, hide = true, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// Existing cgroup below the container's, for the process
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// Wait while the container is paused, instead of failing
    #[arg(long)]
    pub ignore_paused: bool,
    /// Container id
    pub id: String,
    /// Program and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// What update changes. Sizes may have a unit; -1 lifts a limit.
#[derive(Debug, clap::Args)]
pub struct UpdateArgs {
    /// Document like linux.resources, - for stdin; other options are ignored then
    #[arg(short, long, value_name = "FILE")]
    pub resources: Option<String>,
    /// Limit of memory in bytes
    #[arg(long, allow_hyphen_values = true)]
    pub memory: Option<String>,
    /// Memory to be protected in bytes
    #[arg(long, allow_hyphen_values = true)]
    pub memory_reservation: Option<String>,
    /// Limit of memory and swap together in bytes
    #[arg(long, allow_hyphen_values = true)]
    pub memory_swap: Option<String>,
    /// Ignored with a warning: part of --memory
    #[arg(long, hide = true)]
    pub kernel_memory: Option<String>,
    /// Ignored with a warning: part of --memory
    #[arg(long, hide = true)]
    pub kernel_memory_tcp: Option<String>,
    /// CPU time per period in microseconds
    #[arg(long, allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,
    /// Period in microseconds
    #[arg(long)]
    pub cpu_period: Option<u64>,
    /// CPU time that may be saved up, in microseconds
    #[arg(long)]
    pub cpu_burst: Option<u64>,
    /// CPU shares, 2 to 262144
    #[arg(long, visible_alias = "cpu-shares")]
    pub cpu_share: Option<u64>,
    /// 1 to run only when nothing else does
    #[arg(long, allow_negative_numbers = true)]
    pub cpu_idle: Option<i64>,
    /// Not supported: cgroup v2 has no such limit
    #[arg(long, hide = true)]
    pub cpu_rt_period: Option<u64>,
    /// Not supported: cgroup v2 has no such limit
    #[arg(long, hide = true, allow_negative_numbers = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// CPUs to run on, like 0-2,7
    #[arg(long)]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use, like 0-1
    #[arg(long)]
    pub cpuset_mems: Option<String>,
    /// Number of processes and threads; 0 allows none
    #[arg(long, allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// Share of the bandwidth of block devices, 10 to 1000
    #[arg(long)]
    pub blkio_weight: Option<u16>,
    /// Not supported
    #[arg(long, hide = true)]
    pub l3_cache_schema: Option<String>,
    /// Not supported
    #[arg(long, hide = true)]
    pub mem_bw_schema: Option<String>,
    /// Container id
    pub id: String,
}
