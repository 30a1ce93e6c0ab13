"""Answers on standard output, one line each, what PyOTP makes of the lines on standard input.

totp ALGORITHM DIGITS PERIOD KEY TIME      the code
hotp ALGORITHM DIGITS - KEY COUNTER        the code
write KIND ALGORITHM DIGITS NUMBER KEY ISSUER ACCOUNT   the otpauth URI (last two percent-encoded)
read URI                                   KIND ALGORITHM DIGITS NUMBER KEY ISSUER ACCOUNT
"""

import hashlib
import sys
from urllib.parse import quote, unquote

import pyotp

HASHES = {"SHA1": hashlib.sha1, "SHA256": hashlib.sha256, "SHA512": hashlib.sha512}


def answer(question, words):
    if question in ("totp", "hotp"):
        algorithm, digits, period, key, moment = words
        settings = {"digits": int(digits), "digest": HASHES[algorithm]}
        if question == "totp":
            return pyotp.TOTP(key, interval=int(period), **settings).at(int(moment))
        return pyotp.HOTP(key, **settings).at(int(moment))
    if question == "write":
        kind, algorithm, digits, number, key, issuer, account = words
        settings = {"digits": int(digits), "digest": HASHES[algorithm]}
        names = {"name": unquote(account), "issuer_name": unquote(issuer)}
        if kind == "totp":
            return pyotp.TOTP(key, interval=int(number), **settings).provisioning_uri(**names)
        return pyotp.HOTP(key, **settings).provisioning_uri(initial_count=int(number), **names)
    (uri,) = words
    otp = pyotp.parse_uri(uri)
    kind, number = ("totp", otp.interval) if isinstance(otp, pyotp.TOTP) else ("hotp", otp.initial_count)
    algorithm = otp.digest().name.upper()
    names = [quote(otp.issuer, safe=""), quote(otp.name, safe="")]
    return " ".join([kind, algorithm, str(otp.digits), str(number), otp.secret, *names])


for line in sys.stdin:
    question, *words = line.split()
    print(answer(question, words))
