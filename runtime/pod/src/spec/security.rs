//! `securityContext` of the pod and of a container: who the program is, and what it may do.

use std::path::Path;

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, PodSecurityContext, SeccompProfile as ApiSeccompProfile, SecurityContext,
    Sysctl,
};
use runtime::spec::capabilities;

use super::error::{Offences, is_written};
use super::image::absolute;
use super::{SeccompProfile, SecuritySpec};

/// The largest user and group of the API.
const MAX_ID: i64 = i32::MAX as i64;

/// The longest name of an AppArmor profile, as the API limits it.
const MAX_APPARMOR: usize = 4095;

const NO_SELINUX: &str = "podrt sets no SELinux labels; remove it";
const NO_WINDOWS: &str = "podrt runs Linux containers; remove it";

/// What the pod sets for all of its containers.
#[derive(Default)]
pub(super) struct PodSecurity {
    pub(super) fs_group: Option<u32>,
    pub(super) sysctls: Vec<Sysctl>,
    user: Option<u32>,
    group: Option<u32>,
    must_not_be_root: Option<bool>,
    groups: Vec<u32>,
    seccomp: Option<SeccompProfile>,
    /// `Some(None)` is `Unconfined`.
    apparmor: Option<Option<String>>,
}

pub(super) fn read_pod(
    context: Option<PodSecurityContext>,
    at: &str,
    base: &Path,
    offences: &mut Offences,
) -> PodSecurity {
    let PodSecurityContext {
        app_armor_profile,
        fs_group,
        fs_group_change_policy,
        run_as_group,
        run_as_non_root,
        run_as_user,
        se_linux_change_policy,
        se_linux_options,
        seccomp_profile,
        supplemental_groups,
        supplemental_groups_policy,
        sysctls,
        windows_options,
    } = context.unwrap_or_default();
    offences.refuse(
        at,
        &[
            ("seLinuxChangePolicy", is_written(se_linux_change_policy.as_ref()), NO_SELINUX),
            ("seLinuxOptions", se_linux_options.is_some(), NO_SELINUX),
            ("windowsOptions", windows_options.is_some(), NO_WINDOWS),
        ],
    );
    // The files of an emptyDir are made with the group, so there is nothing to change later.
    let policies = [("Always", ()), ("OnRootMismatch", ())];
    offences.word(&format!("{at}.fsGroupChangePolicy"), fs_group_change_policy.as_deref(), &policies);
    let policy = format!("{at}.supplementalGroupsPolicy");
    if offences.word(&policy, supplemental_groups_policy.as_deref(), &[("Merge", false), ("Strict", true)])
        == Some(true)
    {
        offences
            .unsupported(policy, "the groups that the image gives its user are always added; write Merge");
    }
    let fs_group = id(fs_group, || format!("{at}.fsGroup"), offences);
    let mut groups: Vec<u32> = supplemental_groups
        .unwrap_or_default()
        .into_iter()
        .enumerate()
        .filter_map(|(index, group)| {
            id(Some(group), || format!("{at}.supplementalGroups[{index}]"), offences)
        })
        .collect();
    groups.extend(fs_group.filter(|group| !groups.contains(group)));
    PodSecurity {
        fs_group,
        sysctls: sysctls.unwrap_or_default(),
        user: id(run_as_user, || format!("{at}.runAsUser"), offences),
        group: id(run_as_group, || format!("{at}.runAsGroup"), offences),
        must_not_be_root: run_as_non_root,
        groups,
        seccomp: seccomp(seccomp_profile, &format!("{at}.seccompProfile"), base, offences),
        apparmor: apparmor(app_armor_profile, &format!("{at}.appArmorProfile"), offences),
    }
}

