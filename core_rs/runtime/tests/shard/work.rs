//! Messages of a worker and of the server on a `Work` stream.

use backlane_runtime::Ticket;
use backlane_sim::api::v1;
pub(crate) use backlane_sim::api::v1::{
    work_request::Message as Up, work_response::Message as Down,
};

use crate::desk::Desk;

pub(crate) fn up(desk: &mut Desk, stream: Ticket, message: Up) {
    let message = Some(message);
    desk.frame(stream, &v1::WorkRequest { message });
}

/// The next message to the worker, which must be there.
pub(crate) fn down(desk: &mut Desk, stream: Ticket) -> Down {
    let message: v1::WorkResponse = desk.message(stream);
    message.message.expect("something")
}

/// The leases of the next message, which must have leases.
pub(crate) fn leases(desk: &mut Desk, stream: Ticket) -> Vec<v1::Lease> {
    match down(desk, stream) {
        Down::Leases(leases) => leases.leases,
        other => panic!("no leases but {other:?}"),
    }
}

pub(crate) fn hello(held: &[v1::LeaseRef]) -> Up {
    Up::Hello(v1::WorkHello {
        worker_id: "w".into(),
        callables: vec!["*".into()],
        held: held.to_vec(),
        ..Default::default()
    })
}

pub(crate) fn credit(executions: u32, bytes: u64) -> Up {
    Up::Credit(v1::WorkCredit {
        executions,
        bytes,
        ..Default::default()
    })
}

/// Room for leases ahead of free slots.
pub(crate) fn prefetch(prefetch: u32) -> Up {
    Up::Credit(v1::WorkCredit {
        prefetch,
        ..Default::default()
    })
}

/// A stream after its hello, with credit for `executions` leases.
pub(crate) fn greeted(desk: &mut Desk, executions: u32) -> Ticket {
    let stream = desk.open(backlane_runtime::Method::Work);
    up(desk, stream, hello(&[]));
    assert!(matches!(down(desk, stream), Down::Welcome(_)));
    if executions > 0 {
        up(desk, stream, credit(executions, 0));
    }
    desk.settle();
    stream
}
