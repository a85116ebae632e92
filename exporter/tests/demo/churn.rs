//! Pods that come and go while something else is looked at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::poll::{PollTimeout, poll};
use serde_json::Map;

use crate::pods::Pods;
use crate::prometheus::Prometheus;
use crate::support::until;
use crate::{PATIENCE, Res};

/// Scrapes that a pod stays for: enough for a rate, and the machine has other things to do too.
const N_SCRAPES: f64 = 6.0;

/// Does `work`, and meanwhile has a pod come and go after the other; what the work gives, and how many pods there were.
///
/// # Errors
/// One of both failed, or there were less than `least` pods.
pub(crate) fn during<T>(
    pods: &Pods,
    prometheus: &Prometheus,
    least: usize,
    work: impl FnOnce() -> Res<T>,
) -> Res<(T, usize)> {
    let is_over = AtomicBool::new(false);
    let (done, guests) = thread::scope(|scope| {
        let churn =
            scope.spawn(|| come_and_go(pods, prometheus, &is_over).map_err(|error| error.to_string()));
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        (done, churn.join())
    });
    let done = done?;
    let n_guests = guests.map_err(|panic| format!("the pods that come and go: {panic:?}"))??;
    if n_guests < least {
        return Err(format!("only {n_guests} pods came and went").into());
    }
    // The first is long forgotten, although the server knows that it was there.
    let first = series(0);
    if prometheus.value(&format!("last_over_time({first}[1h])"))?.is_none() {
        return Err(format!("{first} was never there").into());
    }
    if prometheus.value(&first)?.is_some() {
        return Err(format!("{first} is still there").into());
    }
    Ok((done, n_guests))
}

/// Each pod has a name of its own, since another pod of the same name begins at 0 again.
fn come_and_go(pods: &Pods, prometheus: &Prometheus, is_over: &AtomicBool) -> Res<usize> {
    let mut n = 0;
    while !is_over.load(Ordering::Relaxed) {
        let pod = name(n);
        pods.start("guests", &pod, "busybox true; exec busybox sleep 100000", &Map::new())?;
        until(&format!("scrapes with {pod}"), PATIENCE, || {
            // More often there is nothing new, and to ask takes time from the scrapes.
            poll(&mut [], PollTimeout::try_from(prometheus.interval())?)?;
            let n_scrapes = prometheus.value(&format!("count_over_time({}[1h])", series(n)))?;
            Ok(n_scrapes.filter(|n_scrapes| *n_scrapes >= N_SCRAPES))
        })?;
        pods.end(&pod)?;
        n += 1;
    }
    Ok(n)
}

fn name(n: usize) -> String {
    format!("guest-{n}")
}

/// The processes made in one of them.
fn series(n: usize) -> String {
    format!("podproof_forks_total{{pod=\"{}\",container=\"main\",kind=\"process\"}}", name(n))
}
