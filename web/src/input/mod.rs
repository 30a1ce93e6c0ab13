//! What a request says: path, query and body, read and described by the same lines of code.
//!
//! An [`Input`] asks its [`Fields`] for each thing that it wants. Asked of a request,
//! they give values and gather every fault; asked of nothing, they note what was wanted,
//! and that is the description in the OpenAPI document. So the two cannot differ.

mod assertion;
mod field;
mod fields;
mod members;
mod secret;

pub(crate) use assertion::assertion;
pub(crate) use field::{
    ABOUT_CURSOR, CODE, CODE_6, CODES, DEVICE_FILTER, DEVICE_ID, Field, LIMIT, TIME, USER_FILTER,
    USER_ID, USER_NAME, User, cursor, flag, line_of, string, whole_number, word_of,
};
pub(crate) use fields::{Description, Fields, Given, Place, Wanted};
pub(crate) use secret::{FACTOR, NEW_PASSWORD, PASSWORD};

/// What a handler wants to know from its request.
pub(crate) trait Input: Sized + Send + 'static {
    /// Whether the body may be that of an HTML form instead of JSON.
    const FORM: bool = false;

    /// Asks for everything, whatever has been faulty before; `None` after a fault.
    fn read(fields: &mut Fields<'_>) -> Option<Self>;

    /// A short cut for a hot path: reads the usual body, and gives up at the first
    /// oddity, which [`Input::read`] will explain.
    fn quick(_body: &[u8]) -> Option<Self> {
        None
    }
}

/// A call that takes nothing.
impl Input for () {
    fn read(_fields: &mut Fields<'_>) -> Option<Self> {
        Some(())
    }
}
