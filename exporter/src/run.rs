//! From the command line to a server, until a signal ends it.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::utsname::uname;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::{MissedTickBehavior, interval};

use crate::capabilities::drop_all_but;
use crate::cgroups::{hierarchy, lack, named, namespace_root};
use crate::check::check;
use crate::cli::{Address, Cli};
use crate::descriptors;
use crate::http::{App, Crowd, answer, bind, check_local, inherited, router};
use crate::memory;
use crate::metadata::cri::Cri;
use crate::metrics::{Choice, Collector};
use crate::observe::{Kernel, Observer, Options, Procfs};
use crate::resolve::Resolver;
use crate::web::Web;

/// How often new cgroups are looked for.
const TURN: Duration = Duration::from_secs(1);

/// Runs the exporter; the exit status.
pub fn main(cli: Cli) -> ExitCode {
    memory::share_heap();
    let lines = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(cli.log_level);
    lines.event_format(cli.log_format).init();
    let result = if let Some(format) = cli.check {
        check(format, cli.strict, &kernel(&cli).trace(), &cli.btf())
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("start the event loop").and_then(|runtime| {
            let served = runtime.block_on(serve(cli));
            // A turn or a page that hangs would be waited for.
            runtime.shutdown_background();
            served.map(|()| true)
        })
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What the kernel side is to do.
fn kernel(cli: &Cli) -> Kernel {
    Kernel {
        max_cgroups: cli.max_cgroups,
        max_processes: cli.max_processes,
        throttling: cli.collectors.0.has(Collector::ThrottleHistogram),
    }
}

async fn serve(cli: Cli) -> Result<()> {
    descriptors::raise();
    let web = Arc::new(Web::read(cli.web_config.as_deref())?);
    let has_tls = web.tls().is_some();
    // Before the probes, which take a while: an address that cannot be had is told at once.
    let allow_insecure = cli.insecure || has_tls;
    let mut listeners = Vec::new();
    if cli.systemd_socket {
        listeners = inherited(allow_insecure)?;
    } else {
        for address in &cli.listen {
            listeners.push((address.clone(), bind(address, allow_insecure).await?));
        }
    }
    if cli.enable_debug {
        check_local(listeners.iter().map(|(address, _)| address))?;
    }
    let is_insecure = !has_tls && listeners.iter().any(|(address, _)| !address.is_local());
    if is_insecure {
        tracing::warn!("the metrics can be read from other machines, without TLS");
    }
    let mut ends = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];

    let mount_point = cli.cgroupfs.as_deref().map_or_else(hierarchy, named)?;
    let unseen = lack(&mount_point);
    let choice = Choice { collectors: cli.collectors.0, namespace_types: cli.namespace_types.clone() };
    let options = Options {
        procfs: Procfs::at(&cli.procfs).context("--path.procfs")?,
        btf: cli.btf(),
        namespace_root: namespace_root(&mount_point),
        mount_point,
        retention: cli.retention,
        metadata_wait: cli.metadata_wait,
        reconcile: cli.reconcile,
        kernel: kernel(&cli),
        max_samples: cli.max_series,
        max_series: cli.max_series / choice.max_per_container(),
        dropped: cli.dropped,
    };
    let cri = cli.cri_socket()?.map(Cri::new);
    let resolver = Resolver::new(cri.clone(), cli.logs(), cli.podrt());
    // Both on this thread while it is the only one: capabilities are each thread's own, and a new thread has those of its maker.
    let observer = Observer::start(options, resolver)?;
    let lacks = observer.lacks();
    if cli.strict && !lacks.is_empty() {
        bail!("--strict: {}", lacks.into_iter().collect::<Vec<_>>().join("; "));
    }
    for lack in lacks.into_iter().chain(unseen) {
        tracing::warn!("not all is counted: {lack}");
    }
    drop_all_but(&cli.keep)?;
    if let Some(cri) = cri {
        cri.start().context("make the thread that asks the CRI runtime")?;
    }
    let crowd = Crowd::new(descriptors::connections()?);
    let app = App::new(Arc::new(observer), cli.max_requests, is_insecure, choice);

    let (stop, stopped) = watch::channel(());
    let mut servers = Vec::new();
    let name = uname().map(|node| node.nodename().to_string_lossy().into_owned()).unwrap_or_default();
    for (address, listener) in listeners {
        tracing::info!("scrape {}", place(&address, &cli.telemetry_path, has_tls, &name));
        let (app, own) = (Arc::clone(&app), Arc::clone(&web));
        let pages = router(app, own, &cli.telemetry_path, address.is_local(), cli.enable_debug);
        let (web, crowd) = (Arc::clone(&web), Arc::clone(&crowd));
        servers.push(tokio::spawn(answer(listener, pages, web, crowd, stopped.clone())));
    }
    let [term, int] = &mut ends;
    // Beside the signals: a file system that hangs must not keep it from its end.
    tokio::select! {
        Err(error) = turn(&app, &web) => return Err(error.into()),
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    drop(stopped);
    drop(stop);
    for server in servers {
        server.await?;
    }
    Ok(())
}

/// Looks for what is new, again and again; ends only by a panic.
async fn turn(app: &Arc<App>, web: &Arc<Web>) -> Result<Infallible, JoinError> {
    let mut turns = interval(TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let (app, web) = (Arc::clone(app), Arc::clone(web));
        tokio::task::spawn_blocking(move || {
            app.turn();
            web.turn();
        })
        .await?;
    }
}

/// Where the metrics are. All addresses are none that anybody can ask: others know this machine by its name, if it has one.
fn place(address: &Address, path: &str, has_tls: bool, name: &str) -> String {
    let scheme = if has_tls { "https" } else { "http" };
    match address {
        Address::Tcp(ip, port) if ip.is_unspecified() => {
            let here = format!("{scheme}://localhost:{port}{path}");
            if ["", "(none)", "localhost"].contains(&name) {
                here
            } else {
                format!("{scheme}://{name}:{port}{path}, or on this machine {here}")
            }
        }
        Address::Tcp(..) => format!("{scheme}://{address}{path}"),
        Address::Unix(_) => format!("{path} on {address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_told_as_some_that_can_be_asked() {
        let of = |address: &str, has_tls, name| place(&address.parse().unwrap(), "/metrics", has_tls, name);
        assert_eq!(of("127.0.0.1:9478", false, "web"), "http://127.0.0.1:9478/metrics");
        assert_eq!(of("[::1]:9478", true, "web"), "https://[::1]:9478/metrics");
        assert_eq!(of("unix:///run/p.sock", true, "web"), "/metrics on unix:///run/p.sock");
        for all in [":9478", "0.0.0.0:9478", "[::]:9478"] {
            assert_eq!(
                of(all, true, "web.example.org"),
                "https://web.example.org:9478/metrics, or on this machine https://localhost:9478/metrics"
            );
            for none in ["", "(none)", "localhost"] {
                assert_eq!(of(all, false, none), "http://localhost:9478/metrics");
            }
        }
    }
}
