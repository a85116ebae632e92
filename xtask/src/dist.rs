//! `cargo xtask dist`: a tarball of the static programs, with which a runtime is judged, and pods are watched, on machines that have
//! neither Rust nor LLVM. The BPF object is inside podproof and podproof-exporter.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use crate::build::{self, Artifacts};
use crate::setup::{self, Tool};
use crate::workspace;

/// Files of the repository that go in as they are, with their names there.
const TEXTS: [(&str, &str); 12] = [
    ("xtask/src/dist/README.md", "README.md"),
    ("LICENSE-MIT", "LICENSE-MIT"),
    ("LICENSE-APACHE", "LICENSE-APACHE"),
    ("NOTICE", "NOTICE"),
    ("docs/for-runtime-authors.md", "docs/for-runtime-authors.md"),
    ("docs/report.md", "docs/report.md"),
    ("exporter/deploy/alertmanager.yaml", "exporter/alertmanager.yaml"),
    ("exporter/deploy/alerts.yaml", "exporter/alerts.yaml"),
    ("exporter/deploy/dashboard.json", "exporter/dashboard.json"),
    ("exporter/deploy/podproof-exporter.service", "exporter/podproof-exporter.service"),
    ("exporter/deploy/podproof-exporter.socket", "exporter/podproof-exporter.socket"),
    ("exporter/deploy/prometheus.yaml", "exporter/prometheus.yaml"),
];
/// Folders of the repository whose files go in.
const FOLDERS: [(&str, &str); 2] = [("conformance/baselines", "baselines"), ("docs/ci", "ci")];

/// Builds the tarball, and proves that what is in it works.
pub(crate) fn run() -> Result<ExitCode> {
    let tools = setup::ensure(&Tool::BUILD)?;
    let tarball = tarball(&build::all(&tools)?)?;
    let bytes = fs::read(&tarball).with_context(|| format!("cannot read {}", tarball.display()))?;
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let name = tarball.file_name().unwrap_or_default().to_string_lossy();
    let sums = tarball.with_file_name(format!("{name}.sha256"));
    fs::write(&sums, format!("{digest}  {name}\n"))
        .with_context(|| format!("cannot write {}", sums.display()))?;
    println!("{} ({:.1} MiB)", tarball.display(), bytes.len() as f64 / f64::from(1 << 20));
    println!("{}", sums.display());
    Ok(ExitCode::SUCCESS)
}

/// Makes the tarball of what was built, and proves that what is in it works; its path.
pub(crate) fn tarball(built: &Artifacts) -> Result<PathBuf> {
    let dir = workspace::target().join("dist");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let name = format!("podproof-{}-x86_64-linux", env!("CARGO_PKG_VERSION"));
    let tarball = dir.join(format!("{name}.tar.gz"));
    let partial = dir.join(format!("{name}.partial"));
    write(&partial, &name, &files(built)?)?;
    prove(&partial, &name, &dir)?;
    fs::rename(&partial, &tarball).with_context(|| format!("cannot rename {}", partial.display()))?;
    Ok(tarball)
}

/// Name in the tarball, file, mode.
fn files(built: &Artifacts) -> Result<Vec<(String, PathBuf, u32)>> {
    let programs = [
        ("podproof", &built.podproof),
        ("podproof-exporter", &built.exporter),
        ("podproof-witness", &built.witness),
        ("pause", &built.pause),
        ("podrt", &built.podrt),
        ("podrt-pod", &built.podrt_pod),
    ];
    let mut files: Vec<(String, PathBuf, u32)> =
        programs.map(|(name, path)| (name.to_owned(), path.clone(), 0o755)).into();
    for (from, to) in TEXTS {
        files.push((to.to_owned(), workspace::root().join(from), mode(from)));
    }
    for (from, to) in FOLDERS {
        let dir = workspace::root().join(from);
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let to = format!("{to}/{name}");
            if files.iter().all(|(known, ..)| *known != to) {
                files.push((to, path, mode(&name)));
            }
        }
    }
    files.sort();
    Ok(files)
}

fn mode(name: &str) -> u32 {
    if Path::new(name).extension().is_some_and(|end| end == "sh") { 0o755 } else { 0o644 }
}

/// The same files give the same bytes: in their order, without owners and times.
fn write(path: &Path, folder: &str, files: &[(String, PathBuf, u32)]) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let out = File::create(path).with_context(failed)?;
    let mut tar = tar::Builder::new(GzEncoder::new(out, Compression::best()));
    for (name, from, mode) in files {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(0);
        tar.append_data(&mut header, format!("{folder}/{name}"), bytes.as_slice()).with_context(failed)?;
    }
    let mut out = tar.into_inner().and_then(GzEncoder::finish).with_context(failed)?;
    out.flush().with_context(failed)
}

