//! Machines whose command ends by itself.

use libtest_mimic::Failed;
use vm_images::{Accel, Engine, Event, Outcome, PORTS_DIR, RECORDS_PORT, VmError};

use crate::machine::{Site, run};

pub(crate) fn exit_code_and_output_arrive(site: &Site) -> Result<(), Failed> {
    let mut vm = site.script("printf 'a\\377\\000b\\n'; printf 'no newline' >&2; echo \"$ANSWER\"; echo $PODPROOF_DEADLINE_FACTOR; exit 42")?;
    vm.env.push(("ANSWER".to_owned(), "6 * 7".to_owned()));
    let ended = run(&vm)?;
    ended.check("exit code 42", ended.report.outcome == Outcome::Exited { code: 42 })?;
    ended.check("status 42", ended.report.outcome.exit_status() == 42)?;
    let expected =
        [b"a\xff\0b\n6 * 7\n".as_slice(), format!("{:.3}\n", ended.report.deadline_factor).as_bytes()]
            .concat();
    ended.check("exact bytes on stdout", ended.seen.stdout == expected)?;
    ended.check("exact bytes on stderr", ended.seen.stderr == b"no newline")?;
    let kernel = ended.report.kernel.clone().unwrap_or_default();
    ended.check(
        "the kernel that was asked for",
        kernel.starts_with(&site.series) && kernel == vm.kernel.version(),
    )?;
    let fell_back =
        ended.seen.events.iter().any(|event| matches!(event, Event::Engine { reason: Some(_), .. }));
    ended.check("KVM, or a reason why not", ended.report.engine == Engine::Kvm || fell_back)
}

pub(crate) fn records_are_whole_and_in_order(site: &Site) -> Result<(), Failed> {
    const N_RECORDS: usize = 500_000;
    let vm = site.script(&format!("seq 1 {N_RECORDS} > {PORTS_DIR}/{RECORDS_PORT}"))?;
    let ended = run(&vm)?;
    ended.check("exit code 0", ended.report.outcome == Outcome::Exited { code: 0 })?;
    ended.check(
        "the number of records",
        ended.seen.records.len() == N_RECORDS && ended.report.n_records == N_RECORDS as u64,
    )?;
    let in_order = ended
        .seen
        .records
        .iter()
        .zip(1_usize..)
        .all(|(record, number)| *record == number.to_string().into_bytes());
    ended.check("records in order", in_order && !ended.report.has_torn_record)
}

pub(crate) fn torn_record_is_dropped(site: &Site) -> Result<(), Failed> {
    let vm = site.script(&format!("printf 'whole\\ntorn' > {PORTS_DIR}/{RECORDS_PORT}"))?;
    let ended = run(&vm)?;
    ended.check("one record", ended.seen.records == [b"whole".to_vec()] && ended.report.has_torn_record)
}

pub(crate) fn signal_of_the_command(site: &Site) -> Result<(), Failed> {
    let ended = run(&site.script("kill -9 $$")?)?;
    ended.check("signal 9", ended.report.outcome == Outcome::Killed { signal: 9 })?;
    ended.check("status 137", ended.report.outcome.exit_status() == 137)
}

/// What container runtimes need of their host.
pub(crate) fn guest_is_furnished(site: &Site) -> Result<(), Failed> {
    let vm = site.script(
        r#"set -e
        for controller in cpu cpuset io memory pids; do grep -qw $controller /sys/fs/cgroup/cgroup.subtree_control; done
        for mount in 'tmpfs / ' 'cgroup2 /sys/fs/cgroup' 'bpf /sys/fs/bpf' 'mqueue /dev/mqueue' 'devpts /dev/pts'; do
            awk '{ print $3, $2, "" }' /proc/mounts | grep -q "^$mount"
        done
        grep -q ' / / .* shared:' /proc/self/mountinfo
        ip link show lo | grep -q UP
        test "$(hostname)" = podproof
        test -L /dev/virtio-ports/podproof.control
        test ! -e /podproof/modules/00* && test ! -e /init
        mkdir -p /new/old && mount -t tmpfs none /new && mkdir /new/old
        unshare -m sh -c 'mount --make-rprivate / && pivot_root /new /new/old'
        (sleep 0 &) ; sleep 1
        test -z "$(grep -l '^State:.Z' /proc/[0-9]*/status)"
        "#,
    )?;
    let ended = run(&vm)?;
    ended.check("every step works", ended.report.outcome == Outcome::Exited { code: 0 })
}

pub(crate) fn demanded_kvm_works_or_fails_loudly(site: &Site) -> Result<(), Failed> {
    let mut vm = site.script("true")?;
    vm.accel = Accel::Kvm;
    let mut seen = crate::machine::Seen::default();
    match vm.run(&mut seen) {
        Ok(report) if report.engine == Engine::Kvm => Ok(()),
        Err(error @ VmError::Kvm { .. }) if error.to_string().contains("--accel tcg") => Ok(()),
        other => Err(format!("expected KVM or its absence, not {other:?}").into()),
    }
}