pub(super) fn read(
    context: Option<SecurityContext>,
    at: &str,
    pod: &PodSecurity,
    base: &Path,
    offences: &mut Offences,
) -> SecuritySpec {
    let SecurityContext {
        allow_privilege_escalation,
        app_armor_profile,
        capabilities,
        privileged,
        proc_mount,
        read_only_root_filesystem,
        run_as_group,
        run_as_non_root,
        run_as_user,
        se_linux_options,
        seccomp_profile,
        windows_options,
    } = context.unwrap_or_default();
    offences.refuse(
        at,
        &[
            ("seLinuxOptions", se_linux_options.is_some(), NO_SELINUX),
            ("windowsOptions", windows_options.is_some(), NO_WINDOWS),
        ],
    );
    let is_privileged = privileged.unwrap_or(false);
    let no_new_privileges = allow_privilege_escalation == Some(false);
    let Capabilities { add, drop } = capabilities.unwrap_or_default();
    let add_capabilities = capability_names(add, &format!("{at}.capabilities.add"), offences);
    let drop_capabilities = capability_names(drop, &format!("{at}.capabilities.drop"), offences);
    let escalation = || format!("{at}.allowPrivilegeEscalation");
    if no_new_privileges && is_privileged {
        offences.invalid(escalation(), "is false, which privileged: true contradicts; remove one");
    }
    if no_new_privileges && add_capabilities.iter().any(|name| name == "CAP_SYS_ADMIN") {
        offences
            .invalid(escalation(), "is false, which adding the capability SYS_ADMIN contradicts; remove one");
    }
    let user = id(run_as_user, || format!("{at}.runAsUser"), offences).or(pod.user);
    let must_not_be_root = run_as_non_root.or(pod.must_not_be_root).unwrap_or(false);
    if must_not_be_root && user == Some(0) {
        offences.invalid(format!("{at}.runAsNonRoot"), "is true, and runAsUser is 0; write another user");
    }
    let own_seccomp = seccomp(seccomp_profile, &format!("{at}.seccompProfile"), base, offences);
    let own_apparmor = apparmor(app_armor_profile, &format!("{at}.appArmorProfile"), offences);
    let proc_mounts = [("Default", false), ("Unmasked", true)];
    SecuritySpec {
        user,
        group: id(run_as_group, || format!("{at}.runAsGroup"), offences).or(pod.group),
        must_not_be_root,
        supplemental_groups: pod.groups.clone(),
        is_root_readonly: read_only_root_filesystem.unwrap_or(false),
        is_privileged,
        no_new_privileges,
        add_capabilities,
        drop_capabilities,
        // As CRI runtimes have it, a privileged container is never filtered.
        seccomp: if is_privileged {
            SeccompProfile::Unconfined
        } else {
            own_seccomp.or_else(|| pod.seccomp.clone()).unwrap_or_default()
        },
        apparmor_profile: own_apparmor.unwrap_or_else(|| pod.apparmor.clone().flatten()),
        is_proc_unmasked: offences
            .word(&format!("{at}.procMount"), proc_mount.as_deref(), &proc_mounts)
            .unwrap_or_default(),
    }
}

/// A user or group: 0 to 2^31 - 1.
fn id(number: Option<i64>, path: impl FnOnce() -> String, offences: &mut Offences) -> Option<u32> {
    let number = number?;
    if !(0..=MAX_ID).contains(&number) {
        offences.invalid(path(), format!("{number} is not an id from 0 to {MAX_ID}"));
    }
    u32::try_from(number).ok()
}

