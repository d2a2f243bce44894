//! The calls of the API, by name.
//!
//! Owns their paths and which of them stream. Refuses to know their messages.

/// A call of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Makes one execution.
    Enqueue,
    /// Makes all of its items or none.
    EnqueueBatch,
    /// Pipelined enqueues.
    EnqueueStream,
    /// Enqueues and waits.
    Run,
    /// Reads one execution.
    Get,
    /// Lists executions.
    List,
    /// Waits for ends.
    Wait,
    /// Ends an execution, or asks its holder to stop.
    Cancel,
    /// Shows the next executions.
    Peek,
    /// Counts unfinished executions.
    GetQueueStats,
    /// Takes executions.
    Lease,
    /// Keeps them.
    RenewLeases,
    /// Hands in results.
    Complete,
    /// Reports errors.
    Fail,
    /// Gives executions back.
    Release,
    /// All of the worker's calls over one stream.
    Work,
}

impl Method {
    /// Every call, in the order of [`Method::index`].
    pub const ALL: [Self; 16] = [
        Self::Enqueue,
        Self::EnqueueBatch,
        Self::EnqueueStream,
        Self::Run,
        Self::Get,
        Self::List,
        Self::Wait,
        Self::Cancel,
        Self::Peek,
        Self::GetQueueStats,
        Self::Lease,
        Self::RenewLeases,
        Self::Complete,
        Self::Fail,
        Self::Release,
        Self::Work,
    ];

    /// The path of the call on HTTP/2.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Enqueue => "/backlane.v1.ExecutionService/Enqueue",
            Self::EnqueueBatch => "/backlane.v1.ExecutionService/EnqueueBatch",
            Self::EnqueueStream => "/backlane.v1.ExecutionService/EnqueueStream",
            Self::Run => "/backlane.v1.ExecutionService/Run",
            Self::Get => "/backlane.v1.ExecutionService/Get",
            Self::List => "/backlane.v1.ExecutionService/List",
            Self::Wait => "/backlane.v1.ExecutionService/Wait",
            Self::Cancel => "/backlane.v1.ExecutionService/Cancel",
            Self::Peek => "/backlane.v1.ExecutionService/Peek",
            Self::GetQueueStats => "/backlane.v1.ExecutionService/GetQueueStats",
            Self::Lease => "/backlane.v1.WorkerService/Lease",
            Self::RenewLeases => "/backlane.v1.WorkerService/RenewLeases",
            Self::Complete => "/backlane.v1.WorkerService/Complete",
            Self::Fail => "/backlane.v1.WorkerService/Fail",
            Self::Release => "/backlane.v1.WorkerService/Release",
            Self::Work => "/backlane.v1.WorkerService/Work",
        }
    }

    /// Whether both sides send many messages. Every other call is one request and one reply.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::EnqueueStream | Self::Work)
    }

    /// Its place in [`Method::ALL`].
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
        let known = Method::ALL.map(|method| (method.path().to_owned(), method.is_stream()));
        assert_eq!(defined(), BTreeSet::from(known));
    }

    #[test]
    fn an_index_is_the_place_in_the_list() {
        let indexes = Method::ALL.map(Method::index);
        assert_eq!(indexes.to_vec(), (0..16).collect::<Vec<_>>());
    }
}
