//! podman: containers from a directory and from an image, and pods.

use std::fs;

use libtest_mimic::Failed;

use crate::machine::{
    Snapshot, archive, cgroup_file, cgroup_of, ends_with, expect, namespace, rootfs, runtime, until,
};
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("runs_a_root_file_system_and_gives_output_and_code", root_file_system),
    ("runs_an_image_with_its_settings", image),
    ("executes_in_a_container", exec),
    ("gives_a_terminal", terminal),
    ("sets_and_changes_limits", limits),
    ("pauses_and_shows_processes", pause),
    ("stops_by_signal_and_starts_again", stop),
    ("confines_as_it_is_told", confinement),
    ("connects_containers_by_a_network", network),
    ("runs_a_pod", pod),
];

/// Of every container that the tests make.
const IMAGE: &str = "localhost/busybox";

/// Runs podman with the words of a line and some more, which may have spaces; it must end with this code.
fn podman(code: i32, line: &str, more: &[&str]) -> Result<String, Failed> {
    let runtime = runtime();
    let words = ["--runtime", &runtime].into_iter().chain(line.split_whitespace());
    ends_with(code, "podman", &words.chain(more.iter().copied()).collect::<Vec<_>>())
}

/// Makes the image if it is not there, runs the test, and fails if it leaves anything.
fn clean(test: impl FnOnce() -> Result<(), Failed>) -> Result<(), Failed> {
    if podman(0, "images --quiet", &[IMAGE])?.is_empty() {
        podman(0, "import", &[&archive()?.display().to_string(), IMAGE])?;
        // podman makes some things once and keeps them: mounts, the bridge of its network, the parent of its cgroups.
        podman(0, "run --rm", &[IMAGE, "echo"])?;
    }
    let before = Snapshot::take()?;
    let result = test();
    let left = podman(0, "ps --all --format {{.Names}}", &[])?;
    podman(0, "pod rm --all --force --time 0", &[])?;
    podman(0, "rm --all --force --time 0", &[])?;
    result?;
    expect("the list of containers", left, "")?;
    before.expect_nothing_new()
}

/// Starts a container that sleeps.
fn sleeper(name: &str, options: &str) -> Result<(), Failed> {
    podman(0, &format!("run --detach --network none --name {name} {options} {IMAGE} sleep 1000"), &[])
        .map(drop)
}

fn inspect(name: &str, format: &str) -> Result<String, Failed> {
    Ok(podman(0, "inspect --format", &[format, name])?.trim_end().to_owned())
}

fn pid(name: &str) -> Result<String, Failed> {
    inspect(name, "{{.State.Pid}}")
}

fn remove(name: &str) -> Result<(), Failed> {
    podman(0, "rm --force --time 0", &[name]).map(drop)
}

fn root_file_system() -> Result<(), Failed> {
    clean(|| {
        let root = rootfs()?.display().to_string();
        let script = "echo $0 $$; echo oops >&2; exit 7";
        let said = podman(7, "run --rm --network none --rootfs", &[&root, "/bin/sh", "-c", script, "name"])?;
        expect("the output", said, "name 1")
    })
}

fn image() -> Result<(), Failed> {
    clean(|| {
        let options = "run --rm --network none --env COLOUR=blue --workdir /tmp --hostname box";
        let said = podman(0, options, &[IMAGE, "sh", "-c", "echo $COLOUR; pwd; hostname; id -u"])?;
        expect("the output", said, "blue\n/tmp\nbox\n0")?;
        // 127 is how engines tell a program that is not there from one that fails.
        podman(127, "run --rm --network none", &[IMAGE, "/no/such/program"]).map(drop)
    })
}

fn exec() -> Result<(), Failed> {
    clean(|| {
        sleeper("c", "")?;
        let script = "echo $COLOUR; pwd; id -u; id -g; cat /proc/1/cmdline; exit 5";
        let options = "exec --env COLOUR=red --workdir /etc --user 12:34 c";
        let said = podman(5, options, &["sh", "-c", script])?;
        expect("the output", said, "red\n/etc\n12\n34\nsleep\u{0}1000\u{0}")?;
        let said = podman(0, "exec c cat /proc/self/cgroup", &[])?;
        expect("the cgroup, seen from inside", said, "0::/")?;
        expect("the terminal", podman(0, "exec --tty c tty", &[])?, "/dev/pts/0")?;
        podman(127, "exec c /no/such/program", &[])?;
        remove("c")
    })
}

fn terminal() -> Result<(), Failed> {
    clean(|| {
        let said = podman(0, "run --rm --tty --network none", &[IMAGE, "sh", "-c", "tty; [ -t 1 ]"])?;
        expect("the terminal", said, "/dev/pts/0")
    })
}

fn limits() -> Result<(), Failed> {
    clean(|| {
        sleeper("c", "--memory 64m --memory-swap 96m --cpus 0.5 --cpuset-cpus 1 --pids-limit 50")?;
        let pid = pid("c")?;
        for (file, value) in [
            ("memory.max", "67108864"),
            ("memory.swap.max", "33554432"),
            ("cpu.max", "50000 100000"),
            ("cpuset.cpus", "1"),
            ("pids.max", "50"),
        ] {
            expect(file, cgroup_file(&pid, file)?, value)?;
        }
        podman(0, "update --memory 128m c", &[])?;
        expect("memory.max after an update", cgroup_file(&pid, "memory.max")?, "134217728")?;
        remove("c")?;
        // It keeps the last line, which never ends.
        podman(137, "run --name c --network none --memory 16m", &[IMAGE, "tail", "/dev/zero"])?;
        remove("c")
    })
}

