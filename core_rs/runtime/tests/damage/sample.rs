//! A directory with executions in every state.
//!
//! Owns how they get there. Refuses to remember more than their requests and ids: the truth is
//! what a server answers.

use backlane_runtime::Method;
use backlane_sim::api::{timestamp, v1};

use crate::calls::{enqueue, text};
use crate::directory::{Directory, Image};
use crate::server::{START_MS, Server};

/// The states, by callable. Each execution gets to the state that its callable names.
pub(crate) const CALLABLES: [&str; 7] = [
    "ready",
    "pending",
    "running",
    "retrying",
    "completed",
    "failed",
    "cancelled",
];
pub(crate) const TENANTS: [&str; 2] = ["acme", "bolt"];

/// When the sample is complete.
pub(crate) const END_MS: u64 = START_MS + 2 * HOUR_MS;

const HOUR_MS: u64 = 3_600_000;
const EXECUTIONS: usize = 280;
const SHARE: usize = 70;
/// More leases than there are executions of a callable.
const MOST: u32 = 100;

/// One execution: the request that made it, and its id.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) request: v1::EnqueueRequest,
    pub(crate) id: String,
}

pub(crate) struct Sample {
    pub(crate) made: Vec<Made>,
    pub(crate) image: Image,
}

/// Makes the directory. The server is stopped at its end.
pub(crate) fn sample() -> Sample {
    let directory = Directory::new();
    let server = Server::open(directory.path());
    let mut made = Vec::new();
    for share in 0..EXECUTIONS / SHARE {
        let numbers = share * SHARE..(share + 1) * SHARE;
        for request in numbers.map(request) {
            let id = server.make(&request).execution_id;
            made.push(Made { request, id });
        }
        bring_forward(&server, &made[share * SHARE..]);
        server.advance(HOUR_MS / 2);
    }
    // At the end, since a lease ends when the clock goes on.
    assert!(!server.lease("running", MOST).is_empty());
    server.stop();
    let image = Image::of(directory.path());
    Sample { made, image }
}

fn request(number: usize) -> v1::EnqueueRequest {
    let callable = CALLABLES[number % CALLABLES.len()];
    let mut request = enqueue(TENANTS[number % 2], callable, number);
    if callable == "pending" {
        request.not_before = Some(timestamp(END_MS + 24 * HOUR_MS));
    }
    if number.is_multiple_of(5) {
        request.dedup_key = format!("key-{number}");
    }
    request
}

/// Brings executions that were just made to the states that their callables name.
fn bring_forward(server: &Server, made: &[Made]) {
    for lease in server.lease("retrying", MOST) {
        server.fail(&lease, Some(20 * HOUR_MS));
    }
    for (number, lease) in server.lease("completed", MOST).iter().enumerate() {
        server.complete(lease, &text("output", number));
    }
    for lease in server.lease("failed", MOST) {
        server.fail(&lease, Some(1_000));
    }
    server.advance(1_000);
    let failed = server.lease("failed", MOST);
    assert!(!failed.is_empty());
    for lease in &failed {
        server.fail(lease, None);
    }
    for Made { request, id } in made {
        if request.callable_name == "cancelled" {
            let cancel = v1::CancelRequest {
                tenant_id: request.tenant_id.clone(),
                execution_id: id.clone(),
            };
            let cancelled = server.ask::<v1::CancelResponse>(Method::Cancel, &cancel);
            assert!(cancelled.is_ok(), "{cancelled:?}");
        }
    }
}
