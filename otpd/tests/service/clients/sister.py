"""A sister service that knows the shared SECRET_KEY and nothing else, as all of them did.

Arguments: the server's address, an API key (for the part of the operator alone).
Environment: SECRET_KEY.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime

import jwt
import pyotp

BASE, OPERATORS_KEY = sys.argv[1:]
SECRET_KEY = os.environ["SECRET_KEY"]


def token(secret=SECRET_KEY, **changes):
    now = int(time.time())
    claims = {"sub": "story-factory", "aud": "otpd", "iat": now, "exp": now + 300}
    claims["scope"] = "otp:verify codes:issue users:read"
    return jwt.encode({**claims, **changes}, secret, algorithm="HS256")


def call(method, path, body=None, key=None):
    headers = {"Authorization": "Bearer " + (key or token()), "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        answer = json.load(error)
        return error.code, answer["detail"]


def expect(seen, wanted):
    assert seen == wanted, (seen, wanted)


def verify(code, user="dave"):
    return call("POST", "/verify", {"username": user, "otp_code": code})


# Nobody has a second factor yet.
unknown = (404, "User not found or 2FA not enabled")
expect(call("POST", "/generate?username=dave"), unknown)
expect(verify("123456"), (404, "User not found"))
status, state = call("GET", "/api/v1/users/dave/2fa")
expect((status, state["enabled"]), (200, False))

# The operator enrols dave; a token of a sister service may not.
status, otp = call("POST", "/otp/enable", {"user_id": "dave"}, OPERATORS_KEY)
expect(status, 201)
wide = token(scope="otp:verify devices:write users:write keys:write admin")
for method, path, body in [
    ("POST", "/otp/enable", {"user_id": "erin"}),
    ("POST", "/api/v1/keys", {"name": "mine", "scopes": ["admin"]}),
    ("DELETE", "/api/v1/users/dave", None),
]:
    expect(call(method, path, body, wide)[0], 403)

status, made = call("POST", "/generate?username=dave")
expect((status, set(made)), (200, {"otp_code", "expires_at"}))
assert len(made["otp_code"]) == 6 and made["otp_code"].isdigit(), made
left = datetime.fromisoformat(made["expires_at"].replace("Z", "+00:00")).timestamp() - time.time()
assert 290 < left <= 305, left

app = pyotp.parse_uri(otp["provisioning_uri"])
now = int(time.time())
right = app.at(now)
taken = {made["otp_code"], *(app.at(now + 30 * step) for step in range(-3, 4))}
wrong = next(code for code in map("{:06}".format, range(1000)) if code not in taken)
expect(verify(wrong), (401, "Invalid OTP"))
expect(verify(made["otp_code"]), (200, {"success": True}))
expect(verify(made["otp_code"]), (400, "OTP already used or expired"))
# The authenticator's code is as good, once.
expect(verify(right, "DAVE"), (200, {"success": True}))
expect(verify(right), (401, "Invalid OTP"))

# A new code replaces the old one.
old = call("POST", "/generate?username=dave")[1]["otp_code"]
new = call("POST", "/generate?username=dave")[1]["otp_code"]
if old != new:
    expect(verify(old)[0], 401)
expect(verify(new), (200, {"success": True}))

status, state = call("GET", "/api/v1/users/dave/2fa")
expect((status, state["user_id"], state["enabled"], state["methods"]), (200, "dave", True, ["otp"]))
assert state["last_verified_at"] and state["recovery_codes_left"] == 0, state

# Tokens that are none.
now = int(time.time())
for bad in [
    token(secret="another-secret-of-more-than-32-characters"),
    token(exp=now - 1, iat=now - 300),
    token(exp=now + 86_400),
    token(aud="another-service"),
    jwt.encode({"sub": "old", "exp": now + 300}, SECRET_KEY, algorithm="HS256"),
    jwt.encode({"aud": "otpd", "scope": "otp:verify"}, SECRET_KEY, algorithm="HS256"),
    jwt.encode({"aud": "otpd", "scope": "otp:verify", "exp": now + 300}, None, algorithm="none"),
]:
    expect(call("GET", "/api/v1/users/dave/2fa", key=bad)[0], 401)
# One without a scope is known, and may do nothing.
silent = jwt.encode({"sub": "old", "aud": "otpd", "exp": now + 300}, SECRET_KEY, algorithm="HS256")
expect(call("GET", "/api/v1/users/dave/2fa", key=silent)[0], 403)
print("done")
