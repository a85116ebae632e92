//! securityContext.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use libtest_mimic::Failed;
use nix::mount::{MsFlags, mount, umount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use crate::fixture::{Cell, output, refuse};
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("security::users_and_groups_are_as_asked", users_and_groups_are_as_asked),
    ("security::an_image_cannot_choose_another_user", an_image_cannot_choose_another_user),
    ("security::root_is_refused_where_it_must_not_be", root_is_refused_where_it_must_not_be),
    ("security::capabilities_are_as_asked", capabilities_are_as_asked),
    ("security::a_read_only_root_cannot_be_written", a_read_only_root_cannot_be_written),
    ("security::the_default_filter_refuses_namespaces", the_default_filter_refuses_namespaces),
    ("security::no_new_privileges_are_taken", no_new_privileges_are_taken),
    ("security::a_setuid_program_gains_nothing_then", a_setuid_program_gains_nothing_then),
    ("security::devices_of_an_image_cannot_be_opened", devices_of_an_image_cannot_be_opened),
    (
        "security::odd_personalities_are_refused_by_the_default_filter",
        odd_personalities_are_refused_by_the_default_filter,
    ),
    (
        "security::a_filter_of_the_node_is_found_beside_the_manifest",
        a_filter_of_the_node_is_found_beside_the_manifest,
    ),
    ("security::an_apparmor_profile_of_the_node_is_in_force", an_apparmor_profile_of_the_node_is_in_force),
    ("security::proc_is_masked_unless_it_is_asked_for", proc_is_masked_unless_it_is_asked_for),
    ("security::sysctls_are_the_pod_s", sysctls_are_the_pod_s),
    ("security::names_with_odd_bytes_do_no_harm", names_with_odd_bytes_do_no_harm),
];

fn said(cell: &Cell, script: &str, security: Value) -> Result<String, Failed> {
    let mut container = cell.container("main", script);
    container["securityContext"] = security;
    let mut pod = cell.pod("secure", &[container]);
    pod["spec"]["restartPolicy"] = json!("Never");
    let _code = cell.try_run(&pod, &[])?;
    let _phase = cell.call(&["wait", "secure"])?;
    let text = cell.call(&["logs", "secure"])?;
    cell.clean(&["secure"])?;
    Ok(String::from_utf8(text.stdout)?)
}

fn users_and_groups_are_as_asked() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let security = json!({"runAsUser": 1000, "runAsGroup": 1001});
    expect("id", said(&cell, "id -u; id -g", security)?, "1000\n1001\n".to_owned())?;
    // As /etc/group of the image has it.
    expect("groups", said(&cell, "id -G", json!({"runAsUser": 1000}))?, "1001 1002\n".to_owned())
}

fn an_image_cannot_choose_another_user() -> Result<(), Failed> {
    let cell = Cell::new()?;
    // A name that looks like the number.
    fs::write(
        cell.path().join("rootfs/etc/passwd"),
        "1000:x:0:0::/root:/bin/sh\nroot:x:0:0::/root:/bin/sh\n",
    )?;
    let security = json!({"runAsUser": 1000, "runAsNonRoot": true});
    let script = "sed -n 's/^[UG]id:\\t//p' /proc/self/status";
    expect("ids", said(&cell, script, security)?, "1000\t1000\t1000\t1000\n0\t0\t0\t0\n".to_owned())
}

fn root_is_refused_where_it_must_not_be() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut container = cell.container("main", "id");
    container["securityContext"] = json!({"runAsNonRoot": true});
    let said = cell.refused(&cell.pod("root", &[container]), &[])?;
    if !said.contains("CreateContainerConfigError") || !said.contains("runAsNonRoot") {
        return fail(format!("run says {said:?}"));
    }
    cell.clean(&["root"])
}

