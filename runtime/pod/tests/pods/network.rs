//! Addresses, links and who reaches whom.

use std::fs;
use std::path::Path;

use libtest_mimic::Failed;
use serde_json::json;

use crate::fixture::Cell;
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("network::without_one_there_is_loopback", without_one_there_is_loopback),
    ("network::two_pods_reach_each_other", two_pods_reach_each_other),
    ("network::the_longest_name_has_an_address", the_longest_name_has_an_address),
    ("network::the_node_s_is_the_node_s", the_node_s_is_the_node_s),
];

const BRIDGE: &str = "bridge:pt0,10.213.7.0/24";

fn without_one_there_is_loopback() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "ls /sys/class/net; ping -c 1 -W 5 127.0.0.1 >/dev/null && echo up";
    let mut pod = cell.pod("alone", &[cell.container("main", script)]);
    pod["spec"]["restartPolicy"] = json!("Never");
    cell.run(&pod, &[])?;
    cell.ok(&["wait", "alone"])?;
    expect("output", cell.logs("alone", "main")?, "lo\nup\n".to_owned())?;
    cell.clean(&["alone"])
}

fn two_pods_reach_each_other() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let server = "mkdir /www; echo hello > /www/index.html; echo ready; exec httpd -f -p 80 -h /www";
    cell.run(&cell.pod("server", &[cell.container("main", server)]), &["--network", BRIDGE])?;
    let document = cell.inspect("server")?;
    let address = document["podIP"].as_str().unwrap_or_default().to_owned();
    if !address.starts_with("10.213.7.") {
        return fail(format!("the address is {address:?}"));
    }
    cell.until_logged("server", "main", "ready")?;
    let client = format!("while ! wget -q -O - http://{address}/; do sleep 0.1; done");
    let mut pod = cell.pod("client", &[cell.container("main", &client)]);
    pod["spec"]["restartPolicy"] = json!("Never");
    cell.run(&pod, &["--network", BRIDGE])?;
    cell.ok(&["wait", "client"])?;
    expect("answer", cell.logs("client", "main")?, "hello\n".to_owned())?;
    let hosts = cell.ok(&["exec", "server", "--", "cat", "/etc/hosts"])?;
    if !hosts.contains(&format!("{address}\tserver")) {
        return fail(format!("/etc/hosts is {hosts:?}"));
    }
    if !Path::new("/sys/class/net/pt0").exists() {
        return fail("there is no bridge");
    }
    cell.clean(&["server", "client"])
}

fn the_longest_name_has_an_address() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let name = format!("{0}.{0}.{0}.{1}", "x".repeat(63), "y".repeat(61));
    cell.run(&cell.pod(&name, &[cell.container("main", "exec sleep 1000")]), &["--network", BRIDGE])?;
    let address = cell.inspect(&name)?["podIP"].as_str().unwrap_or_default().to_owned();
    if !address.starts_with("10.213.7.") {
        return fail(format!("the address is {address:?}"));
    }
    expect("gc", cell.ok(&["gc"])?, String::new())?;
    let seen = cell.ok(&["exec", &name, "--", "ip", "-o", "-4", "address", "show", "eth0"])?;
    if !seen.contains(&address) {
        return fail(format!("eth0 has {seen:?} instead of {address}"));
    }
    cell.clean(&[&name])?;
    // Without its pod, it is a remainder.
    let lease = cell.root().join("network");
    cell.run(&cell.pod(&name, &[cell.container("main", "exec sleep 1000")]), &["--network", BRIDGE])?;
    let files = || fs::read_dir(&lease).map_or(0, Iterator::count);
    expect("leases", files(), 1)?;
    let kept = lease.join(".kept");
    let file = fs::read_dir(&lease)?.next().ok_or("no lease")??.path();
    fs::copy(&file, &kept)?;
    cell.ok(&["rm", "--force", &name])?;
    fs::rename(&kept, &file)?;
    let said = cell.ok(&["gc"])?;
    if !said.contains("the pod is gone") {
        return fail(format!("gc says {said:?}"));
    }
    expect("leases", files(), 0)?;
    cell.expect_clean()
}

fn the_node_s_is_the_node_s() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "ls -l /proc/self/ns/net; echo $HOSTNAME; cat /etc/hostname; hostname";
    let mut pod = cell.pod("node", &[cell.container("main", script)]);
    pod["spec"]["hostNetwork"] = json!(true);
    pod["spec"]["hostname"] = json!("no-use");
    pod["spec"]["restartPolicy"] = json!("Never");
    cell.run(&pod, &[])?;
    cell.ok(&["wait", "node"])?;
    let text = cell.logs("node", "main")?;
    let own = fs::read_link("/proc/self/ns/net")?;
    let name = fs::read_to_string("/proc/sys/kernel/hostname")?;
    if !text.contains(&own.display().to_string()) || !text.ends_with(&name.repeat(3)) {
        return fail(format!("found {text:?}, wanted {} and {name}", own.display()));
    }
    cell.clean(&["node"])
}
