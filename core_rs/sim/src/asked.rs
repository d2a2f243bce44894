//! What clients ask, as the checker needs it to judge the answer.
//!
//! Owns the requests that are under way, with their method and bytes. Refuses to judge.

use prost::Message as _;

use backlane_runtime::Method;

use crate::api::v1;

/// A unary call.
#[derive(Debug, Clone)]
pub enum Asked {
    /// Make one.
    Enqueue(v1::EnqueueRequest),
    /// Make all or none.
    Batch(v1::EnqueueBatchRequest),
    /// Make one and wait.
    Run(v1::RunRequest),
    /// Read one.
    Get(v1::GetRequest),
    /// Read many.
    List(v1::ListRequest),
    /// Wait for ends.
    Wait(v1::WaitRequest),
    /// Stop one.
    Cancel(v1::CancelRequest),
    /// Look at the queue.
    Peek(v1::PeekRequest),
    /// Count.
    Stats(v1::GetQueueStatsRequest),
    /// Take some.
    Lease(v1::LeaseRequest),
    /// Keep some.
    Renew(v1::RenewLeasesRequest),
    /// Hand results in.
    Complete(v1::CompleteRequest),
    /// Report errors.
    Fail(v1::FailRequest),
    /// Give some back.
    Release(v1::ReleaseRequest),
}

impl Asked {
    /// The call and its encoded request.
    #[must_use]
    pub fn encode(&self) -> (Method, Vec<u8>) {
        match self {
            Self::Enqueue(request) => (Method::Enqueue, request.encode_to_vec()),
            Self::Batch(request) => (Method::EnqueueBatch, request.encode_to_vec()),
            Self::Run(request) => (Method::Run, request.encode_to_vec()),
            Self::Get(request) => (Method::Get, request.encode_to_vec()),
            Self::List(request) => (Method::List, request.encode_to_vec()),
            Self::Wait(request) => (Method::Wait, request.encode_to_vec()),
            Self::Cancel(request) => (Method::Cancel, request.encode_to_vec()),
            Self::Peek(request) => (Method::Peek, request.encode_to_vec()),
            Self::Stats(request) => (Method::GetQueueStats, request.encode_to_vec()),
            Self::Lease(request) => (Method::Lease, request.encode_to_vec()),
            Self::Renew(request) => (Method::RenewLeases, request.encode_to_vec()),
            Self::Complete(request) => (Method::Complete, request.encode_to_vec()),
            Self::Fail(request) => (Method::Fail, request.encode_to_vec()),
            Self::Release(request) => (Method::Release, request.encode_to_vec()),
        }
    }

    /// The leases that a worker's command speaks of.
    #[must_use]
    pub fn leases(&self) -> Vec<v1::LeaseRef> {
        match self {
            Self::Renew(request) => request.leases.clone(),
            Self::Complete(request) => request
                .results
                .iter()
                .map(|one| lease(&one.execution_id, &one.lease_token))
                .collect(),
            Self::Fail(request) => {
                let failures = request.failures.iter();
                failures
                    .map(|one| lease(&one.execution_id, &one.lease_token))
                    .collect()
            }
            Self::Release(request) => request.releases.clone(),
            _ => Vec::new(),
        }
    }
}

/// A lease by its id and token.
#[must_use]
pub fn lease(id: &str, token: &str) -> v1::LeaseRef {
    v1::LeaseRef {
        execution_id: id.to_owned(),
        lease_token: token.to_owned(),
    }
}
