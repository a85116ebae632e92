//! The pages.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::App;
use super::app::chain;
use super::landing;
use crate::web::{Decision, Web};

/// All pages. `telemetry_path` is that of the metrics. The landing page shows pods to this machine alone (`is_local`), and to who has
/// a password.
pub fn router(app: Arc<App>, web: Arc<Web>, telemetry_path: &str, is_local: bool) -> Router {
    let path = telemetry_path.to_owned();
    let who = Arc::clone(&web);
    let landing = move |State(app): State<Arc<App>>| async move {
        let answer = landing(&app, &path, is_local || who.has_users()).await;
        app.count("landing", answer.status().as_u16());
        answer
    };
    let own = Arc::clone(&web);
    let guarded = Router::new()
        .route(telemetry_path, get(metrics))
        .route("/", get(landing))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(from_fn(move |request, next| guard(Arc::clone(&own), request, next)));
    Router::new()
        .route("/-/healthy", get(healthy))
        .route("/livez", get(healthy))
        .route("/-/ready", get(ready))
        .route("/readyz", get(ready))
        .merge(guarded)
        .layer(from_fn(move |request, next| with_headers(Arc::clone(&web), request, next)))
        .with_state(app)
}

/// Lets nobody by who has to say who they are and does not.
async fn guard(web: Arc<Web>, request: Request, next: Next) -> Response {
    if !web.has_users() {
        return next.run(request).await;
    }
    let header = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes().to_vec());
    // Checking a password takes long by design.
    let decision = tokio::task::spawn_blocking(move || web.decide(header.as_deref())).await;
    if decision.is_ok_and(|decision| decision == Decision::Welcome) {
        return next.run(request).await;
    }
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic")], "a name and a password are needed\n")
        .into_response()
}

async fn with_headers(web: Arc<Web>, request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    answer.headers_mut().extend(web.headers());
    answer
}

async fn landing(app: &Arc<App>, telemetry_path: &str, shows_pods: bool) -> Response {
    if !shows_pods {
        return Html(landing::page(telemetry_path, None)).into_response();
    }
    // It costs what a scrape costs.
    let Ok(permit) = Arc::clone(&app.scrapes).try_acquire_owned() else { return too_many() };
    let own = Arc::clone(app);
    let rows = tokio::task::spawn_blocking(move || {
        let rows = own.rows();
        drop(permit);
        rows.map_err(|error| chain(&error))
    });
    match rows.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(rows) => Html(landing::page(telemetry_path, Some(&rows))).into_response(),
        Err(error) => {
            tracing::error!(error, "no page of pods");
            (StatusCode::INTERNAL_SERVER_ERROR, "the pods cannot be shown; see the log\n").into_response()
        }
    }
}

fn too_many() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; see --web.max-requests\n").into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let answer = scrape(&app).await;
    app.count("metrics", answer.status().as_u16());
    answer
}

async fn scrape(app: &Arc<App>) -> Response {
    let Ok(permit) = Arc::clone(&app.scrapes).try_acquire_owned() else { return too_many() };
    let own = Arc::clone(app);
    let text = tokio::task::spawn_blocking(move || {
        let text = own.exposition();
        drop(permit);
        text
    });
    match text
        .await
        .map_err(|error| error.to_string())
        .and_then(|text| text.map_err(|error| error.to_string()))
    {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(error, "no scrape");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be given; see the log\n").into_response()
        }
    }
}

async fn healthy(State(app): State<Arc<App>>) -> StatusCode {
    if app.is_healthy() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// The server begins when the probes are attached and the node was read once.
async fn ready() -> StatusCode {
    StatusCode::OK
}
