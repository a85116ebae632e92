//! What podrt does with each field of a manifest: one table, for the documentation and for the tests.

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It has its effect.
    Supported,
    /// It is read, and has none to have for one pod on one node.
    Accepted,
    /// It is an error.
    Refused,
}

impl Support {
    /// The word of the table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Supported => "yes",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
        }
    }
}

/// A field of the API, with all below it that has no row of its own.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Path, with `[]` behind each list.
    pub path: &'static str,
    /// What becomes of it.
    pub support: Support,
    /// Its limits, or why; may be empty.
    pub remark: &'static str,
    /// A value, as JSON, with which this is shown.
    pub example: &'static str,
}

const fn row(path: &'static str, support: Support, remark: &'static str, example: &'static str) -> Field {
    Field { path, support, remark, example }
}

const fn yes(path: &'static str, remark: &'static str, example: &'static str) -> Field {
    row(path, Support::Supported, remark, example)
}

const fn accepted(path: &'static str, remark: &'static str, example: &'static str) -> Field {
    row(path, Support::Accepted, remark, example)
}

const fn refused(path: &'static str, remark: &'static str, example: &'static str) -> Field {
    row(path, Support::Refused, remark, example)
}

/// Every field.
#[must_use]
pub fn table() -> &'static [Field] {
    TABLE
}

/// The table in Markdown. Fields side by side of which the same is said share a line.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("| field | |\n|---|---|\n");
    for group in
        TABLE.chunk_by(|a, b| a.support == b.support && a.remark == b.remark && parent(a) == parent(b))
    {
        let names: Vec<String> = group
            .iter()
            .enumerate()
            .map(|(index, field)| if index == 0 { field.path } else { leaf(field) })
            .map(|name| format!("`{name}`"))
            .collect();
        let Some(first) = group.first() else { continue };
        let separator = if first.remark.is_empty() { "" } else { ": " };
        text.push_str(&format!(
            "| {} | {}{separator}{} |\n",
            names.join(", "),
            first.support.word(),
            first.remark
        ));
    }
    text
}

fn parent(field: &Field) -> &'static str {
    field.path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

fn leaf(field: &Field) -> &'static str {
    field.path.rsplit_once('.').map_or(field.path, |(_, leaf)| leaf)
}

