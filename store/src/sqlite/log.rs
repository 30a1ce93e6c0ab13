//! The write-ahead log goes back into the database file: most of it beside the commits, the little that is left between two of them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::connect::{self, PATIENCE, classify};
use crate::error::StoreError;

/// The log is written back when it has grown by that many pages (16 MiB). More at a time is
/// fewer writes and syncs, since pages change more than once meanwhile, but takes the processor
/// and the disk from the attempts for longer. (Measured with a million devices at random: 12 to
/// 17 % more attempts than with 4 MiB, as many as with 64 MiB.)
const MUCH: i32 = 4096;
/// So many pages are written back between two commits: with the sync of the file that is
/// milliseconds. Only then can the log begin anew, which takes a moment at which all of it
/// is written back.
const LITTLE: i32 = 256;
/// After so many turns beside the commits what is left is taken between them, however
/// much it is: beside commits that outrun the disk there would never be an end.
const MOST_TURNS: u32 = 8;
/// When so many pages (256 MiB) have come since a turn began, the writer waits for its end
/// before each batch, though never longer than [`SHORT`]: beside a thread that gets nowhere the
/// log grows slowly at least.
const TOO_MUCH: i32 = 65_536;
/// How much nicer than the others the thread beside the writer is: a seventh of a processor is
/// left to it where two others are always busy.
#[cfg(target_os = "linux")]
const NICER: i32 = 5;
/// How long the writer waits for others to leave the log: no longer than an attempt may be
/// kept waiting.
const SHORT: Duration = Duration::from_millis(200);

/// The log, as the writer looks after it.
pub(super) struct Log {
    /// Pages in the log after the last commit.
    pages: Arc<AtomicI32>,
    course: Course,
    /// `None` once the writer has taken leave.
    orders: Option<SyncSender<Thread>>,
    /// How many pages of the log are in the database file.
    news: Receiver<i32>,
    thread: Option<JoinHandle<()>>,
    /// Open for as long as the log is looked after: with the first of its handles that a
    /// process closes, a file loses all locks the process has on it.
    _file: Arc<File>,
}

impl Log {
    /// Watches the connection that writes to that file, and starts the thread that works
    /// beside it.
    pub(super) fn watch(writer: &mut Connection, path: &Path) -> Result<Self, StoreError> {
        let pages = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&pages);
        let note = move |_: &mut Wal, pages| {
            seen.store(pages, Relaxed);
            Ok(())
        };
        writer.wal_hook(Some(note)).map_err(classify)?;
        let connection = connect::for_log(path)?;
        let file = Arc::new(connect::for_syncing(path)?);
        let synced = Arc::clone(&file);
        let (orders, taken) = sync_channel::<Thread>(1);
        let (tell, news) = sync_channel(1);
        let work = move || {
            step_back();
            for writer in taken {
                let written_back = write_back(&connection);
                sync(&synced);
                let _ = tell.send(written_back);
                writer.unpark();
            }
        };
        let thread = std::thread::Builder::new().name("log".into()).spawn(work);
        Ok(Self {
            pages,
            course: Course::default(),
            orders: Some(orders),
            news,
            thread: Some(thread.map_err(StoreError::lost)?),
            _file: file,
        })
    }

    /// To be called between commits, on the thread of the writer: no answer waits then.
    pub(super) fn look_after(&mut self, writer: &Connection) {
        let pages = self.pages.load(Relaxed);
        match self.news.try_recv() {
            Ok(written_back) => self.course.turn_ended(pages, written_back),
            Err(TryRecvError::Empty) => {}
            // The thread has broken off: from now on this one does its work.
            Err(TryRecvError::Disconnected) => self.course.give_up(pages),
        }
        match self.course.next(pages) {
            Next::Nothing => {}
            Next::Beside => {
                let orders = self.orders.as_ref();
                // One order at a time: there is room for it, unless the thread has gone.
                let sent = orders.map(|orders| orders.try_send(std::thread::current()));
                if !matches!(sent, Some(Ok(()))) {
                    self.course.turn_ended(pages, write_back(writer));
                }
            }
            Next::Between => {
                write_back(writer);
            }
            Next::Wait => {
                tracing::warn!(pages, "the write-ahead log is written back too slowly");
                self.settle(SHORT);
            }
        }
    }

    /// Writes the whole log back and cuts its file off; false when somebody holds it.
    pub(super) fn empty(&mut self, writer: &Connection) -> Result<bool, StoreError> {
        // SQLite waits for readers, but not for another who writes back.
        self.settle(SHORT);
        writer.busy_timeout(SHORT).map_err(classify)?;
        let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy = writer.query_row(truncate, [], |row| row.get::<_, i64>(0));
        writer.busy_timeout(PATIENCE).map_err(classify)?;
        Ok(busy.map_err(classify)? == 0)
    }

    /// Waits until nobody works at the log beside the writer, for so long at most.
    fn settle(&mut self, patience: Duration) {
        if self.course.under_way.is_some()
            && let Ok(written_back) = self.news.recv_timeout(patience)
        {
            let pages = self.pages.load(Relaxed);
            self.course.turn_ended(pages, written_back);
        }
    }

    /// Writes all of it back. Nobody writes any more.
    pub(super) fn end(mut self, writer: &Connection) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing left to wait for.
            let _ = thread.join();
        }
        // The log is empty when the server has stopped in good order.
        let _ = writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

