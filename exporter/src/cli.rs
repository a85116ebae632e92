//! The command line.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Parser, ValueEnum};

use crate::http::{DEBUG_PAGES, HEALTH_PAGES};
use crate::metrics::{Choice, Collector, Collectors, NamespaceType};
use crate::model::Dropped;

use crate::capabilities::Kept;
use crate::{check, log};

/// What the kernel knows about every pod, as Prometheus metrics.
#[derive(Debug, Parser)]
#[command(name = "podproof-exporter", version)]
pub struct Cli {
    /// Address to listen on: HOST:PORT, :PORT for all addresses, or unix:///PATH; may be given several times
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:9478")]
    pub listen: Vec<Address>,
    /// Listen on the sockets that systemd hands over instead of opening any
    #[arg(long = "web.systemd-socket", conflicts_with = "listen")]
    pub systemd_socket: bool,
    /// File of TLS certificates and passwords, in the format of Prometheus' exporter-toolkit; read again when it changes
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config: Option<PathBuf>,
    /// Allow addresses other than the loopback's without TLS
    #[arg(long = "web.insecure-listen")]
    pub insecure: bool,
    /// Path of the metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub telemetry_path: String,
    /// Scrapes at once; what is over that gets 503
    #[arg(long = "web.max-requests", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_requests: u16,
    /// Show at /debug/maps and /debug/tables what is behind the metrics, as JSON; only where no other machine can ask
    #[arg(long = "web.enable-debug")]
    pub enable_debug: bool,
    /// Where procfs is mounted
    #[arg(long = "path.procfs", value_name = "DIR", default_value = "/proc")]
    pub procfs: PathBuf,
    /// Where sysfs is mounted
    #[arg(long = "path.sysfs", value_name = "DIR", default_value = "/sys")]
    pub sysfs: PathBuf,
    /// Where the node's own root is, below which --path.logs and --path.podrt are looked for
    #[arg(long = "path.rootfs", value_name = "DIR", default_value = "/")]
    pub rootfs: PathBuf,
    /// File with the type information of the running kernel; by default kernel/btf/vmlinux in sysfs
    #[arg(long = "btf.path", value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// Where the cgroup v2 hierarchy is mounted; by default the kernel is asked
    #[arg(long = "path.cgroupfs", value_name = "DIR")]
    pub cgroupfs: Option<PathBuf>,
    /// The directory with the kubelet's `pods` and `containers`, whose names tell those of pods and containers
    #[arg(long = "path.logs", value_name = "DIR", default_value = "/var/log")]
    pub logs: PathBuf,
    /// What is asked for names, one after the other; the path of a cgroup is the last resort in any case
    #[arg(long = "metadata.source", value_name = "SOURCES", value_delimiter = ',', default_value = "auto")]
    pub sources: Vec<MetadataSource>,
    /// Socket of a CRI runtime to ask for names first, as /run/containerd/containerd.sock; who can use it is root
    #[arg(long = "metadata.cri-socket", value_name = "PATH")]
    pub cri_socket: Option<PathBuf>,
    /// podrt's directory, its `pod --root`
    #[arg(long = "path.podrt", value_name = "DIR", default_value = "/var/lib/podrt")]
    pub podrt: PathBuf,
    /// How long a new container waits for its names before it is shown by its ids
    #[arg(long = "metadata.wait", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub metadata_wait: Duration,
    /// How often all that is known is compared with what there is; for tests, which do not wait for a minute
    #[arg(long = "reconcile.interval", value_name = "DURATION", default_value = "60s", hide = true, value_parser = duration)]
    pub reconcile: Duration,
    /// How long the series of a removed container stay, from 1s to 24h: longer than two scrape intervals, and than a container waits to be
    /// started again, which with a kubelet is up to 5m
    #[arg(long = "retention.deleted", value_name = "DURATION", default_value = "10m", value_parser = retention)]
    pub retention: Duration,
    /// Cgroups that can be counted at once; each takes some 800 bytes of kernel memory
    #[arg(long = "map.max-containers", value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(16..))]
    pub max_cgroups: u32,
    /// Zombies, and processes whose parent has ended, that can be known at once; each takes some 100 bytes of kernel memory. As many as
    /// kernel.pid_max are always enough
    #[arg(long = "map.max-processes", value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(16..))]
    pub max_processes: u32,
    /// Series of containers and pods that there may be; a container that comes then is counted under the name `_overflow`
    #[arg(long = "series.max", value_name = "N", default_value_t = 50_000, value_parser = max_series)]
    pub max_series: usize,
    /// Show all containers of a pod, or all pods of a namespace, as one
    #[arg(long = "labels.drop", value_name = "LABEL")]
    pub dropped: Option<Dropped>,
    /// Groups of metrics.
    #[command(flatten)]
    pub collectors: Switches,
    /// Types of namespaces that have series of their own; the others are counted together as `other`
    #[arg(
        long = "collector.namespaces.types",
        value_name = "TYPES",
        value_delimiter = ',',
        default_value = "cgroup,ipc,mnt,net,pid,time,user,uts"
    )]
    pub namespace_types: Vec<NamespaceType>,
    /// Capabilities that stay after the start, as CAP_DAC_READ_SEARCH for names below directories of others; several with
    /// commas
    #[arg(long = "capabilities.keep", value_name = "NAMES", default_value_t)]
    pub keep: Kept,
    /// Attach the probes, tell what became of each, and end
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "table")]
    pub check: Option<check::Format>,
    /// Do not start where the kernel refuses a probe, also one that others do without
    #[arg(long)]
    pub strict: bool,
    /// What is logged
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", value_parser = log_level(), ignore_case = true)]
    pub log_level: tracing::Level,
    /// How lines of the log are written
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub log_format: log::Format,
}

