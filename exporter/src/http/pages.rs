//! The pages.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::App;

/// All pages. `telemetry_path` is that of the metrics.
pub fn router(app: Arc<App>, telemetry_path: &str) -> Router {
    let landing = landing(telemetry_path);
    Router::new()
        .route(telemetry_path, get(metrics))
        .route("/", get(|| async { Html(landing) }))
        .route("/-/healthy", get(healthy))
        .route("/livez", get(healthy))
        .route("/-/ready", get(ready))
        .route("/readyz", get(ready))
        .with_state(app)
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let answer = scrape(&app).await;
    app.count("metrics", answer.status().as_u16());
    answer
}

async fn scrape(app: &Arc<App>) -> Response {
    let Ok(permit) = Arc::clone(&app.scrapes).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at once; see --web.max-requests\n")
            .into_response();
    };
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

fn landing(telemetry_path: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>podproof-exporter</title>\n\
         <h1>podproof-exporter {}</h1>\n<p>What the kernel knows about every pod.\n\
         <p><a href=\"{telemetry_path}\">Metrics</a>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}
