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

/// Removes the mails to that address, as its canonical form stands in them; how many.
pub(super) fn remove_to(folder: &Path, address: &str) -> io::Result<usize> {
    if !folder.is_dir() {
        return Ok(0);
    }
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let ours = path
            .extension()
            .is_some_and(|it| it == "eml" || it == "draft");
        if !ours {
            continue;
        }
        let message = match fs::read(&path) {
            // Somebody else was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read?,
        };
        if is_to(&message, address) {
            fs::remove_file(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether one of the headers says so. A long address is folded into a line of its own.
fn is_to(message: &[u8], address: &str) -> bool {
    let text = String::from_utf8_lossy(message);
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let mut lines = unfolded.split("\r\n");
    let to = lines.find_map(|line| line.strip_prefix("To:"));
    to.is_some_and(|to| {
        let to = to.trim();
        to == address || to == format!("<{address}>")
    })
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
