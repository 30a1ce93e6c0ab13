"""A client of the old OTP provider, unchanged but for the credential: names users, and knows no device.

Arguments: the server's address, an API key.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime

import pyotp

BASE, KEY = sys.argv[1:]


def post(path, body, key=KEY):
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = "Bearer " + key
    request = urllib.request.Request(BASE + path, data=json.dumps(body).encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def expect(seen, wanted):
    assert seen == wanted, (seen, wanted)


# Without the credential, the one thing that the old client lacked.
for path, body in [("enable", {}), ("verify", {"otp_code": "123456"}), ("deactivate", {})]:
    expect(post("/otp/" + path, {"user_id": "dave", **body}, key=None)[0], 401)

status, otp = post("/otp/enable", {"user_id": "dave"})
expect(status, 201)
expect(set(otp), {"id", "user_id", "secret", "provisioning_uri", "is_active", "created_at", "last_verified_at"})
expect((otp["user_id"], otp["is_active"], otp["last_verified_at"]), ("dave", True, None))
assert isinstance(otp["id"], str) and datetime.fromisoformat(otp["created_at"].replace("Z", "+00:00"))
expect(post("/otp/enable", {"user_id": "dave"})[0], 409)

app = pyotp.parse_uri(otp["provisioning_uri"])
expect((app.secret, app.digits, app.interval), (otp["secret"], 6, 30))
now = int(time.time())
right = app.at(now)
near = {app.at(now + 30 * step) for step in range(-3, 4)}
wrong = next(code for code in map("{:06}".format, range(1000)) if code not in near)
expect(post("/otp/verify", {"user_id": "dave", "otp_code": wrong}), (200, {"status": "rejected"}))
expect(post("/otp/verify", {"user_id": "dave", "otp_code": right}), (200, {"status": "verified"}))
expect(post("/otp/verify", {"user_id": "dave", "otp_code": right}), (200, {"status": "rejected"}))
expect(post("/otp/verify", {"user_id": "erin", "otp_code": right})[0], 404)

# The next code of the app is not spent; the account is.
for _ in range(2):
    expect(post("/otp/deactivate", {"user_id": "dave"}), (200, {"status": "deactivated"}))
expect(post("/otp/verify", {"user_id": "dave", "otp_code": app.at(now + 30)})[0], 404)

# A user whose id is a number, and who starts anew with another key.
status, first = post("/otp/enable", {"user_id": 42})
expect((status, first["user_id"]), (201, 42))
expect(post("/otp/deactivate", {"user_id": 42})[0], 200)
status, second = post("/otp/enable", {"user_id": 42})
expect(status, 201)
assert second["secret"] != first["secret"]
code = pyotp.parse_uri(second["provisioning_uri"]).now()
expect(post("/otp/verify", {"user_id": "42", "otp_code": code}), (200, {"status": "verified"}))
print("done")
