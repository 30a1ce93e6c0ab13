"""A client of the old account service: a session that keeps cookies, and PyOTP for the codes.

Three generations of clients log in: by the cookie, by the `mfa_token`, and by neither, as
the old contract had it. Arguments: the server's address, an API key (not used).
"""

import base64
import http.cookiejar
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pyotp

BASE, _ = sys.argv[1:]
PASSWORD = "correct horse battery staple 7"


class Session:
    """As much of a session of `requests` as the old client used."""

    def __init__(self, agent, cookies=True):
        self.cookies = http.cookiejar.CookieJar()
        handlers = [urllib.request.HTTPCookieProcessor(self.cookies)] if cookies else []
        self.opener = urllib.request.build_opener(*handlers)
        self.agent = agent

    def post(self, path, bearer=None, **body):
        headers = {"Content-Type": "application/json", "User-Agent": self.agent}
        if bearer:
            headers["Authorization"] = "Bearer " + bearer
        data = json.dumps(body).encode() if body else b""
        request = urllib.request.Request(BASE + path, data=data, headers=headers, method="POST")
        try:
            with self.opener.open(request, timeout=20) as response:
                answer = response.read()
                picture = response.headers["Content-Type"].startswith("image/")
                return response.status, answer if picture else json.loads(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["detail"]


def expect(seen, wanted):
    assert seen == wanted, (seen, wanted)


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def logged_in(answer, amr):
    status, tokens = answer
    expect((status, tokens["token_type"], tokens["expires_in"]), (200, "bearer", 900))
    expect(tokens["token"], tokens["access_token"])
    expect(claims(tokens["token"])["amr"], amr)
    return tokens["token"]


def codes(uri):
    """A wrong code, and the two next right ones: each is good once."""
    app, now = pyotp.parse_uri(uri), int(time.time())
    near = {app.at(now + 30 * step) for step in range(-3, 4)}
    wrong = next(code for code in map("{:06}".format, range(1000)) if code not in near)
    return wrong, app.at(now), app.at(now + 30)


def scanned(picture):
    done = subprocess.run(["zbarimg", "--quiet", "--raw", "-"], input=picture, capture_output=True, check=True)
    return done.stdout.decode().strip()


# Without a second factor.
plain = Session("plain/1.0")
status, made = plain.post("/signup", username="paula", password=PASSWORD, enable_mfa=False)
expect((status, made["message"], made["mfa_enabled"]), (201, "Signup successful", False))
expect(made["provisioning_uri"], None)
expect(plain.post("/signup", username="Paula", password=PASSWORD, enable_mfa=False), (409, "User already exists"))
logged_in(plain.post("/login", username="paula", password=PASSWORD), ["pwd"])
for name, password in [("paula", PASSWORD + "!"), ("nobody", PASSWORD)]:
    expect(plain.post("/login", username=name, password=password), (401, "Invalid credentials"))

ways = {
    "cookie": Session("old/1.0"),
    "mfa_token": Session("new/2.0", cookies=False),
    "neither": Session("older/0.9", cookies=False),
}
for way, session in ways.items():
    # The secret: in the answer, and as a picture for whoever has proof.
    status, made = session.post("/signup", username=way, password=PASSWORD, enable_mfa=True)
    expect((status, made["message"], made["mfa_enabled"]), (201, "Signup successful", True))
    expect(len(set(made["recovery_codes"])), 10)
    uri = made["provisioning_uri"]
    expect(session.post("/qrcode/" + way)[0], 401)
    status, picture = session.post("/qrcode/" + way, bearer=made["enrollment_token"])
    expect((status, scanned(picture)), (200, uri))
    expect(session.post("/qrcode/" + way, password=PASSWORD)[0], 200)
    wrong, right, next_one = codes(uri)

    # The code alone opens nothing.
    expect(session.post("/login-2fa", username=way, token=right), (401, "Invalid OTP"))

    status, first = session.post("/login", username=way, password=PASSWORD)
    expect((status, first["mfa_required"], first["expires_in"]), (200, True, 300))
    expect(first["message"], "MFA enabled. Please submit OTP")
    assert "access_token" not in first and "token" not in first, first
    expect(bool(list(session.cookies)), way == "cookie")
    more = {"mfa_token": first["mfa_token"]} if way == "mfa_token" else {}
    expect(session.post("/login-2fa", username=way, token=wrong, **more), (401, "Invalid OTP"))
    # Somebody elsewhere who has seen the code, but not the password.
    thief = Session("thief/6.6", cookies=False)
    expect(thief.post("/login-2fa", username=way, token=right), (401, "Invalid OTP"))
    token = logged_in(session.post("/login-2fa", username=way, token=right, **more), ["pwd", "otp"])
    expect(claims(token)["sub"], way)
    expect(session.post("/login-2fa", username=way, token=next_one, **more), (401, "Invalid OTP"))
    # Enrolled for good: the picture is gone.
    expect(session.post("/qrcode/" + way, password=PASSWORD), (409, "MFA is not pending"))

    # And off again.
    off = {"username": way, "password": PASSWORD}
    refused = (401, "Invalid OTP for disabling MFA")
    expect(session.post("/disable-mfa", **off, token=right), refused)
    expect(session.post("/disable-mfa", **(off | {"password": "x" * 9}), token=next_one), (401, "Invalid credentials"))
    expect(session.post("/disable-mfa", **off, token=next_one), (200, {"message": "MFA disabled successfully"}))
    expect(session.post("/disable-mfa", **off, token=next_one), (409, "MFA is already disabled"))
    expect(session.post("/auth/logout", bearer=token)[0], 401)
    logged_in(session.post("/login", username=way, password=PASSWORD), ["pwd"])
print("done")
