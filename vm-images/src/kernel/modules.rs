//! Kernel modules: where they are, what they need (`depends=` in the ELF section `.modinfo`), and the order
//! in which finit_module(2) takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use object::{Object as _, ObjectSection as _};

use super::compression::{self, Compression, DecompressError};

/// The modules of one kernel.
#[derive(Debug, Clone)]
pub struct ModuleTree {
    root: PathBuf,
    /// Normalised name to file.
    files: BTreeMap<String, PathBuf>,
    /// Normalised names of what is part of the kernel image.
    built_in: BTreeSet<String>,
}

/// A module as it goes into the image: unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Normalised name: underscores, no suffix.
    pub name: String,
    /// The ELF object.
    pub elf: Vec<u8>,
}

/// Why modules are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The tree could not be read.
    #[error("read modules in {}", path.display())]
    Read {
        /// Directory or file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A module is neither a file of the tree nor built in.
    #[error("module {name}{} is neither in {} nor built into this kernel", needed_by(parent), root.display())]
    Missing {
        /// Its name.
        name: String,
        /// The module that depends on it.
        parent: Option<String>,
        /// The tree.
        root: PathBuf,
    },
    /// A packed module does not unpack.
    #[error("unpack module {}", path.display())]
    Decompress {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: DecompressError,
    },
    /// A module file is no ELF object with a `.modinfo` section.
    #[error("{} is no kernel module: {detail}", path.display())]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        detail: String,
    },
}

fn needed_by(parent: &Option<String>) -> String {
    parent.as_ref().map_or_else(String::new, |parent| format!(" (needed by {parent})"))
}

impl ModuleTree {
    /// Finds the tree that belongs to the kernel file `image` of this version, if there is one.
    pub(super) fn find(image: &Path, version: &str) -> Result<Option<Self>, ModuleError> {
        let beside = image.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        ["lib/modules", "usr/lib/modules"]
            .into_iter()
            .map(|dir| beside.join(dir))
            .chain([PathBuf::from("/lib/modules")])
            .map(|dir| dir.join(version))
            .find(|dir| dir.join("kernel").is_dir())
            .map(|root| Self::open(&root))
            .transpose()
    }

    /// Lists a directory `lib/modules/VERSION`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(root: &Path) -> Result<Self, ModuleError> {
        let mut files = BTreeMap::new();
        collect(&root.join("kernel"), &mut files)?;
        let list = root.join("modules.builtin");
        let built_in = match fs::read_to_string(&list) {
            Ok(text) => text.lines().filter_map(|line| module_name(Path::new(line))).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
            Err(source) => return Err(ModuleError::Read { path: list, source }),
        };
        Ok(Self { root: root.to_owned(), files, built_in })
    }

    /// Gives the wanted modules and everything that they need, each after what it needs. What is built into
    /// the kernel is left out.
    ///
    /// # Errors
    /// When one is missing or cannot be read.
    pub fn closure(&self, wanted: &[&str]) -> Result<Vec<Module>, ModuleError> {
        let mut ordered = Vec::new();
        let mut visited = BTreeSet::new();
        for name in wanted {
            self.visit(&normalise(name), None, &mut visited, &mut ordered)?;
        }
        Ok(ordered)
    }

    fn visit(
        &self,
        name: &str,
        parent: Option<&str>,
        visited: &mut BTreeSet<String>,
        ordered: &mut Vec<Module>,
    ) -> Result<(), ModuleError> {
        if !visited.insert(name.to_owned()) || self.built_in.contains(name) {
            return Ok(());
        }
        let path = self.files.get(name).ok_or_else(|| ModuleError::Missing {
            name: name.to_owned(),
            parent: parent.map(str::to_owned),
            root: self.root.clone(),
        })?;
        let elf = read_module(path)?;
        let depends =
            depends(&elf).map_err(|detail| ModuleError::NotAModule { path: path.clone(), detail })?;
        for needed in depends {
            self.visit(&needed, Some(name), visited, ordered)?;
        }
        ordered.push(Module { name: name.to_owned(), elf });
        Ok(())
    }
}