fn capabilities_are_as_asked() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "grep CapEff /proc/self/status";
    let bits = |text: &str| u64::from_str_radix(text.split_whitespace().next_back().unwrap_or_default(), 16);
    let (kill, admin) = (1 << 5, 1 << 21);
    let default = bits(&said(&cell, script, json!({}))?)?;
    expect("kill by default", default & kill, kill)?;
    expect("sys_admin by default", default & admin, 0)?;
    let dropped = bits(&said(&cell, script, json!({"capabilities": {"drop": ["ALL"], "add": ["KILL"]}}))?)?;
    expect("only kill", dropped, kill)?;
    let privileged = bits(&said(&cell, script, json!({"privileged": true}))?)?;
    expect("sys_admin of a privileged one", privileged & admin, admin)
}

fn a_read_only_root_cannot_be_written() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "touch /x 2>/dev/null || echo refused; touch /dev/shm/x && echo shm";
    let out = said(&cell, script, json!({"readOnlyRootFilesystem": true}))?;
    expect("output", out, "refused\nshm\n".to_owned())
}

fn the_default_filter_refuses_namespaces() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "unshare -U true 2>/dev/null && echo made || echo refused";
    let filtered = said(&cell, script, json!({"seccompProfile": {"type": "RuntimeDefault"}}))?;
    expect("with the filter", filtered, "refused\n".to_owned())?;
    let free = said(&cell, script, json!({"seccompProfile": {"type": "Unconfined"}}))?;
    expect("without", free, "made\n".to_owned())
}

fn no_new_privileges_are_taken() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "grep NoNewPrivs /proc/self/status";
    let out = said(&cell, script, json!({"allowPrivilegeEscalation": false}))?;
    expect("no_new_privs", out.split_whitespace().next_back(), Some("1"))
}

fn a_setuid_program_gains_nothing_then() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let program = cell.path().join("rootfs/bin/euid");
    fs::copy("/proc/self/exe", &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755))?;
    for (may_gain, wanted) in [(true, "0\n"), (false, "1000\n")] {
        let security = json!({"runAsUser": 1000, "allowPrivilegeEscalation": may_gain});
        let found = said(&cell, &format!("euid {}", crate::EUID), security)?;
        expect(&format!("allowPrivilegeEscalation: {may_gain}"), found.as_str(), wanted)?;
    }
    Ok(())
}

fn devices_of_an_image_cannot_be_opened() -> Result<(), Failed> {
    let cell = Cell::new()?;
    // A serial line, a loop device, and what every container has.
    for (name, kind, major, minor) in
        [("serial", SFlag::S_IFCHR, 4, 64), ("loop", SFlag::S_IFBLK, 7, 0), ("null", SFlag::S_IFCHR, 1, 3)]
    {
        let path = cell.path().join("rootfs/data").join(name);
        mknod(&path, kind, Mode::from_bits_truncate(0o666), makedev(major, minor))?;
    }
    let script = "for name in serial loop null; do \
        head -c 0 /data/$name >/dev/null 2>/tmp/said && echo opened || sed 's/.*: //' /tmp/said; done";
    let refused = "Operation not permitted\n".repeat(2);
    expect("opens", said(&cell, script, json!({}))?, format!("{refused}opened\n"))
}

fn odd_personalities_are_refused_by_the_default_filter() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "linux32 uname -m; linux32 -R uname -m 2>/dev/null || echo refused";
    let filtered = said(&cell, script, json!({"seccompProfile": {"type": "RuntimeDefault"}}))?;
    expect("with the filter", filtered.as_str(), "i686\nrefused\n")?;
    let free = said(&cell, script, json!({}))?;
    expect("without", free.as_str(), "i686\ni686\n")
}

