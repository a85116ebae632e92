//! NET-04: a port that one container has is taken for its siblings.

use podproof_ebpf::event::NsKind;
use podproof_witness::Command;

use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::tcp;
use crate::observe::witness::refusable;

const REQUIREMENT: Requirement = Requirement {
    id: "NET-04",
    name: "a_port_is_taken_for_the_whole_pod",
    level: Level::Must,
    statement: "A port bound by one container is taken for its siblings (EADDRINUSE).",
    source: "Kubernetes concepts/workloads/pods#pod-networking; bind(2)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox with its lo up, and the containers a, b and c in its network namespace. a listens on a free \
               port of 127.0.0.1; then b and c try to listen on the same one.",
    inside: "b and c get EADDRINUSE.",
    // No hook tells of a refused bind: what stands in the way of it is read from the kernel's tables.
    kernel: "The TCP table of each container's network namespace has exactly one socket that listens on that port; it \
             is a descriptor of a, and of neither b nor c; all three programs were executed in one network namespace.",
    defects: &[
        (
            "net-04-bind-refused",
            "the third container that joins is alone in a network namespace, where a filter refuses every bind",
        ),
        ("net-04-last-one-alone", "the third container that joins gets a network namespace of its own"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

const SIBLINGS: [&str; 2] = ["b", "c"];

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(false, &["a", "b", "c"])?;
    let timeout = cell.deadline(10.0);
    let listen = |port: u16| Command::HttpServe { port, body: String::new() };
    let mut evidence = Evidence::default();
    let mut holder = 0;
    let mut port = 0;
    for member in &mut pod.members {
        let answer = refusable(member.witness()?.ask_as::<u16>(listen(port), timeout))?;
        let source = format!("witness {}: bind(2) and listen(2) on 127.0.0.1:{port}", member.name);
        if member.name == "a" {
            port = answer.map_err(|errno| {
                Obstacle::Runtime(format!("a cannot listen on localhost (errno {errno})"))
            })?;
            holder = member.outer_pid();
        } else {
            evidence.inside(&format!("errno.{}", member.name), answer.err().unwrap_or(0), source);
        }
    }
    for member in &pod.members {
        let (name, pid) = (&member.name, member.outer_pid());
        let table = super::tcp_table(pid)?;
        let listening: Vec<u64> = tcp::listening(&table, port).map(|socket| socket.inode).collect();
        let own = listening.iter().filter(|inode| tcp::holds(pid, **inode)).count();
        let of_a = listening.iter().filter(|inode| tcp::holds(holder, **inode)).count();
        let source = format!("/proc/{pid}/net/tcp, sockets that listen on port {port}, read on the node");
        evidence.kernel(&format!("listening.{name}"), listening.len(), source);
        let source = format!("/proc/{holder}/fd and /proc/{pid}/fd, against these sockets");
        evidence.kernel(&format!("of_a.{name}"), of_a, source.clone());
        evidence.kernel(&format!("own.{name}"), own, source);
    }
    let trace = cell.trace()?;
    for member in &pod.members {
        facts::kernel_ns(&mut evidence, &trace, member, NsKind::Net);
    }
    facts::keep_entries(&mut evidence, &trace);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let mut all = Finding::new(true, "", "");
    for name in SIBLINGS {
        let errno = side.number(&format!("errno.{name}"))?;
        let observed =
            if errno == 0 { "can listen on it too".to_owned() } else { format!("gets errno {errno}") };
        let holds = errno == u64::from(libc::EADDRINUSE.unsigned_abs());
        all = all.and(Finding::new(holds, format!("{name} gets EADDRINUSE"), format!("{name} {observed}")));
    }
    Ok(all)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let mut all = facts::all_equal(side, "network namespace", &["net.a", "net.b", "net.c"])?;
    for name in ["a", "b", "c"] {
        let number = |what: &str| side.number(&format!("{what}.{name}"));
        let (listening, of_a, own) = (number("listening")?, number("of_a")?, number("own")?);
        let expected = format!("one listening socket in the table of {name}, and it is a's");
        let observed =
            format!("{listening} listening in the table of {name}, {of_a} of them a's and {own} its own");
        let holds = listening == 1 && of_a == 1 && (own == 0 || name == "a");
        all = all.and(Finding::new(holds, expected, observed));
    }
    Ok(all)
}