fn collect(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), ModuleError> {
    let failed = |source| ModuleError::Read { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `drivers/virtio/virtio-rng.ko.xz` is `virtio_rng`; other files are none.
fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    Some(normalise(stem))
}

/// The kernel takes `-` and `_` in module names as the same.
fn normalise(name: &str) -> String {
    name.replace('-', "_")
}

fn read_module(path: &Path) -> Result<Vec<u8>, ModuleError> {
    let bytes = fs::read(path).map_err(|source| ModuleError::Read { path: path.to_owned(), source })?;
    if Compression::of(&bytes).is_none() {
        return Ok(bytes);
    }
    compression::unpack(&bytes).map_err(|source| ModuleError::Decompress { path: path.to_owned(), source })
}

/// The modules that `depends=` names.
fn depends(elf: &[u8]) -> Result<Vec<String>, String> {
    let file = object::File::parse(elf).map_err(|error| error.to_string())?;
    let section = file.section_by_name(".modinfo").ok_or("no section .modinfo")?;
    let modinfo = section.data().map_err(|error| error.to_string())?;
    Ok(parse_depends(modinfo))
}

/// `.modinfo` is a sequence of NUL-terminated `key=value` texts.
fn parse_depends(modinfo: &[u8]) -> Vec<String> {
    modinfo
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok()?.strip_prefix("depends="))
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty())
        .map(normalise)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modinfo_gives_normalised_names() {
        let modinfo = b"license=GPL\0depends=virtio,virtio-ring\0retpoline=Y\0depends=\0name=x\0";
        assert_eq!(parse_depends(modinfo), ["virtio", "virtio_ring"]);
        assert!(parse_depends(b"").is_empty());
    }

    /// An ELF object with nothing but a `.modinfo` section.
    fn object(depends: &str) -> Vec<u8> {
        let modinfo = format!("depends={depends}\0");
        let names = b"\0.modinfo\0.shstrtab\0";
        let names_at = 64 + modinfo.len();
        let table_at = names_at + names.len();
        let mut elf = Vec::new();
        elf.extend_from_slice(b"\x7fELF\x02\x01\x01");
        elf.resize(16, 0);
        for half in [1_u16, 62] {
            elf.extend_from_slice(&half.to_le_bytes());
        }
        elf.extend_from_slice(&1_u32.to_le_bytes());
        for long in [0_u64, 0, table_at as u64] {
            elf.extend_from_slice(&long.to_le_bytes());
        }
        elf.extend_from_slice(&0_u32.to_le_bytes());
        for half in [64_u16, 0, 0, 64, 3, 2] {
            elf.extend_from_slice(&half.to_le_bytes());
        }
        elf.extend_from_slice(modinfo.as_bytes());
        elf.extend_from_slice(names);
        elf.resize(table_at + 64, 0);
        for (name, kind, at, len) in [(1_u32, 1_u32, 64, modinfo.len()), (10, 3, names_at, names.len())] {
            elf.extend_from_slice(&name.to_le_bytes());
            elf.extend_from_slice(&kind.to_le_bytes());
            for long in [0_u64, 0, at as u64, len as u64, 0, 1, 0] {
                elf.extend_from_slice(&long.to_le_bytes());
            }
        }
        elf
    }

    fn tree(modules: &[(&str, &str)], built_in: &str) -> (tempfile::TempDir, ModuleTree) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("kernel/deep")).unwrap();
        for (file, depends) in modules {
            fs::write(dir.path().join("kernel/deep").join(file), object(depends)).unwrap();
        }
        fs::write(dir.path().join("modules.builtin"), built_in).unwrap();
        let tree = ModuleTree::open(dir.path()).unwrap();
        (dir, tree)
    }

    #[test]
    fn closure_puts_each_module_after_what_it_needs() {
        let modules = [
            ("top.ko", "mid-a,mid_b"),
            ("mid-a.ko", "base"),
            ("mid_b.ko", "base,inside"),
            ("base.ko", ""),
            ("other.ko", ""),
        ];
        let (_dir, tree) = tree(&modules, "kernel/lib/inside.ko\n");
        let names = |wanted: &[&str]| -> Vec<String> {
            tree.closure(wanted).unwrap().into_iter().map(|module| module.name).collect()
        };
        assert_eq!(names(&["top", "base"]), ["base", "mid_a", "mid_b", "top"]);
        assert_eq!(names(&["inside", "other"]), ["other"]);
    }

    #[test]
    fn a_cycle_ends_and_a_missing_module_is_named_with_its_parent() {
        let (_dir, tree) = tree(&[("a.ko", "b"), ("b.ko", "a"), ("c.ko", "gone")], "");
        assert_eq!(tree.closure(&["a"]).unwrap().len(), 2);
        let error = tree.closure(&["c"]).unwrap_err().to_string();
        assert!(error.starts_with("module gone (needed by c) is neither in"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_module_is_named() {
        let (dir, _) = tree(&[], "");
        fs::write(dir.path().join("kernel/bad.ko"), b"no elf").unwrap();
        let error = ModuleTree::open(dir.path()).unwrap().closure(&["bad"]).unwrap_err();
        assert!(matches!(error, ModuleError::NotAModule { .. }), "{error}");
    }
}
