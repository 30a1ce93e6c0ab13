//! The command line: transcripts in plain text, run in a shell and compared, and the QR code scanned.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod first_start;
#[path = "../service/process.rs"]
mod process;
mod qr;
mod readme;
mod root;
mod screen;
mod transcript;

macro_rules! transcripts {
    ($($name:ident,)+) => {
        $(#[test]
        fn $name() {
            transcript::check(stringify!($name));
        })+

        /// A file that nothing runs would look as if it were tested.
        #[test]
        fn every_transcript_is_run() {
            let mut files = transcript::files();
            let mut named = vec![$(stringify!($name).to_owned(),)+];
            files.sort();
            named.sort();
            assert_eq!(files, named);
        }
    };
}

transcripts! {
    audit,
    bad_settings,
    bench_filled,
    code,
    doctor,
    help,
    keys,
    master_secret,
    migrate,
    printed_documents,
}
