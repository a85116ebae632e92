//! `restartPolicy` of the pod and of a container, and `restartPolicyRules`.

use k8s_openapi::api::core::v1::{ContainerRestartRule, ContainerRestartRuleOnExitCodes};

use super::error::Offences;
use super::{ContainerKind, RestartPolicy, RestartRule};

/// How many rules a container can have, and how many exit codes a rule: the API server's limits.
const MAX_RULES: usize = 20;
const MAX_CODES: usize = 255;

const POLICIES: [(&str, RestartPolicy); 3] = [
    ("Always", RestartPolicy::Always),
    ("OnFailure", RestartPolicy::OnFailure),
    ("Never", RestartPolicy::Never),
];

/// Reads the pod's policy; `Always` without one.
pub(super) fn read_pod(policy: Option<&str>, path: &str, offences: &mut Offences) -> RestartPolicy {
    offences.word(path, policy, &POLICIES).unwrap_or(RestartPolicy::Always)
}

/// What a container's policy makes of it.
pub(super) struct Restarts {
    pub(super) kind: ContainerKind,
    pub(super) policy: RestartPolicy,
    pub(super) rules: Vec<RestartRule>,
}

/// Reads a container's policy and rules.
pub(super) fn read(
    policy: Option<&str>,
    rules: Option<Vec<ContainerRestartRule>>,
    at: &str,
    is_init: bool,
    pod: RestartPolicy,
    offences: &mut Offences,
) -> Restarts {
    let own = policy.and_then(|word| offences.word(&format!("{at}.restartPolicy"), Some(word), &POLICIES));
    let kind = match own {
        _ if !is_init => ContainerKind::Main,
        Some(RestartPolicy::Always) => ContainerKind::Sidecar,
        _ => ContainerKind::Init,
    };
    let inherited = match pod {
        // An init container that ended well is done, whatever the pod's policy.
        RestartPolicy::Always if is_init => RestartPolicy::OnFailure,
        policy => policy,
    };
    let rules = rules.unwrap_or_default();
    if !rules.is_empty() && policy.is_none() {
        offences.invalid(
            format!("{at}.restartPolicyRules"),
            "may only be set when the container's restartPolicy is",
        );
    }
    let at = format!("{at}.restartPolicyRules");
    if rules.len() > MAX_RULES {
        offences.invalid(&at, format!("has {} rules, more than {MAX_RULES}", rules.len()));
    }
    let rules = rules
        .into_iter()
        .enumerate()
        .filter_map(|(index, r)| rule(r, &format!("{at}[{index}]"), offences))
        .collect();
    Restarts { kind, policy: own.unwrap_or(inherited), rules }
}

