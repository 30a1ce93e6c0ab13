//! Fuzz target: any text is a code that reads back exactly, or is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use otp::Code;

fuzz_target!(|text: &str| {
    let is_code = (6..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    match Code::parse(text) {
        Err(_) => assert!(!is_code, "a code was refused"),
        Ok(code) => {
            assert!(is_code, "something else was taken for a code");
            assert_eq!(code.to_text().as_str(), text);
            let integer = text.parse().expect("digits are a number");
            let padded = Code::from_integer(integer, code.digits()).expect("short enough");
            assert!(padded.equals(&code));
        }
    }
});
