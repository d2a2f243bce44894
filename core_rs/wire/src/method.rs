//! The calls of the API, by name.
//!
//! Owns the one table of calls: path, kind, role and tenant scope of each. Refuses to know the
//! calls' messages.

use backlane_engine::rules::role::Role;

/// A call of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Creates one execution.
    Enqueue,
    /// Creates all executions of a batch or none of them.
    EnqueueBatch,
    /// Creates executions over a stream, without a round trip for each.
    EnqueueStream,
    /// Creates one execution and waits for its end.
    Run,
    /// Reads one execution.
    Get,
    /// Lists executions.
    List,
    /// Counts executions.
    Count,
    /// Lists the attempts of one execution.
    ListAttempts,
    /// Waits for executions to end.
    Wait,
    /// Ends an execution, or asks the worker that holds it to stop.
    Cancel,
    /// Shows the executions that would be leased next.
    Peek,
    /// Says why an execution waits.
    Explain,
    /// Shows what happened inside an execution.
    GetExecutionRun,
    /// Provides an input that an execution waits for, or will wait for.
    ProvideInput,
    /// Holds an execution back.
    Pause,
    /// Lets a paused or suspended execution go on.
    Resume,
    /// Counts unfinished executions.
    GetQueueStats,
    /// Reads one execution as a task record.
    GetTaskRecord,
    /// Lists executions that failed or timed out.
    ListDeadLetters,
    /// Takes executions out of the dead letters.
    DiscardDeadLetters,
    /// Deletes an execution that is over.
    Delete,
    /// Enqueues an execution that is over once more.
    Redrive,
    /// Creates a child of an execution that the caller holds.
    Spawn,
    /// Leases executions to a worker.
    Lease,
    /// Restarts the lease periods of leases.
    RenewLeases,
    /// Completes executions with their outputs.
    Complete,
    /// Reports errors of attempts.
    Fail,
    /// Releases leases: gives the executions back to the queue.
    Release,
    /// Records steps of executions.
    ReportSteps,
    /// Gives leases back until something has happened.
    Suspend,
    /// Reports how far executions have come.
    ReportProgress,
    /// Does the work of all worker calls over one stream.
    Work,
    /// Sets or lifts a limit on running executions.
    SetLimits,
    /// Lists the limits of a tenant.
    ListLimits,
}

/// How the server decides which tenants a call touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The request names a tenant, which must be in the caller's scope.
    Tenant,
    /// The request offers to serve tenants. The server ignores tenants outside of the caller's
    /// scope.
    Offer,
    /// The request shows lease tokens of executions, whose tenants must be in the caller's scope.
    Token,
}

/// The properties of a call, without its messages.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The call that this entry describes.
    pub method: Method,
    /// The path of the call on HTTP/2.
    pub path: &'static str,
    /// Whether both sides send many messages. Every other call is one request and one reply.
    pub is_stream: bool,
    /// The role that the caller needs.
    pub role: Role,
    /// How the server decides which tenants the call touches.
    pub scope: Scope,
}

/// A unary call of producers, about one tenant.
const fn producer(method: Method, path: &'static str) -> Entry {
    Entry {
        method,
        path,
        is_stream: false,
        role: Role::Producer,
        scope: Scope::Tenant,
    }
}

/// A unary call of workers.
const fn worker(method: Method, path: &'static str, scope: Scope) -> Entry {
    Entry {
        role: Role::Worker,
        scope,
        ..producer(method, path)
    }
}

/// A unary call of operators, about one tenant.
const fn admin(method: Method, path: &'static str) -> Entry {
    Entry {
        role: Role::Admin,
        ..producer(method, path)
    }
}

/// The same call as a stream.
const fn stream(entry: Entry) -> Entry {
    Entry {
        is_stream: true,
        ..entry
    }
}

