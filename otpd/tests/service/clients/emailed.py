"""A client of the old email service: asks for a code, reads the mail, logs in as the address.

It runs in the server's folder, where mails become files. Arguments: the server's address,
an API key (not used).
"""

import base64
import email
import email.policy
import json
import pathlib
import re
import sys
import time
import urllib.error
import urllib.request

BASE, _ = sys.argv[1:]
OUTBOX = pathlib.Path("otpd-data/outbox")


def post(path, body, bearer=None):
    headers = {"Content-Type": "application/json"}
    if bearer:
        headers["Authorization"] = "Bearer " + bearer
    request = urllib.request.Request(BASE + path, data=json.dumps(body).encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["detail"]


def expect(seen, wanted):
    assert seen == wanted, (seen, wanted)


def mail_to(address):
    """The only mail to an address; it may still be on its way."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for path in OUTBOX.glob("*.eml"):
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            if message["To"] == address:
                path.unlink()
                return message
        time.sleep(0.02)
    raise AssertionError("no mail to " + address)


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


status, sent = post("/auth/request-otp", {"email": "Carol@Example.com"})
expect(status, 202)
assert sent["message"] and sent["expires_in"] == 300 and sent["resend_after"] > 0, sent
message = mail_to("carol@example.com")
plain = message.get_body(["plain"]).get_content()
code = re.search(r"^\d{6}\r?$", plain, re.M).group().strip()
assert code in message.get_body(["html"]).get_content()
assert code not in message["Subject"], message["Subject"]

wrong = "000000" if code != "000000" else "000001"
proof = {"email": "carol@example.com", "otp_code": wrong}
expect(post("/auth/verify-otp", proof), (401, "Invalid OTP"))
proof["otp_code"] = code
expect(post("/auth/verify-otp", proof | {"email": "dave@example.com"}), (401, "Invalid OTP"))
status, tokens = post("/auth/verify-otp", proof)
expect((status, tokens["token_type"]), (200, "bearer"))
assert tokens["expires_in"] > 0
found = claims(tokens["access_token"])
expect((found["sub"], found["amr"]), ("email:carol@example.com", ["email"]))
expect(post("/auth/verify-otp", proof), (401, "Invalid OTP"))

expect(post("/auth/request-otp", {"email": "nobody"})[0], 422)
expect(post("/auth/logout", {}, bearer=tokens["access_token"])[0], 200)
expect(post("/auth/logout", {}, bearer=tokens["access_token"])[0], 401)
print("done")