fn rule(rule: ContainerRestartRule, at: &str, offences: &mut Offences) -> Option<RestartRule> {
    let ContainerRestartRule { action, exit_codes } = rule;
    match action.as_str() {
        "" => offences.missing(format!("{at}.action")),
        "Restart" => {}
        "RestartAllContainers" => {
            let reason = "podrt restarts one container at a time; write Restart";
            offences.unsupported(format!("{at}.action"), reason);
        }
        _ => offences.invalid(format!("{at}.action"), format!("{action:?} is none of Restart")),
    }
    let Some(ContainerRestartRuleOnExitCodes { operator, values }) = exit_codes else {
        offences.missing(format!("{at}.exitCodes"));
        return None;
    };
    let at = format!("{at}.exitCodes");
    let is_in = if operator.is_empty() {
        offences.missing(format!("{at}.operator"));
        None
    } else {
        offences.word(&format!("{at}.operator"), Some(&operator), &[("In", true), ("NotIn", false)])
    };
    let codes = values.unwrap_or_default();
    if codes.len() > MAX_CODES {
        offences.invalid(
            format!("{at}.values"),
            format!("has {} exit codes, more than {MAX_CODES}", codes.len()),
        );
    }
    Some(RestartRule { is_in: is_in?, codes })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::samples::{read as read_manifest, refused, set, with_container, with_spec};

    #[test]
    fn the_pods_policy_holds_where_a_container_has_none() {
        use ContainerKind::{Init, Main, Sidecar};
        use RestartPolicy::{Always, Never, OnFailure};
        let container =
            |policy: Value, name: &str| json!({"name": name, "image": "/rootfs", "restartPolicy": policy});
        for (pod, own, init, main) in [
            (json!(null), json!(null), (Init, OnFailure), Always),
            (json!("Always"), json!(null), (Init, OnFailure), Always),
            (json!("OnFailure"), json!(null), (Init, OnFailure), OnFailure),
            (json!("Never"), json!(null), (Init, Never), Never),
            (json!("Never"), json!("Always"), (Sidecar, Always), Always),
            (json!("Always"), json!("Never"), (Init, Never), Never),
            (json!("Never"), json!("OnFailure"), (Init, OnFailure), OnFailure),
        ] {
            let mut manifest = with_spec("restartPolicy", pod);
            set(&mut manifest, "/spec/containers", json!([container(own.clone(), "c")]));
            set(&mut manifest, "/spec/initContainers", json!([container(own, "i")]));
            let containers = read_manifest(&manifest).unwrap().containers;
            assert_eq!((containers[0].kind, containers[0].restart_policy), init);
            assert_eq!((containers[1].kind, containers[1].restart_policy), (Main, main));
        }
    }

    fn with_rules(rules: Value) -> Value {
        let mut manifest = with_container("restartPolicy", json!("Never"));
        set(&mut manifest, "/spec/containers/0/restartPolicyRules", rules);
        manifest
    }

    #[test]
    fn rules_are_read_in_order() {
        let rules = read_manifest(&with_rules(json!([
            {"action": "Restart", "exitCodes": {"operator": "In", "values": [42, 137]}},
            {"action": "Restart", "exitCodes": {"operator": "NotIn", "values": []}},
        ])))
        .unwrap()
        .containers
        .remove(0)
        .restart_rules;
        let [first, second] = &rules[..] else { unreachable!("two rules") };
        assert_eq!((first.is_in, &first.codes[..]), (true, &[42, 137][..]));
        assert_eq!((second.is_in, &second.codes[..]), (false, &[][..]));
    }

    #[test]
    fn each_bad_rule_is_named() {
        for (rule, message) in [
            (json!({"exitCodes": {"operator": "In"}}), "[0].action: required"),
            (
                json!({"action": "Stop", "exitCodes": {"operator": "In"}}),
                "[0].action: \"Stop\" is none of Restart",
            ),
            (
                json!({"action": "RestartAllContainers", "exitCodes": {"operator": "In"}}),
                "[0].action: not supported",
            ),
            (json!({"action": "Restart"}), "[0].exitCodes: required"),
            (json!({"action": "Restart", "exitCodes": {}}), "[0].exitCodes.operator: required"),
            (
                json!({"action": "Restart", "exitCodes": {"operator": "Out"}}),
                "[0].exitCodes.operator: \"Out\" is none",
            ),
            (
                json!({"action": "Restart", "exitCodes": {"operator": "In", "values": vec![1; 256]}}),
                "[0].exitCodes.values: has 256 exit codes",
            ),
        ] {
            let text = refused(&with_rules(json!([rule])));
            assert!(text.starts_with(&format!("spec.containers[0].restartPolicyRules{message}")), "{text}");
        }
        let rule = json!({"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}});
        let text = refused(&with_rules(json!(vec![rule.clone(); 21])));
        assert!(text.ends_with("restartPolicyRules: has 21 rules, more than 20"), "{text}");
        let text = refused(&with_container("restartPolicyRules", json!([rule])));
        assert!(text.ends_with("may only be set when the container's restartPolicy is"), "{text}");
        let text = refused(&with_spec("restartPolicy", json!("always")));
        assert_eq!(text, "spec.restartPolicy: \"always\" is none of Always, OnFailure, Never");
    }
}
