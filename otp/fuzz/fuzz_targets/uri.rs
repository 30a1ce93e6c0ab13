//! Fuzz target: any text is a URI that means the same when written and read again, or is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use otp::uri::OtpauthUri;

fuzz_target!(|text: &str| {
    let Ok(first) = OtpauthUri::parse(text) else {
        return;
    };
    let written = first.to_uri();
    let Ok(second) = OtpauthUri::parse(&written) else {
        panic!("what was written was refused");
    };
    assert!(first.kind == second.kind && first.digits == second.digits);
    assert!(first.algorithm == second.algorithm);
    assert!(first.issuer == second.issuer && first.account == second.account);
    assert!(first.secret.expose() == second.secret.expose());
    assert!(*written == *second.to_uri());
});
