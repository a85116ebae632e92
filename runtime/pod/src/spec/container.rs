//! One container: of `containers` or of `initContainers`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Container;

use super::env::{Allowance, Env};
use super::error::{Offences, is_filled};
use super::security::PodSecurity;
use super::{ContainerSpec, RestartPolicy};
use super::{image, lifecycle, mounts, names, ports, resources, restart, security};

const NO_PROBE: &str = "podrt probes no containers yet; remove it";
const NO_STDIN: &str = "a container's input is /dev/null; remove it, and use podrt pod exec for a terminal";

/// What a container takes from its pod.
pub(super) struct PodContext<'a> {
    pub(super) base: &'a Path,
    pub(super) restart_policy: RestartPolicy,
    pub(super) grace_period: Duration,
    pub(super) has_os: bool,
    pub(super) is_host_network: bool,
    pub(super) security: &'a PodSecurity,
    /// Names of the volumes.
    pub(super) volumes: HashSet<&'a str>,
}

/// Reads a container. `at` is its path.
pub(super) fn read(
    container: Container,
    at: &str,
    is_init: bool,
    pod: &PodContext<'_>,
    allowance: &mut Allowance,
    offences: &mut Offences,
) -> ContainerSpec {
    let Container {
        args,
        command,
        env,
        env_from,
        image,
        image_pull_policy,
        lifecycle,
        liveness_probe,
        name,
        ports,
        readiness_probe,
        // How a change of resources is made later, which podrt does not.
        resize_policy: _,
        resources,
        restart_policy,
        restart_policy_rules,
        security_context,
        startup_probe,
        stdin,
        stdin_once,
        termination_message_path,
        termination_message_policy,
        tty,
        volume_devices,
        volume_mounts,
        working_dir,
    } = container;
    if name.is_empty() {
        offences.missing(format!("{at}.name"));
    } else if let Some(fault) = names::label_fault(&name) {
        offences.invalid(format!("{at}.name"), format!("{name:?} {fault}"));
    }
    offences.refuse(
        at,
        &[
            ("livenessProbe", liveness_probe.is_some(), NO_PROBE),
            ("readinessProbe", readiness_probe.is_some(), NO_PROBE),
            ("startupProbe", startup_probe.is_some(), NO_PROBE),
            ("stdin", stdin == Some(true), NO_STDIN),
            ("stdinOnce", stdin_once == Some(true), NO_STDIN),
            ("tty", tty == Some(true), NO_STDIN),
            ("volumeDevices", is_filled(volume_devices.as_ref()), "podrt attaches no storage; remove it"),
        ],
    );
    let pull = format!("{at}.imagePullPolicy");
    let policies = [("IfNotPresent", false), ("Never", false), ("Always", true)];
    if offences.word(&pull, image_pull_policy.as_deref(), &policies) == Some(true) {
        offences.unsupported(
            pull,
            "images are files of the node, and nothing is pulled; write Never or IfNotPresent",
        );
    }
    ports::check(ports, &format!("{at}.ports"), pod.is_host_network, offences);
    let restarts = restart::read(
        restart_policy.as_deref(),
        restart_policy_rules,
        at,
        is_init,
        pod.restart_policy,
        offences,
    );
    let hooks = lifecycle::read(
        lifecycle,
        &format!("{at}.lifecycle"),
        restarts.kind,
        pod.has_os,
        pod.grace_period,
        offences,
    );
    let env = Env::read(env, env_from.as_ref(), at, allowance, offences);
    let message_policy = format!("{at}.terminationMessagePolicy");
    let message_policies = [("File", false), ("FallbackToLogsOnError", true)];
    ContainerSpec {
        name,
        kind: restarts.kind,
        restart_policy: restarts.policy,
        restart_rules: restarts.rules,
        image: image::read(image.as_deref(), &format!("{at}.image"), pod.base, offences),
        command: env.expand_list(command, &format!("{at}.command"), allowance, offences),
        args: env.expand_list(args, &format!("{at}.args"), allowance, offences),
        working_dir: absolute(working_dir, format!("{at}.workingDir"), offences),
        resources: resources::read(resources, &format!("{at}.resources"), offences),
        security: security::read(
            security_context,
            &format!("{at}.securityContext"),
            pod.security,
            pod.base,
            offences,
        ),
        mounts: mounts::read(
            volume_mounts,
            &format!("{at}.volumeMounts"),
            &pod.volumes,
            &env,
            allowance,
            offences,
        ),
        env: env.into_list(),
        post_start: hooks.post_start,
        pre_stop: hooks.pre_stop,
        stop_signal: hooks.stop_signal,
        termination_message_path: absolute(
            termination_message_path,
            format!("{at}.terminationMessagePath"),
            offences,
        )
        .unwrap_or_else(|| PathBuf::from("/dev/termination-log")),
        is_message_from_logs: offences
            .word(&message_policy, termination_message_policy.as_deref(), &message_policies)
            .unwrap_or_default(),
    }
}

