//! The systemd unit and the texts, against the command line.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::{CommandFactory as _, Parser as _};
use exporter::cli::{Address, Cli};

use crate::{Case, Res, dir, expect, none, text};

pub(crate) const CASES: &[Case] = &[
    ("unit::it_starts_the_exporter_with_options_that_there_are", it_starts_the_exporter),
    ("unit::it_gives_just_what_probes_and_names_take", it_gives_just_what_is_needed),
    ("unit::its_sockets_are_those_that_the_exporter_takes", its_sockets_are_taken),
    ("unit::texts_name_options_that_there_are", texts_name_options_that_there_are),
    ("unit::commands_name_files_from_the_root_of_the_workspace", commands_name_whole_paths),
    ("unit::the_image_is_the_program_and_listens_where_it_says", the_image_is_the_program),
];

/// Values of a setting of the unit.
fn settings<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    let value = |line: &'a str| line.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value);
    unit.lines().filter_map(value).collect()
}

fn it_starts_the_exporter() -> Res<()> {
    let unit = text("podproof-exporter.service")?;
    let example = unit.lines().find_map(|line| line.strip_prefix("#   PODPROOF_EXPORTER_OPTIONS="));
    let example = example.ok_or("no example of options")?;
    let [start] = settings(&unit, "ExecStart")[..] else { return Err("not just one ExecStart".into()) };
    for options in ["", example] {
        let line = start.replace("$PODPROOF_EXPORTER_OPTIONS", options);
        let words: Vec<&str> = line.split_whitespace().collect();
        expect("the program", words.first(), Some(&"/usr/local/bin/podproof-exporter"))?;
        // Names and certificates are read again and again.
        let kept = Cli::try_parse_from(words)?.keep.to_string();
        expect("capabilities that stay", &*kept, "CAP_DAC_READ_SEARCH")?;
    }
    let file = settings(&unit, "EnvironmentFile");
    expect("where options are", file, vec!["-/etc/default/podproof-exporter"])
}

fn it_gives_just_what_is_needed() -> Res<()> {
    let unit = text("podproof-exporter.service")?;
    let capabilities = vec!["CAP_BPF CAP_PERFMON CAP_DAC_READ_SEARCH CAP_SYS_PTRACE"];
    for (name, wanted) in [
        ("AmbientCapabilities", capabilities.clone()),
        ("CapabilityBoundingSet", capabilities),
        ("DynamicUser", vec!["yes"]),
        // Probes have more than a hundred, and connections 1024.
        ("LimitNOFILE", vec!["8192"]),
        ("NoNewPrivileges", vec!["yes"]),
        ("ProtectSystem", vec!["strict"]),
        ("PrivateUsers", vec!["no"]),
        ("ProtectProc", vec!["default"]),
        ("RestrictAddressFamilies", vec!["AF_INET AF_INET6 AF_UNIX"]),
        (
            "SystemCallFilter",
            vec!["@system-service", "~@privileged @resources", "bpf capset perf_event_open"],
        ),
        ("User", vec![]),
    ] {
        expect(name, settings(&unit, name), wanted)?;
    }
    Ok(())
}

fn its_sockets_are_taken() -> Res<()> {
    let sockets = text("podproof-exporter.socket")?;
    let addresses = settings(&sockets, "ListenStream").into_iter().map(|address| {
        let unix = if address.starts_with('/') { "unix://" } else { "" };
        Ok(format!("{unix}{address}").parse::<Address>()?)
    });
    let addresses = addresses.collect::<Res<Vec<_>>>()?;
    let default = Cli::try_parse_from(["podproof-exporter"])?.listen;
    expect("the first address", addresses.first(), default.first())?;
    expect("addresses that other machines reach", addresses.iter().find(|it| !it.is_local()), None)?;
    expect("who accepts", settings(&sockets, "Accept"), vec!["no"])?;
    // systemd starts the service that has the name of the socket unit.
    expect("a service of another name", settings(&sockets, "Service"), vec![])?;
    // The text that makes the service wait for its sockets, and gives it the option.
    let readme = text("README.md")?;
    let drop_in = r"'[Unit]\nRequires=podproof-exporter.socket\nAfter=podproof-exporter.socket\n'";
    expect("the drop-in", readme.contains(drop_in), true)?;
    let options = readme.split("PODPROOF_EXPORTER_OPTIONS=").nth(1).and_then(|rest| rest.split('\'').next());
    let cli = Cli::try_parse_from(["podproof-exporter"].into_iter().chain(options))?;
    expect("the option", cli.systemd_socket, true)
}

fn texts_name_options_that_there_are() -> Res<()> {
    let command = Cli::command();
    let known: BTreeSet<String> =
        command.get_arguments().filter_map(|option| Some(format!("--{}", option.get_long()?))).collect();
    let mut offences = Vec::new();
    for name in [
        "README.md",
        "../README.md",
        "podproof-exporter.service",
        "podproof-exporter.socket",
        "kubernetes/daemonset.yaml",
    ] {
        let text = text(name)?;
        let is_inside = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        let words = text.split(|c| !is_inside(c)).map(|word| word.trim_end_matches('.'));
        // With a dot they are the exporter's, not those of curl or kubectl.
        let options = words.filter(|word| word.starts_with("--") && word.contains('.'));
        // NAME stands for some word.
        let is_known = |option: &&str| {
            let start = option.strip_suffix("NAME");
            known.contains(*option)
                || start.is_some_and(|start| known.iter().any(|name| name.starts_with(start)))
        };
        for option in options.filter(|option| !is_known(option)) {
            offences.push(format!("{name}: there is no option {option}"));
        }
    }
    none(&offences)
}

fn commands_name_whole_paths() -> Res<()> {
    let own: BTreeSet<_> = fs::read_dir(dir())?.flatten().map(|entry| entry.file_name()).collect();
    let text = text("README.md")?;
    let commands = text.split("```").skip(1).step_by(2);
    let is_inside = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let mut named = BTreeSet::new();
    for word in commands.flat_map(|block| block.split(|c| !is_inside(c))).map(Path::new) {
        // Units are named without a path where systemd has them.
        let is_file = word.extension().is_some_and(|end| end == "yaml" || end == "json");
        if is_file && word.file_name().is_some_and(|name| own.contains(name)) {
            named.insert(word.to_owned());
        }
    }
    let offences = named.iter().filter(|word| !word.starts_with("exporter/deploy"));
    none(&offences.map(|word| format!("{} is no path from there", word.display())).collect::<Vec<_>>())?;
    expect("files that are named", named.len() > 2, true)
}

fn the_image_is_the_program() -> Res<()> {
    let file = text("Dockerfile")?;
    let lines: Vec<&str> = file.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let port = Cli::try_parse_from(["podproof-exporter"])?.listen.remove(0).to_string();
    let port = port.rsplit(':').next().unwrap_or_default();
    let wanted = [
        "FROM scratch",
        "COPY podproof-exporter /podproof-exporter",
        "USER 65532:65532",
        &format!("EXPOSE {port}"),
        "ENTRYPOINT [\"/podproof-exporter\"]",
    ];
    expect("the instructions", lines, wanted.to_vec())?;
    let tag = format!("podproof-exporter:{}", env!("CARGO_PKG_VERSION"));
    expect("the tag", file.contains(&tag) && text("README.md")?.contains(&tag), true)
}