/// Lets the other threads go first from now on: nobody waits for this one, and each of its turns
/// takes as much of the processor as hundreds of attempts.
#[cfg(target_os = "linux")]
fn step_back() {
    // Of the calling thread alone, on Linux.
    let nicer = |nice: i32| rustix::process::setpriority_process(None, (nice + NICER).min(19));
    if let Err(error) = rustix::process::getpriority_process(None).and_then(nicer) {
        tracing::debug!(%error, "the thread beside the writer keeps its priority");
    }
}

/// Elsewhere a priority is the whole process's.
#[cfg(not(target_os = "linux"))]
fn step_back() {}

/// Writes back what no reader holds, keeps nobody waiting for a lock, and says how many
/// pages of the log are in the database file; 0 or less when it failed or somebody else is
/// at it.
fn write_back(connection: &Connection) -> i32 {
    let done = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2));
    done.unwrap_or_else(|error| {
        tracing::warn!(%error, "the write-ahead log could not be written back");
        0
    })
}

/// Waits until the database file is on the disk. SQLite does so itself before the log begins
/// anew, but between two commits: what is there already it has not to wait for. Should this
/// fail, SQLite's own sync, through a handle of its own, is told so as well (on Linux).
fn sync(file: &File) {
    if let Err(error) = file.sync_data() {
        tracing::warn!(%error, "the database file could not be synced");
    }
}

/// What to do about the log.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    /// Write back on the thread beside.
    Beside,
    /// Write back here and now.
    Between,
    /// Wait for the turn that is under way.
    Wait,
}

/// How far the log is written back. The size of its file does not tell: once written
/// back, the log begins anew in a file that stays as large as it was.
#[derive(Default)]
struct Course {
    written_back: i32,
    /// Turns since the log was found to be large; 0 when it is not.
    turns: u32,
    /// The pages in the log when the turn began that is under way.
    under_way: Option<i32>,
}

impl Course {
    /// With that many pages in the log after the last commit.
    fn next(&mut self, pages: i32) -> Next {
        if let Some(begun_with) = self.under_way {
            return match pages - begun_with > TOO_MUCH {
                true => Next::Wait,
                false => Next::Nothing,
            };
        }
        if pages < self.written_back {
            *self = Self::default();
        }
        let left = pages - self.written_back;
        if self.turns > 0 && (left <= LITTLE || self.turns >= MOST_TURNS) {
            self.rest(pages);
            return Next::Between;
        }
        if self.turns == 0 && left <= MUCH {
            return Next::Nothing;
        }
        self.turns += 1;
        self.under_way = Some(pages);
        Next::Beside
    }

    /// A turn beside the commits has come to its end. Readers may have kept it from going
    /// all the way: then only what comes from now on counts, as when it failed.
    fn turn_ended(&mut self, pages: i32, written_back: i32) {
        let begun_with = self.under_way.take();
        if begun_with.is_some_and(|begun_with| written_back < begun_with) {
            self.rest(pages);
        } else {
            self.written_back = written_back;
        }
    }

    /// The turn that is under way will not end.
    fn give_up(&mut self, pages: i32) {
        if self.under_way.take().is_some() {
            self.rest(pages);
        }
    }