/// Unpacks the tarball and runs what is in it, in an empty environment.
fn prove(tarball: &Path, folder: &str, dir: &Path) -> Result<()> {
    let place = dir.join("unpacked");
    remove(&place)?;
    let file = File::open(tarball).with_context(|| format!("cannot read {}", tarball.display()))?;
    tar::Archive::new(flate2::read::GzDecoder::new(file))
        .unpack(&place)
        .with_context(|| format!("cannot unpack {}", tarball.display()))?;
    let at = place.join(folder);
    for program in ["podproof", "podproof-exporter", "podproof-witness", "pause", "podrt", "podrt-pod"] {
        let mode = fs::metadata(at.join(program)).with_context(|| format!("{program} is missing"))?;
        ensure!(mode.permissions().mode() & 0o111 != 0, "{program} is not executable");
        ensure!(is_static(&at.join(program))?, "{program} needs a dynamic linker");
    }
    let version = said(&at, "podproof-exporter", &["--version"])?;
    let is_ours = version == format!("podproof-exporter {}\n", env!("CARGO_PKG_VERSION"));
    ensure!(is_ours, "the unpacked podproof-exporter says {version}");
    let listed = said(&at, "podproof", &["list", "NS-01"])?;
    ensure!(listed.contains("NS-01"), "the unpacked podproof lists nothing: {listed}");
    // With everything in place a run comes as far as the runtime, or as the question for root.
    let run = ["run", "--runtime", "/no/such/runtime"];
    let found = said(&at, "podproof", &run)?;
    let is_found = found.contains("/no/such/runtime: not found") || found.contains("needs root");
    ensure!(is_found, "the unpacked podproof does not find its programs: {found}");
    for program in ["pause", "podproof-witness"] {
        let (here, away) = (at.join(program), at.join("away"));
        fs::rename(&here, &away).with_context(|| format!("cannot rename {}", here.display()))?;
        let missed = said(&at, "podproof", &run)?;
        ensure!(missed.contains(&format!("{program}: not found")), "{program} is not missed: {missed}");
        fs::rename(&away, &here).with_context(|| format!("cannot rename {}", away.display()))?;
    }
    remove(&place)
}

/// What an unpacked program says.
fn said(dir: &Path, program: &str, args: &[&str]) -> Result<String> {
    let program = dir.join(program);
    let output = Command::new(&program)
        .args(args)
        .env_clear()
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// Whether an ELF file names no interpreter (elf(5), `PT_INTERP`).
fn is_static(path: &Path) -> Result<bool> {
    const PT_INTERP: u32 = 3;
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let number = |at: usize, length: usize| -> Option<u64> {
        let part = bytes.get(at..at + length)?;
        Some(part.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let head = |at, length| number(at, length).with_context(|| format!("{} is no ELF file", path.display()));
    ensure!(bytes.starts_with(b"\x7fELF"), "{} is no ELF file", path.display());
    let (begin, size, count) = (head(32, 8)?, head(54, 2)?, head(56, 2)?);
    for index in 0..count {
        if head(usize::try_from(begin + index * size)?, 4)? == u64::from(PT_INTERP) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps of a job; a file that an engine reads by machine has to be one that a parser reads.
    #[test]
    fn the_workflows_can_be_read_and_run_the_script() {
        let dir = workspace::root().join("docs/ci");
        for (name, job) in [("github-actions.yml", "jobs"), ("gitlab-ci.yml", "conformance")] {
            let text = fs::read_to_string(dir.join(name)).unwrap();
            let documents = yaml_rust2::YamlLoader::load_from_str(&text).unwrap();
            assert_eq!(documents.len(), 1, "{name}");
            assert!(!documents[0][job].is_badvalue(), "{name} has no {job}");
            let mut scripts = Vec::new();
            collect(&documents[0], &mut scripts);
            assert!(scripts.iter().any(|it| it.contains("judge.sh")), "{name} does not judge");
            assert!(text.contains("junit.xml") && text.contains("report.html"), "{name} keeps no report");
        }
        let jobs = &yaml_rust2::YamlLoader::load_from_str(
            &fs::read_to_string(dir.join("github-actions.yml")).unwrap(),
        )
        .unwrap()[0]["jobs"];
        for (_, job) in jobs.as_hash().unwrap() {
            assert!(job["runs-on"].as_str().is_some());
            for step in job["steps"].as_vec().unwrap() {
                assert!(step["uses"].as_str().is_some() != step["run"].as_str().is_some(), "{step:?}");
            }
        }
    }

    fn collect(node: &yaml_rust2::Yaml, scripts: &mut Vec<String>) {
        match node {
            yaml_rust2::Yaml::String(text) => scripts.push(text.clone()),
            yaml_rust2::Yaml::Array(list) => list.iter().for_each(|it| collect(it, scripts)),
            yaml_rust2::Yaml::Hash(map) => map.values().for_each(|it| collect(it, scripts)),
            _ => {}
        }
    }

    #[test]
    fn the_script_is_one_that_a_shell_reads() {
        let script = workspace::root().join("docs/ci/judge.sh");
        let read = Command::new("sh").arg("-n").arg(script).status().unwrap();
        assert!(read.success());
    }

    #[test]
    fn the_way_to_a_dashboard_names_files_of_the_tarball() {
        let readme = fs::read_to_string(workspace::root().join("exporter/README.md")).unwrap();
        let name = format!("podproof-{}-x86_64-linux", env!("CARGO_PKG_VERSION"));
        let unpack = format!("tar xzf {name}.tar.gz && cd {name}\n");
        let steps = readme.split("```\n").find_map(|block| block.strip_prefix(&unpack)).unwrap();
        let named: Vec<&str> =
            steps.split_whitespace().filter(|word| word.starts_with("exporter/")).collect();
        assert!(named.len() > 2, "{steps}");
        for file in named {
            assert!(TEXTS.iter().any(|(_, to)| *to == file), "{file} is not in the tarball");
        }
    }

    #[test]
    fn a_tarball_is_the_same_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, "text").unwrap();
        let make = |name: &str| {
            let path = dir.path().join(name);
            write(&path, "folder", &[("a".to_owned(), file.clone(), 0o755)]).unwrap();
            fs::read(path).unwrap()
        };
        assert_eq!(make("one"), make("two"));
    }
}
