//! QEMU's command line, as a function of what the machine shall be. Nothing here runs anything.
//!
//! The choices are measured: machine `pc` with its firmware, an uncompressed kernel through PVH, virtio-serial
//! for results, isa-debug-exit for the status, and kernel parameters that spare an emulated machine its
//! calibrations and self-tests but leave alone what container runtimes depend on.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use vm_init::{CONTROL_PORT, DEBUG_EXIT_PORT, RECORDS_PORT};

/// Name of the program; looked up in `PATH`.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";

/// How instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The host's processor, through /dev/kvm.
    Kvm,
    /// Emulation, all virtual CPUs in one host thread. With a thread for each, a virtual CPU can meet an instruction that
    /// another is just patching (static keys, tracepoints), and the guest dies of a kernel exception now and then.
    Tcg,
}

/// Descriptors that QEMU inherits, each one end of a socket pair.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sockets {
    pub(crate) serial: RawFd,
    pub(crate) qmp: RawFd,
    pub(crate) control: RawFd,
    pub(crate) records: RawFd,
    /// The other end of `/dev/hvc0`, for an interactive command.
    pub(crate) console: Option<RawFd>,
}

/// Everything that the command line depends on.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) engine: Engine,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    /// The first disk, read-only.
    pub(crate) disk: Option<PathBuf>,
    pub(crate) sockets: Sockets,
}

/// The kernel's parameters.
///
/// `panic=-1` with QEMU's `-no-reboot` ends the machine at a panic; `oops=panic` lets no damaged kernel judge
/// anything; `unknown_nmi_panic=1` makes the host's NMI print where a hanging guest is.
pub(crate) fn kernel_parameters(engine: Engine) -> String {
    let mut words = vec![
        "console=ttyS0",
        "loglevel=4",
        "panic=-1",
        "oops=panic",
        "unknown_nmi_panic=1",
        "mitigations=off",
        "cryptomgr.notests=1",
        "random.trust_cpu=on",
        "rcupdate.rcu_expedited=1",
    ];
    if engine != Engine::Kvm {
        // On a busy host the emulated timers are late, and the checks of them fail or take long.
        words.extend(["no_timer_check", "tsc=reliable"]);
    }
    words.join(" ")
}

/// All arguments after the program's name.
pub(crate) fn arguments(machine: &Machine) -> Vec<OsString> {
    let (accel, cpu) = match machine.engine {
        Engine::Kvm => ("kvm", "host"),
        Engine::Tcg => ("tcg,thread=single", "max"),
    };
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    add(&["-M", "pc", "-accel", accel, "-cpu", cpu]);
    add(&["-smp", &machine.cpus.to_string(), "-m", &machine.memory_mib.to_string()]);
    add(&["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-monitor", "none"]);

    let socket = |id: &str, fd: RawFd| format!("socket,id={id},fd={fd}");
    let Sockets { serial, qmp, control, records, console } = machine.sockets;
    add(&["-chardev", &socket("serial", serial), "-serial", "chardev:serial"]);
    add(&["-chardev", &socket("qmp", qmp), "-mon", "chardev=qmp,mode=control"]);
    add(&["-device", "virtio-serial-pci"]);
    for (id, fd, name) in [("control", control, CONTROL_PORT), ("records", records, RECORDS_PORT)] {
        add(&["-chardev", &socket(id, fd), "-device", &format!("virtserialport,chardev={id},name={name}")]);
    }
    if let Some(fd) = console {
        add(&["-chardev", &socket("console", fd), "-device", "virtconsole,chardev=console"]);
    }
    add(&["-device", &format!("isa-debug-exit,iobase={DEBUG_EXIT_PORT:#x},iosize=4")]);
    add(&["-append", &kernel_parameters(machine.engine)]);
    if let Some(disk) = &machine.disk {
        let mut drive = OsString::from("if=none,id=root,format=raw,readonly=on,file=");
        // A comma ends an option unless it is doubled.
        for (number, part) in disk.as_os_str().as_bytes().split(|byte| *byte == b',').enumerate() {
            drive.push(if number == 0 { "" } else { ",," });
            drive.push(OsStr::from_bytes(part));
        }
        args.extend(["-drive".into(), drive, "-device".into(), "virtio-blk-pci,drive=root".into()]);
    }
    args.extend(["-kernel".into(), machine.kernel.clone().into_os_string()]);
    args.extend(["-initrd".into(), machine.initrd.clone().into_os_string()]);
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(engine: Engine, console: Option<RawFd>) -> Machine {
        let sockets = Sockets { serial: 10, qmp: 11, control: 12, records: 13, console };
        Machine {
            engine,
            memory_mib: 1024,
            cpus: 2,
            kernel: "/k/vmlinux".into(),
            initrd: "/dev/fd/14".into(),
            disk: None,
            sockets,
        }
    }

    fn line(machine: &Machine) -> String {
        arguments(machine).iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn whole_line_for_emulation() {
        assert_eq!(
            line(&machine(Engine::Tcg, None)),
            "-M pc -accel tcg,thread=single -cpu max -smp 2 -m 1024 \
             -no-user-config -nodefaults -display none -no-reboot -monitor none \
             -chardev socket,id=serial,fd=10 -serial chardev:serial \
             -chardev socket,id=qmp,fd=11 -mon chardev=qmp,mode=control \
             -device virtio-serial-pci \
             -chardev socket,id=control,fd=12 -device virtserialport,chardev=control,name=podproof.control \
             -chardev socket,id=records,fd=13 -device virtserialport,chardev=records,name=podproof.records \
             -device isa-debug-exit,iobase=0xf4,iosize=4 \
             -append console=ttyS0 loglevel=4 panic=-1 oops=panic unknown_nmi_panic=1 mitigations=off \
             cryptomgr.notests=1 random.trust_cpu=on rcupdate.rcu_expedited=1 no_timer_check tsc=reliable \
             -kernel /k/vmlinux -initrd /dev/fd/14"
        );
    }

    #[test]
    fn engines_differ_in_accelerator_and_processor() {
        assert!(line(&machine(Engine::Tcg, None)).contains("-accel tcg,thread=single -cpu max"));
        let kvm = line(&machine(Engine::Kvm, None));
        assert!(kvm.contains("-accel kvm -cpu host"), "{kvm}");
        assert!(!kvm.contains("tsc=reliable"), "{kvm}");
    }

    #[test]
    fn a_disk_is_read_only_and_may_have_a_comma_in_its_path() {
        let with = line(&Machine { disk: Some("/a,b/root.erofs".into()), ..machine(Engine::Tcg, None) });
        let drive = "-drive if=none,id=root,format=raw,readonly=on,file=/a,,b/root.erofs \
                     -device virtio-blk-pci,drive=root";
        assert!(with.contains(drive), "{with}");
    }

    #[test]
    fn a_console_is_one_more_port() {
        let with = line(&machine(Engine::Tcg, Some(20)));
        assert!(
            with.contains("-chardev socket,id=console,fd=20 -device virtconsole,chardev=console"),
            "{with}"
        );
    }
}
