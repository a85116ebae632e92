//! podman: containers from a directory and from an image, and pods.

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
    ("confines_what_it_is_told_to", confinement),
    ("connects_containers_by_a_network", network),
    ("runs_a_pod", pod),
];

/// Of every image that the tests make.
const IMAGE: &str = "localhost/busybox";

fn podman(code: i32, args: &[&str]) -> Result<String, Failed> {
    let runtime = runtime();
    let args: Vec<&str> = ["--runtime", &runtime].into_iter().chain(args.iter().copied()).collect();
    ends_with(code, "podman", &args)
}

/// Makes the image if it is not there, runs the test, and fails if it leaves anything.
fn clean(test: impl FnOnce() -> Result<(), Failed>) -> Result<(), Failed> {
    if podman(0, &["images", "--quiet", IMAGE])?.is_empty() {
        podman(0, &["import", &archive()?.display().to_string(), IMAGE])?;
        // What podman makes once and keeps: its own mounts, and the parent of its cgroups.
        podman(0, &["run", "--rm", "--network", "none", IMAGE, "echo"])?;
    }
    let before = Snapshot::take()?;
    let result = test();
    let left = podman(0, &["ps", "--all", "--format", "{{.Names}}"])?;
    podman(0, &["pod", "rm", "--all", "--force", "--time", "0"])?;
    podman(0, &["rm", "--all", "--force", "--time", "0"])?;
    result?;
    expect("the list of containers", left, "")?;
    before.expect_nothing_new()
}

fn inspect(name: &str, format: &str) -> Result<String, Failed> {
    Ok(podman(0, &["inspect", "--format", format, name])?.trim_end().to_owned())
}

fn pid(name: &str) -> Result<String, Failed> {
    inspect(name, "{{.State.Pid}}")
}

fn remove(name: &str) -> Result<(), Failed> {
    podman(0, &["rm", "--force", "--time", "0", name]).map(drop)
}

fn root_file_system() -> Result<(), Failed> {
    clean(|| {
        let root = rootfs()?.display().to_string();
        let script = "echo $0 $$; echo oops >&2; exit 7";
        let args = ["run", "--rm", "--network", "none", "--rootfs", &root, "/bin/sh", "-c", script, "name"];
        expect("the output", podman(7, &args)?, "name 1")
    })
}

fn image() -> Result<(), Failed> {
    clean(|| {
        let args = [
            "run",
            "--rm",
            "--network",
            "none",
            "--env",
            "COLOUR=blue",
            "--workdir",
            "/tmp",
            "--hostname",
            "box",
            IMAGE,
            "sh",
            "-c",
            "echo $COLOUR; pwd; hostname; id -u",
        ];
        expect("the output", podman(0, &args)?, "blue\n/tmp\nbox\n0")?;
        // 127 is how engines tell a program that is not there from one that fails.
        podman(127, &["run", "--rm", "--network", "none", IMAGE, "/no/such/program"]).map(drop)
    })
}

fn exec() -> Result<(), Failed> {
    clean(|| {
        podman(0, &["run", "--detach", "--name", "c", "--network", "none", IMAGE, "sleep", "1000"])?;
        let script = "echo $COLOUR; pwd; id -u; id -g; cat /proc/1/cmdline; exit 5";
        let args =
            ["exec", "--env", "COLOUR=red", "--workdir", "/etc", "--user", "12:34", "c", "sh", "-c", script];
        expect("the output", podman(5, &args)?, "red\n/etc\n12\n34\nsleep\u{0}1000\u{0}")?;
        let inside = podman(0, &["exec", "c", "cat", "/proc/self/cgroup"])?;
        expect("the cgroup, seen from inside", inside, "0::/")?;
        let said = podman(0, &["exec", "--tty", "c", "tty"])?;
        expect("the terminal", said, "/dev/pts/0")?;
        podman(127, &["exec", "c", "/no/such/program"])?;
        remove("c")
    })
}

fn terminal() -> Result<(), Failed> {
    clean(|| {
        let said =
            podman(0, &["run", "--rm", "--tty", "--network", "none", IMAGE, "sh", "-c", "tty; [ -t 1 ]"])?;
        expect("the terminal", said, "/dev/pts/0")
    })
}

fn limits() -> Result<(), Failed> {
    clean(|| {
        podman(
            0,
            &[
                "run",
                "--detach",
                "--name",
                "c",
                "--network",
                "none",
                "--memory",
                "64m",
                "--memory-swap",
                "96m",
                "--cpus",
                "0.5",
                "--cpuset-cpus",
                "1",
                "--pids-limit",
                "50",
                IMAGE,
                "sleep",
                "1000",
            ],
        )?;
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
        podman(0, &["update", "--memory", "128m", "c"])?;
        expect("memory.max after an update", cgroup_file(&pid, "memory.max")?, "134217728")?;
        remove("c")?;
        // It keeps the last line, which never ends.
        podman(
            137,
            &["run", "--name", "c", "--network", "none", "--memory", "16m", IMAGE, "tail", "/dev/zero"],
        )?;
        expect("OOMKilled", inspect("c", "{{.State.OOMKilled}}")?, "true")?;
        remove("c")
    })
}

