"""An authenticator app made of PyOTP: all it knows is the provisioning URI.

Arguments: the server's address, an API key.
"""

import json
import sys
import urllib.request

import pyotp

BASE, KEY = sys.argv[1:]


def post(path, body):
    headers = {"Authorization": "Bearer " + KEY}
    request = urllib.request.Request(BASE + path, data=json.dumps(body).encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)["data"]


def valid(device, code):
    return post("/api/v1/otp/verify", {"device_id": device, "otp": code})["valid"]


for algorithm in ["SHA1", "SHA256", "SHA512"]:
    for digits in [6, 8]:
        device = f"{algorithm}-{digits}"
        wanted = {"device_id": device, "user_id": device, "algorithm": algorithm, "digits": digits}
        data = post("/api/v1/devices/register", wanted)
        app = pyotp.parse_uri(data["provisioning_uri"])
        assert app.secret == data["secret"]
        code = app.now()
        assert len(code) == digits
        assert valid(device, code) is True, device
        assert valid(device, code) is False, device

data = post("/api/v1/devices/register", {"device_id": "token", "user_id": "carol", "kind": "hotp"})
app = pyotp.parse_uri(data["provisioning_uri"])
assert app.initial_count == 0
for counter in [0, 1, 5]:
    assert valid("token", app.at(counter)) is True, counter
assert valid("token", app.at(3)) is False
print("done")
