//! The files that the server keeps beside its database: private, written whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use vault::MasterSecret;
use zeroize::Zeroizing;

use crate::wiring::WiringError;

const MASTER: &str = "master.key";
const FIRST_START: &str = "first-start.txt";

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> WiringError + '_ {
    move |cause| WiringError::File {
        path: path.to_owned(),
        cause,
    }
}

/// Makes the folder that a file will lie in, readable by its owner alone.
///
/// # Errors
/// When the folder cannot be made.
pub fn make_parent(file: &Path) -> Result<(), WiringError> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => make(folder),
        _ => Ok(()),
    }
}

fn make(folder: &Path) -> Result<(), WiringError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(failed(folder))
}

/// Writes a new file that only its owner can read: whole and on the disk before this
/// returns, or not at all. Refuses to overwrite one.
fn write_private(path: &Path, text: &str) -> Result<(), WiringError> {
    make_parent(path)?;
    let draft = path.with_extension("draft");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = || {
        let mut file = options.open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // A hard link, unlike a renaming, fails when the name is taken.
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        linked?;
        match path.parent() {
            Some(folder) => OpenOptions::new().read(true).open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(failed(path))
}

/// Removes a file that is not valid any more.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(path: &Path) -> Result<(), WiringError> {
    fs::remove_file(path).map_err(failed(path))
}

/// What was given at the first start, while it is there.
///
/// # Errors
/// When the file cannot be read.
pub fn read_first_start(data_dir: &Path) -> Result<Option<Zeroizing<String>>, WiringError> {
    let path = data_dir.join(FIRST_START);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(WiringError::File { path, cause }),
    }
}

/// Removes what was given at the first start; false when it is gone already.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_first_start(data_dir: &Path) -> Result<bool, WiringError> {
    let path = data_dir.join(FIRST_START);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(WiringError::File { path, cause }),
    }
}

/// Where the master secret lies when it is not given in the settings.
pub fn master_path(data_dir: &Path) -> PathBuf {
    data_dir.join(MASTER)
}

/// The master secret of the data folder, if there is one.
///
/// # Errors
/// When the file cannot be read or holds no usable secret.
pub fn read_master(data_dir: &Path) -> Result<Option<MasterSecret>, WiringError> {
    let path = master_path(data_dir);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(MasterSecret::new(text)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(WiringError::File { path, cause }),
    }
}

/// Writes the master secret; refuses to overwrite one.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn write_master(data_dir: &Path, secret: &MasterSecret) -> Result<PathBuf, WiringError> {
    let path = master_path(data_dir);
    let line = Zeroizing::new(format!("{}\n", secret.expose()));
    write_private(&path, &line)?;
    Ok(path)
}

/// Writes what is given once at the first start, for whoever can read the folder.
///
/// # Errors
/// When the file cannot be written.
pub fn write_first_start(data_dir: &Path, text: &str) -> Result<PathBuf, WiringError> {
    let path = data_dir.join(FIRST_START);
    // What an interrupted first start left behind was never valid.
    if let Err(cause) = fs::remove_file(&path)
        && cause.kind() != std::io::ErrorKind::NotFound
    {
        return Err(WiringError::File { path, cause });
    }
    write_private(&path, text)?;
    Ok(path)
}
