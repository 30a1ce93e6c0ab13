//! The bounds of the numbers, setting by setting.

use super::check_value;

#[test]
fn values_out_of_bounds() {
    for (name, value, bounds) in [
        ("PORT", "65536", "0 to 65535"),
        ("PORT", "-1", "0 to 65535"),
        (
            "OTPD_SERVER__MAX_CONNECTIONS",
            "0",
            "1 to 1000000 connections",
        ),
        ("OTPD_SERVER__HEADER_SECONDS", "0", "1 to 300 seconds"),
        ("OTPD_SERVER__THREADS", "0", "auto, or 1 to 1024 threads"),
        ("OTPD_DATABASE__LANES", "0", "1 to 64 lanes"),
        ("OTPD_DATABASE__WAIT_MS", "2000", "10 to 1500 milliseconds"),
        ("OTPD_CODES__DIGITS", "5", "6 to 8 digits"),
        ("OTPD_CODES__PERIOD", "14", "15 to 120 seconds"),
        ("OTPD_CODES__PERIOD", "121", "15 to 120 seconds"),
        ("OTP_WINDOW", "-1", "0 to 8 steps"),
        ("OTP_EXPIRATION_MINUTES", "0", "1 to 60 minutes"),
        ("OTPD_CODES__LOCK_AFTER", "0", "1 to 100 failures"),
        ("OTPD_CODES__DISABLE_AFTER", "0", "1 to 1000 failures"),
        (
            "OTPD_CODES__DISABLE_AFTER_30_DAYS",
            "0",
            "1 to 10000 failures",
        ),
        ("OTPD_POLICIES__HIGH__DIGITS", "9", "6 to 8 digits"),
        ("OTPD_AUDIT__CHECKPOINT_SECONDS", "0", "1 to 86400 seconds"),
        ("OTPD_LIMITS__KEY_PER_SECOND", "-5", "0 to 1000000 requests"),
        ("OTPD_LIMITS__SIGNUPS_PER_HOUR", "0", "1 to 1000000 signups"),
        ("OTPD_LIMITS__MAILS_PER_HOUR", "0", "1 to 1000000 mails"),
        ("OTPD_ACCOUNTS__PASSWORD_THREADS", "0", "1 to 64 threads"),
        ("OTPD_ACCOUNTS__SESSION_MINUTES", "0", "1 to 1440 minutes"),
        ("OTPD_TOKENS__ROTATE_DAYS", "0", "1 to 3650 days"),
        ("OTPD_EMAIL__CODE_SECONDS", "29", "30 to 900 seconds"),
        ("OTPD_EMAIL__CODE_SECONDS", "901", "30 to 900 seconds"),
        ("OTPD_EMAIL__CODE_DIGITS", "9", "6 to 8 digits"),
        (
            "OTPD_EMAIL_LEVELS__HIGH__CODE_SECONDS",
            "0",
            "30 to 900 seconds",
        ),
    ] {
        check_value(name, value, &format!("is {value}; {bounds} are expected"));
    }
}
