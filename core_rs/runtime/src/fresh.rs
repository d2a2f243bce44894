//! A new directory, which gets its name only when it is complete.
//!
//! Owns the place in which it is written until then. Refuses to know what is written.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a new directory cannot be made.
#[derive(Debug, Error)]
pub enum FreshError {
    /// The new directory has something in it.
    #[error(
        "{} is not empty: name a directory that does not exist, or an empty one", .path.display()
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// An earlier command was interrupted.
    #[error(
        "{} is there already, perhaps from a command that was interrupted: delete it and try \
         again", .path.display()
    )]
    Unfinished {
        /// The directory in which the earlier command wrote.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The cause.
        source: io::Error,
    },
}

/// Has `write` fill a directory beside `new`, and then gives it that name. If `write` fails, there
/// is no directory `new`, or `new` is empty as before.
pub(crate) fn fill<T, E: From<FreshError>>(
    new: &Path,
    write: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    refuse_used(new)?;
    let unfinished = unfinished(new);
    if unfinished.exists() {
        return Err(FreshError::Unfinished { path: unfinished }.into());
    }
    let written = write(&unfinished);
    if written.is_err() {
        // What was refused has its own error. A directory that stays is named by the next try.
        let _ = fs::remove_dir_all(&unfinished);
    }
    let written = written?;
    give_name(&unfinished, new).map_err(|source| {
        let doing = format!("renaming {} to {}", unfinished.display(), new.display());
        FreshError::Io { doing, source }
    })?;
    Ok(written)
}

fn refuse_used(new: &Path) -> Result<(), FreshError> {
    let entries = match fs::read_dir(new) {
        Ok(entries) => entries.count(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(source) => {
            let doing = format!("looking into {}", new.display());
            return Err(FreshError::Io { doing, source });
        }
    };
    if entries > 0 {
        let path = new.to_owned();
        return Err(FreshError::NotEmpty { path });
    }
    Ok(())
}

/// The directory beside `new` that is filled until it is complete.
fn unfinished(new: &Path) -> PathBuf {
    // Without a slash at its end, which would make the name one in the directory itself.
    let mut name: OsString = new.components().collect::<PathBuf>().into();
    name.push(".unfinished");
    name.into()
}

fn give_name(unfinished: &Path, new: &Path) -> io::Result<()> {
    fs::rename(unfinished, new)?;
    let parent = new.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_that_is_being_filled_is_beside_the_new_one() {
        for new in ["a/new", "a/new/"] {
            assert_eq!(Path::new("a/new.unfinished"), unfinished(Path::new(new)));
        }
    }
}
