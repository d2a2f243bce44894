//! Parents and children: the fields of requests that say where an execution comes from.
//!
//! Owns the rules of parents, cancellation policies and spawn modes. Refuses to know the executions
//! that they name: the engine does.

use backlane_engine::error::Invalid;
use backlane_engine::rules::id::check_name;
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::status::Cancellation;

use crate::fields::{self, Checked, broken, choice, must};
use crate::generated::backlane::v1;
use crate::put;

/// The cancellation policy of an execution.
pub(crate) fn cancellation(number: i32) -> Checked<Cancellation> {
    let policy = choice("cancellation_policy", number, Cancellation::from_number)?;
    Ok(policy.unwrap_or_default())
}

/// Checks the parent that a client gave. Only a spawn has an execution or a step as its parent.
pub(crate) fn check_parent(parent: Option<&v1::ParentLink>) -> Checked<()> {
    let Some(parent) = parent else {
        return Ok(());
    };
    check_name("parent.parent_id", &parent.parent_id)?;
    match v1::ParentType::try_from(parent.parent_type) {
        Ok(v1::ParentType::Unspecified) => broken("parent.parent_type", "must be given"),
        Ok(v1::ParentType::Execution | v1::ParentType::Step) => {
            broken("parent.parent_type", "is left to Spawn")
        }
        Ok(_) => Ok(()),
        Err(_) => {
            let rule = format!("has no value {}", parent.parent_type);
            broken("parent.parent_type", rule)
        }
    }
}

/// Writes a parent as fields of `log.v1.PayloadHead`.
pub(crate) fn put_parent(out: &mut Vec<u8>, id: &str, parent_type: i32) {
    put::text(out, 17, id);
    put::uint(out, 18, u32::try_from(parent_type).unwrap_or(0));
}

/// Whether a mode makes a background execution.
pub(crate) fn should_run_background(mode: &v1::SpawnMode) -> bool {
    matches!(
        &mode.mode,
        Some(v1::spawn_mode::Mode::Child(v1::SpawnChild {
            background: true,
            ..
        }))
    )
}

/// Writes how a child was spawned as a field of `log.v1.PayloadHead`.
pub(crate) fn put_child(out: &mut Vec<u8>, child: &v1::SpawnChild, limits: &Limits) -> Checked<()> {
    let mut encoded = Vec::new();
    put::uint(&mut encoded, 1, child.background);
    put::uint(&mut encoded, 2, child.inherit_inbox);
    for (key, value) in &child.policies {
        let field = || "mode.child.policies".to_owned();
        let checked = value.check(limits.max_json_depth);
        checked.map_err(|problem| Invalid::new(field(), problem.to_string()))?;
        put::message(&mut encoded, 3, |out| {
            put::text(out, 1, key);
            put::bytes(out, 2, value.as_bytes());
        });
    }
    let most = limits.max_metadata_bytes;
    fields::size("mode.child.policies", encoded.len(), most)?;
    put::bytes(out, 19, &encoded);
    Ok(())
}

/// Checks that a spawn mode is given.
pub(crate) fn check_mode(mode: Option<&v1::SpawnMode>) -> Checked<()> {
    let given = mode.is_some_and(|mode| mode.mode.is_some());
    must(given, "mode", "must be given")
}
