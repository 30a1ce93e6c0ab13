//! A part of a list, and where the next one begins.

use serde::Serialize;

use crate::Error;

/// A part of a list.
#[derive(Serialize)]
pub struct Page<T> {
    /// The entries.
    pub data: Vec<T>,
    /// Where the next page begins; `null` at the end.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    pub(crate) fn empty() -> Self {
        Self {
            data: Vec::new(),
            next_cursor: None,
        }
    }

    /// The page from one entry more than asked for, when there is a next page.
    pub(crate) fn cut(mut data: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let limit = limit as usize;
        let more = data.len() > limit;
        data.truncate(limit);
        Self {
            next_cursor: data.last().filter(|_| more).map(cursor),
            data,
        }
    }

    pub(crate) fn map<U>(self, view: impl Fn(&T) -> Result<U, Error>) -> Result<Page<U>, Error> {
        Ok(Page {
            data: self.data.iter().map(view).collect::<Result<_, _>>()?,
            next_cursor: self.next_cursor,
        })
    }
}