#[rustfmt::skip]
const TABLE: &[Field] = &[
    accepted("apiVersion", "must be `v1`", r#""v1""#),
    accepted("kind", "must be `Pod`", r#""Pod""#),
    accepted("status", "what a server printed; not read", r#"{"phase": "Running"}"#),
    yes("metadata.name", "required; a DNS subdomain that does not begin as the files of a cgroup do (`cpu.`, `memory.` and so on)", r#""other""#),
    yes("metadata.namespace", "`default` without it", r#""other""#),
    yes("metadata.labels", "", r#"{"a": "b"}"#),
    yes("metadata.annotations", "", r#"{"a": "b"}"#),
    accepted("metadata.generateName", "only beside `name`", r#""web-""#),
    accepted("metadata.creationTimestamp", "set by a server, as `kubectl get -o yaml` prints it", r#""2024-01-01T00:00:00Z""#),
    accepted("metadata.deletionGracePeriodSeconds", "set by a server, as `kubectl get -o yaml` prints it", "30"),
    accepted("metadata.deletionTimestamp", "set by a server, as `kubectl get -o yaml` prints it", r#""2024-01-01T00:00:00Z""#),
    accepted("metadata.finalizers", "set by a server, as `kubectl get -o yaml` prints it", r#"["example.com/x"]"#),
    accepted("metadata.generation", "set by a server, as `kubectl get -o yaml` prints it", "1"),
    accepted("metadata.managedFields", "set by a server, as `kubectl get -o yaml` prints it", r#"[{"manager": "kubectl"}]"#),
    accepted("metadata.ownerReferences", "set by a server, as `kubectl get -o yaml` prints it", r#"[{"kind": "ReplicaSet", "name": "web", "uid": "1", "apiVersion": "apps/v1"}]"#),
    accepted("metadata.resourceVersion", "set by a server, as `kubectl get -o yaml` prints it", r#""1""#),
    accepted("metadata.selfLink", "set by a server, as `kubectl get -o yaml` prints it", r#""/api""#),
    accepted("metadata.uid", "set by a server, as `kubectl get -o yaml` prints it", r#""1""#),
    yes("spec.containers", "at least one", r#"[{"name": "d", "image": "/rootfs"}]"#),
    yes("spec.initContainers", "as `containers`; with `restartPolicy: Always` a sidecar", r#"[{"name": "i", "image": "/rootfs"}]"#),
    refused("spec.ephemeralContainers", "`podrt pod exec` instead", r#"[{"name": "d"}]"#),
    yes("spec.restartPolicy", "", r#""Never""#),
    yes("spec.terminationGracePeriodSeconds", "", "5"),
    yes("spec.activeDeadlineSeconds", "", "5"),
    yes("spec.shareProcessNamespace", "not with `hostPID`", "true"),
    yes("spec.hostNetwork", "", "true"),
    yes("spec.hostPID", "", "true"),
    yes("spec.hostIPC", "", "true"),
    refused("spec.hostUsers", "`false`; `true` is accepted", "false"),
    yes("spec.hostname", "a DNS label; the pod's name cut to one without it; with `hostNetwork` the node's", r#""h""#),
    yes("spec.hostnameOverride", "not with `hostNetwork`", r#""h.example""#),
    yes("spec.hostAliases", "", r#"[{"ip": "127.0.0.2", "hostnames": ["x"]}]"#),
    refused("spec.setHostnameAsFQDN", "`true`; no cluster domain", "true"),
    refused("spec.subdomain", "no cluster domain", r#""x""#),
    yes("spec.dnsPolicy", "`ClusterFirst`, `ClusterFirstWithHostNet` and `Default` are the node's file; `None`", r#""None""#),
    yes("spec.dnsConfig.nameservers", "merged with the node's file", r#"["10.0.0.2"]"#),
    yes("spec.dnsConfig.searches", "merged with the node's file", r#"["example"]"#),
    yes("spec.dnsConfig.options", "merged with the node's file", r#"[{"name": "ndots", "value": "2"}]"#),
    yes("spec.resources.limits.cpu", "of the pod as a whole", r#""1""#),
    yes("spec.resources.limits.memory", "of the pod as a whole", r#""1Gi""#),
    yes("spec.resources.requests.cpu", "of the pod as a whole", r#""1""#),
    yes("spec.resources.requests.memory", "of the pod as a whole; what is more than its containers request counts in the `oom_score_adj` of each, in equal parts", r#""1Gi""#),
    refused("spec.resources.claims", "no devices", r#"[{"name": "x"}]"#),
    accepted("spec.os", "`linux`; needed beside `lifecycle.stopSignal`", r#"{"name": "linux"}"#),
    accepted("spec.nodeName", "chooses a node or a turn, and both are settled", r#""n""#),
    accepted("spec.nodeSelector", "chooses a node or a turn, and both are settled", r#"{"a": "b"}"#),
    accepted("spec.preemptionPolicy", "chooses a node or a turn, and both are settled", r#""Never""#),
    accepted("spec.priority", "chooses a node or a turn, and both are settled", "1"),
    accepted("spec.priorityClassName", "chooses a node or a turn, and both are settled", r#""high""#),
    accepted("spec.schedulerName", "chooses a node or a turn, and both are settled", r#""s""#),
    accepted("spec.tolerations", "chooses a node or a turn, and both are settled", r#"[{"operator": "Exists"}]"#),
    accepted("spec.topologySpreadConstraints", "chooses a node or a turn, and both are settled", r#"[{"maxSkew": 1}]"#),
    accepted("spec.workloadRef", "chooses a node or a turn, and both are settled", r#"{"name": "w", "podGroup": "g"}"#),
    refused("spec.affinity", "may keep pods of one node apart", "{}"),
    refused("spec.schedulingGates", "nobody would remove them", r#"[{"name": "x"}]"#),
    refused("spec.readinessGates", "nobody would set the condition", r#"[{"conditionType": "x"}]"#),
    accepted("spec.imagePullSecrets", "no registries", r#"[{"name": "x"}]"#),
    accepted("spec.enableServiceLinks", "no services", "true"),
    refused("spec.automountServiceAccountToken", "`true`; no API server", "true"),
    refused("spec.serviceAccountName", "unless `default`; no API server", r#""x""#),
    refused("spec.serviceAccount", "unless `default`; no API server", r#""x""#),
    refused("spec.overhead", "no RuntimeClass", r#"{"cpu": "1"}"#),
    refused("spec.runtimeClassName", "no RuntimeClass", r#""x""#),
    refused("spec.resourceClaims", "no devices", r#"[{"name": "x"}]"#),
    yes("spec.securityContext.runAsUser", "for containers that do not set it", "1"),
    yes("spec.securityContext.runAsGroup", "for containers that do not set it", "1"),
    yes("spec.securityContext.runAsNonRoot", "for containers that do not set it", "true"),
    yes("spec.securityContext.seccompProfile", "for containers that do not set it", r#"{"type": "RuntimeDefault"}"#),
    yes("spec.securityContext.appArmorProfile", "for containers that do not set it", r#"{"type": "Localhost", "localhostProfile": "x"}"#),
    yes("spec.securityContext.fsGroup", "group of emptyDir volumes, and of every program", "1"),
    accepted("spec.securityContext.fsGroupChangePolicy", "emptyDir volumes are made with the group", r#""OnRootMismatch""#),
    yes("spec.securityContext.supplementalGroups", "", "[1]"),
    accepted("spec.securityContext.supplementalGroupsPolicy", "`Merge`; `Strict` is refused", r#""Merge""#),
    yes("spec.securityContext.sysctls", "of the pod's own network and ipc namespaces; those of the interface `eth0` are refused, as they are set before it is there (`net.ipv4.conf.default.NAME` is what it begins with)", r#"[{"name": "net.core.somaxconn", "value": "1"}]"#),
    refused("spec.securityContext.seLinuxOptions", "no SELinux labels", "{}"),
    refused("spec.securityContext.seLinuxChangePolicy", "no SELinux labels", r#""Recursive""#),
    refused("spec.securityContext.windowsOptions", "Linux only", "{}"),
    yes("spec.containers[].name", "required; a DNS label, unique in the pod", r#""d""#),
    yes("spec.containers[].image", "required; `/PATH`, `./PATH`, `../PATH` of a root file system, or `oci:PATH[:TAG]`", r#""oci:/i:t""#),
    accepted("spec.containers[].imagePullPolicy", "`Never`, `IfNotPresent`; `Always` is refused", r#""Never""#),
    yes("spec.containers[].command", "with `$(VAR)`", r#"["a"]"#),
    yes("spec.containers[].args", "with `$(VAR)`", r#"["a"]"#),
    yes("spec.containers[].workingDir", "absolute", r#""/w""#),
    yes("spec.containers[].env[].name", "printable ASCII but `=`", r#""B""#),
    yes("spec.containers[].env[].value", "with `$(VAR)` of the variables before it", r#""b""#),
    refused("spec.containers[].env[].valueFrom", "no API server", r#"{"fieldRef": {"fieldPath": "metadata.name"}}"#),
    refused("spec.containers[].envFrom", "no API server", r#"[{"configMapRef": {"name": "x"}}]"#),
    accepted("spec.containers[].ports[].containerPort", "every port is reached at the pod's address", "81"),
    accepted("spec.containers[].ports[].name", "every port is reached at the pod's address", r#""web""#),
    accepted("spec.containers[].ports[].protocol", "every port is reached at the pod's address", r#""UDP""#),
    refused("spec.containers[].ports[].hostPort", "unless it is the container's own with `hostNetwork`", "81"),
    refused("spec.containers[].ports[].hostIP", "no ports of the node", r#""127.0.0.1""#),
    yes("spec.containers[].resources.limits.cpu", "a limit without a request requests as much; a limit of 0 is none", r#""1""#),
    yes("spec.containers[].resources.limits.memory", "a limit without a request requests as much; a limit of 0 is none", r#""1Gi""#),
    refused("spec.containers[].resources.limits.ephemeral-storage", "and every other resource", r#""1Gi""#),
    yes("spec.containers[].resources.requests.cpu", "a limit without a request requests as much; a limit of 0 is none", r#""1""#),
    yes("spec.containers[].resources.requests.memory", "decides QoS class and `oom_score_adj` only", r#""1Gi""#),
    refused("spec.containers[].resources.requests.ephemeral-storage", "and every other resource", r#""1Gi""#),
    refused("spec.containers[].resources.claims", "no devices", r#"[{"name": "x"}]"#),
    accepted("spec.containers[].resizePolicy", "resources are not changed later", r#"[{"resourceName": "cpu", "restartPolicy": "NotRequired"}]"#),
    yes("spec.containers[].restartPolicy", "", r#""OnFailure""#),
    yes("spec.containers[].restartPolicyRules", "with `restartPolicy`; action `Restart`; `RestartAllContainers` is refused", r#"[{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]"#),
    yes("spec.containers[].lifecycle.postStart.exec", "of main containers and sidecars", r#"{"command": ["x"]}"#),
    yes("spec.containers[].lifecycle.postStart.sleep", "of main containers and sidecars", r#"{"seconds": 1}"#),
    refused("spec.containers[].lifecycle.postStart.httpGet", "a client in the container with `exec` instead", r#"{"port": 80}"#),
    refused("spec.containers[].lifecycle.postStart.tcpSocket", "a client in the container with `exec` instead", r#"{"port": 80}"#),
    yes("spec.containers[].lifecycle.preStop.exec", "of main containers and sidecars", r#"{"command": ["x"]}"#),
    yes("spec.containers[].lifecycle.preStop.sleep", "of main containers and sidecars", r#"{"seconds": 1}"#),
    refused("spec.containers[].lifecycle.preStop.httpGet", "a client in the container with `exec` instead", r#"{"port": 80}"#),
    refused("spec.containers[].lifecycle.preStop.tcpSocket", "a client in the container with `exec` instead", r#"{"port": 80}"#),
    yes("spec.containers[].lifecycle.stopSignal", "with `spec.os`, as the API server demands", r#""SIGRTMIN+3""#),
    refused("spec.containers[].livenessProbe", "no probes yet", r#"{"exec": {"command": ["x"]}}"#),
    refused("spec.containers[].readinessProbe", "no probes yet", r#"{"exec": {"command": ["x"]}}"#),
    refused("spec.containers[].startupProbe", "no probes yet", r#"{"exec": {"command": ["x"]}}"#),
    refused("spec.containers[].stdin", "`true`; `podrt pod exec` instead", "true"),
    refused("spec.containers[].stdinOnce", "`true`; `podrt pod exec` instead", "true"),
    refused("spec.containers[].tty", "`true`; `podrt pod exec` instead", "true"),
    yes("spec.containers[].terminationMessagePath", "`/dev/termination-log` without it; the last 4096 bytes, or the begin of those where more than three containers share 12 KiB", r#""/m/log""#),
    yes("spec.containers[].terminationMessagePolicy", "", r#""FallbackToLogsOnError""#),
    yes("spec.containers[].securityContext.runAsUser", "", "1"),
    yes("spec.containers[].securityContext.runAsGroup", "", "1"),
    yes("spec.containers[].securityContext.runAsNonRoot", "an image's user that is a name is refused, as nobody vouches for it", "true"),
    yes("spec.containers[].securityContext.readOnlyRootFilesystem", "", "true"),
    yes("spec.containers[].securityContext.privileged", "never filtered by seccomp; `/dev` has the default nodes, the node's own by `hostPath`", "true"),
    yes("spec.containers[].securityContext.allowPrivilegeEscalation", "", "false"),
    yes("spec.containers[].securityContext.capabilities.add", "with or without `CAP_`; `ALL`", r#"["NET_ADMIN"]"#),
    yes("spec.containers[].securityContext.capabilities.drop", "with or without `CAP_`; `ALL`", r#"["ALL"]"#),
    yes("spec.containers[].securityContext.seccompProfile", "`localhostProfile` is a path, relative to the manifest", r#"{"type": "Localhost", "localhostProfile": "s.json"}"#),
    yes("spec.containers[].securityContext.appArmorProfile", "`Localhost`, `Unconfined`; `RuntimeDefault` is refused; none is applied without it", r#"{"type": "Localhost", "localhostProfile": "x"}"#),
    yes("spec.containers[].securityContext.procMount", "`Unmasked` also without a user namespace, which the API server would demand", r#""Unmasked""#),
    refused("spec.containers[].securityContext.seLinuxOptions", "no SELinux labels", "{}"),
    refused("spec.containers[].securityContext.windowsOptions", "Linux only", "{}"),
    yes("spec.containers[].volumeMounts[].name", "of a volume in `spec.volumes`", r#""w""#),
    yes("spec.containers[].volumeMounts[].mountPath", "absolute, without `..` and `:`, unique", r#""/n""#),
    yes("spec.containers[].volumeMounts[].readOnly", "", "false"),
    yes("spec.containers[].volumeMounts[].recursiveReadOnly", "with `readOnly`", r#""Enabled""#),
    yes("spec.containers[].volumeMounts[].subPath", "relative, without `..`; links lead where they do on the node, and one that leads out of the volume is refused; directories are made with the volume's mode", r#""s""#),
    yes("spec.containers[].volumeMounts[].subPathExpr", "all variables must be set", r#""$(A)""#),
    yes("spec.containers[].volumeMounts[].mountPropagation", "`None`, `HostToContainer`; `Bidirectional` is refused", r#""HostToContainer""#),
    refused("spec.containers[].volumeDevices", "no storage attached", r#"[{"name": "x", "devicePath": "/x"}]"#),
    yes("spec.volumes[].name", "a DNS label, unique; a volume without a source is an emptyDir", r#""x""#),
    yes("spec.volumes[].emptyDir.medium", "`Memory`; `HugePages` is refused", r#""Memory""#),
    yes("spec.volumes[].emptyDir.sizeLimit", "0 is none; in memory it is no more than the pod's memory limit; on disk it is looked at every 10 s, a file counting once however many names it has, and the pod is evicted, also for a directory whose path branches more than 128 times", r#""1Mi""#),
    yes("spec.volumes[].hostPath", "absolute, without `..`; all types; without one a missing path becomes a directory", r#"{"path": "/x", "type": "File"}"#),
    refused("spec.volumes[].configMap", "no API server; files of the node by `hostPath`", "{}"),
    refused("spec.volumes[].downwardAPI", "no API server; files of the node by `hostPath`", "{}"),
    refused("spec.volumes[].projected", "no API server; files of the node by `hostPath`", "{}"),
    refused("spec.volumes[].secret", "no API server; files of the node by `hostPath`", "{}"),
    refused("spec.volumes[].awsElasticBlockStore", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].azureDisk", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].azureFile", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].cephfs", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].cinder", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].csi", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].ephemeral", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].fc", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].flexVolume", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].flocker", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].gcePersistentDisk", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].gitRepo", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].glusterfs", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].image", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].iscsi", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].nfs", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].persistentVolumeClaim", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].photonPersistentDisk", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].portworxVolume", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].quobyte", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].rbd", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].scaleIO", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].storageos", "no storage attached; mount it on the node, `hostPath`", "{}"),
    refused("spec.volumes[].vsphereVolume", "no storage attached; mount it on the node, `hostPath`", "{}"),
];

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1 as api;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use serde::Deserialize;
    use serde::de::{Deserializer, Visitor};
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::samples::read;
    use crate::spec::{Offence, PodSpec};

    /// After an intended change, run with `PODRT_UPDATE_FIELDS=1` and read the diff.
    #[test]
    fn the_table_of_the_readme_is_this() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (begin, end) = ("<!-- pod-fields -->\n", "<!-- end of pod-fields -->");
        let (head, rest) = text.split_once(begin).unwrap();
        let (_, tail) = rest.split_once(end).unwrap();
        let wanted = format!("{head}{begin}{}{end}{tail}", markdown());
        if std::env::var_os("PODRT_UPDATE_FIELDS").is_some() {
            std::fs::write(&path, wanted).unwrap();
        } else {
            assert!(text == wanted, "the table in {} is not that of this file", path.display());
        }
    }

    /// A manifest in which every field of the table can be set alone.
    fn full() -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p"},
            "spec": {
                "os": {"name": "linux"},
                "dnsConfig": {"nameservers": ["10.0.0.1"]},
                "volumes": [{"name": "v"}, {"name": "w"}],
                "containers": [{
                    "name": "c",
                    "image": "/rootfs",
                    "restartPolicy": "Never",
                    "ports": [{"containerPort": 80}],
                    "env": [{"name": "A", "value": "a"}],
                    "volumeMounts": [{"name": "v", "mountPath": "/m", "readOnly": true}],
                }],
            },
        })
    }

    /// Sets the example, in the first element of each list on the way.
    fn with(field: &Field) -> Value {
        let mut manifest = full();
        let mut place = &mut manifest;
        for part in field.path.split('.') {
            let name = part.strip_suffix("[]").unwrap_or(part);
            place = &mut place[name];
            if part.ends_with("[]") {
                place = &mut place[0];
            }
        }
        *place = serde_json::from_str(field.example).unwrap();
        // A volume of another name would leave its mount without one.
        if field.path == "spec.volumes[].name" {
            manifest["spec"]["containers"][0]["volumeMounts"] = json!([]);
        }
        manifest
    }

    fn plain(field: &Field) -> PodSpec {
        let mut manifest = full();
        if field.path == "spec.volumes[].name" {
            manifest["spec"]["containers"][0]["volumeMounts"] = json!([]);
        }
        read(&manifest).unwrap()
    }

    #[test]
    fn what_the_table_says_is_what_parse_does() {
        for field in table() {
            let path = field.path;
            match (field.support, read(&with(field))) {
                (Support::Supported, Ok(spec)) => assert_ne!(spec, plain(field), "{path} has no effect"),
                (Support::Accepted, Ok(spec)) => assert_eq!(spec, plain(field), "{path} has an effect"),
                (Support::Refused, Err(error)) => {
                    let [Offence::Unsupported { path: refused, .. }] = &error.offences[..] else {
                        unreachable!("{path}: {error}")
                    };
                    assert_eq!(refused.replace("[0]", "[]"), path);
                }
                (Support::Refused, Ok(_)) => unreachable!("{path} is taken"),
                (_, Err(error)) => unreachable!("{path}: {error}"),
            }
        }
    }

    /// Tells the names of a type's fields, which it hands to the deserializer, and reads nothing.
    struct Lister<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Lister<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            visitor.visit_unit()
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            visitor.visit_unit()
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    fn fields_of<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
        let mut fields: &'static [&'static str] = &[];
        assert!(T::deserialize(Lister(&mut fields)).is_err(), "a type that is read from nothing");
        assert!(!fields.is_empty());
        fields
    }

    #[test]
    fn every_field_of_the_api_has_a_row() {
        let container = "spec.containers[].";
        let below = |name: &str| format!("{container}{name}.");
        for (at, fields) in [
            (String::new(), fields_of::<api::Pod>()),
            ("metadata.".to_owned(), fields_of::<ObjectMeta>()),
            ("spec.".to_owned(), fields_of::<api::PodSpec>()),
            ("spec.securityContext.".to_owned(), fields_of::<api::PodSecurityContext>()),
            ("spec.dnsConfig.".to_owned(), fields_of::<api::PodDNSConfig>()),
            ("spec.resources.".to_owned(), fields_of::<api::ResourceRequirements>()),
            ("spec.volumes[].".to_owned(), fields_of::<api::Volume>()),
            ("spec.volumes[].emptyDir.".to_owned(), fields_of::<api::EmptyDirVolumeSource>()),
            (container.to_owned(), fields_of::<api::Container>()),
            (below("env[]"), fields_of::<api::EnvVar>()),
            (below("lifecycle"), fields_of::<api::Lifecycle>()),
            (below("lifecycle.postStart"), fields_of::<api::LifecycleHandler>()),
            (below("lifecycle.preStop"), fields_of::<api::LifecycleHandler>()),
            (below("ports[]"), fields_of::<api::ContainerPort>()),
            (below("resources"), fields_of::<api::ResourceRequirements>()),
            (below("securityContext"), fields_of::<api::SecurityContext>()),
            (below("securityContext.capabilities"), fields_of::<api::Capabilities>()),
            (below("volumeMounts[]"), fields_of::<api::VolumeMount>()),
        ] {
            for name in fields {
                let path = format!("{at}{name}");
                let is_row = |field: &Field| match field.path.strip_prefix(path.as_str()) {
                    Some(rest) => rest.is_empty() || rest.starts_with(['.', '[']),
                    None => false,
                };
                assert!(table().iter().any(is_row), "{path} has no row");
            }
        }
    }

    #[test]
    fn no_field_has_two_rows() {
        let mut paths: Vec<_> = table().iter().map(|field| field.path).collect();
        let n_rows = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), n_rows);
    }

    #[test]
    fn the_markdown_names_every_field_once() {
        let text = markdown();
        let n_names: usize = text
            .lines()
            .skip(2)
            .filter_map(|line| line.split('|').nth(1))
            .map(|cell| cell.split(", ").count())
            .sum();
        assert_eq!(n_names, table().len());
        assert!(text.contains("| `spec.hostNetwork`, `hostPID`, `hostIPC` | yes |\n"), "{text}");
        assert!(text.contains("| `spec.affinity` | refused: may keep pods of one node apart |\n"), "{text}");
    }
}
