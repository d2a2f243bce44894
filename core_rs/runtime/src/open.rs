//! Opens a server's core: from settings by name to a running shard.
//!
//! Owns the choice of the store and the names of limits. Refuses to know where the settings come
//! from.

use std::path::PathBuf;

use backlane_engine::rules::limits::Limits;
use backlane_store::{MemoryDisk, SqliteOptions, SqliteStore, Store, StoreError};
use thiserror::Error;

use crate::clock::Clock;
use crate::recover::{RecoverError, machine_random};
use crate::runtime::Runtime;
use crate::shard::Settings;

/// The settings that a server is opened with.
#[derive(Debug, Default)]
pub struct OpenOptions {
    /// The data directory; `None` keeps everything in memory.
    pub data: Option<PathBuf>,
    /// The name of this node.
    pub node: String,
    /// The limits that differ from their defaults, by name.
    pub limits: Vec<(String, u64)>,
    /// Whether to start even if the end of the log is missing.
    pub accept_loss: bool,
    /// How long finished executions can be read, in milliseconds; `None` for the default.
    pub retention_ms: Option<u64>,
    /// The clock; `None` for the machine's clock.
    pub clock: Option<Clock>,
}

/// Why a server cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No limit has this name.
    #[error("unknown limit {name}")]
    UnknownLimit {
        /// The name that was given.
        name: String,
    },
    /// A limit is zero or too large.
    #[error("limit {name} is {value}: it must be at least 1")]
    BadLimit {
        /// The name of the limit.
        name: String,
        /// The value that was given.
        value: u64,
    },
    /// The store or its log cannot be used.
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

impl OpenError {
    /// Whether another process uses the data directory.
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        matches!(
            self,
            Self::Recover(RecoverError::Store(StoreError::InUse { .. }))
        )
    }

    /// Whether the data is damaged, incomplete or written by a newer version.
    #[must_use]
    pub const fn is_corrupt(&self) -> bool {
        matches!(
            self,
            Self::Recover(RecoverError::Store(
                StoreError::Corrupt { .. } | StoreError::NewerVersion { .. }
            ))
        )
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Recover(error.into())
    }
}

/// Opens the store and recovers the shard. Returns once the server can take calls.
///
/// # Errors
/// [`OpenError`], whose text is a single line.
pub fn open(options: OpenOptions) -> Result<Runtime, OpenError> {
    let mut settings = Settings::default();
    for (name, value) in &options.limits {
        set_limit(&mut settings.limits, name, *value)?;
    }
    settings.retention_ms = options.retention_ms.unwrap_or(settings.retention_ms);
    let accept_loss = options.accept_loss;
    let store: Box<dyn Store> = match &options.data {
        None => Box::new(MemoryDisk::new().store()),
        Some(dir) => {
            let sqlite = SqliteOptions {
                accept_loss,
                ..SqliteOptions::default()
            };
            Box::new(SqliteStore::open(dir, sqlite)?)
        }
    };
    let clock = options.clock.unwrap_or_else(Clock::real);
    Ok(Runtime::start(
        store,
        &options.node,
        settings,
        machine_random(),
        clock,
    )?)
}

fn set_limit(limits: &mut Limits, name: &str, value: u64) -> Result<(), OpenError> {
    let bad = || OpenError::BadLimit {
        name: name.to_owned(),
        value,
    };
    let size = usize::try_from(value)
        .ok()
        .filter(|size| *size > 0)
        .ok_or_else(bad)?;
    let limit = match name {
        "max_input_bytes" => &mut limits.max_input_bytes,
        "max_output_bytes" => &mut limits.max_output_bytes,
        "max_context_bytes" => &mut limits.max_context_bytes,
        "max_metadata_bytes" => &mut limits.max_metadata_bytes,
        "max_error_message_bytes" => &mut limits.max_error_message_bytes,
        "max_details_bytes" => &mut limits.max_details_bytes,
        "max_json_depth" => &mut limits.max_json_depth,
        "max_batch_items" => &mut limits.max_batch_items,
        "max_batch_bytes" => &mut limits.max_batch_bytes,
        "max_lease_items" => &mut limits.max_lease_items,
        "max_page" => &mut limits.max_page,
        "max_queue_per_tenant" => {
            limits.max_queue_per_tenant = value;
            return Ok(());
        }
        _ => {
            return Err(OpenError::UnknownLimit {
                name: name.to_owned(),
            });
        }
    };
    *limit = size;
    Ok(())
}