fn pause() -> Result<(), Failed> {
    clean(|| {
        sleeper("c", "")?;
        let events = cgroup_of(&pid("c")?)?.join("cgroup.events");
        let frozen = || Ok::<_, Failed>(fs::read_to_string(&events)?.contains("frozen 1"));
        podman(0, "pause c", &[])?;
        expect("the status", inspect("c", "{{.State.Status}}")?, "paused")?;
        expect("frozen", frozen()?.to_string(), "true")?;
        podman(0, "unpause c", &[])?;
        expect("the status", inspect("c", "{{.State.Status}}")?, "running")?;
        expect("frozen", frozen()?.to_string(), "false")?;
        expect("the processes", podman(0, "top c args", &[])?, "COMMAND\nsleep 1000")?;
        remove("c")
    })
}

fn stop() -> Result<(), Failed> {
    clean(|| {
        let script = "trap 'echo bye; exit 3' TERM; echo ready; sleep 1000 & wait";
        podman(0, "run --detach --name c --network none", &[IMAGE, "sh", "-c", script])?;
        until("ready", || podman(0, "logs c", &[]))?;
        podman(0, "stop --time 60 c", &[])?;
        expect("the exit code", inspect("c", "{{.State.ExitCode}}")?, "3")?;
        expect("the log", podman(0, "logs c", &[])?, "ready\nbye")?;
        podman(0, "start c", &[])?;
        podman(0, "kill --signal KILL c", &[])?;
        expect("the code that it ended with", podman(0, "wait c", &[])?, "137")?;
        podman(0, "rm c", &[]).map(drop)
    })
}

fn confinement() -> Result<(), Failed> {
    clean(|| {
        let script = "touch /file 2>/dev/null || echo read-only; touch /scratch/file && echo scratch; \
                      cat /host/page; touch /host/file 2>/dev/null || echo host read-only; \
                      ulimit -n; id -u; id -G; cat /proc/sys/net/ipv4/ip_forward; \
                      while read -r name value; do \
                      case $name in CapEff:|NoNewPrivs:|Seccomp:) echo $name $value;; esac; \
                      done < /proc/self/status";
        let options = "run --rm --network none --read-only --tmpfs /scratch --volume /run/busybox/www:/host:ro \
                       --ulimit nofile=100:200 --user 5:6 --group-add 7 --cap-drop all \
                       --security-opt no-new-privileges --sysctl net.ipv4.ip_forward=1 --init";
        let said = podman(0, options, &[IMAGE, "sh", "-c", script])?;
        let should = "read-only\nscratch\nserved\nhost read-only\n100\n5\n6 7\n1\n\
                      CapEff: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2";
        expect("the output", said, should)
    })
}

fn network() -> Result<(), Failed> {
    clean(|| {
        podman(0, &format!("run --detach --name server {IMAGE} httpd -f -p 80 -h /www"), &[])?;
        let address = inspect("server", "{{.NetworkSettings.IPAddress}}")?;
        // Nothing outside tells when the server listens.
        let script = format!("until wget -qO- http://{address}/page 2>/dev/null; do :; done");
        let page = podman(0, "run --rm", &[IMAGE, "sh", "-c", &script])?;
        expect("the page", page, "served")?;
        remove("server")
    })
}

fn pod() -> Result<(), Failed> {
    clean(|| {
        // The cgroup that podman 4.3 makes for a pod without systemd denies all devices: no runtime can make /dev/null
        // in it. So the containers of this pod have no parent in common.
        let options = format!(
            "pod create --name p --network none --share net,ipc,uts,pid --share-parent=false \
             --infra-name infra --infra-image {IMAGE} --infra-command"
        );
        podman(0, &options, &["sleep 1000"])?;
        for name in ["a", "b"] {
            podman(0, &format!("run --detach --pod p --name {name} {IMAGE} sleep 1000"), &[])?;
        }
        let (infra, a, b) = (pid("infra")?, pid("a")?, pid("b")?);
        for shared in ["net", "ipc", "uts", "pid"] {
            let name = namespace(&infra, shared)?;
            expect("the namespace of a", namespace(&a, shared)?, &name)?;
            expect("the namespace of b", namespace(&b, shared)?, &name)?;
        }
        if namespace(&a, "mnt")? == namespace(&b, "mnt")? {
            return fail("two containers of a pod have one mount namespace");
        }
        expect("PID 1 as a sees it", podman(0, "exec a cat /proc/1/cmdline", &[])?, "sleep\u{0}1000\u{0}")?;
        podman(0, "pod stop --time 0 p", &[])?;
        expect("the status", inspect("a", "{{.State.Status}}")?, "exited")?;
        podman(0, "pod start p", &[])?;
        expect("the status", inspect("b", "{{.State.Status}}")?, "running")?;
        podman(0, "pod rm --force --time 0 p", &[]).map(drop)
    })
}
