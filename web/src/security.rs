//! Who may make a call, as the OpenAPI document says it: credentials of services, tokens of people.

use utoipa::openapi::Components;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};

use crate::table::{Operation, Proof};
use crate::visitor::LOGIN_COOKIE;

const SERVICE: &str = "bearer";
const ACCESS: &str = "access_token";
const ENROLMENT: &str = "enrollment_token";
const LOGIN: &str = "login_cookie";

/// The schemes that calls refer to.
pub(crate) fn schemes(components: &mut Components) {
    let bearer = |name: &str, about: &str| {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(about))
            .build();
        (name.to_owned(), SecurityScheme::Http(scheme))
    };
    let cookie = "Set by the first step of a login; `mfa_token` in the body does the same.";
    let cookie = ApiKeyValue::with_description(LOGIN_COOKIE, cookie);
    let schemes = [
        bearer(
            SERVICE,
            "For services: an API key, `otpd_<id>_<secret>`, or a JWT (HS256) of another service, where they are accepted. Each call names the scope that it must have; `admin` is all of them.",
        ),
        bearer(
            ACCESS,
            "For people: the `access_token` of a login. No API key will do.",
        ),
        bearer(
            ENROLMENT,
            "For people: the `enrollment_token` that `/signup` or `/enable-mfa` gave.",
        ),
        (
            LOGIN.to_owned(),
            SecurityScheme::ApiKey(ApiKey::Cookie(cookie)),
        ),
    ];
    for (name, scheme) in schemes {
        components.add_security_scheme(name, scheme);
    }
}

/// What a call needs: any one of these. None for a call that anybody may make.
pub(crate) fn requirements(operation: &Operation) -> Vec<SecurityRequirement> {
    let one = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
    let scope = operation.scope.map(|scope| scope.as_str());
    let service = scope.map(|scope| SecurityRequirement::new(SERVICE, [scope]));
    let person = match operation.proof {
        None => vec![],
        Some(Proof::AccessToken) => vec![one(ACCESS)],
        Some(Proof::EnrolmentToken) => vec![one(ENROLMENT)],
        // The empty one: without it, too.
        Some(Proof::EnrolmentTokenOrPassword) => {
            vec![one(ENROLMENT), SecurityRequirement::default()]
        }
        Some(Proof::LoginCookie) => vec![one(LOGIN), SecurityRequirement::default()],
    };
    service.into_iter().chain(person).collect()
}