fn pause() -> Result<(), Failed> {
    clean(|| {
        podman(0, &["run", "--detach", "--name", "c", "--network", "none", IMAGE, "sleep", "1000"])?;
        let frozen = cgroup_of(&pid("c")?)?.join("cgroup.events");
        let is_frozen = || Ok::<_, Failed>(std::fs::read_to_string(&frozen)?.contains("frozen 1"));
        podman(0, &["pause", "c"])?;
        expect("the status", inspect("c", "{{.State.Status}}")?, "paused")?;
        if !is_frozen()? {
            return fail("a paused container is not frozen");
        }
        podman(0, &["unpause", "c"])?;
        expect("the status", inspect("c", "{{.State.Status}}")?, "running")?;
        if is_frozen()? {
            return fail("a container is still frozen");
        }
        let top = podman(0, &["top", "c", "args"])?;
        expect("top", top, "COMMAND\nsleep 1000")?;
        remove("c")
    })
}

fn stop() -> Result<(), Failed> {
    clean(|| {
        // Once it says so, the signal meets the trap.
        let script = "trap 'echo bye; exit 3' TERM; echo ready; sleep 1000 & wait";
        podman(0, &["run", "--detach", "--name", "c", "--network", "none", IMAGE, "sh", "-c", script])?;
        until("ready", || podman(0, &["logs", "c"]))?;
        podman(0, &["stop", "--time", "60", "c"])?;
        expect("the exit code", inspect("c", "{{.State.ExitCode}}")?, "3")?;
        expect("the log", podman(0, &["logs", "c"])?, "ready\nbye")?;
        podman(0, &["start", "c"])?;
        podman(0, &["kill", "--signal", "KILL", "c"])?;
        expect("the code of wait", podman(0, &["wait", "c"])?, "137")?;
        podman(0, &["rm", "c"]).map(drop)
    })
}

fn confinement() -> Result<(), Failed> {
    clean(|| {
        let script = "touch /file 2>/dev/null || echo read-only; touch /scratch/file && echo scratch; \
                      cat /host/page; touch /host/file 2>/dev/null || echo host read-only; \
                      ulimit -n; id -u; id -G; cat /proc/sys/net/ipv4/ip_forward; \
                      while read -r name value; do case $name in CapEff:|NoNewPrivs:|Seccomp:) echo $name $value;; esac; \
                      done < /proc/self/status";
        let said = podman(
            0,
            &[
                "run",
                "--rm",
                "--network",
                "none",
                "--read-only",
                "--tmpfs",
                "/scratch",
                "--volume",
                "/run/busybox/www:/host:ro",
                "--ulimit",
                "nofile=100:200",
                "--user",
                "5:6",
                "--group-add",
                "7",
                "--cap-drop",
                "all",
                "--security-opt",
                "no-new-privileges",
                "--sysctl",
                "net.ipv4.ip_forward=1",
                "--init",
                IMAGE,
                "sh",
                "-c",
                script,
            ],
        )?;
        let should = "read-only\nscratch\nserved\nhost read-only\n100\n5\n6 7\n1\n\
                      CapEff: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2";
        expect("the output", said, should)
    })
}

fn network() -> Result<(), Failed> {
    clean(|| {
        // Made once and kept: the bridge, and the rules of its network.
        podman(0, &["run", "--detach", "--name", "server", IMAGE, "httpd", "-f", "-p", "80", "-h", "/www"])?;
        let address = inspect("server", "{{.NetworkSettings.IPAddress}}")?;
        let url = format!("http://{address}/page");
        // Served as soon as the socket listens, which nothing tells from outside.
        let script = format!("until wget -qO- {url} 2>/dev/null; do :; done");
        let page = podman(0, &["run", "--rm", IMAGE, "sh", "-c", &script])?;
        expect("the page", page, "served")?;
        remove("server")
    })
}

fn pod() -> Result<(), Failed> {
    clean(|| {
        podman(
            0,
            &[
                "pod",
                "create",
                "--name",
                "p",
                "--network",
                "none",
                "--share",
                "net,ipc,uts,pid",
                "--infra-name",
                "infra",
                "--infra-image",
                IMAGE,
                "--infra-command",
                "sleep 1000",
            ],
        )?;
        for name in ["a", "b"] {
            podman(0, &["run", "--detach", "--pod", "p", "--name", name, IMAGE, "sleep", "1000"])?;
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
        let parent = |pid: &str| Ok::<_, Failed>(cgroup_of(pid)?.parent().map(std::path::Path::to_owned));
        if parent(&a)? != parent(&b)? {
            return fail("the cgroups of a pod's containers have no parent in common");
        }
        podman(0, &["exec", "a", "kill", "-0", "1"])?;
        podman(0, &["pod", "stop", "--time", "0", "p"])?;
        expect("the status", inspect("a", "{{.State.Status}}")?, "exited")?;
        podman(0, &["pod", "start", "p"])?;
        podman(0, &["pod", "rm", "--force", "--time", "0", "p"]).map(drop)
    })
}
