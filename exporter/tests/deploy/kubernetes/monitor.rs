//! PodMonitor of the Prometheus operator (monitoring.coreos.com/v1), as far as it is used: k8s-openapi has the API of Kubernetes
//! itself only.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;

use crate::{Res, expect};

/// The name in the certificate.
pub(super) const SERVER_NAME: &str = "podproof-exporter";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PodMonitor {
    api_version: String,
    kind: String,
    pub(super) metadata: ObjectMeta,
    pub(super) spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Spec {
    job_label: String,
    pub(super) selector: LabelSelector,
    pub(super) pod_metrics_endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Endpoint {
    pub(super) port: String,
    interval: String,
    scheme: String,
    tls_config: Tls,
    basic_auth: Password,
    honor_labels: bool,
    relabelings: Vec<Relabeling>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Tls {
    server_name: String,
    ca: FromSecret,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FromSecret {
    secret: Key,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    username: Key,
    password: Key,
}

/// A value in a Secret of the same namespace.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    name: String,
    key: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Relabeling {
    action: Option<String>,
    regex: Option<String>,
    #[serde(default)]
    source_labels: Vec<String>,
    target_label: Option<String>,
}

impl PodMonitor {
    /// Fails unless it scrapes as the exporter, its alerts and the README have it.
    pub(super) fn check(&self) -> Res<()> {
        expect("its type", (&*self.api_version, &*self.kind), ("monitoring.coreos.com/v1", "PodMonitor"))?;
        let labels = self.spec.selector.match_labels.clone().unwrap_or_default();
        expect("the label of the job", labels.contains_key(&self.spec.job_label), true)?;
        let [endpoint] = &*self.spec.pod_metrics_endpoints else {
            return Err("not just one endpoint".into());
        };
        expect("honorLabels", endpoint.honor_labels, true)?;
        expect("the interval", &*endpoint.interval, "30s")?;
        expect(
            "scheme and name",
            (&*endpoint.scheme, &*endpoint.tls_config.server_name),
            ("https", SERVER_NAME),
        )?;
        let key = |key: &str| Key { name: "podproof-exporter-scrape".into(), key: key.into() };
        expect("the authority", &endpoint.tls_config.ca.secret, &key("ca.crt"))?;
        expect("the user", &endpoint.basic_auth.username, &key("username"))?;
        expect("the password", &endpoint.basic_auth.password, &key("password"))?;
        let mut named = Vec::new();
        let mut dropped = None;
        for rule in &endpoint.relabelings {
            match (rule.action.as_deref(), rule.target_label.as_deref()) {
                (Some("labeldrop"), None) => dropped = rule.regex.as_deref(),
                (None, Some(label)) => named.push((label, rule.source_labels.join(","))),
                other => return Err(format!("a relabelling of the kind {other:?}").into()),
            }
        }
        expect("labels of the target that are dropped", dropped, Some("namespace|pod|container"))?;
        let node = "__meta_kubernetes_pod_node_name".to_owned();
        expect("labels that name the node", named, vec![("node", node.clone()), ("instance", node)])
    }
}