    fn rest(&mut self, pages: i32) {
        self.written_back = pages;
        self.turns = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens to a log: it has so many pages after a commit, or a turn ends.
    enum Event {
        Pages(i32, Next),
        Ended(i32, i32),
    }
    use Event::{Ended, Pages};

    fn check(events: Vec<Event>) {
        let mut course = Course::default();
        for (place, event) in events.into_iter().enumerate() {
            match event {
                Pages(pages, expected) => assert_eq!(course.next(pages), expected, "{place}"),
                Ended(pages, written_back) => course.turn_ended(pages, written_back),
            }
        }
    }

    #[test]
    fn most_is_written_back_beside_and_the_rest_between() {
        check(vec![
            Pages(MUCH, Next::Nothing),
            Pages(MUCH + 1, Next::Beside),
            Pages(MUCH + 900, Next::Nothing),
            Ended(MUCH + 2000, MUCH + 1),
            // Too much for a moment between two commits.
            Pages(MUCH + 2000, Next::Beside),
            Ended(MUCH + 2100, MUCH + 2000),
            Pages(MUCH + 2100, Next::Between),
            // It has begun anew.
            Pages(60, Next::Nothing),
            Pages(MUCH, Next::Nothing),
            Pages(MUCH + 1, Next::Beside),
        ]);
    }

    #[test]
    fn what_a_reader_holds_is_left_until_as_much_has_come_again() {
        check(vec![
            Pages(MUCH + 1, Next::Beside),
            Ended(MUCH + 100, 40),
            Pages(MUCH + 160, Next::Nothing),
            Pages(2 * MUCH + 100, Next::Nothing),
            Pages(2 * MUCH + 101, Next::Beside),
            Ended(2 * MUCH + 200, 2 * MUCH + 101),
            Pages(2 * MUCH + 200, Next::Between),
            // A reader was there: it could not begin anew.
            Pages(2 * MUCH + 260, Next::Nothing),
            Pages(3 * MUCH + 201, Next::Beside),
        ]);
    }

    #[test]
    fn a_slow_disk_has_its_end_too() {
        let mut course = Course::default();
        let mut pages = MUCH + 1;
        for _ in 0..MOST_TURNS {
            assert_eq!(course.next(pages), Next::Beside);
            let begun_with = pages;
            pages += LITTLE + 1;
            course.turn_ended(pages, begun_with);
        }
        assert_eq!(course.next(pages), Next::Between);
        assert_eq!(course.next(LITTLE), Next::Nothing);
    }

    #[test]
    fn a_thread_that_has_gone_is_waited_for_no_longer() {
        let mut course = Course::default();
        assert_eq!(course.next(MUCH + 1), Next::Beside);
        course.give_up(MUCH + 50);
        assert_eq!(course.next(2 * MUCH), Next::Nothing);
        assert_eq!(course.next(2 * MUCH + 51), Next::Beside);
    }

    #[test]
    fn a_turn_without_an_end_is_waited_for() {
        check(vec![
            Pages(MUCH + 1, Next::Beside),
            Pages(MUCH + 1 + TOO_MUCH, Next::Nothing),
            Pages(MUCH + 2 + TOO_MUCH, Next::Wait),
            Ended(MUCH + 2 + TOO_MUCH, MUCH + 1),
            Pages(MUCH + 2 + TOO_MUCH, Next::Beside),
        ]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_the_thread_that_steps_back_is_nice() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let stepped_back = std::thread::spawn(move || {
            step_back();
            nice()
        });
        assert_eq!(stepped_back.join().unwrap(), (before + NICER).min(19));
        assert_eq!(nice(), before);
    }

    #[tokio::test]
    async fn the_log_is_emptied_although_it_was_being_written_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let mut writer = connect::for_writing(&path).unwrap();
        writer.execute_batch("CREATE TABLE t (b BLOB)").unwrap();
        let mut log = Log::watch(&mut writer, &path).unwrap();
        for _ in 0..10 {
            let insert = "INSERT INTO t (b) VALUES (zeroblob(20000000)); DELETE FROM t";
            writer.execute_batch(insert).unwrap();
            log.look_after(&writer);
            if log.course.under_way.is_some() {
                // As often as an erasure tries.
                assert!((0..3).any(|_| log.empty(&writer).unwrap()));
                // Where the disk is slow, the thread may still wait for its sync.
                log.settle(Duration::from_secs(60));
                assert_eq!(log.course.under_way, None);
                return log.end(&writer);
            }
        }
        panic!("the log was never large");
    }

    #[tokio::test]
    async fn a_log_grows_no_further_than_its_bound_under_steady_writing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let mut writer = Connection::open(&path).unwrap();
        let start = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
                     PRAGMA synchronous = OFF; CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)";
        writer.execute_batch(start).unwrap();
        let mut log = Log::watch(&mut writer, &path).unwrap();
        let begins_anew_twice = async {
            let (mut begun_anew, mut before) = (0, 0);
            while begun_anew < 2 {
                let insert = "INSERT INTO t (b) VALUES (zeroblob(400000))";
                writer.execute_batch(insert).unwrap();
                log.look_after(&writer);
                let pages = log.pages.load(Relaxed);
                begun_anew += u32::from(pages < before);
                before = pages;
                tokio::time::sleep(Duration::from_millis(2)).await;
                // The syncs of commits, which hold them back where the disk is slow, are not here.
                if pages > 3 * MUCH {
                    log.settle(Duration::from_secs(60));
                }
                assert!(pages < 6 * MUCH, "{pages}");
            }
        };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, begins_anew_twice)
            .await
            .unwrap();
        log.end(&writer);
        let left = std::fs::metadata(path.with_file_name("db-wal")).map_or(0, |meta| meta.len());
        assert_eq!(left, 0);
    }
}
