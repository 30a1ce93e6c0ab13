//! The files of the repository as the checks see them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::code::Code;

/// One file that git tracks or would track.
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    /// Empty for a binary file.
    pub(crate) text: String,
    pub(crate) executable: bool,
    /// Empty for anything but Rust.
    pub(crate) code: Code,
}

impl File {
    fn new(path: &str, text: String, executable: bool) -> Self {
        let code = match path.ends_with(".rs") {
            true => Code::read(&text),
            false => Code::default(),
        };
        Self {
            path: path.to_string(),
            text,
            executable,
            code,
        }
    }

    /// The lines and their numbers from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }
}

/// All files of the repository.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// Reads what git tracks, and what it would track because nothing ignores it.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let listing = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others"])
            .args(["--exclude-standard", "--deduplicate"])
            .current_dir(root)
            .output()
            .context("cannot start git, which knows the files to check")?;
        if !listing.status.success() {
            bail!(
                "git ls-files: {}",
                String::from_utf8_lossy(&listing.stderr).trim()
            );
        }
        let names = String::from_utf8(listing.stdout).context("a file name is no UTF-8")?;
        let mut files = Vec::new();
        for name in names.split_terminator('\0') {
            let path = root.join(name);
            // Deleted and not yet committed, or a link to a folder.
            if !path.is_file() {
                continue;
            }
            let bytes = fs::read(&path).with_context(|| name.to_string())?;
            let mode = fs::metadata(&path)?.permissions().mode();
            let text = match bytes.contains(&0) {
                true => String::new(),
                false => String::from_utf8_lossy(&bytes).into_owned(),
            };
            files.push(File::new(name, text, mode & 0o111 != 0));
        }
        Ok(Self { files })
    }

    /// A repository made of these files, none executable.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File::new(path, text.to_string(), false);
        Self {
            files: files.iter().map(file).collect(),
        }
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// Whether a file or a folder that holds one stands at `path`; the root is the empty path.
    pub(crate) fn holds(&self, path: &str) -> bool {
        path.is_empty()
            || self.files.iter().any(|file| {
                file.path
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_files_and_folders() {
        let tree = Tree::of(&[("docs/a.md", ""), ("b.rs", "")]);
        let check = |path, held| assert_eq!(tree.holds(path), held, "{path}");
        check("", true);
        check("docs", true);
        check("docs/a.md", true);
        check("doc", false);
        check("docs/a", false);
        check("b.rs", true);
    }
}
