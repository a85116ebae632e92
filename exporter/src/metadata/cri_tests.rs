//! A runtime that answers, and others that do not.

use std::convert::Infallible;
use std::os::unix::net::UnixListener as StdListener;
use std::time::Instant;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;

use super::*;

const POD: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const MAIN: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn sandbox(id: &str, namespace: &str, name: &str) -> PodSandbox {
    let metadata = PodSandboxMetadata { name: name.into(), namespace: namespace.into() };
    PodSandbox { id: id.into(), metadata: Some(metadata) }
}

fn container(id: &str, pod: &str, name: &str) -> Container {
    let metadata = ContainerMetadata { name: name.into() };
    Container { id: id.into(), pod_sandbox_id: pod.into(), metadata: Some(metadata) }
}

/// A message of gRPC, not compressed, and its status.
async fn answer(
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let message = match request.uri().path() {
        "/runtime.v1.RuntimeService/ListPodSandbox" => {
            ListPodSandboxResponse { items: vec![sandbox(POD, "shop", "web-0")] }.encode_to_vec()
        }
        _ => ListContainersResponse { containers: vec![container(MAIN, POD, "nginx")] }.encode_to_vec(),
    };
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0][..], &len, &message].concat();
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let body = Full::new(Bytes::from(body)).with_trailers(async move { Some(Ok::<_, Infallible>(trailers)) });
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

#[tokio::test]
async fn a_runtime_tells_the_names_of_containers_and_sandboxes() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("cri.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    let found = list(&socket).await.unwrap();
    assert_eq!(found.sandboxes, [(POD.to_owned(), Names::new("shop", "web-0", "POD"))].into());
    assert_eq!(found.containers, [(MAIN.to_owned(), Names::new("shop", "web-0", "nginx"))].into());
}

#[test]
fn what_is_no_name_is_nobody_s() {
    let sandboxes = ["../up", "Shop", ""].map(|namespace| sandbox(POD, namespace, "web-0")).to_vec();
    let containers = vec![container(MAIN, POD, "nginx")];
    let of =
        |items, containers| names(ListPodSandboxResponse { items }, ListContainersResponse { containers });
    assert_eq!(of(sandboxes, containers), CriNames::default());
    let containers = ["a\nb", "", "A"].map(|name| container(MAIN, POD, name)).to_vec();
    assert!(of(vec![sandbox(POD, "shop", "web-0")], containers).containers.is_empty());
    assert!(of(vec![sandbox("short", "shop", "web-0")], vec![]).sandboxes.is_empty());
}

/// Reads until there is a fault.
fn fault(cri: &Cri) -> String {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        if let (_, Some(fault)) = cri.read() {
            return fault.to_string();
        }
        std::thread::yield_now();
    }
    panic!("no fault is told");
}

#[test]
fn a_runtime_that_hangs_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("cri.sock");
    let _silent = StdListener::bind(&socket).unwrap();
    let cri = Cri::new(socket.clone());
    cri.start().unwrap();
    let began = Instant::now();
    assert_eq!(cri.read().0, Arc::default());
    assert!(began.elapsed() < PATIENCE);
    let wanted =
        format!("cannot list the containers of the runtime at {}: no answer within 2 s", socket.display());
    assert_eq!(fault(&cri), wanted);
}

#[test]
fn an_absent_socket_is_named() {
    let cri = Cri::new("/nonexistent/cri.sock".into());
    cri.start().unwrap();
    let told = fault(&cri);
    assert!(
        told.starts_with("cannot list the containers of the runtime at /nonexistent/cri.sock: "),
        "{told}"
    );
    assert!(told.contains("No such file"), "{told}");
}
