//! NET-02: the containers of a pod reach each other on localhost.

use podproof_ebpf::event::NsKind;
use podproof_witness::Command;
use serde::Deserialize;

use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::tcp;
use crate::observe::witness::refusable;

const REQUIREMENT: Requirement = Requirement {
    id: "NET-02",
    name: "localhost_reaches_the_other_container",
    level: Level::Must,
    statement: "A server in one container answers on localhost to another container of the pod.",
    source: "Kubernetes concepts/workloads/pods#pod-networking",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox, whose lo the suite brings up as a network plugin would, and the containers a and b in its \
               network namespace. a serves HTTP on 127.0.0.1, b asks for a page.",
    inside: "b receives the page that a serves.",
    kernel: "While the connection is open: the TCP table of each container's network namespace has both ends, \
             established; the socket of one end is a descriptor of a and that of the other a descriptor of b; and \
             both programs were executed in one network namespace.",
    defects: &[("net-02-fresh-netns", "a joining container is put into a fresh network namespace by path")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// What a serves.
const BODY: &str = "the page of container a";

/// What `http_get` answers.
#[derive(Debug, Default, Deserialize)]
struct Got {
    errno: i32,
    #[serde(default)]
    body: String,
    #[serde(default)]
    local_port: u16,
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(false, &["a", "b"])?;
    let timeout = cell.deadline(10.0);
    let [a, b] = exactly(&mut pod.members)?;
    // Without its address lo gives no place to listen on: that is seen inside, and no failure of the witness.
    let serve = Command::HttpServe { port: 0, body: BODY.to_owned() };
    let listening = refusable(a.witness()?.ask_as::<u16>(serve, timeout))?;
    let port = listening.unwrap_or(0);
    let got = match listening {
        Ok(port) => refusable(b.witness()?.ask_as::<Got>(Command::HttpGet { port }, timeout))?,
        Err(_) => Ok(Got::default()),
    };
    let got = got.unwrap_or_else(|errno| Got { errno, ..Got::default() });

    let mut evidence = Evidence::default();
    evidence.inside("listen.errno", listening.err().unwrap_or(0), "witness a: bind(2) to 127.0.0.1");
    evidence.inside("get.errno", got.errno, "witness b: connect(2) to 127.0.0.1");
    evidence.inside("get.body", got.body, "witness b: the answer that it received");
    for (name, pid) in [("a", a.pid), ("b", b.pid)] {
        let table = super::tcp_table(pid)?;
        let server = tcp::established(&table, port, got.local_port);
        let client = tcp::established(&table, got.local_port, port);
        let source = format!("/proc/{pid}/net/tcp, {name}'s network namespace, read on the node");
        evidence.kernel(&format!("both_ends.{name}"), server.is_some() && client.is_some(), source);
        let own = if name == "a" { server } else { client };
        let source = format!("/proc/{pid}/fd, against the inode in /proc/{pid}/net/tcp");
        let held = own.is_some_and(|socket| tcp::holds(pid, socket.inode));
        evidence.kernel(&format!("own_end.{name}"), held, source);
    }
    let trace = cell.trace()?;
    for member in &pod.members {
        facts::kernel_ns(&mut evidence, &trace, member, NsKind::Net);
    }
    facts::keep_entries(&mut evidence, &trace);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (listen, get, body) =
        (side.signed("listen.errno")?, side.signed("get.errno")?, side.text("get.body")?);
    let observed = match (listen, get) {
        (0, 0) => format!("b received {body:?}"),
        (0, errno) => format!("b could not connect (errno {errno})"),
        (errno, _) => format!("a could not listen on 127.0.0.1 (errno {errno})"),
    };
    let holds = listen == 0 && get == 0 && body == BODY;
    Ok(Finding::new(holds, format!("b receives {BODY:?} from 127.0.0.1"), observed))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let one = facts::all_equal(side, "network namespace", &["net.a", "net.b"])?;
    let (in_a, in_b) = (side.flag("both_ends.a")?, side.flag("both_ends.b")?);
    let (server, client) = (side.flag("own_end.a")?, side.flag("own_end.b")?);
    let holds = in_a && in_b && server && client;
    let observed = if holds {
        "both ends in both tables, one held by a and one by b".to_owned()
    } else {
        format!(
            "both ends in the table of a: {in_a}, of b: {in_b}; a holds the server's: {server}, b the client's: \
             {client}"
        )
    };
    let expected = "an established connection with both ends in one namespace, one held by a and one by b";
    Ok(one.and(Finding::new(holds, expected, observed)))
}
