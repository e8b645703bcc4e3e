//! The HTTP side of monitoring: listener, paths, status codes and the form of the JSON.

// A shell module: it owns the monitoring socket and its task.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Source;
use super::query::Query;
use super::report::{Gatewayz, Health, Leafz, Routez};
use crate::options::MonitorOptions;
use crate::server::bind;

/// The running monitoring listener; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Monitor {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

/// What the requests share.
struct Shared {
    source: Arc<dyn Source>,
    base_path: String,
    hits: Mutex<BTreeMap<String, u64>>,
}

type Reply = Response<Full<Bytes>>;

impl Monitor {
    /// Binds and serves.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) async fn start(
        options: &MonitorOptions,
        source: Arc<dyn Source>,
    ) -> io::Result<Self> {
        let listener = bind(&options.host, options.port).await?;
        let addr = listener.local_addr()?;
        let base_path = options.base_path.clone();
        let shared = Arc::new(Shared {
            source,
            base_path,
            hits: Mutex::default(),
        });
        let task = tokio::spawn(accept(listener, shared));
        Ok(Self { addr, task })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A failed accept (out of descriptors, a client gone already) concerns that client only.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(&request).await) }
    });
    // A client that breaks its connection gets no answer; there is nobody to tell.
    let _ = http1::Builder::new()
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Shared {
    async fn answer(&self, request: &Request<Incoming>) -> Reply {
        let Some(path) = request.uri().path().strip_prefix(self.base_path.as_str()) else {
            return not_found();
        };
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let answer = match path {
            "/" | "" => Ok(html()),
            "/varz" => Ok(json(&self.source.varz(self.count(path)).await)),
            "/connz" => query.connz().map(|q| json(&self.source.connz(&q))),
            "/subsz" | "/subscriptionsz" => query.subsz().map(|q| json(&self.source.subsz(&q))),
            "/routez" => Ok(json(&Routez::from(self.source.peers()))),
            "/leafz" => Ok(json(&Leafz::from(self.source.peers()))),
            "/gatewayz" => Ok(json(&Gatewayz::from(self.source.peers()))),
            "/jsz" => match query.jsz() {
                Ok(query) => Ok(json(&self.source.jsz(query).await)),
                Err(text) => Err(text),
            },
            "/healthz" => Ok(health(&self.source.healthz().await)),
            _ => return not_found(),
        };
        if path != "/varz" {
            self.count(path);
        }
        answer.unwrap_or_else(|text| plain(StatusCode::BAD_REQUEST, text))
    }

    /// Counts a hit and gives all counts.
    fn count(&self, path: &str) -> BTreeMap<String, u64> {
        let mut hits = self.hits.lock();
        *hits.entry(path.to_owned()).or_default() += 1;
        hits.clone()
    }
}

fn json(body: &impl Serialize) -> Reply {
    match serde_json::to_string_pretty(body) {
        Ok(text) => json_reply(StatusCode::OK, escape_html(text)),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// `<`, `>` and `&` as Go's encoder writes them. They can only stand inside JSON strings.
fn escape_html(text: String) -> String {
    if !text.contains(['<', '>', '&']) {
        return text;
    }
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

fn health(health: &Health) -> Reply {
    match health {
        Health::Ok => json_reply(StatusCode::OK, r#"{"status":"ok"}"#.to_owned()),
        Health::Unavailable(error) => {
            let body = serde_json::json!({"status": "unavailable", "error": error});
            json_reply(
                StatusCode::SERVICE_UNAVAILABLE,
                escape_html(body.to_string()),
            )
        }
    }
}

fn json_reply(status: StatusCode, text: String) -> Reply {
    reply(status, "application/json", text)
}

fn html() -> Reply {
    reply(
        StatusCode::OK,
        "text/html; charset=utf-8",
        include_str!("index.html").to_owned(),
    )
}

fn not_found() -> Reply {
    plain(StatusCode::NOT_FOUND, "404 page not found\n".to_owned())
}

fn plain(status: StatusCode, text: String) -> Reply {
    reply(status, "text/plain; charset=utf-8", text)
}

fn reply(status: StatusCode, content_type: &'static str, text: String) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    match status {
        StatusCode::OK => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))
        }
        _ => headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    };
    reply
}