/// What knows the names of pods and containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum MetadataSource {
    /// All of them; the CRI runtime where its socket is named
    Auto,
    /// The CRI runtime of --metadata.cri-socket
    Cri,
    /// The names of the kubelet's log files
    LogDir,
    /// The state of podrt
    OciState,
    /// Nothing but the path of the cgroup
    CgroupPath,
}

impl Cli {
    fn asks(&self, source: MetadataSource) -> bool {
        self.sources.iter().any(|asked| [MetadataSource::Auto, source].contains(asked))
    }

    fn below_root(&self, path: &Path) -> PathBuf {
        self.rootfs.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Type information of the running kernel.
    pub(crate) fn btf(&self) -> PathBuf {
        self.btf.clone().unwrap_or_else(|| self.sysfs.join("kernel/btf/vmlinux"))
    }

    /// The directory with the kubelet's logs, if it is asked for names.
    pub(crate) fn logs(&self) -> Option<PathBuf> {
        self.asks(MetadataSource::LogDir).then(|| self.below_root(&self.logs))
    }

    /// podrt's directory, if it is asked for names.
    pub(crate) fn podrt(&self) -> Option<PathBuf> {
        self.asks(MetadataSource::OciState).then(|| self.below_root(&self.podrt))
    }

    /// The socket of the CRI runtime, if that is asked for names.
    ///
    /// # Errors
    /// When only one of the two options that this takes is there.
    pub(crate) fn cri_socket(&self) -> Result<Option<PathBuf>> {
        match &self.cri_socket {
            Some(socket) if !self.asks(MetadataSource::Cri) => bail!(
                "--metadata.cri-socket={}: the runtime is not asked; add cri to --metadata.source, or leave the socket out",
                socket.display()
            ),
            None if self.sources.contains(&MetadataSource::Cri) => {
                bail!("--metadata.source=cri: no socket; name it with --metadata.cri-socket")
            }
            socket => Ok(socket.clone()),
        }
    }
}

/// `--collector.NAME` and `--no-collector.NAME`: the last one counts, and without any what most nodes want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switches(pub Collectors);

impl Args for Switches {
    fn augment_args(mut command: Command) -> Command {
        for collector in Collector::OPTIONAL {
            let [on, off] = collector.options();
            let switch = |name: &'static str, other: &'static str| {
                Arg::new(name).long(name).action(ArgAction::SetTrue).overrides_with(other)
            };
            let name = collector.name();
            let [put_in, leave_out] = [switch(on, off), switch(off, on)];
            command = if collector.is_default() {
                let help = format!("Leave the series of the collector {name} out");
                command.arg(put_in.hide(true)).arg(leave_out.help(help))
            } else {
                let help = format!("Show the series of the collector {name}, which needs probes of its own");
                command.arg(put_in.help(help)).arg(leave_out.hide(true))
            };
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Switches {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_wanted = |collector: &&Collector| {
            let [on, off] = collector.options().map(|option| matches.get_flag(option));
            on || collector.is_default() && !off
        };
        let wanted = Collector::OPTIONAL.iter().filter(is_wanted).copied();
        Ok(Self(wanted.fold(Collectors::NONE, Collectors::with)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP port of one address.
    Tcp(IpAddr, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// Only processes of this machine reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address, _) => address.is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(format!("{text}: the path must be absolute: unix:///run/podproof.sock"));
            }
            return Ok(Self::Unix(path.into()));
        }
        let wrong = || format!("{text}: write HOST:PORT with an IP address, :PORT, or unix:///PATH");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().ok_or_else(wrong)?;
        let host = match host {
            "" => "::",
            "localhost" => "127.0.0.1",
            host => host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host),
        };
        host.parse().ok().map(|address| Self::Tcp(address, port)).ok_or_else(wrong)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(IpAddr::V4(address), port) => write!(f, "{address}:{port}"),
            Self::Tcp(IpAddr::V6(address), port) => write!(f, "[{address}]:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// A level by its name.
fn log_level() -> impl TypedValueParser<Value = tracing::Level> {
    PossibleValuesParser::new(["error", "warn", "info", "debug", "trace"])
        .try_map(|name| name.parse::<tracing::Level>())
}

fn telemetry_path(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    let is_taken = text == "/" || HEALTH_PAGES.contains(&text) || DEBUG_PAGES.contains(&text);
    if !text.starts_with('/') || !text.chars().all(is_plain) || is_taken {
        return Err(
            "must begin with /, have no other special characters, and be none of the other pages".into()
        );
    }
    Ok(text.to_owned())
}

fn max_series(text: &str) -> Result<usize, String> {
    let number = text.parse().map_err(|_error| "must be a number".to_owned())?;
    let least = Choice::everything().max_per_container();
    if number < least {
        return Err(format!("one container alone can have {least} series"));
    }
    Ok(number)
}

/// Shorter ones lose what a scrape has not seen; longer ones fill the maps of the kernel side, where the removed keep their places.
fn retention(text: &str) -> Result<Duration, String> {
    const RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
    let retention = duration(text)?;
    if !RANGE.contains(&retention) {
        return Err("must be from 1s to 24h".to_owned());
    }
    Ok(retention)
}

/// A number with `ms`, `s`, `m`, `h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number with its unit, as 500ms, 30s, 5m, 1h".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok().ok_or_else(wrong)?;
    let ms = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    ms.map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let of =
            |text: &str| text.parse::<Address>().map(|address| (address.to_string(), address.is_local()));
        assert_eq!(of("127.0.0.1:9478"), Ok(("127.0.0.1:9478".into(), true)));
        assert_eq!(of(":9478"), Ok(("[::]:9478".into(), false)));
        assert_eq!(of("[::1]:1"), Ok(("[::1]:1".into(), true)));
        assert_eq!(of("unix:///run/p.sock"), Ok(("unix:///run/p.sock".into(), true)));
        for wrong in ["9478", "host:1", "127.0.0.1:70000", "unix://p.sock", ""] {
            let error = of(wrong).unwrap_err();
            assert!(error.starts_with(wrong), "{error}");
        }
    }

    #[test]
    fn names_are_asked_for_where_they_are_wanted() {
        let of = |arguments: &[&str]| {
            let cli = Cli::try_parse_from([&["e"], arguments].concat()).unwrap();
            let shown = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
            let socket = cli.cri_socket().map(shown).map_err(|error| error.to_string());
            (shown(cli.logs()), shown(cli.podrt()), socket)
        };
        let some = |path: &str| Some(path.to_owned());
        assert_eq!(of(&[]), (some("/var/log"), some("/var/lib/podrt"), Ok(None)));
        assert_eq!(
            of(&["--path.rootfs=/host", "--path.logs=/var/log/x", "--metadata.cri-socket=/run/c.sock"]),
            (some("/host/var/log/x"), some("/host/var/lib/podrt"), Ok(some("/run/c.sock")))
        );
        assert_eq!(of(&["--metadata.source=log_dir"]), (some("/var/log"), None, Ok(None)));
        assert_eq!(of(&["--metadata.source=cgroup_path"]), (None, None, Ok(None)));
        let cri = ["--metadata.source=cri,oci_state", "--metadata.cri-socket=/c"];
        assert_eq!(of(&cri), (None, some("/var/lib/podrt"), Ok(some("/c"))));
        let alone = of(&cri[..1]).2.unwrap_err();
        assert_eq!(alone, "--metadata.source=cri: no socket; name it with --metadata.cri-socket");
        let unasked = of(&["--metadata.source=log_dir", cri[1]]).2.unwrap_err();
        assert!(unasked.starts_with("--metadata.cri-socket=/c: the runtime is not asked"), "{unasked}");
    }

    #[test]
    fn durations() {
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "5", "m", "5d", "1.5s", "99999999999999999999h", "9999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_removed_is_kept_for_longer_than_a_kubelet_waits() {
        let of = |arguments: &[&str]| {
            let parsed = Cli::try_parse_from([&["e"], arguments].concat());
            parsed.map(|cli| cli.retention.as_secs()).map_err(|error| error.to_string())
        };
        // `MaxContainerBackOff` of the kubelet.
        assert!(of(&[]).unwrap() > 300);
        assert_eq!(
            ["1s", "1000ms", "24h"].map(|text| of(&["--retention.deleted", text])),
            [Ok(1), Ok(1), Ok(86_400)]
        );
        for wrong in ["0s", "999ms", "25h", "86401s"] {
            let error = of(&["--retention.deleted", wrong]).unwrap_err();
            let told = format!(
                "invalid value '{wrong}' for '--retention.deleted <DURATION>': must be from 1s to 24h"
            );
            assert!(error.contains(&told), "{error}");
        }
    }

    #[test]
    fn collectors_are_switched_by_name_and_the_last_word_counts() {
        let of = |arguments: &[&str]| {
            Cli::try_parse_from([&["e"], arguments].concat()).map(|cli| cli.collectors.0).map_err(drop)
        };
        for collector in Collector::OPTIONAL {
            assert_eq!(of(&[]).unwrap().has(*collector), *collector != Collector::ThrottleHistogram);
        }
        let throttling = |arguments: &[&str]| of(arguments).unwrap().has(Collector::ThrottleHistogram);
        assert!(throttling(&["--collector.throttle-histogram"]));
        assert!(!throttling(&["--collector.throttle-histogram", "--no-collector.throttle-histogram"]));
        let less = of(&["--no-collector.cpu", "--no-collector.pids", "--collector.pids"]).unwrap();
        assert!(!less.has(Collector::Cpu) && less.has(Collector::Pids) && less.has(Collector::Forks));
        assert!(of(&["--collector.nothing"]).is_err());
    }

    #[test]
    fn types_of_namespaces_are_named_with_commas() {
        let of = |arguments: &[&str]| Cli::try_parse_from([&["e"], arguments].concat());
        assert_eq!(of(&[]).unwrap().namespace_types, NamespaceType::ALL);
        let two = of(&["--collector.namespaces.types=user,mnt"]).unwrap().namespace_types;
        assert_eq!(two, [NamespaceType::User, NamespaceType::Mnt]);
        for wrong in ["user,uid", "uid", "", "user,", "User"] {
            let error = of(&["--collector.namespaces.types", wrong]).unwrap_err().to_string();
            let wrong = if wrong.starts_with("user") { &wrong["user,".len()..] } else { wrong };
            let is_told = if wrong.is_empty() {
                error.contains("a value is required for '--collector.namespaces.types <TYPES>'")
            } else {
                error.contains(&format!("invalid value '{wrong}' for '--collector.namespaces.types <TYPES>'"))
            };
            let names = "[possible values: cgroup, ipc, mnt, net, pid, time, user, uts]";
            assert!(is_told && error.contains(names), "{error}");
        }
    }

    #[test]
    fn the_limit_of_series_leaves_room_for_a_container() {
        assert_eq!(max_series("1000"), Ok(1000));
        for wrong in ["10", "-1", "many"] {
            assert!(max_series(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_holds_together() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        let parsed = |arguments: &[&str]| Cli::try_parse_from([&["e"], arguments].concat());
        for taken in ["/", "/livez", "/-/ready", "/debug/maps"] {
            assert!(parsed(&["--web.telemetry-path", taken]).is_err());
        }
        let plain = parsed(&[]).unwrap();
        assert_eq!((plain.keep, plain.check), (Kept::default(), None));
        assert_eq!(parsed(&["--check"]).unwrap().check, Some(check::Format::Table));
        assert_eq!(parsed(&["--check=json", "--strict"]).unwrap().check, Some(check::Format::Json));
        assert!(parsed(&["--check=xml"]).is_err());
        assert_eq!((plain.log_format, plain.log_level), (log::Format::Logfmt, tracing::Level::INFO));
        assert_eq!(parsed(&["--log.format", "json"]).unwrap().log_format, log::Format::Json);
        assert_eq!(parsed(&["--log.level", "DEBUG"]).unwrap().log_level, tracing::Level::DEBUG);
        for wrong in ["3", "verbose", ""] {
            let error = parsed(&["--log.level", wrong]).unwrap_err().to_string();
            let is_told = error.contains("[possible values: error, warn, info, debug, trace]");
            assert!(is_told && !error.contains("1-5"), "{error}");
        }
        assert!(parsed(&["--web.systemd-socket"]).unwrap().systemd_socket);
        assert!(parsed(&["--web.systemd-socket", "--web.listen-address", ":1"]).is_err());
        let error = parsed(&["--capabilities.keep", "CAP_BFP"]).unwrap_err().to_string();
        assert!(error.contains("\"CAP_BFP\" is no capability"), "{error}");
    }
}
