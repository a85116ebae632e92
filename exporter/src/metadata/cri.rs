//! Names by the socket of a CRI runtime (k8s.io/cri-api, `pkg/apis/runtime/v1/api.proto`), which is asked only when an option names
//! it: whoever can use that socket is root.
//!
//! A thread of its own asks, each time that somebody wants to know, and one answer at a time: a runtime that hangs holds nobody up, and
//! what it said last goes on being known.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use hyper::http::uri::PathAndQuery;
use prost::Message;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::MetadataError;
use crate::identity::{is_full_id, is_label, is_subdomain};
use crate::model::Names;

/// So long a runtime may take for its answers.
const PATIENCE: Duration = Duration::from_secs(2);

/// The largest answer that is read, as the kubelet has it.
const MAX_BYTES: usize = 16 << 20;

/// What a runtime told.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CriNames {
    /// Containers by id.
    pub containers: HashMap<String, Names>,
    /// Sandboxes by id.
    pub sandboxes: HashMap<String, Names>,
}

/// A runtime that is asked.
#[derive(Debug, Clone)]
pub struct Cri {
    socket: PathBuf,
    known: Arc<Mutex<Known>>,
    /// To the thread, once there is one.
    ask: Arc<OnceLock<SyncSender<()>>>,
}

#[derive(Debug, Default)]
struct Known {
    names: Arc<CriNames>,
    fault: Option<Arc<MetadataError>>,
}

impl Cri {
    /// The runtime behind a socket, of which nothing is known before the start.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, known: Arc::default(), ask: Arc::default() }
    }

    /// Makes the thread that asks, now and whenever names are read; it ends with the last user of this.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(&self) -> io::Result<()> {
        let (ask, asked) = sync_channel(1);
        let (own, socket) = (Arc::clone(&self.known), self.socket.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("cri".into()).spawn(move || {
            while asked.recv().is_ok() {
                let answer = runtime.block_on(async { timeout(PATIENCE, list(&socket)).await });
                let mut known = own.lock().unwrap_or_else(PoisonError::into_inner);
                let late = |_elapsed| anyhow!("no answer within {} s", PATIENCE.as_secs());
                match answer.map_err(late).flatten() {
                    Ok(names) => *known = Known { names: Arc::new(names), fault: None },
                    Err(error) => {
                        let what = format!("{error:#}");
                        known.fault = Some(Arc::new(MetadataError::Cri { socket: socket.clone(), what }))
                    }
                }
            }
        })?;
        self.ask.get_or_init(|| ask);
        self.ask();
        Ok(())
    }

    /// What it told last, and why not when it was asked last. Does not wait: a later read knows what it says to this one.
    pub(crate) fn read(&self) -> (Arc<CriNames>, Option<Arc<MetadataError>>) {
        self.ask();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&known.names), known.fault.clone())
    }

    fn ask(&self) {
        if let Some(ask) = self.ask.get() {
            // Full: it is being asked. The thread outlives this.
            _ = ask.try_send(());
        }
    }
}

/// `ListContainersRequest`, `ListPodSandboxRequest`: without a filter both are empty.
#[derive(Clone, PartialEq, Message)]
struct All {}

#[derive(Clone, PartialEq, Message)]
struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<Container>,
}

#[derive(Clone, PartialEq, Message)]
struct Container {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    metadata: Option<ContainerMetadata>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<PodSandbox>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandbox {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "2")]
    metadata: Option<PodSandboxMetadata>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

async fn list(socket: &Path) -> anyhow::Result<CriNames> {
    let channel = Endpoint::from_shared(format!("unix://{}", socket.display()))?.connect().await?;
    let mut client = Grpc::new(channel).max_decoding_message_size(MAX_BYTES);
    let sandboxes: ListPodSandboxResponse =
        call(&mut client, "/runtime.v1.RuntimeService/ListPodSandbox").await?;
    let containers: ListContainersResponse =
        call(&mut client, "/runtime.v1.RuntimeService/ListContainers").await?;
    Ok(names(sandboxes, containers))
}

async fn call<T: Message + Default + 'static>(
    client: &mut Grpc<Channel>,
    method: &'static str,
) -> anyhow::Result<T> {
    client.ready().await?;
    let codec = ProstCodec::<All, T>::default();
    let answer = client.unary(tonic::Request::new(All {}), PathAndQuery::from_static(method), codec).await;
    Ok(answer.context(method)?.into_inner())
}

/// What has a name that the Kubernetes API takes, and a full id.
fn names(sandboxes: ListPodSandboxResponse, containers: ListContainersResponse) -> CriNames {
    let mut found = CriNames::default();
    for PodSandbox { id, metadata } in sandboxes.items {
        let Some(PodSandboxMetadata { name, namespace }) = metadata else { continue };
        if is_full_id(&id) && is_subdomain(&name) && is_label(&namespace) {
            found.sandboxes.insert(id, Names::new(&namespace, &name, Names::SANDBOX));
        }
    }
    for Container { id, pod_sandbox_id, metadata } in containers.containers {
        let Some(pod) = found.sandboxes.get(&pod_sandbox_id) else { continue };
        let Some(name) = metadata.map(|metadata| metadata.name).filter(|name| is_label(name)) else {
            continue;
        };
        if is_full_id(&id) {
            let names = Names::new(&pod.namespace, &pod.pod, &name);
            found.containers.insert(id, names);
        }
    }
    found
}

#[cfg(test)]
#[path = "cri_tests.rs"]
mod tests;
