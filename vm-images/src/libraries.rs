//! The shared libraries that a program needs, as its loader would find them (ld.so(8)): DT_NEEDED of every
//! object, in the directories that the caller names, then the object's DT_RUNPATH or DT_RPATH, then the host's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use object::elf;
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};

/// Everything that must be beside a program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Closure {
    /// Path in the program's own header, and the file on the host.
    pub(crate) interpreter: Option<(String, PathBuf)>,
    /// File on the host by the name that objects ask for.
    pub(crate) libraries: BTreeMap<String, PathBuf>,
}

/// Why the libraries of a program are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// An object could not be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// An object is not what the guest can run.
    #[error("{} is no x86-64 ELF program: {detail}", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        detail: String,
    },
    /// A library is in none of the directories.
    #[error("{} needs {soname}, which is in none of {searched}; install it or name its directory", path.display())]
    NotFound {
        /// The object that asks.
        path: PathBuf,
        /// The library.
        soname: String,
        /// The directories.
        searched: String,
    },
}

/// Where distributions keep x86-64 libraries.
const HOST_DIRS: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

pub(crate) fn closure(program: &Path, search: &[PathBuf]) -> Result<Closure, LibraryError> {
    let mut closure = Closure::default();
    let first = read(program)?;
    if let Some(interpreter) = &first.interpreter {
        let name = Path::new(interpreter).file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A private glibc comes with its own loader; the two must be of one version.
        let own = search.iter().map(|dir| dir.join(&name)).find(|path| path.is_file());
        closure.interpreter = Some((interpreter.clone(), own.unwrap_or_else(|| PathBuf::from(interpreter))));
    }
    let mut waiting = vec![(program.to_owned(), first)];
    while let Some((path, dynamic)) = waiting.pop() {
        for soname in &dynamic.needed {
            if closure.libraries.contains_key(soname) || is_interpreter(&closure, soname) {
                continue;
            }
            let dirs: Vec<PathBuf> = search
                .iter()
                .cloned()
                .chain(dynamic.run_paths(&path))
                .chain(HOST_DIRS.map(PathBuf::from))
                .collect();
            let Some((found, object)) = dirs.iter().find_map(|dir| {
                // A file of another architecture with the same name is passed over, as the loader does.
                let candidate = dir.join(soname);
                read(&candidate).ok().map(|object| (candidate, object))
            }) else {
                let searched = dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(" ");
                return Err(LibraryError::NotFound { path, soname: soname.clone(), searched });
            };
            closure.libraries.insert(soname.clone(), found.clone());
            waiting.push((found, object));
        }
    }
    Ok(closure)
}

fn is_interpreter(closure: &Closure, soname: &str) -> bool {
    closure.interpreter.as_ref().is_some_and(|(path, _)| Path::new(path).ends_with(soname))
}

#[derive(Debug, Default)]
struct Dynamic {
    interpreter: Option<String>,
    needed: Vec<String>,
    run_path: Vec<String>,
}

impl Dynamic {
    fn run_paths(&self, object: &Path) -> impl Iterator<Item = PathBuf> {
        let origin = object.parent().unwrap_or(Path::new("/")).display().to_string();
        self.run_path
            .iter()
            .flat_map(|list| list.split(':'))
            .filter(|dir| !dir.is_empty())
            .map(move |dir| PathBuf::from(dir.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)))
    }
}

fn read(path: &Path) -> Result<Dynamic, LibraryError> {
    let bytes = fs::read(path).map_err(|source| LibraryError::Read { path: path.to_owned(), source })?;
    parse(&bytes).map_err(|detail| LibraryError::NotElf { path: path.to_owned(), detail })
}

fn parse(bytes: &[u8]) -> Result<Dynamic, String> {
    let text = |error: object::read::Error| error.to_string();
    let header = elf::FileHeader64::<object::LittleEndian>::parse(bytes).map_err(text)?;
    let endian = header.endian().map_err(text)?;
    if header.e_machine(endian) != elf::EM_X86_64 {
        return Err(format!("machine type {}", header.e_machine(endian)));
    }
    let segments = header.program_headers(endian, bytes).map_err(text)?;
    let mut dynamic = Dynamic::default();
    for segment in segments {
        if let Some(interpreter) = segment.interpreter(endian, bytes).map_err(text)? {
            dynamic.interpreter = Some(String::from_utf8_lossy(interpreter).into_owned());
        }
    }
    let mut entries: &[elf::Dyn64<object::LittleEndian>] = &[];
    for segment in segments {
        if let Some(found) = segment.dynamic(endian, bytes).map_err(text)? {
            entries = found;
        }
    }
    let entries = || entries.iter().take_while(|entry| entry.d_tag(endian) != elf::DT_NULL);
    let value = |tag| entries().find(|entry| entry.d_tag(endian) == tag).map(|entry| entry.d_val(endian));
    let Some(strings_at) = value(elf::DT_STRTAB) else { return Ok(dynamic) };
    let strings_len = value(elf::DT_STRSZ).unwrap_or(0);
    let strings = segments
        .iter()
        .find_map(|segment| segment.data_range(endian, bytes, strings_at, strings_len).ok().flatten())
        .ok_or("its dynamic string table is in no segment")?;
    let string = |offset: u64| -> Option<String> {
        let rest = strings.get(usize::try_from(offset).ok()?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    for entry in entries() {
        match entry.d_tag(endian) {
            elf::DT_NEEDED => dynamic.needed.extend(string(entry.d_val(endian))),
            elf::DT_RUNPATH | elf::DT_RPATH => dynamic.run_path.extend(string(entry.d_val(endian))),
            _ => {}
        }
    }
    Ok(dynamic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_program_needs_libc_and_its_loader() {
        let own = fs::read_link("/proc/self/exe").unwrap();
        let closure = closure(&own, &[]).unwrap();
        assert!(closure.libraries.contains_key("libc.so.6"), "{closure:?}");
        let (path, file) = closure.interpreter.unwrap();
        assert!(path.contains("ld-linux") && file.is_file(), "{path}");
        assert!(closure.libraries.keys().all(|name| !name.contains("ld-linux")));
    }

    #[test]
    fn the_callers_directories_come_first() {
        let own = fs::read_link("/proc/self/exe").unwrap();
        let libc = closure(&own, &[]).unwrap().libraries["libc.so.6"].clone();
        let dir = tempfile::tempdir().unwrap();
        fs::copy(libc, dir.path().join("libc.so.6")).unwrap();
        let found = closure(&own, &[dir.path().to_owned()]).unwrap();
        assert_eq!(found.libraries["libc.so.6"], dir.path().join("libc.so.6"));
    }

    #[test]
    fn what_is_no_program_is_named() {
        let error = closure(Path::new("/etc/passwd"), &[]).unwrap_err();
        assert!(error.to_string().starts_with("/etc/passwd is no x86-64 ELF program"), "{error}");
    }

    #[test]
    fn origin_is_the_directory_of_the_object() {
        let dynamic = Dynamic { run_path: vec!["$ORIGIN/../lib::/opt/x".into()], ..Dynamic::default() };
        let dirs: Vec<PathBuf> = dynamic.run_paths(Path::new("/a/bin/prog")).collect();
        assert_eq!(dirs, [PathBuf::from("/a/bin/../lib"), PathBuf::from("/opt/x")]);
    }
}