/// A path of the container; an empty one is as none.
fn absolute(path: Option<String>, field: String, offences: &mut Offences) -> Option<PathBuf> {
    let path = path.filter(|path| !path.is_empty())?;
    if !path.starts_with('/') {
        offences.invalid(field.clone(), format!("{path:?} is not an absolute path"));
    }
    offences.check_no_nul(|| field, &path);
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::samples::{minimal, read as read_manifest, refused, with_container};
    use crate::spec::{ContainerKind, ImageRef, Resources, SecuritySpec};

    #[test]
    fn the_smallest_container_gets_the_defaults() {
        let container = read_manifest(&minimal()).unwrap().containers.remove(0);
        assert_eq!(
            container,
            ContainerSpec {
                name: "c".to_owned(),
                kind: ContainerKind::Main,
                restart_policy: RestartPolicy::Always,
                restart_rules: Vec::new(),
                image: ImageRef::Directory(PathBuf::from("/rootfs")),
                command: None,
                args: None,
                working_dir: None,
                env: Vec::new(),
                resources: Resources::default(),
                security: SecuritySpec::default(),
                mounts: Vec::new(),
                post_start: None,
                pre_stop: None,
                stop_signal: None,
                termination_message_path: PathBuf::from("/dev/termination-log"),
                is_message_from_logs: false,
            }
        );
    }

    #[test]
    fn each_bad_field_is_named() {
        for (field, value, message) in [
            ("name", json!("A"), ": \"A\" is not a DNS label"),
            ("name", json!("a/b"), ": \"a/b\" is not a DNS label"),
            ("image", json!(""), ": required"),
            ("imagePullPolicy", json!("Always"), ": not supported"),
            ("imagePullPolicy", json!("Sometimes"), ": \"Sometimes\" is none of IfNotPresent, Never, Always"),
            ("workingDir", json!("tmp"), ": \"tmp\" is not an absolute path"),
            ("command", json!(["a", "b\0c"]), "[1]: \"b\\0c\" contains a NUL"),
            ("terminationMessagePath", json!("log"), ": \"log\" is not an absolute path"),
            ("terminationMessagePolicy", json!("Logs"), ": \"Logs\" is none of File, FallbackToLogsOnError"),
            ("livenessProbe", json!({"exec": {"command": ["true"]}}), ": not supported"),
            ("envFrom", json!([{"secretRef": {"name": "x"}}]), ": not supported"),
            ("tty", json!(true), ": not supported"),
        ] {
            let text = refused(&with_container(field, value));
            assert!(text.starts_with(&format!("spec.containers[0].{field}{message}")), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn what_says_nothing_is_taken() {
        for (field, value) in [
            ("tty", json!(false)),
            ("stdin", json!(false)),
            ("envFrom", json!([])),
            ("volumeDevices", json!([])),
            ("command", json!([])),
            ("workingDir", json!("")),
            ("livenessProbe", json!(null)),
            ("imagePullPolicy", json!("Never")),
            ("resizePolicy", json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}])),
        ] {
            assert_eq!(
                read_manifest(&with_container(field, value)).unwrap(),
                read_manifest(&minimal()).unwrap()
            );
        }
    }
}
