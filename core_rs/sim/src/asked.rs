//! The requests of clients, as the judge needs them.
//!
//! Owns the requests in progress, with their method and bytes. Refuses to judge replies.

use prost::Message as _;

use backlane_runtime::Method;

use crate::api::v1;
use crate::check::Done;

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
    /// Counts executions.
    Count(v1::CountRequest),
    /// Waits for executions to end.
    Wait(v1::WaitRequest),
    /// Cancels one execution.
    Cancel(v1::CancelRequest),
    /// Says why an execution waits.
    Explain(v1::ExplainRequest),
    /// Shows the next executions of the queue.
    Peek(v1::PeekRequest),
    /// Counts unfinished executions.
    Stats(v1::GetQueueStatsRequest),
    /// Lists dead letters.
    DeadLetters(v1::ListDeadLettersRequest),
    /// Takes executions out of the dead letters.
    Discard(v1::DiscardDeadLettersRequest),
    /// Deletes an execution that is over.
    Delete(v1::DeleteRequest),
    /// Enqueues an execution that is over once more.
    Redrive(v1::RedriveRequest),
    /// Spawns a child.
    Spawn(Box<v1::SpawnRequest>),
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
    /// Reports progress.
    Progress(v1::ReportProgressRequest),
    /// Records steps.
    Steps(v1::ReportStepsRequest),
    /// Suspends executions.
    Suspend(v1::SuspendRequest),
    /// Provides an input.
    Input(v1::ProvideInputRequest),
    /// Pauses an execution.
    Pause(v1::PauseRequest),
    /// Resumes an execution.
    Resume(v1::ResumeRequest),
    /// Shows the run of an execution. The steps were acknowledged before the call.
    Story(v1::GetExecutionRunRequest, Done),
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
            Self::Count(request) => (Method::Count, request.encode_to_vec()),
            Self::Wait(request) => (Method::Wait, request.encode_to_vec()),
            Self::Cancel(request) => (Method::Cancel, request.encode_to_vec()),
            Self::Explain(request) => (Method::Explain, request.encode_to_vec()),
            Self::Peek(request) => (Method::Peek, request.encode_to_vec()),
            Self::Stats(request) => (Method::GetQueueStats, request.encode_to_vec()),
            Self::DeadLetters(request) => (Method::ListDeadLetters, request.encode_to_vec()),
            Self::Discard(request) => (Method::DiscardDeadLetters, request.encode_to_vec()),
            Self::Delete(request) => (Method::Delete, request.encode_to_vec()),
            Self::Redrive(request) => (Method::Redrive, request.encode_to_vec()),
            Self::Spawn(request) => (Method::Spawn, request.encode_to_vec()),
            Self::Lease(request) => (Method::Lease, request.encode_to_vec()),
            Self::Renew(request) => (Method::RenewLeases, request.encode_to_vec()),
            Self::Complete(request) => (Method::Complete, request.encode_to_vec()),
            Self::Fail(request) => (Method::Fail, request.encode_to_vec()),
            Self::Release(request) => (Method::Release, request.encode_to_vec()),
            Self::Progress(request) => (Method::ReportProgress, request.encode_to_vec()),
            Self::Steps(request) => (Method::ReportSteps, request.encode_to_vec()),
            Self::Suspend(request) => (Method::Suspend, request.encode_to_vec()),
            Self::Input(request) => (Method::ProvideInput, request.encode_to_vec()),
            Self::Pause(request) => (Method::Pause, request.encode_to_vec()),
            Self::Resume(request) => (Method::Resume, request.encode_to_vec()),
            Self::Story(request, _) => (Method::GetExecutionRun, request.encode_to_vec()),
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
            Self::Progress(request) => {
                let reports = request.reports.iter();
                reports
                    .map(|one| lease(&one.execution_id, &one.lease_token))
                    .collect()
            }
            Self::Steps(request) => {
                let reports = request.reports.iter();
                reports
                    .map(|one| lease(&one.execution_id, &one.lease_token))
                    .collect()
            }
            Self::Suspend(request) => {
                let suspensions = request.suspensions.iter();
                suspensions
                    .map(|one| lease(&one.execution_id, &one.lease_token))
                    .collect()
            }
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
