//! Configurations as text: for each `configs/NAME.yaml`, the `config.json` of the sandbox and of each container stands in
//! `configs/NAME.json`.
//!
//! No root and no kernel feature is needed. After an intended change, run with `PODRT_UPDATE_CONFIGS=1` and read the diff.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use pod::image::{ImageConfig, UserIds};
use pod::plan::container::{self, Facts};
use pod::plan::{Places, SANDBOX, Sandbox, sandbox};
use pod::spec::fields::{Support, table};
use pod::spec::{ContainerSpec, PodSpec, SeccompProfile, parse};
use runtime::plan::{KernelFeatures, plan};
use runtime::spec::{CapSet, capabilities, config};
use serde_json::{Map, Value, json};

type TestResult = Result<(), Box<dyn Error>>;

const ALL: [&str; 3] = ["full", "node", "smallest"];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs").join(name)
}

fn manifest(name: &str) -> Result<String, Box<dyn Error>> {
    Ok(fs::read_to_string(file(&format!("{name}.yaml")))?)
}

fn image() -> ImageConfig {
    ImageConfig {
        entrypoint: vec!["/bin/of-image".to_owned()],
        cmd: vec!["argument".to_owned()],
        env: [("OF_IMAGE", "of the image"), ("LANG", "C")]
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        working_dir: Some("/srv".into()),
        ..ImageConfig::default()
    }
}

/// The configuration of a container on a node of 1 GiB.
fn config_of(spec: &PodSpec, own: &ContainerSpec, places: &Places) -> Result<Value, Box<dyn Error>> {
    let security = &own.security;
    let user = UserIds {
        uid: security.user.unwrap_or(0),
        gid: security.group.unwrap_or(0),
        additional_gids: vec![7],
        home: Some("/srv/of-image".into()),
    };
    let filter = |call| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [call], "action": "SCMP_ACT_ERRNO"}]});
    let seccomp = match &security.seccomp {
        SeccompProfile::Localhost(path) if path == Path::new("/manifests/of-the-pod.json") => {
            Some(filter("chown"))
        }
        SeccompProfile::Localhost(path) if path == Path::new("/manifests/of-the-container.json") => {
            Some(filter("chmod"))
        }
        SeccompProfile::Localhost(path) => return Err(format!("no profile {}", path.display()).into()),
        SeccompProfile::Unconfined | SeccompProfile::RuntimeDefault => None,
    };
    let facts = Facts {
        image: &image(),
        user: &user,
        sandbox: Sandbox { pid: 4711 },
        node_memory_bytes: 1 << 30,
        has_swap_max: true,
        capabilities: &capabilities::names(),
        seccomp: seccomp.as_ref(),
    };
    Ok(container::config(spec, own, places, &facts)?)
}

/// The configurations of a manifest by the name of the container.
fn configs_of(name: &str) -> Result<Map<String, Value>, Box<dyn Error>> {
    let spec = parse(&manifest(name)?, Path::new("/manifests"))?;
    let places =
        Places { cgroup: Path::new("/pods").join(&spec.name), pod: Path::new("/run/pods").join(&spec.name) };
    let mut all = Map::from_iter([(SANDBOX.to_owned(), sandbox::config(&spec, &places))]);
    for own in &spec.containers {
        all.insert(own.name.clone(), config_of(&spec, own, &places)?);
    }
    Ok(all)
}

#[test]
fn configurations_are_as_recorded() -> TestResult {
    for name in ALL {
        let text = serde_json::to_string_pretty(&configs_of(name)?)? + "\n";
        let recorded = file(&format!("{name}.json"));
        if std::env::var_os("PODRT_UPDATE_CONFIGS").is_some() {
            fs::write(&recorded, &text)?;
        }
        assert_eq!(
            text,
            fs::read_to_string(&recorded)?,
            "{name}.yaml gives other configurations than {}",
            recorded.display()
        );
    }
    Ok(())
}

#[test]
fn every_configuration_is_one_for_the_container_layer() -> TestResult {
    let kernel = KernelFeatures {
        has_cgroup2: true,
        controllers: ["cpu", "memory", "pids"].map(str::to_owned).to_vec(),
        last_capability: 40,
        has_apparmor: true,
        grantable_capabilities: CapSet((1 << 41) - 1),
    };
    for name in ALL {
        for (container, config) in configs_of(name)? {
            let spec = config::parse(&config.to_string(), Path::new("/bundle"))?;
            let plan = plan(&container.parse()?, &spec, None, &kernel)?;
            assert_eq!(plan.warnings, Vec::<String>::new(), "{container} of {name}");
        }
    }
    Ok(())
}

/// Whether some value is at the path; `[]` stands for any element of a list.
fn has(value: &Value, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    match first.strip_suffix("[]") {
        Some(list) => value[list].as_array().is_some_and(|list| list.iter().any(|value| has(value, rest))),
        None => value.get(first).is_some_and(|value| has(value, rest)),
    }
}

#[test]
fn every_supported_field_is_set() -> TestResult {
    let mut manifests = Vec::new();
    for name in ALL {
        let mut manifest: Value = serde_saphyr::from_str(&manifest(name)?)?;
        // Init containers have the fields of the others.
        if let Some(Value::Array(init)) = manifest["spec"].get("initContainers").cloned() {
            manifest["spec"]["containers"].as_array_mut().ok_or("no containers")?.extend(init);
        }
        manifests.push(manifest);
    }
    for field in table().iter().filter(|field| field.support == Support::Supported) {
        let path: Vec<&str> = field.path.split('.').collect();
        assert!(manifests.iter().any(|manifest| has(manifest, &path)), "no manifest has {}", field.path);
    }
    Ok(())
}
