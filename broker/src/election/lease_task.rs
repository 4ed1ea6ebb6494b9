//! Calls the Lease store on a thread of its own, with a time limit.
//!
//! The machine has at most one call out. A call that is not answered in time is `Unknown`: it may
//! be done yet. While such a call still hangs, every further one is `Unavailable` at once: it is
//! surely not done, since nobody starts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tandemmq_cluster::lease::{LeaseAnswer, LeaseRequest, LeaseStore};
use tokio::sync::{mpsc, oneshot};

type Call = (LeaseRequest, oneshot::Sender<LeaseAnswer>);

/// The handle of the thread. The thread ends when the last handle is gone.
#[derive(Debug, Clone)]
pub(crate) struct LeaseTask {
    /// Holds one call at most, guarded by `busy`.
    calls: mpsc::Sender<Call>,
    /// A call was handed over and is not done.
    busy: Arc<AtomicBool>,
    timeout: Duration,
}

impl LeaseTask {
    /// Starts the thread.
    pub(crate) fn start(
        mut store: impl LeaseStore + Send + 'static,
        timeout: Duration,
    ) -> std::io::Result<Self> {
        let (calls, mut waiting) = mpsc::channel::<Call>(1);
        let busy = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&busy);
        std::thread::Builder::new()
            .name("lease".into())
            .spawn(move || {
                while let Some((request, answer)) = waiting.blocking_recv() {
                    let result = store.call(request);
                    done.store(false, Ordering::Release);
                    // The caller may have gone at its time limit.
                    let _ = answer.send(result);
                }
            })?;
        Ok(Self {
            calls,
            busy,
            timeout,
        })
    }

    /// One call; answers within the time limit.
    pub(crate) async fn call(&self, request: LeaseRequest) -> LeaseAnswer {
        if self.busy.swap(true, Ordering::AcqRel) {
            return LeaseAnswer::Unavailable("an earlier call of the lease store hangs".into());
        }
        let (sender, answer) = oneshot::channel();
        if self.calls.send((request, sender)).await.is_err() {
            return LeaseAnswer::Unavailable("the lease thread has ended".into());
        }
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => answer,
            // The time ended, or the thread did while it was at it.
            Ok(Err(_)) | Err(_) => LeaseAnswer::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as blocking;

    use tandemmq_cluster::lease::Lease;

    use super::*;

    /// A store that answers only when it is told to.
    struct Held(blocking::Receiver<()>);

    impl LeaseStore for Held {
        fn call(&mut self, _request: LeaseRequest) -> LeaseAnswer {
            match self.0.recv() {
                Ok(()) => LeaseAnswer::Ok(Lease::default()),
                Err(_) => LeaseAnswer::Unavailable("the test is over".into()),
            }
        }
    }

    #[tokio::test]
    async fn hanging_call_is_unknown_and_the_next_ones_are_not_begun() {
        let (release, held) = blocking::channel();
        let task = LeaseTask::start(Held(held), Duration::from_millis(50)).unwrap();
        let hanging = task.call(LeaseRequest::Read).await;
        assert_eq!(hanging, LeaseAnswer::Unknown, "it may be done yet");
        let refused = task.call(LeaseRequest::Read).await;
        assert!(
            matches!(refused, LeaseAnswer::Unavailable(_)),
            "{refused:?}"
        );
        release.send(()).unwrap();
        release.send(()).unwrap();
        let patient = LeaseTask {
            timeout: Duration::from_secs(10),
            ..task
        };
        loop {
            match patient.call(LeaseRequest::Read).await {
                LeaseAnswer::Unavailable(_) => tokio::task::yield_now().await,
                answer => {
                    assert_eq!(answer, LeaseAnswer::Ok(Lease::default()));
                    break;
                }
            }
        }
    }
}
