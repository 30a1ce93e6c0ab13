//! Values on their way into PostgreSQL's statements and out of its rows.

use std::error::Error;

use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_util::bytes::BytesMut;

use crate::error::StoreError;
use crate::value::{Row, Value};

/// The column types that this server uses; anything else is a defect.
fn is_ours(ty: &Type) -> bool {
    is_integer(ty) || is_text(ty) || *ty == Type::BYTEA
}

fn is_integer(ty: &Type) -> bool {
    matches!(*ty, Type::INT8 | Type::INT4 | Type::INT2)
}

fn is_text(ty: &Type) -> bool {
    matches!(*ty, Type::TEXT | Type::VARCHAR | Type::UNKNOWN)
}

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            // The server reports the type of each parameter; an integer takes its width.
            Self::Int(value) if *ty == Type::INT8 => value.to_sql(ty, out),
            Self::Int(value) if *ty == Type::INT4 => i32::try_from(*value)?.to_sql(ty, out),
            Self::Int(value) if *ty == Type::INT2 => i16::try_from(*value)?.to_sql(ty, out),
            Self::Text(value) if is_text(ty) => value.to_sql(ty, out),
            Self::Bytes(value) if *ty == Type::BYTEA => value.to_sql(ty, out),
            _ => Err(format!("a parameter does not fit the type {ty}").into()),
        }
    }

    fn accepts(ty: &Type) -> bool {
        is_ours(ty)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *ty {
            Type::INT8 => Self::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(ty, raw)?.into()),
            Type::INT2 => Self::Int(i16::from_sql(ty, raw)?.into()),
            Type::BYTEA => Self::Bytes(raw.to_vec()),
            _ => Self::Text(String::from_sql(ty, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        is_ours(ty)
    }
}

/// A row of the driver as one of ours.
pub(super) fn row(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    (0..row.len())
        .map(|place| field(row, place))
        .collect::<Result<_, _>>()
        .map(Row)
}

/// A field by its place, in the type that the statement is known to return.
pub(super) fn field<'a, T: FromSql<'a>>(
    row: &'a tokio_postgres::Row,
    place: usize,
) -> Result<T, StoreError> {
    row.try_get(place)
        .map_err(|error| StoreError::Corrupt(format!("field {place}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_goes_only_into_a_column_of_its_kind() {
        fn check(value: &Value, ty: &Type, fits: bool) {
            let written = value.to_sql_checked(ty, &mut BytesMut::new());
            assert_eq!(written.is_ok(), fits, "{value:?} {ty}");
        }
        check(&Value::Int(70_000), &Type::INT8, true);
        check(&Value::Int(70_000), &Type::INT4, true);
        check(&Value::Int(70_000), &Type::INT2, false);
        check(&Value::Int(1), &Type::TEXT, false);
        check(&Value::Text("a".into()), &Type::TEXT, true);
        check(&Value::Text("a".into()), &Type::BYTEA, false);
        check(&Value::Bytes(vec![1]), &Type::BYTEA, true);
        check(&Value::Null, &Type::BYTEA, true);
        check(&Value::Null, &Type::BOOL, false);
    }

    #[test]
    fn what_was_written_is_read_back() {
        fn check(value: &Value, ty: &Type) {
            let mut wire = BytesMut::new();
            value.to_sql(ty, &mut wire).unwrap();
            assert_eq!(Value::from_sql(ty, &wire).unwrap(), *value, "{ty}");
        }
        check(&Value::Int(-5), &Type::INT8);
        check(&Value::Int(-5), &Type::INT2);
        check(&Value::Text("é".into()), &Type::VARCHAR);
        check(&Value::Bytes(vec![0, 255]), &Type::BYTEA);
    }
}