/// Names as `CAP_NAME`, whether written with the prefix or not, or `ALL`; in any case, as CRI runtimes take them.
fn capability_names(list: Option<Vec<String>>, at: &str, offences: &mut Offences) -> Vec<String> {
    let known = capabilities::names();
    let mut names = Vec::new();
    for (index, text) in list.unwrap_or_default().into_iter().enumerate() {
        let upper = text.to_ascii_uppercase();
        let name = if upper == "ALL" || upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        if name != "ALL" && !known.contains(&name) {
            offences.invalid(
                format!("{at}[{index}]"),
                format!("{text:?} is not a capability, as NET_ADMIN or CAP_NET_ADMIN, nor ALL"),
            );
        } else if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn seccomp(
    profile: Option<ApiSeccompProfile>,
    at: &str,
    base: &Path,
    offences: &mut Offences,
) -> Option<SeccompProfile> {
    let ApiSeccompProfile { localhost_profile, type_ } = profile?;
    let kinds = [
        ("Unconfined", Kind::Unconfined),
        ("RuntimeDefault", Kind::RuntimeDefault),
        ("Localhost", Kind::Localhost),
    ];
    let kind = offences.word(&format!("{at}.type"), Some(&type_), &kinds)?;
    let file = localhost(localhost_profile, kind, at, offences);
    Some(match kind {
        Kind::Unconfined => SeccompProfile::Unconfined,
        Kind::RuntimeDefault => SeccompProfile::RuntimeDefault,
        Kind::Localhost => SeccompProfile::Localhost(absolute(base, &file?)),
    })
}

/// The name of the profile; `Some(None)` for none on purpose.
fn apparmor(profile: Option<AppArmorProfile>, at: &str, offences: &mut Offences) -> Option<Option<String>> {
    let AppArmorProfile { localhost_profile, type_ } = profile?;
    let kinds = [
        ("Unconfined", Kind::Unconfined),
        ("RuntimeDefault", Kind::RuntimeDefault),
        ("Localhost", Kind::Localhost),
    ];
    let kind = offences.word(&format!("{at}.type"), Some(&type_), &kinds)?;
    let name = localhost(localhost_profile, kind, at, offences);
    match kind {
        Kind::Unconfined => Some(None),
        Kind::RuntimeDefault => {
            offences.unsupported(
                format!("{at}.type"),
                "podrt comes with no AppArmor profile; load one and name it with Localhost, or write Unconfined",
            );
            None
        }
        Kind::Localhost => {
            let name = name?;
            if name.len() > MAX_APPARMOR || name.trim() != name {
                let reason = format!("{name:?} has spaces at its ends or more than {MAX_APPARMOR} bytes");
                offences.invalid(format!("{at}.localhostProfile"), reason);
            }
            Some(Some(name))
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unconfined,
    RuntimeDefault,
    Localhost,
}

/// `localhostProfile`: there with the type Localhost, and with no other.
fn localhost(profile: Option<String>, kind: Kind, at: &str, offences: &mut Offences) -> Option<String> {
    let path = format!("{at}.localhostProfile");
    let profile = profile.filter(|profile| !profile.is_empty());
    match (&profile, kind) {
        (None, Kind::Localhost) => offences.missing(path),
        (Some(_), Kind::Unconfined | Kind::RuntimeDefault) => {
            offences.invalid(path, "may only be set when type is Localhost");
        }
        (Some(profile), Kind::Localhost) => offences.check_no_nul(|| path, profile),
        (None, _) => {}
    }
    profile
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::{Value, json};

    use super::*;
    use crate::spec::samples::{read, refused, set, with_container, with_spec};

    fn security(value: Value) -> SecuritySpec {
        read(&with_container("securityContext", value)).unwrap().containers.remove(0).security
    }

    #[test]
    fn a_container_takes_from_the_pod_what_it_does_not_set() {
        let mut manifest = with_spec(
            "securityContext",
            json!({
                "runAsUser": 1000, "runAsGroup": 100, "runAsNonRoot": true, "fsGroup": 7,
                "supplementalGroups": [5, 6], "seccompProfile": {"type": "RuntimeDefault"},
                "appArmorProfile": {"type": "Localhost", "localhostProfile": "pod"},
            }),
        );
        let all = read(&manifest).unwrap().containers.remove(0).security;
        assert_eq!((all.user, all.group, all.must_not_be_root), (Some(1000), Some(100), true));
        assert_eq!(all.supplemental_groups, [5, 6, 7]);
        assert_eq!(all.seccomp, SeccompProfile::RuntimeDefault);
        assert_eq!(all.apparmor_profile.as_deref(), Some("pod"));
        let own = json!({
            "runAsUser": 0, "runAsNonRoot": false, "seccompProfile": {"type": "Localhost", "localhostProfile": "s.json"},
            "appArmorProfile": {"type": "Unconfined"},
        });
        set(&mut manifest, "/spec/containers/0/securityContext", own);
        let own = read(&manifest).unwrap().containers.remove(0).security;
        assert_eq!((own.user, own.group, own.must_not_be_root), (Some(0), Some(100), false));
        assert_eq!(own.seccomp, SeccompProfile::Localhost(PathBuf::from("/pods/s.json")));
        assert_eq!(own.apparmor_profile, None);
    }

    #[test]
    fn capabilities_are_taken_with_and_without_their_prefix() {
        let security = security(
            json!({"capabilities": {"add": ["NET_ADMIN", "CAP_SYS_TIME", "cap_net_admin"], "drop": ["all"]}}),
        );
        assert_eq!(security.add_capabilities, ["CAP_NET_ADMIN", "CAP_SYS_TIME"]);
        assert_eq!(security.drop_capabilities, ["ALL"]);
    }

    #[test]
    fn a_privileged_container_has_no_filter() {
        let security = security(json!({"privileged": true, "seccompProfile": {"type": "RuntimeDefault"}}));
        assert!(security.is_privileged && security.seccomp == SeccompProfile::Unconfined);
    }

    #[test]
    fn what_contradicts_itself_or_is_no_value_is_refused() {
        for (value, message) in [
            (
                json!({"privileged": true, "allowPrivilegeEscalation": false}),
                "allowPrivilegeEscalation: is false",
            ),
            (
                json!({"capabilities": {"add": ["SYS_ADMIN"]}, "allowPrivilegeEscalation": false}),
                "allowPrivilegeEscalation: is false",
            ),
            (json!({"runAsUser": 0, "runAsNonRoot": true}), "runAsNonRoot: is true, and runAsUser is 0"),
            (json!({"runAsUser": -1}), "runAsUser: -1 is not an id"),
            (json!({"runAsGroup": 2_147_483_648_i64}), "runAsGroup: 2147483648 is not an id"),
            (
                json!({"capabilities": {"add": ["CHOWN", "FLY"]}}),
                "capabilities.add[1]: \"FLY\" is not a capability",
            ),
            (json!({"procMount": "default"}), "procMount: \"default\" is none of Default, Unmasked"),
            (json!({"seccompProfile": {}}), "seccompProfile.type: \"\" is none of Unconfined"),
            (json!({"seccompProfile": {"type": "Localhost"}}), "seccompProfile.localhostProfile: required"),
            (
                json!({"seccompProfile": {"type": "Unconfined", "localhostProfile": "x"}}),
                "seccompProfile.localhostProfile: may only",
            ),
            (json!({"appArmorProfile": {"type": "RuntimeDefault"}}), "appArmorProfile.type: not supported"),
            (
                json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": " x"}}),
                "appArmorProfile.localhostProfile: \" x\"",
            ),
        ] {
            let text = refused(&with_container("securityContext", value));
            assert!(text.starts_with(&format!("spec.containers[0].securityContext.{message}")), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }
}