fn a_filter_of_the_node_is_found_beside_the_manifest() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let profile = cell.path().join("profile.json");
    let filter = |calls: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": calls}).to_string();
    let refusal =
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV}]);
    let security = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "profile.json"}});
    let script = "mkdir /tmp/new 2>/tmp/said && echo made || sed 's/.*: //' /tmp/said";
    fs::write(&profile, filter(refusal))?;
    let filtered = said(&cell, script, security.clone())?;
    expect("with the filter", filtered.as_str(), "Invalid cross-device link\n")?;
    fs::write(&profile, filter(json!([])))?;
    expect("with one that allows it", said(&cell, script, security.clone())?.as_str(), "made\n")?;
    fs::remove_file(&profile)?;
    let mut container = cell.container("main", script);
    container["securityContext"] = security;
    let told = cell.refused(&cell.pod("secure", &[container]), &[])?;
    if !told.contains(&format!("localhostProfile: read {}", profile.display())) {
        return fail(format!("run without the profile says {told:?}"));
    }
    cell.clean(&["secure"])
}

/// Lets nobody read /data/secret; what it is made of, and how, is in apparmor.profile.
const PROFILE: (&str, &[u8]) = ("podrt-test", include_bytes!("apparmor.bin"));

/// A profile in the kernel, for as long as this is there.
struct Loaded(PathBuf);

impl Loaded {
    /// Loads it by securityfs, which is mounted at `at` for that moment.
    fn new(at: PathBuf) -> Result<Self, Failed> {
        fs::create_dir(&at)?;
        let loaded = Self(at);
        loaded.write(".load", PROFILE.1)?;
        Ok(loaded)
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<(), Failed> {
        mount(Some("securityfs"), &self.0, Some("securityfs"), MsFlags::empty(), None::<&str>)?;
        let written = fs::write(self.0.join("apparmor").join(file), bytes);
        umount(&self.0)?;
        Ok(written?)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // The test has failed already where there is something to tell.
        _ = self.write(".remove", PROFILE.0.as_bytes());
    }
}

fn an_apparmor_profile_of_the_node_is_in_force() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for name in ["secret", "other"] {
        fs::write(cell.path().join("rootfs/data").join(name), format!("{name}\n"))?;
    }
    let script = "cat /proc/self/attr/apparmor/current; cd /data; cat other; cat secret 2>/tmp/said || sed 's/.*: //' /tmp/said";
    let security = json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": PROFILE.0}});
    let loaded = Loaded::new(cell.path().join("securityfs"))?;
    let confined = said(&cell, script, security.clone())?;
    expect("with the profile", confined.as_str(), "podrt-test (enforce)\nother\nPermission denied\n")?;
    let mut container = cell.container("main", "exec sleep 1000");
    container["securityContext"] = security.clone();
    cell.run(&cell.pod("secure", &[container]), &[])?;
    let exec = cell.ok(&["exec", "secure", "--", "cat", "/proc/self/attr/apparmor/current"])?;
    expect("exec", exec.as_str(), "podrt-test (enforce)\n")?;
    cell.clean(&["secure"])?;
    let free = said(&cell, script, json!({"appArmorProfile": {"type": "Unconfined"}}))?;
    expect("without", free.as_str(), "unconfined\nother\nsecret\n")?;

    drop(loaded);
    let mut container = cell.container("main", script);
    container["securityContext"] = security;
    let _code = cell.try_run(&cell.pod("secure", &[container]), &[])?;
    let text = cell.inspect("secure")?["containers"].to_string();
    if !text.contains("is the profile loaded?") {
        return fail(format!("a profile that is not there: {text}"));
    }
    cell.clean(&["secure"])
}

fn proc_is_masked_unless_it_is_asked_for() -> Result<(), Failed> {
    let cell = Cell::new()?;
    // The domain name belongs to the pod's uts namespace.
    let script = "[ -n \"$(cat /proc/interrupts)\" ] && echo seen || echo masked; \
        (echo x >/proc/sys/kernel/domainname) 2>/dev/null && echo written || echo refused";
    for (form, wanted) in [("Default", "masked\nrefused\n"), ("Unmasked", "seen\nwritten\n")] {
        expect(form, said(&cell, script, json!({"procMount": form}))?.as_str(), wanted)?;
    }
    Ok(())
}

