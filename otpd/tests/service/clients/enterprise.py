"""A client of the old service, unchanged but for the credential: standard library only.

Arguments: the server's address, an API key.
"""

import base64
import hashlib
import hmac
import json
import struct
import sys
import time
import urllib.error
import urllib.request

BASE, KEY = sys.argv[1:]


def post(path, body=None):
    request = urllib.request.Request(
        BASE + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Bearer " + KEY, "Content-Type": "application/json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def totp(key, now, digits=6, period=30):
    """RFC 6238 by hand."""
    counter = struct.pack(">Q", int(now) // period)
    digest = hmac.new(key, counter, hashlib.sha1).digest()
    offset = digest[-1] & 15
    number = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return number % 10**digits


def expect(seen, wanted):
    assert seen == wanted, (seen, wanted)


status, answer = post("/api/v1/devices/register", {"device_id": "till-7", "user_id": 42})
expect(status, 201)
expect(answer["success"], True)
expect(answer["message"], "Device registered successfully")
expect(answer["data"]["device_id"], "till-7")
key = base64.b64decode(answer["data"]["derived_key"])
expect(len(key), 32)

status, answer = post("/api/v1/devices/register", {"device_id": "till-7", "user_id": 42})
expect((status, answer["success"]), (409, False))
assert answer["message"], answer

# The old client sends its codes as integers: zeros in front are lost on the way.
right = totp(key, time.time())
near = {totp(key, time.time() + 30 * step) for step in range(-3, 4)}
wrong = next(code for code in range(1000) if code not in near)
for code, valid in [(wrong, False), (right, True), (right, False)]:
    status, answer = post("/api/v1/otp/verify", {"device_id": "till-7", "otp": code})
    expect((status, answer["success"]), (200, True))
    expect(answer["message"], "OTP verification completed")
    expect(answer["data"]["valid"], valid)

status, answer = post("/api/v1/otp/verify", {"device_id": "till-8", "otp": right})
expect((status, answer["success"]), (404, False))

status, answer = post("/api/v1/devices/till-7/deactivate")
expect((status, answer["message"]), (200, "Device deactivated successfully"))
expect(answer["data"]["is_active"], False)

status, answer = post("/api/v1/otp/verify", {"device_id": "till-7", "otp": totp(key, time.time() + 30)})
expect((status, answer["data"]["valid"]), (200, False))
print("done")
