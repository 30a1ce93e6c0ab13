//! The folder that stands in for a mail server.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::{MailSettings, Post, PostError};
use super::post_office::Mail;
use super::*;

fn post(folder: &Path) -> Post {
    Post::from_settings(&MailSettings::into_folder(folder.to_owned())).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_mail_becomes_one_private_file() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("data/outbox");
    let post = post(&folder);
    assert!(!folder.exists());
    let letter = letter("dave@example.com", "otpd");
    // The second try of a letter whose first one was not seen to succeed.
    for _ in 0..2 {
        post.send(&letter).await.unwrap();
        let name = format!("1795229637-{}.eml", "ab".repeat(16));
        assert_eq!(names(&folder), [name.as_str()]);
        let path = folder.join(&name);
        assert_eq!((mode(&folder), mode(&path)), (0o700, 0o600));
        let mail = Mail::read(&path).await;
        assert_eq!(mail.header("To"), "dave@example.com");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_told_and_tried_again() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    let folder = file.join("outbox");
    let error = post(&folder)
        .send(&letter("dave@example.com", "otpd"))
        .await
        .unwrap_err();
    assert!(matches!(error, PostError::Folder { .. }) && error.can_retry());
    let sentence = error.to_string();
    assert!(
        sentence.contains(&folder.display().to_string()),
        "{sentence}"
    );
    assert!(!sentence.contains(CODE), "{sentence}");
}

#[tokio::test]
async fn checking_makes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("outbox");
    let sentence = post(&folder).check().await.unwrap();
    assert!(
        sentence.contains(&folder.display().to_string()),
        "{sentence}"
    );
    assert!(!folder.exists());
}
