//! `DATABASE_URL` in the spellings that other systems have made familiar.

use std::path::PathBuf;

use super::secret::SecretText;

/// Where the data is.
pub enum DatabaseUrl {
    /// A SQLite file; relative paths are as they were written.
    Sqlite(PathBuf),
    /// A PostgreSQL address, always beginning with `postgresql://`. It may hold a
    /// password and is therefore a secret.
    Postgres(SecretText),
}

const EXPECTED: &str = "sqlite:FILE, sqlite:///FILE or postgresql://… is expected";

impl DatabaseUrl {
    /// Reads an address: `sqlite:otpd.db`, `sqlite:///./otpd.db` (relative),
    /// `sqlite:////abs/otpd.db`, `sqlite://otpd.db`, `postgres://…`, `postgresql://…`,
    /// each also with a `+driver`, which is ignored.
    ///
    /// # Errors
    /// What was found and what is expected. The text names no part of the address
    /// beyond its scheme, since the rest may hold a password.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(("has no scheme".into(), EXPECTED.into()));
        };
        let scheme = scheme.to_ascii_lowercase();
        let engine = scheme
            .split_once('+')
            .map_or(&*scheme, |(engine, _)| engine);
        match engine {
            "sqlite" => sqlite_file(rest).map(Self::Sqlite),
            "postgres" | "postgresql" => postgres_address(rest).map(Self::Postgres),
            _ if is_scheme(&scheme) => Err((
                format!("is an address of the kind `{scheme}:`"),
                EXPECTED.into(),
            )),
            _ => Err(("has no scheme".into(), EXPECTED.into())),
        }
    }
}

fn sqlite_file(rest: &str) -> Result<PathBuf, (String, String)> {
    // After `sqlite://` stands a host, which is never given, then a slash that belongs
    // to the address and not to the path: a fourth slash makes the path absolute. One
    // without that slash is what people write who expected a path there.
    let path = match rest.strip_prefix("//") {
        Some(path) => path.strip_prefix('/').unwrap_or(path),
        None => rest,
    };
    if path.contains('?') {
        return Err((
            "is a SQLite address with options after a `?`".into(),
            "the path alone is expected".into(),
        ));
    }
    if path.is_empty() || path == ":memory:" {
        return Err((
            "is a SQLite database in memory, which would forget every spent code".into(),
            EXPECTED.into(),
        ));
    }
    if path.ends_with('/') {
        return Err((
            "is a SQLite address that ends with a slash".into(),
            "a file, not a folder, is expected".into(),
        ));
    }
    Ok(PathBuf::from(path))
}

fn postgres_address(rest: &str) -> Result<SecretText, (String, String)> {
    match rest.strip_prefix("//") {
        Some(address) if !address.is_empty() => {
            Ok(SecretText::new(format!("postgresql://{address}")))
        }
        _ => Err((
            "is a PostgreSQL address without a host".into(),
            "postgresql://USER:PASSWORD@HOST/DATABASE is expected".into(),
        )),
    }
}

/// Whether the text before the colon is a scheme (RFC 3986, section 3.1) and not, say,
/// a user name before a password.
pub(super) fn is_scheme(text: &str) -> bool {
    text.len() <= 20
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_addresses() {
        fn check(text: &str, path: &str) {
            match DatabaseUrl::parse(text) {
                Ok(DatabaseUrl::Sqlite(found)) => assert_eq!(found, PathBuf::from(path), "{text}"),
                _ => panic!("{text} is not taken as a SQLite file"),
            }
        }
        check("sqlite:otpd.db", "otpd.db");
        check("sqlite:./data/otpd.db", "./data/otpd.db");
        check("sqlite:/abs/path.db", "/abs/path.db");
        check("sqlite://relative.db", "relative.db");
        check("sqlite:///./2fa.db", "./2fa.db");
        check("sqlite:///2fa.db", "2fa.db");
        check("sqlite:////abs/path.db", "/abs/path.db");
        check("sqlite+aiosqlite:///./x.db", "./x.db");
        check("SQLite:x.db", "x.db");
    }

    #[test]
    fn postgresql_addresses() {
        fn check(text: &str, normalised: &str) {
            match DatabaseUrl::parse(text) {
                Ok(DatabaseUrl::Postgres(found)) => assert_eq!(found.expose(), normalised),
                _ => panic!("{text} is not taken as a PostgreSQL address"),
            }
        }
        check("postgres://u:p@h/d", "postgresql://u:p@h/d");
        check(
            "postgresql://u:p@h:5432/d?sslmode=require",
            "postgresql://u:p@h:5432/d?sslmode=require",
        );
        check("postgresql+asyncpg://u:p@h/d", "postgresql://u:p@h/d");
        check("postgresql+psycopg2://h/d", "postgresql://h/d");
        check("POSTGRES://h/D", "postgresql://h/D");
    }

    #[test]
    fn other_addresses_are_refused_without_showing_them() {
        fn check(text: &str, found: &str) {
            match DatabaseUrl::parse(text) {
                Err((words, _)) => {
                    assert!(words.contains(found), "{text}: {words}");
                    assert!(!words.contains("hunter2"), "{text}: {words}");
                }
                Ok(_) => panic!("{text} is accepted"),
            }
        }
        check("mysql://u:hunter2@h/d", "`mysql:`");
        check("oracle+cx://u:hunter2@h", "`oracle+cx:`");
        check("hunter2", "no scheme");
        check("host=h password=hunter2", "no scheme");
        check("a hunter2 b:x", "no scheme");
        check("postgres:hunter2", "without a host");
        check("postgresql://", "without a host");
        check("sqlite:", "in memory");
        check("sqlite://", "in memory");
        check("sqlite::memory:", "in memory");
        check("sqlite:///:memory:", "in memory");
        check("sqlite:///", "in memory");
        check("sqlite:data/", "a slash");
        check("sqlite:x.db?mode=ro", "options");
    }
}
