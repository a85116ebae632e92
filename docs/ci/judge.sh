#!/bin/sh
# Judges an OCI runtime with the programs of podproof's tarball, in a VM or on this machine.
#
#   judge.sh RUNTIME [FILTER...]         in a VM, by KVM where it can be used and by emulation where not; needs no root
#   judge.sh --host RUNTIME [FILTER...]  on this machine, as root; for machines that are thrown away afterwards
#
# RUNTIME is a program that is linked statically, or brings its libraries in LIBRARIES (a folder). The VM needs qemu-system-x86_64, a
# static busybox and a kernel with BTF and its modules: on Debian and Ubuntu the packages qemu-system-x86, busybox-static and
# linux-image-cloud-amd64 or linux-image-virtual. Exit status: 0 good, 1 failures, 2 wrong usage or set-up, 3 nothing certain.
#
# REPORT (folder of the report, ./podproof-report), BASELINE (file or folder of known failures), KERNEL (vmlinuz), MODULES (folder of
# its modules), MEMORY (MiB, 3072), TIMEOUT (seconds, 1800)
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
fail() { echo "judge.sh: $*" >&2; exit 2; }

host=no
if [ "${1:-}" = --host ]; then host=yes; shift; fi
[ $# -ge 1 ] || fail "usage: judge.sh [--host] RUNTIME [FILTER...]"
runtime=$1; shift
[ -x "$runtime" ] || fail "$runtime: no such program"
report=${REPORT:-podproof-report}

if [ "$host" = yes ]; then
    set -- run --runtime "$runtime" --report-dir "$report" "$@"
    [ -z "${BASELINE:-}" ] || set -- "$@" --baseline "$BASELINE"
    exec "$here/podproof" "$@"
fi

qemu=$(command -v qemu-system-x86_64) || fail "qemu-system-x86_64 is missing"
busybox=${BUSYBOX:-$(command -v busybox)} || fail "busybox is missing; it has to be the static one"
# The newest kernel, unless one is named.
kernel=${KERNEL:-$(ls -t /boot/vmlinuz-* 2>/dev/null | head -n 1)}
[ -r "$kernel" ] || fail "no kernel in /boot that can be read; name one with KERNEL"
modules=${MODULES:-/lib/modules/${kernel##*/vmlinuz-}}
[ -d "$modules" ] || fail "$modules: no modules of that kernel; name them with MODULES"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
root=$work/root
mkdir -p "$root/bin" "$root/opt" "$root/lib" "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/tmp" "$root/etc" "$root/modules"
cp "$here/podproof" "$here/podproof-witness" "$here/pause" "$root/bin/"
cp "$busybox" "$root/bin/busybox"
cp "$runtime" "$root/opt/${runtime##*/}"
[ -z "${LIBRARIES:-}" ] || cp -L "$LIBRARIES"/* "$root/lib/"

# Modules by their names, each after those that it needs; what is built into the kernel is in no file.
wanted="overlay bridge veth"
load() {
    line=$(grep -E "(^|/)$1\.ko[^:]*:" "$modules/modules.dep" || true)
    [ -n "$line" ] || return 0
    for need in $(echo "${line#*:}" | tr ' ' '\n' | "$busybox" tac) "${line%%:*}"; do
        name=${need##*/}
        [ ! -e "$root/modules/${name%%.ko*}.ko" ] || continue
        case $need in
            *.xz) xz -dc "$modules/$need" ;;
            *.zst) zstd -dcq "$modules/$need" ;;
            *.gz) gzip -dc "$modules/$need" ;;
            *) cat "$modules/$need" ;;
        esac > "$root/modules/${name%%.ko*}.ko"
        echo "/modules/${name%%.ko*}.ko" >> "$root/modules/order"
    done
}
: > "$root/modules/order"
for module in $wanted; do load "$module"; done

# Runtimes pivot their root, which the kernel refuses on the initial ramfs: everything moves to a tmpfs first.
cat > "$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir /root
/bin/busybox mount -t tmpfs -o mode=755 root /root
/bin/busybox cp -a /bin /opt /lib /etc /modules /start /proc /sys /dev /run /tmp /root/
exec /bin/busybox switch_root /root /start
INIT
cat > "$root/start" <<'START'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing
ln -sf /proc/self/fd /dev/fd
ip link set lo up
while read -r module; do insmod "$module"; done < /modules/order
ulimit -n 65536
stty -F /dev/ttyS1 raw
export PATH=/bin HOME=/ NO_COLOR=1 LD_LIBRARY_PATH=/lib
set -- $(cat /etc/filters)
podproof run --runtime "$(cat /etc/runtime)" --again "$(cat /etc/again)" --machine vm --deadline-factor "$(cat /etc/factor)" --records /dev/ttyS1 "$@"
sync
poweroff -f
START
chmod 755 "$root/init" "$root/start"
echo "/opt/${runtime##*/}" > "$root/etc/runtime"
echo "$*" > "$root/etc/filters"
echo "$0 $runtime" > "$root/etc/again"

accel=tcg cpu=max factor=4
if [ -r /dev/kvm ] && [ -w /dev/kvm ] && grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
    accel=kvm cpu=host factor=1
fi
echo $factor > "$root/etc/factor"
(cd "$root" && find . | "$busybox" cpio -o -H newc 2>/dev/null) | gzip -1 > "$work/initrd"

echo "judge.sh: a VM by $accel, kernel ${kernel##*/}" >&2
status=0
timeout "${TIMEOUT:-1800}" "$qemu" -M pc -accel $accel -cpu $cpu -smp 2 -m "${MEMORY:-3072}" -nodefaults -display none -no-reboot \
    -serial stdio -serial "file:$work/records" -kernel "$kernel" -initrd "$work/initrd" \
    -append "console=ttyS0 quiet panic=-1 rdinit=/init" < /dev/null || status=$?
died=null
[ $status -eq 0 ] || died="\"qemu ended with status $status\""
printf '\n{"record":"machine","name":"vm-%s","kernel":null,"died":%s}\n' $accel "$died" >> "$work/records"

set -- report "$work/records" --report-dir "$report"
[ -z "${BASELINE:-}" ] || set -- "$@" --baseline "$BASELINE"
status=0
"$here/podproof" "$@" || status=$?
exit $status
