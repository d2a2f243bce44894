//! The core as Python sees it: encoded requests in, completions out.
//!
//! Owns the translation of calls and completions. Refuses to hold a rule, and to make a Rust thread
//! wait for the GIL: Python fetches completions; they are never pushed.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backlane_runtime::{
    Ahead, Clock, Completion, CompletionKind, Input, METHODS, Method, OpenOptions, Runtime,
    TooFarAhead, UnaryCall, open,
};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::error::{CoreError, from_open};
use crate::principal::Principal;

const MESSAGE: i32 = -1;
const RESUME: i32 = -2;
const NOTICE: i32 = -3;
const INTERNAL: i32 = 13;

/// A running core: an engine, its store, and the threads that drive them.
#[pyclass(frozen, module = "backlane._core")]
pub(crate) struct Core {
    runtime: Runtime,
    clock: Option<Arc<Ahead>>,
    nobody: Arc<backlane_runtime::Principal>,
    failure_told: AtomicBool,
}

fn method(number: usize) -> PyResult<Method> {
    let unknown = || PyIndexError::new_err(format!("unknown method number {number}"));
    let entry = METHODS.get(number).ok_or_else(unknown)?;
    Ok(entry.method)
}

#[pymethods]
impl Core {
    #[new]
    #[expect(
        clippy::too_many_arguments,
        reason = "one argument per setting, all of them named in Python"
    )]
    #[pyo3(signature = (
        *, data, node="local", limits=None, accept_loss=false, retention_ms=604_800_000,
        manual_clock_ms=None, clock_ahead_ms=None,
    ))]
    fn new(
        py: Python<'_>,
        data: Option<PathBuf>,
        node: &str,
        limits: Option<BTreeMap<String, u64>>,
        accept_loss: bool,
        retention_ms: u64,
        manual_clock_ms: Option<u64>,
        clock_ahead_ms: Option<u64>,
    ) -> PyResult<Self> {
        let clock = manual_clock_ms.map_or_else(Clock::real, Clock::standing_at);
        let ahead = clock.ahead();
        ahead
            .advance(clock_ahead_ms.unwrap_or(0))
            .map_err(too_far)?;
        let is_movable = manual_clock_ms.is_some() || clock_ahead_ms.is_some();
        let options = OpenOptions {
            data,
            node: node.to_owned(),
            limits: limits.unwrap_or_default().into_iter().collect(),
            accept_loss,
            retention_ms: Some(retention_ms),
            clock: Some(clock),
        };
        let runtime = py
            .detach(|| open(options))
            .map_err(|error| from_open(&error))?;
        Ok(Self {
            runtime,
            clock: is_movable.then_some(ahead),
            nobody: Arc::default(),
            failure_told: AtomicBool::new(false),
        })
    }

    #[getter]
    fn fd(&self) -> RawFd {
        self.runtime.bell()
    }

    #[getter]
    fn failed(&self) -> bool {
        self.runtime.failure().is_some()
    }

    #[expect(
        clippy::unused_self,
        reason = "a method in Python, since the result may depend on the core one day"
    )]
    fn methods(&self) -> Vec<(&'static str, bool)> {
        let methods = METHODS.iter().map(|entry| (entry.path, entry.is_stream));
        methods.collect()
    }

    fn call(
        &self,
        method: usize,
        principal: Option<&Bound<'_, Principal>>,
        timeout_ms: Option<u64>,
        request: &[u8],
    ) -> PyResult<u64> {
        let ticket = self.runtime.ticket();
        self.runtime.call(UnaryCall {
            ticket,
            method: self::method(method)?,
            principal: self.principal(principal),
            timeout_ms,
            bytes: request.to_vec(),
        });
        Ok(ticket)
    }

    fn wake(&self, py: Python<'_>) {
        py.detach(|| self.runtime.wake());
    }

    fn abandon(&self, ticket: u64) {
        self.runtime.tell(Input::Abandon(ticket));
    }

    fn open(&self, method: usize, principal: Option<&Bound<'_, Principal>>) -> PyResult<u64> {
        let ticket = self.runtime.ticket();
        let method = self::method(method)?;
        let principal = self.principal(principal);
        self.runtime.open(ticket, method, principal);
        Ok(ticket)
    }

    fn send(&self, stream: u64, message: &[u8]) -> bool {
        self.runtime.frame(stream, message.to_vec())
    }

    fn half_close(&self, stream: u64) {
        self.runtime.tell(Input::HalfClose(stream));
    }

    fn close(&self, stream: u64) {
        self.runtime.close(stream);
    }

    fn written(&self, stream: u64, size: usize) {
        self.runtime.tell(Input::Written(stream, size));
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let completions = self.runtime.drain();
        let list = PyList::empty(py);
        for completion in completions {
            list.append(tuple(py, completion)?)?;
        }
        if let Some(why) = self.runtime.failure()
            && !self.failure_told.swap(true, Ordering::SeqCst)
        {
            let fields = (
                0_u64,
                INTERNAL,
                PyBytes::new(py, b""),
                PyString::new(py, &why),
            );
            list.append(fields.into_pyobject(py)?)?;
        }
        Ok(list)
    }

    fn begin_drain(&self) {
        self.runtime.tell(Input::Drain);
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.runtime.stop());
    }

    fn stats(&self) -> BTreeMap<&'static str, u64> {
        let disk = self.runtime.disk();
        BTreeMap::from([
            ("direct_steps", self.runtime.direct_steps()),
            ("disk_free_bytes", disk.free_bytes),
            ("disk_is_full", u64::from(disk.is_full)),
            ("disk_reserve_bytes", disk.reserve_bytes),
            ("steps", self.runtime.steps()),
            ("permit_drift", self.runtime.permit_drift()),
        ])
    }

    /// Moves the clock of a core that was created with `manual_clock_ms` or `clock_ahead_ms`.
    fn advance(&self, ms: u64) -> PyResult<()> {
        let unmovable = || CoreError::new_err("this core runs on the machine's clock");
        let clock = self.clock.as_ref().ok_or_else(unmovable)?;
        clock.advance(ms).map_err(too_far)?;
        self.runtime.look();
        Ok(())
    }
}

impl Core {
    fn principal(
        &self,
        principal: Option<&Bound<'_, Principal>>,
    ) -> Arc<backlane_runtime::Principal> {
        principal.map_or_else(|| self.nobody.clone(), |given| given.get().inner.clone())
    }
}

fn too_far(error: TooFarAhead) -> PyErr {
    CoreError::new_err(error.to_string())
}

fn tuple(py: Python<'_>, completion: Completion) -> PyResult<Bound<'_, PyTuple>> {
    let (code, payload, message) = match completion.kind {
        CompletionKind::Reply(bytes) => (0, bytes, String::new()),
        CompletionKind::Message(bytes) => (MESSAGE, bytes, String::new()),
        CompletionKind::Resume => (RESUME, Vec::new(), String::new()),
        CompletionKind::End => (0, Vec::new(), String::new()),
        CompletionKind::Notice(line) => (NOTICE, Vec::new(), line),
        CompletionKind::Error {
            code,
            message,
            status,
        } => (code, status, message),
    };
    (completion.ticket, code, PyBytes::new(py, &payload), message).into_pyobject(py)
}
