//! At which calls a process is killed.

use syscalls::Sysno;

/// Calls that change something which may outlive the process: between two of them there is nothing new to find.
const CHANGING: &[Sysno] = &[
    Sysno::bind,
    Sysno::bpf,
    Sysno::clone,
    Sysno::clone3,
    Sysno::connect,
    Sysno::execveat,
    Sysno::fchmod,
    Sysno::fchown,
    Sysno::flock,
    Sysno::fork,
    Sysno::fsconfig,
    Sysno::fsetxattr,
    Sysno::fsmount,
    Sysno::kill,
    Sysno::linkat,
    Sysno::mkdir,
    Sysno::mkdirat,
    Sysno::mknodat,
    Sysno::mount,
    Sysno::mount_setattr,
    Sysno::move_mount,
    Sysno::open_tree,
    Sysno::pidfd_send_signal,
    Sysno::pivot_root,
    Sysno::rename,
    Sysno::renameat,
    Sysno::renameat2,
    Sysno::rmdir,
    Sysno::sendmsg,
    Sysno::sendto,
    Sysno::setns,
    Sysno::setxattr,
    Sysno::symlink,
    Sysno::symlinkat,
    Sysno::umount2,
    Sysno::unlink,
    Sysno::unlinkat,
    Sysno::unshare,
    Sysno::vfork,
    Sysno::wait4,
    Sysno::waitid,
    Sysno::write,
];

/// The cut points of a process that makes `n_calls` calls, from 1: all, or so many of them, first among those that change
/// something. `calls` are the numbers of its calls, as far as they are known.
pub(super) fn choose(n_calls: u64, calls: &[u64], sample: Option<usize>) -> Vec<u64> {
    let all: Vec<u64> = (1..=n_calls).collect();
    let Some(sample) = sample.filter(|sample| *sample < all.len()) else { return all };
    let is_changing = |point: &u64| {
        let nr = usize::try_from(*point - 1).ok().and_then(|index| calls.get(index));
        nr.and_then(|nr| sysno(*nr)).is_some_and(|call| CHANGING.contains(&call))
    };
    let (changing, rest): (Vec<u64>, Vec<u64>) = all.into_iter().partition(is_changing);
    let mut chosen = thin(&changing, sample);
    chosen.extend(thin(&rest, sample - chosen.len()));
    chosen.sort_unstable();
    chosen
}

/// So many, or all, in even distances, both ends included.
fn thin(points: &[u64], n: usize) -> Vec<u64> {
    if points.len() <= n {
        return points.to_vec();
    }
    (0..n).map(|i| points[if n == 1 { 0 } else { i * (points.len() - 1) / (n - 1) }]).collect()
}

fn sysno(nr: u64) -> Option<Sysno> {
    usize::try_from(nr).ok().and_then(Sysno::new)
}

/// Name of a system call by its number.
pub(super) fn name(nr: u64) -> String {
    sysno(nr).map_or_else(|| format!("system call {nr}"), |call| call.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_sample_every_call_is_a_cut_point() {
        assert_eq!(choose(4, &[], None), [1, 2, 3, 4]);
        assert_eq!(choose(4, &[], Some(4)), [1, 2, 3, 4]);
        assert!(choose(0, &[], Some(4)).is_empty());
    }

    #[test]
    fn a_sample_prefers_calls_that_change_something() {
        let (read, mkdir) = (Sysno::read as u64, Sysno::mkdir as u64);
        let mut calls = vec![read; 100];
        for index in [9, 49, 69] {
            calls[index] = mkdir;
        }
        assert_eq!(choose(100, &calls, Some(3)), [10, 50, 70]);
        assert_eq!(choose(100, &calls, Some(2)), [10, 70]);
        assert_eq!(choose(100, &calls, Some(5)), [1, 10, 50, 70, 100]);
        assert_eq!(choose(100, &calls, Some(24)).len(), 24);
    }

    #[test]
    fn calls_have_names() {
        assert_eq!(name(83), "mkdir");
        assert_eq!(name(100_000), "system call 100000");
    }
}
