//! The contract suite against a real API server, and what each kind of error means.
//!
//! `TANDEMMQ_TEST_KUBECONFIG` names a kubeconfig; the tests on Kubernetes run it.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use kube::Client;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use tandemmq_cluster::lease::contract::{Bench, Fault, check};
use tower::{BoxError, Layer, Service};

use super::*;
use crate::kubernetes::runtime;

/// Breaks calls of all clients that it wraps.
#[derive(Clone)]
struct Faults(Arc<Mutex<Fault>>);

#[derive(Clone)]
struct Faulty<S> {
    inner: S,
    fault: Arc<Mutex<Fault>>,
}

impl<S> Layer<S> for Faults {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty {
            inner,
            fault: Arc::clone(&self.0),
        }
    }
}

type Request = axum::http::Request<Body>;

impl<S, B> Service<Request> for Faulty<S>
where
    S: Service<Request, Response = axum::http::Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = axum::http::Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match *self.fault.lock().unwrap() {
            Fault::None => Box::pin(self.inner.call(request)),
            Fault::Unavailable => {
                Box::pin(async { Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()) })
            }
            Fault::RequestLost => Box::pin(std::future::pending()),
            Fault::AnswerLost => {
                let call = self.inner.call(request);
                Box::pin(async {
                    let _ = call.await;
                    std::future::pending().await
                })
            }
        }
    }
}

/// One Lease of a real API server.
struct ApiServer {
    /// Lives as long as the clients.
    _runtime: tokio::runtime::Runtime,
    kube: Kube,
    broken: Kube,
    fault: Arc<Mutex<Fault>>,
    name: String,
}

impl ApiServer {
    fn new(kubeconfig: &str) -> Self {
        let runtime = runtime().unwrap();
        let connect = || {
            let config = runtime.block_on(config_of(kubeconfig));
            Kube::new(config, "default", runtime.handle().clone()).unwrap()
        };
        let (kube, mut broken) = (connect(), connect());
        let fault = Arc::new(Mutex::new(Fault::None));
        broken.client = runtime.block_on(faulty_client(kubeconfig, Faults(Arc::clone(&fault))));
        Self {
            _runtime: runtime,
            kube,
            broken,
            fault,
            name: format!("contract-{}", std::process::id()),
        }
    }
}

async fn config_of(kubeconfig: &str) -> kube::Config {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(file, &options)
        .await
        .unwrap();
    config.default_retry = false;
    config
}

async fn faulty_client(kubeconfig: &str, faults: Faults) -> Client {
    let builder = ClientBuilder::try_from(config_of(kubeconfig).await).unwrap();
    builder.with_layer(&faults).build()
}

impl Bench for ApiServer {
    fn reset(&mut self) {
        *self.fault.lock().unwrap() = Fault::None;
        self.delete();
    }

    fn open(&mut self) -> Box<dyn LeaseStore> {
        let (limit, duration) = (Duration::from_secs(1), Duration::from_secs(6));
        Box::new(KubeLease::new(
            self.broken.clone(),
            &self.name,
            limit,
            duration,
        ))
    }

    fn set_fault(&mut self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    fn delete(&mut self) {
        let api: Api<Object> = Api::namespaced(self.kube.client.clone(), "default");
        let deleted = self
            .kube
            .wait(async { api.delete(&self.name, &Default::default()).await });
        match deleted {
            Ok(_) => {}
            Err(Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("cannot delete the Lease: {error}"),
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // A claim that failed has said why already.
        if !std::thread::panicking() {
            self.reset();
        }
    }
}

#[test]
#[ignore = "needs an API server: `make e2e` runs it"]
fn kube_lease_keeps_the_contract_of_lease_stores() {
    let kubeconfig = std::env::var("TANDEMMQ_TEST_KUBECONFIG").expect("names a kubeconfig");
    check(&mut ApiServer::new(&kubeconfig));
}

fn api_error(code: u16) -> Error {
    Error::Api(Box::new(Status {
        code,
        ..Status::default()
    }))
}

#[test]
fn only_what_surely_was_not_done_is_unavailable() {
    for code in [409, 404] {
        assert_eq!(
            of_error("l", &api_error(code)),
            LeaseAnswer::Conflict,
            "{code}"
        );
    }
    for code in [400, 401, 403, 422, 429] {
        let answer = of_error("l", &api_error(code));
        assert!(
            matches!(answer, LeaseAnswer::Unavailable(_)),
            "{code}: {answer:?}"
        );
    }
    for code in [500, 503, 504] {
        assert_eq!(
            of_error("l", &api_error(code)),
            LeaseAnswer::Unknown,
            "{code}"
        );
    }
}

#[test]
fn refused_connection_is_unavailable_and_a_broken_one_unknown() {
    let service = |kind: io::ErrorKind| Error::Service(Box::new(io::Error::from(kind)));
    let refused = of_error("l", &service(io::ErrorKind::ConnectionRefused));
    assert!(
        matches!(refused, LeaseAnswer::Unavailable(_)),
        "{refused:?}"
    );
    let reset = of_error("l", &service(io::ErrorKind::ConnectionReset));
    assert_eq!(reset, LeaseAnswer::Unknown);
}
