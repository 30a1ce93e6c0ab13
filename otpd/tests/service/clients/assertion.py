"""The programs of docs/verify-an-assertion.md, cut out of it: strangers who know the published keys alone.

Both get the same assertions, of the real server and of one that signs what no server
should. Arguments: the server's address, an API key. Environment: ISSUER.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import pyotp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

BASE, KEY = sys.argv[1:]
ISSUER = os.environ["ISSUER"]
PAGE = pathlib.Path(__file__).parents[4] / "docs/verify-an-assertion.md"
SNIPPETS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
HERE = "http://127.0.0.1:8004"


def snippets(language):
    return [text for kind, text in SNIPPETS if kind == language]


def post(path, body):
    headers = {"Authorization": "Bearer " + KEY}
    request = urllib.request.Request(BASE + path, data=json.dumps(body).encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        answer = json.load(response)
        return answer.get("data", answer)


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def only(found):
    assert len(found) == 1, found
    return found[0]


def pythons_words(server, issuer, cases):
    """Whether the Python program accepts each."""
    text = only(snippets("python")).replace(f'SERVER = "{HERE}"', f'SERVER = "{server}"')
    text = text.replace(f'ISSUER = "{HERE}"', f'ISSUER = "{issuer}"')
    module = {}
    exec(text, module)
    words = []
    for token, user, nonce in cases:
        try:
            words.append(module["second_factor"](token, user, nonce)["amr"])
        except module["jwt"].PyJWTError:
            words.append(None)
    return words


DRIVER = """
import { readFileSync } from "node:fs";
const words = [];
for (const [token, user, nonce] of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    words.push((await secondFactor(token, user, nonce)).amr);
  } catch (error) {
    if (error instanceof ReferenceError) throw error;
    words.push(null);
  }
}
console.log(JSON.stringify(words));
"""


def nodes_words(server, issuer, cases):
    """Whether the JavaScript program accepts each."""
    text = only(snippets("js")).replace(f'SERVER = "{HERE}"', f'SERVER = "{server}"')
    text = text.replace(f'ISSUER = "{HERE}"', f'ISSUER = "{issuer}"')
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "stranger.mjs"
        program.write_text(text + DRIVER, "utf-8")
        given = json.dumps(cases).encode()
        return json.loads(subprocess.run(["node", program], input=given, stdout=-1, check=True).stdout)


def judged(server, issuer, named):
    """Both programs on (what it is, token, user, nonce, what is expected)."""
    cases = [case[1:4] for case in named]
    expected = {case[0]: case[4] for case in named}
    assert len(expected) == len(named)
    for words in [pythons_words, nodes_words]:
        seen = dict(zip(expected, words(server, issuer, cases), strict=True))
        assert seen == expected, (words.__name__, seen)


# The real server: the commands of the page, each with a code of its own.
made = [post("/api/v1/devices/register", {"device_id": "my-phone", "user_id": "me"})]
made.append(post("/otp/enable", {"user_id": "me"}))
phone, other = [pyotp.parse_uri(one["provisioning_uri"]).now() for one in made]
spoken = post("/api/v1/users/me/recovery-codes", {})["recovery_codes"]
issued = post("/generate?username=me", {})["otp_code"]
setup, *commands = snippets("sh")
assert len(commands) == 4
shown = subprocess.check_output(["sh", "-euc", setup + 'echo "$NONCE $CODE"'], text=True)
assert re.fullmatch(r"[0-9a-f]{32} \d{6}\n", shown), shown


def asked(command, code, nonce):
    variables = {"OTPD_KEY": KEY, "CODE": code, "NONCE": nonce, "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-c", command.replace(HERE, BASE)], env=variables, stdout=-1, check=True)
    answer = json.loads(done.stdout)
    token = answer.get("data", answer).get("assertion")
    assert token, answer
    return token


by_door = [asked(*door) for door in zip(commands, [phone, other, issued, spoken[0]], ["n1", "n2", "n3", "n4"])]
for_a_bank = asked(commands[3].replace('"shop"', '"bank"'), spoken[1], "n5")
fresh = asked(commands[3], spoken[2], "n6")
head, body, signature = fresh.split(".")
claims = json.loads(base64.urlsafe_b64decode(body + "=="))
longer = base64url(json.dumps(claims | {"exp": claims["exp"] + 86_400}).encode())
assert claims["iss"] == ISSUER and claims["exp"] - claims["iat"] == 300
assert set(claims) == {"iss", "sub", "aud", "iat", "exp", "jti", "nonce", "auth_time", "amr", "acr"}
judged(
    BASE,
    ISSUER,
    [
        ("a device", by_door[0], "me", "n1", ["otp"]),
        ("a user", by_door[1], "me", "n2", ["otp"]),
        ("an issued code", by_door[2], "me", "n3", ["otc"]),
        ("a recovery code", by_door[3], "me", "n4", ["recovery"]),
        ("once more", by_door[0], "me", "n1", None),
        ("another audience", for_a_bank, "me", "n5", None),
        ("another user", fresh, "you", "n6", None),
        ("another login", fresh, "me", "n5", None),
        ("no login", fresh, "me", None, None),
        ("a longer life", f"{head}.{longer}.{signature}", "me", "n6", None),
        ("another signature", f"{head}.{body}.{by_door[0].split('.')[2]}", "me", "n6", None),
        ("no signature", f"{head}.{body}.", "me", "n6", None),
        ("no token", "x", "me", "n6", None),
        ("untouched by all that", fresh, "me", "n6", ["recovery"]),
    ],
)

# A server that signs anything: what is left to refuse once the signature is good.
ours, theirs = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
public = ours.public_key().public_bytes_raw()
published = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "k1", "x": base64url(public)}


class Jwks(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = json.dumps({"keys": [published]}).encode()
        self.send_response(200 if self.path == "/.well-known/jwks.json" else 404)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


stand_in = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Jwks)
threading.Thread(target=stand_in.serve_forever, daemon=True).start()
STAND_IN = f"http://127.0.0.1:{stand_in.server_port}"
NOW = int(time.time())


def shared_secret(signed):
    return hmac.new(public, signed, hashlib.sha256).digest()


def token(name, expected=None, header=None, sign=ours.sign, **changes):
    """A case: good claims with these changed; `None` removes one."""
    claims = {"iss": STAND_IN, "sub": "me", "aud": "shop", "iat": NOW, "exp": NOW + 300}
    claims |= {"jti": name, "nonce": "n", "auth_time": NOW, "amr": ["otp"]}
    claims = {key: value for key, value in (claims | changes).items() if value is not None}
    header = {"alg": "EdDSA", "typ": "2fa+jwt", "kid": "k1"} | (header or {})
    signed = ".".join(base64url(json.dumps(part).encode()) for part in [header, claims])
    return name, f"{signed}.{base64url(sign(signed.encode()))}", "me", "n", expected


strangers_jwk = published | {"x": base64url(theirs.public_key().public_bytes_raw())}
judged(
    STAND_IN,
    STAND_IN,
    [
        token("good", ["otp"]),
        token("clocks apart", ["otp"], iat=NOW + 5),
        token("expired", exp=NOW - 60, iat=NOW - 360),
        token("no end", exp=None),
        token("an end in words", exp="never"),
        token("of the future", iat=NOW + 120),
        token("another server", iss="https://otp.example.org"),
        token("no server", iss=None),
        token("no audience", aud=None),
        token("also for others", aud=["shop", "bank"]),
        token("no user", sub=None),
        token("no nonce", nonce=None),
        token("no name", jti=None),
        token("no way", amr=None),
        token("by email", amr=["email"]),
        token("an access token", header={"typ": "at+jwt"}),
        token("any JWT", header={"typ": "JWT"}),
        token("a condition", header={"crit": ["x"], "x": 1}),
        token("a stranger's", sign=theirs.sign),
        token("with its own key", sign=theirs.sign, header={"jwk": strangers_jwk}),
        token("with its own address", sign=theirs.sign, header={"jku": "https://example.org/jwks.json"}),
        token("of an unknown key", header={"kid": "k2"}),
        token("unsigned", header={"alg": "none"}, sign=lambda _: b""),
        token("by the public key as a secret", header={"alg": "HS256"}, sign=shared_secret),
        (*token("neither knows a nonce", nonce=None)[:3], None, None),
        ("four parts", token("four parts")[1] + ".x", "me", "n", None),
        token("good to the end", ["otp"]),
    ],
)
print("done")
