//! The requests of clients, as the judge needs them.
//!
//! Owns the requests in progress, with their method and bytes. Refuses to judge replies.

use prost::Message as _;

use backlane_runtime::Method;

use crate::api::v1;

/// The request of a unary call.
#[derive(Debug, Clone)]
pub enum Asked {
    /// Enqueues one execution.
    Enqueue(v1::EnqueueRequest),
    /// Enqueues all executions of a batch or none.
    Batch(v1::EnqueueBatchRequest),
    /// Enqueues one execution and waits for its end.
    Run(v1::RunRequest),
    /// Reads one execution.
    Get(v1::GetRequest),
    /// Lists executions.
    List(v1::ListRequest),
    /// Waits for executions to end.
    Wait(v1::WaitRequest),
    /// Cancels one execution.
    Cancel(v1::CancelRequest),
    /// Shows the next executions of the queue.
    Peek(v1::PeekRequest),
    /// Counts unfinished executions.
    Stats(v1::GetQueueStatsRequest),
    /// Spawns a child.
    Spawn(v1::SpawnRequest),
    /// Leases executions.
    Lease(v1::LeaseRequest),
    /// Renews leases.
    Renew(v1::RenewLeasesRequest),
    /// Completes executions.
    Complete(v1::CompleteRequest),
    /// Reports errors.
    Fail(v1::FailRequest),
    /// Releases leases.
    Release(v1::ReleaseRequest),
}

impl Asked {
    /// The method and the encoded request.
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
            Self::Spawn(request) => (Method::Spawn, request.encode_to_vec()),
            Self::Lease(request) => (Method::Lease, request.encode_to_vec()),
            Self::Renew(request) => (Method::RenewLeases, request.encode_to_vec()),
            Self::Complete(request) => (Method::Complete, request.encode_to_vec()),
            Self::Fail(request) => (Method::Fail, request.encode_to_vec()),
            Self::Release(request) => (Method::Release, request.encode_to_vec()),
        }
    }

    /// The leases that a worker's request names.
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

/// A lease, named by the execution's id and the lease token.
#[must_use]
pub fn lease(id: &str, token: &str) -> v1::LeaseRef {
    v1::LeaseRef {
        execution_id: id.to_owned(),
        lease_token: token.to_owned(),
    }
}
