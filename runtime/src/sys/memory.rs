//! Memory of the calling process that it can do without while it waits: free pages of the heap, and pages of its program that
//! are in the page cache anyway (madvise(2), malloc_trim(3), `/proc/PID/smaps` of proc(5)).
#![expect(unsafe_code, reason = "madvise(2) and malloc_trim(3) have no safe wrapper")]

use std::fs;
use std::io;

use nix::errno::Errno;

use super::check;
use super::clone::SingleThreaded;

/// Pages of a file, mapped as they are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mapping {
    begin: usize,
    end: usize,
}

/// Hands back what is not in use. What is needed again comes from the page cache. With a second thread, what that changed meanwhile
/// could be lost.
///
/// # Errors
/// The failed read of `/proc/self/smaps`, or the errno of madvise(2).
pub fn give_back(_: SingleThreaded) -> io::Result<()> {
    let mappings = clean(&fs::read_to_string("/proc/self/smaps")?);
    trim_heap();
    for mapping in &mappings {
        forget(*mapping)?;
    }
    Ok(())
}

fn trim_heap() {
    // SAFETY: malloc_trim(3) may be called at any time; it frees only what nobody has.
    let _has_freed = unsafe { libc::malloc_trim(0) };
}

fn forget(mapping: Mapping) -> Result<(), Errno> {
    let address = std::ptr::without_provenance_mut::<libc::c_void>(mapping.begin);
    // SAFETY: `clean` names only mappings of a file that cannot be written through, and have no page of their own: the next
    // access reads the same bytes from the file again.
    let ret = unsafe { libc::madvise(address, mapping.end - mapping.begin, libc::MADV_DONTNEED) };
    check(ret.into()).map(drop)
}

/// The mappings of files that are not writable and hold no page that differs from its file, as one that was relocated would.
fn clean(smaps: &str) -> Vec<Mapping> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(mapping) = header(line) {
            candidate = mapping;
        } else if let Some(rest) = line.strip_prefix("Anonymous:") {
            let is_clean = rest.split_whitespace().next() == Some("0");
            found.extend(candidate.take().filter(|_| is_clean));
        }
    }
    found
}

/// The first line of a mapping: `Some(None)` for one that is no candidate.
fn header(line: &str) -> Option<Option<Mapping>> {
    let mut words = line.split_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let begin = usize::from_str_radix(begin, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let (mode, inode) = (words.next()?, words.nth(2)?);
    let is_candidate = mode.starts_with('r') && mode.ends_with('p') && !mode.contains('w') && inode != "0";
    Some(is_candidate.then_some(Mapping { begin, end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_its_file_is_given_back() {
        let of = |first: &str, anonymous: u32| {
            format!("{first}\nSize: 4 kB\nRss: 4 kB\nAnonymous:      {anonymous} kB\nVmFlags: rd\n")
        };
        let smaps = [
            of("00400000-00500000 r--p 00000000 00:1f 42   /bin/program", 0),
            of("00500000-00900000 r-xp 00100000 00:1f 42   /bin/program", 0),
            of("00900000-00901000 r--p 00500000 00:1f 42   /bin/program", 4),
            of("00901000-00902000 rw-p 00501000 00:1f 42   /bin/program", 0),
            of("00902000-00903000 r--s 00000000 00:1f 43   /shared", 0),
            of("7ffe0000-7fff0000 r-xp 00000000 00:00 0    [vdso]", 0),
        ];
        let found = clean(&smaps.concat());
        let expected = [(0x40_0000, 0x50_0000), (0x50_0000, 0x90_0000)];
        assert_eq!(found, expected.map(|(begin, end)| Mapping { begin, end }));
    }
}
