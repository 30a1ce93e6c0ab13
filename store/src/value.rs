//! Values that go into statements and rows that come out, the same for both engines.

use crate::error::StoreError;

/// A parameter or a field.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Value {
    #[default]
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(value: [u8; N]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl From<domain::Time> for Value {
    fn from(value: domain::Time) -> Self {
        Self::Int(value.millis())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Builds a parameter list.
macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$($crate::value::Value::from($value)),*] };
}
pub(crate) use params;

/// A row whose fields are taken by place; a field of another type is [`StoreError::Corrupt`].
#[derive(Clone, Debug)]
pub(crate) struct Row(pub(crate) Vec<Value>);

impl Row {
    pub(crate) fn int(&self, place: usize) -> Result<i64, StoreError> {
        self.maybe_int(place)?.ok_or_else(|| wrong(place))
    }

    pub(crate) fn maybe_int(&self, place: usize) -> Result<Option<i64>, StoreError> {
        match self.0.get(place) {
            Some(Value::Int(value)) => Ok(Some(*value)),
            Some(Value::Null) => Ok(None),
            _ => Err(wrong(place)),
        }
    }

    pub(crate) fn time(&self, place: usize) -> Result<domain::Time, StoreError> {
        self.int(place).map(domain::Time::from_millis)
    }

    pub(crate) fn maybe_time(&self, place: usize) -> Result<Option<domain::Time>, StoreError> {
        Ok(self.maybe_int(place)?.map(domain::Time::from_millis))
    }

    pub(crate) fn text(&mut self, place: usize) -> Result<String, StoreError> {
        self.maybe_text(place)?.ok_or_else(|| wrong(place))
    }

    pub(crate) fn maybe_text(&mut self, place: usize) -> Result<Option<String>, StoreError> {
        match self.0.get_mut(place).map(std::mem::take) {
            Some(Value::Text(value)) => Ok(Some(value)),
            Some(Value::Null) => Ok(None),
            _ => Err(wrong(place)),
        }
    }

    pub(crate) fn bytes(&mut self, place: usize) -> Result<Vec<u8>, StoreError> {
        self.maybe_bytes(place)?.ok_or_else(|| wrong(place))
    }

    pub(crate) fn maybe_bytes(&mut self, place: usize) -> Result<Option<Vec<u8>>, StoreError> {
        match self.0.get_mut(place).map(std::mem::take) {
            Some(Value::Bytes(value)) => Ok(Some(value)),
            Some(Value::Null) => Ok(None),
            _ => Err(wrong(place)),
        }
    }

    pub(crate) fn fixed<const N: usize>(&mut self, place: usize) -> Result<[u8; N], StoreError> {
        self.bytes(place)?.try_into().map_err(|_| wrong(place))
    }
}

fn wrong(place: usize) -> StoreError {
    StoreError::Corrupt(format!("field {place} is of an unexpected type"))
}
