"""The commands and programs of README.md, cut out of it and run.

Arguments: the server's address, an API key.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import pyotp

BASE, KEY = sys.argv[1:]
PAGE = pathlib.Path(__file__).parents[4] / "README.md"
SNIPPETS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
VARIABLES = {"PATH": os.environ["PATH"], "OTPD_KEY": KEY}
PROGRAM = os.environ["PROGRAM"]


def cut(language, beginning):
    """The one snippet that begins so."""
    found = [text for kind, text in SNIPPETS if kind == language and text.startswith(beginning)]
    assert len(found) == 1, (language, beginning, found)
    text = found[0].replace("http://127.0.0.1:8004", BASE)
    return text.replace("./target/release/otpd", PROGRAM).replace("otpd_…", KEY)


def shell(text):
    return subprocess.run(["sh", "-ec", text], env=VARIABLES, stdout=-1, check=True).stdout.decode()


# The first commands in one shell, as they stand there; the last one once more.
first = cut("sh", "export OTPD_KEY")
register = first.partition("\n")[2].partition("\n\n")[0]
verify = first[first.rindex("curl "):]
lines = shell(f'{first}echo\n{verify}echo\necho "$DEVICE"').splitlines()
accepted, rejected, device = [json.loads(line) for line in lines if line.startswith("{")]
device = device["data"]
assert device["provisioning_uri"] in lines, "it stands below the QR code"
app = pyotp.parse_uri(device["provisioning_uri"])
shown = json.loads(cut("json", '{"success":true'))
assert accepted == shown, accepted
shown["data"] |= {"valid": False, "reason": "rejected"}
rejected["data"]["attempts_remaining"] = shown["data"]["attempts_remaining"]
assert rejected == shown, rejected

# A key for an application, and the application's two programs with that key.
other = json.loads(shell(register.replace("my-phone", "laptop") + '\necho "$DEVICE"'))["data"]
made = json.loads(shell(cut("sh", "curl -sS http://127.0.0.1:8004/api/v1/keys")))["data"]
assert made["scopes"] == ["otp:verify"], made
VARIABLES["OTPD_KEY"] = os.environ["OTPD_KEY"] = made["key"]
program = {}
exec(cut("python", "import json"), program)
later = app.at(int(time.time()) + 30)
assert [program["verify"]("my-phone", later) for _ in range(2)] == [True, False]
code = pyotp.parse_uri(other["provisioning_uri"]).now()
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "shop.mjs"
    twice = f'for (let i = 0; i < 2; i++) console.log(await verify("laptop", "{code}"));'
    path.write_text(cut("js", "async function verify") + twice, "utf-8")
    done = subprocess.run(["node", path], env=VARIABLES, stdout=-1, check=True)
assert done.stdout == b"true\nfalse\n", done.stdout
print("done")