fn sysctls_are_the_pod_s() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let (port, removal) =
        ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/kernel/shm_rmid_forced");
    let before = (fs::read_to_string(port)?, fs::read_to_string(removal)?);
    let container = cell.container("main", &format!("cat {port} {removal}; hostname; cat /etc/hostname"));
    let mut pod = cell.pod("set", &[container]);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["hostname"] = json!("plain");
    pod["spec"]["hostnameOverride"] = json!("name.of.example");
    pod["spec"]["securityContext"]["sysctls"] = json!([
        {"name": "net.ipv4.ip_unprivileged_port_start", "value": "77"},
        {"name": "kernel/shm_rmid_forced", "value": "1"},
    ]);
    cell.run(&pod, &[])?;
    cell.ok(&["wait", "set"])?;
    let wanted = "77\n1\nname.of.example\nname.of.example\n";
    expect("output", cell.logs("set", "main")?.as_str(), wanted)?;
    expect("the node's", (fs::read_to_string(port)?, fs::read_to_string(removal)?), before)?;
    cell.clean(&["set"])?;
    pod["spec"]["securityContext"]["sysctls"][0]["value"] = json!("no number");
    let told = cell.refused(&pod, &[])?;
    if !told.contains("ip_unprivileged_port_start") {
        return fail(format!("run with a value that the kernel refuses says {told:?}"));
    }
    cell.expect_clean()
}

fn names_with_odd_bytes_do_no_harm() -> Result<(), Failed> {
    let cell = Cell::new()?;
    // Each byte but NUL, and the first and last characters of two, three and four.
    let more = ['\u{80}', '\u{7ff}', '\u{800}', '\u{ffff}', '\u{10000}', '\u{10ffff}'];
    let odd: String = ('\u{1}'..='\u{7f}').chain(more).collect();
    let name: String = (' '..='~').filter(|c| *c != '=').collect();
    // With a command behind it, the shell stays what it was executed as.
    let mut container = cell.container("main", "echo here; sleep 1000; true");
    container["args"] = json!([odd]);
    container["env"] = json!([{"name": name, "value": odd}]);
    let mut pod = cell.pod("odd", &[container]);
    pod["metadata"]["annotations"] = json!({"note": odd});
    cell.run(&pod, &[])?;
    cell.until_logged("odd", "main", "here")?;
    let strings = |file: &str| -> Result<Vec<Vec<u8>>, Failed> {
        let bytes = cell.call(&["exec", "odd", "--", "cat", file])?.stdout;
        Ok(bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect())
    };
    let variable = [name.as_bytes(), b"=", odd.as_bytes()].concat();
    let found = strings("/proc/1/environ")?;
    if !found.contains(&variable) {
        return fail(format!("the variable arrived as {found:?}"));
    }
    let found = strings("/proc/1/cmdline")?;
    if !found.contains(&odd.as_bytes().to_vec()) {
        return fail(format!("the argument arrived as {found:?}"));
    }
    expect("annotation", cell.inspect("odd")?["annotations"]["note"].as_str(), Some(odd.as_str()))?;
    for name in ["../x", "A", "a/b", "", "-a", "a\n"] {
        let mut bad = cell.pod("x", &[cell.container("main", "true")]);
        bad["metadata"]["name"] = json!(name);
        let said = cell.refused(&bad, &[])?;
        if !said.contains("metadata.name") {
            return fail(format!("name {name:?}: {said:?}"));
        }
    }
    for bytes in [&b"kind: \xff\n"[..], b"{\"kind\": \"\xc3\"}", b"\xff\xfe{\0}\0", b"kind: \xed\xa0\x80\n"] {
        let run = cell.command("run", &pod, &[])?;
        let manifest = cell.path().join("manifest.json");
        fs::write(&manifest, bytes)?;
        let said = refuse(&output(run)?)?;
        if !said.contains(&format!("read {}", manifest.display())) || !said.contains("valid UTF-8") {
            return fail(format!("a manifest of the bytes {bytes:?}: {said:?}"));
        }
    }
    cell.clean(&["odd"])
}
