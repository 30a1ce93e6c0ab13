//! The folder that stands in for a mail server: one RFC 5322 file a mail, for its owner's eyes only.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes the mail whole and on the disk before this returns, or not at all; the path.
/// One that is there already is the same mail, from a try whose success was not seen.
pub(super) fn write(folder: &Path, name: &str, message: &[u8]) -> io::Result<PathBuf> {
    make(folder)?;
    let path = folder.join(format!("{name}.eml"));
    // A reader of the folder takes *.eml: it never meets half a mail.
    let draft = folder.join(format!(".{name}.draft"));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(message)?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    OpenOptions::new().read(true).open(folder)?.sync_all()?;
    Ok(path)
}

/// Makes the folder, unless it is there: then whoever made it has decided who may read it.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