/// Every call, in the order of [`Method::index`].
#[rustfmt::skip]
pub static METHODS: [Entry; 34] = [
    producer(Method::Enqueue, "/backlane.v1.ExecutionService/Enqueue"),
    producer(Method::EnqueueBatch, "/backlane.v1.ExecutionService/EnqueueBatch"),
    stream(producer(Method::EnqueueStream, "/backlane.v1.ExecutionService/EnqueueStream")),
    producer(Method::Run, "/backlane.v1.ExecutionService/Run"),
    producer(Method::Get, "/backlane.v1.ExecutionService/Get"),
    producer(Method::List, "/backlane.v1.ExecutionService/List"),
    producer(Method::Count, "/backlane.v1.ExecutionService/Count"),
    producer(Method::ListAttempts, "/backlane.v1.ExecutionService/ListAttempts"),
    producer(Method::Wait, "/backlane.v1.ExecutionService/Wait"),
    producer(Method::Cancel, "/backlane.v1.ExecutionService/Cancel"),
    producer(Method::Peek, "/backlane.v1.ExecutionService/Peek"),
    producer(Method::Explain, "/backlane.v1.ExecutionService/Explain"),
    producer(Method::GetExecutionRun, "/backlane.v1.ExecutionService/GetExecutionRun"),
    producer(Method::ProvideInput, "/backlane.v1.ExecutionService/ProvideInput"),
    producer(Method::Pause, "/backlane.v1.ExecutionService/Pause"),
    producer(Method::Resume, "/backlane.v1.ExecutionService/Resume"),
    producer(Method::GetQueueStats, "/backlane.v1.ExecutionService/GetQueueStats"),
    producer(Method::GetTaskRecord, "/backlane.v1.ExecutionService/GetTaskRecord"),
    producer(Method::ListDeadLetters, "/backlane.v1.ExecutionService/ListDeadLetters"),
    producer(Method::DiscardDeadLetters, "/backlane.v1.ExecutionService/DiscardDeadLetters"),
    producer(Method::Delete, "/backlane.v1.ExecutionService/Delete"),
    producer(Method::Redrive, "/backlane.v1.ExecutionService/Redrive"),
    worker(Method::Spawn, "/backlane.v1.ExecutionService/Spawn", Scope::Token),
    worker(Method::Lease, "/backlane.v1.WorkerService/Lease", Scope::Offer),
    worker(Method::RenewLeases, "/backlane.v1.WorkerService/RenewLeases", Scope::Token),
    worker(Method::Complete, "/backlane.v1.WorkerService/Complete", Scope::Token),
    worker(Method::Fail, "/backlane.v1.WorkerService/Fail", Scope::Token),
    worker(Method::Release, "/backlane.v1.WorkerService/Release", Scope::Token),
    worker(Method::ReportSteps, "/backlane.v1.WorkerService/ReportSteps", Scope::Token),
    worker(Method::Suspend, "/backlane.v1.WorkerService/Suspend", Scope::Token),
    worker(Method::ReportProgress, "/backlane.v1.WorkerService/ReportProgress", Scope::Token),
    stream(worker(Method::Work, "/backlane.v1.WorkerService/Work", Scope::Offer)),
    admin(Method::SetLimits, "/backlane.v1.AdminService/SetLimits"),
    admin(Method::ListLimits, "/backlane.v1.AdminService/ListLimits"),
];

impl Method {
    /// The properties of the call.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        &METHODS[self.index()]
    }

    /// The position of the call in [`METHODS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    // Path and streaming of every call that the .proto files define.
    fn defined() -> BTreeSet<(String, bool)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
        let files = [
            "backlane/v1/admin_service.proto",
            "backlane/v1/execution_service.proto",
            "backlane/v1/worker_service.proto",
        ];
        let descriptors = protox::compile(files, [&root]).unwrap();
        let services = descriptors.file.into_iter().flat_map(|file| file.service);
        let paths = services.flat_map(|service| {
            let path = format!("/backlane.v1.{}/", service.name());
            let of = move |method: prost_types::MethodDescriptorProto| {
                (
                    format!("{path}{}", method.name()),
                    method.client_streaming(),
                )
            };
            service.method.into_iter().map(of)
        });
        paths.collect()
    }

    #[test]
    fn every_call_of_the_contract_is_known_and_no_other() {
        let known = METHODS
            .iter()
            .map(|entry| (entry.path.to_owned(), entry.is_stream));
        assert_eq!(defined(), known.collect());
    }

    #[test]
    fn each_service_has_its_role_and_workers_spawn() {
        for entry in &METHODS {
            let is_workers = entry.path.starts_with("/backlane.v1.WorkerService/")
                || entry.method == Method::Spawn;
            let expected = match entry.path {
                _ if is_workers => Role::Worker,
                path if path.starts_with("/backlane.v1.AdminService/") => Role::Admin,
                _ => Role::Producer,
            };
            assert_eq!(expected, entry.role, "{}", entry.path);
        }
    }

    #[test]
    fn the_index_of_a_call_is_its_position_in_the_table() {
        for (index, entry) in METHODS.iter().enumerate() {
            assert_eq!(index, entry.method.index());
        }
    }
}
