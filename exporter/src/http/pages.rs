//! The pages.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;

use super::App;
use super::landing;
use super::room::{Room, Unsent};
use crate::metrics::{Collector, Collectors};
use crate::web::{Decision, Web};

/// What is behind the metrics: the maps of the kernel side, and the tables made of them.
pub(crate) const DEBUG_PAGES: [&str; 2] = ["/debug/maps", "/debug/tables"];

/// Health and readiness, each with its alias.
pub(crate) const HEALTH_PAGES: [&str; 4] = ["/-/healthy", "/livez", "/-/ready", "/readyz"];

/// All pages. `telemetry_path` is that of the metrics. The landing page shows pods to this machine alone (`is_local`), and to who has
/// a password. `has_debug` adds the pages that show what is behind the metrics.
pub fn router(app: Arc<App>, web: Arc<Web>, telemetry_path: &str, is_local: bool, has_debug: bool) -> Router {
    let path = telemetry_path.to_owned();
    let who = Arc::clone(&web);
    let landing = move |State(app): State<Arc<App>>| async move {
        landing(&app, &path, is_local || who.has_users()).await
    };
    let [own, limits] = [(); 2].map(|()| Arc::clone(&web));
    let [maps, tables] = DEBUG_PAGES;
    let debug = Router::new()
        .route(maps, get(async |State(app): State<Arc<App>>| debug(&app, App::maps).await))
        .route(tables, get(async |State(app): State<Arc<App>>| debug(&app, App::tables).await));
    let guarded = Router::new()
        .route(telemetry_path, get(metrics))
        .route("/", get(landing))
        .merge(if has_debug { debug } else { Router::new() })
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(from_fn(move |request, next| guard(Arc::clone(&own), request, next)));
    let [healthy_path, livez, ready_path, readyz] = HEALTH_PAGES;
    let (counted, path) = (Arc::clone(&app), telemetry_path.to_owned());
    Router::new()
        .route(healthy_path, get(healthy))
        .route(livez, get(healthy))
        .route(ready_path, get(ready))
        .route(readyz, get(ready))
        .merge(guarded)
        .layer(from_fn(move |request, next| limit(Arc::clone(&limits), request, next)))
        .layer(from_fn(move |request, next| with_headers(Arc::clone(&web), request, next)))
        .layer(from_fn(move |request: Request, next: Next| {
            let handler = handler(request.uri().path(), &path, has_debug);
            let app = Arc::clone(&counted);
            async move {
                let answer = next.run(request).await;
                app.count(handler, answer.status().as_u16());
                answer
            }
        }))
        .with_state(app)
}

/// Who answers a request, as the label `handler` names it.
fn handler(path: &str, telemetry_path: &str, has_debug: bool) -> &'static str {
    match path {
        "/" => "landing",
        path if path == telemetry_path => "metrics",
        path if HEALTH_PAGES.contains(&path) => "health",
        path if has_debug && DEBUG_PAGES.contains(&path) => "debug",
        _ => "other",
    }
}

/// Lets nobody by who has to say who they are and does not.
async fn guard(web: Arc<Web>, request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes().to_vec());
    match web.decide(header.as_deref()).await {
        Decision::Welcome => next.run(request).await,
        Decision::Unknown => {
            let why = "a name and a password are needed\n";
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic")], why).into_response()
        }
        Decision::Busy => {
            let why = "too many passwords wait to be checked\n";
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], why).into_response()
        }
    }
}

/// Answers no more requests than the file's `rate_limit` allows.
async fn limit(web: Arc<Web>, request: Request, next: Next) -> Response {
    if web.admits() {
        return next.run(request).await;
    }
    (StatusCode::TOO_MANY_REQUESTS, "too many requests; see rate_limit in the file of --web.config.file\n")
        .into_response()
}

async fn with_headers(web: Arc<Web>, request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    answer.headers_mut().extend(web.headers());
    answer
}

async fn landing(app: &Arc<App>, telemetry_path: &str, shows_pods: bool) -> Response {
    let page = |pods| Html(landing::page(telemetry_path, &app.probes(), pods, app.is_hybrid)).into_response();
    if !shows_pods {
        return page(None);
    }
    match read(app, &app.pages, App::containers).await {
        Ok((containers, unsent)) => unsent.of(page(Some(&containers))),
        Err(answer) => answer,
    }
}

/// Reads the node if `room` has some left; as a failure, the answer that says why.
async fn read<T: Send + 'static>(
    app: &Arc<App>,
    room: &Room,
    of: impl FnOnce(&App) -> anyhow::Result<T> + Send + 'static,
) -> Result<(T, Unsent), Response> {
    let Some((making, unsent)) = room.enter() else {
        let why = "too many requests at once, or answers that nobody takes; of scrapes there may be --web.max-requests\n";
        return Err((StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], why).into_response());
    };
    let own = Arc::clone(app);
    let work = tokio::task::spawn_blocking(move || {
        let read = of(&own);
        drop(making);
        Ok((read?, unsent))
    });
    work.await.map_err(anyhow::Error::new).flatten().map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "the node is not shown");
        (StatusCode::INTERNAL_SERVER_ERROR, "the node cannot be shown; see the log\n").into_response()
    })
}

async fn debug(
    app: &Arc<App>,
    page: impl FnOnce(&App) -> anyhow::Result<Vec<u8>> + Send + 'static,
) -> Response {
    match read(app, &app.pages, page).await {
        Ok((json, unsent)) => unsent.of(([(CONTENT_TYPE, "application/json")], json).into_response()),
        Err(answer) => answer,
    }
}

async fn metrics(State(app): State<Arc<App>>, Query(query): Query<Vec<(String, String)>>) -> Response {
    match asked(&query) {
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
        Ok(asked) => match read(&app, &app.scrapes, move |app| Ok(app.exposition(asked))).await {
            Ok((parts, unsent)) => {
                // Each is given back when it is sent.
                let body = Body::from_stream(stream::iter(parts.into_iter().map(Ok::<_, Infallible>)));
                unsent.of(([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], body).into_response())
            }
            Err(answer) => answer,
        },
    }
}

/// The collectors that a scrape names by `collect[]`, as node_exporter's do; all if it names none.
fn asked(query: &[(String, String)]) -> Result<Collectors, String> {
    let mut names = query.iter().filter(|(key, _)| key == "collect[]").map(|(_, name)| name).peekable();
    if names.peek().is_none() {
        return Ok(Collectors::ALL);
    }
    names.try_fold(Collectors::NONE, |asked, name| Ok(asked.with(name.parse::<Collector>()?)))
}

async fn healthy(State(app): State<Arc<App>>) -> StatusCode {
    if app.is_healthy() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// The server begins when the probes are attached and the node was read once.
async fn ready() -> StatusCode {
    StatusCode::OK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_who_answers() {
        let of = |path| [false, true].map(|has_debug| handler(path, "/own", has_debug));
        assert_eq!(of("/own"), ["metrics"; 2]);
        assert_eq!(of("/"), ["landing"; 2]);
        for path in HEALTH_PAGES {
            assert_eq!(of(path), ["health"; 2]);
        }
        assert_eq!(of("/debug/maps"), ["other", "debug"]);
        for path in ["/metrics", "/own/", "", "/-/"] {
            assert_eq!(of(path), ["other"; 2]);
        }
    }
}
