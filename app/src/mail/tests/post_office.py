"""A mail server for the tests, and the judge of what a mail says: Python's own parser.

post_office.py read FILE         prints the mail in FILE as one line of JSON
post_office.py serve [OPTION..]  prints its port, then one line of JSON per mail received,
                                 until its standard input ends

Options: utf8 (offers SMTPUTF8), starttls=PEM, tls=PEM (a file with certificate and key),
login=USER:PASSWORD, refuse=STATUS (what every addressee is answered), silent (never
answers the content of a mail), port=NUMBER (else a free one).
"""

import asyncio
import email
import email.policy
import json
import logging
import ssl
import sys


def told(content):
    mail = email.message_from_bytes(content, policy=email.policy.default)
    parts = [p for p in mail.walk() if not p.is_multipart()]
    return {
        "headers": [[name, str(value)] for name, value in mail.items()],
        "type": mail.get_content_type(),
        "parts": [[p.get_content_type(), p.get_content()] for p in parts],
        "defects": [repr(d) for p in mail.walk() for d in p.defects],
        "header_defects": [repr(d) for v in mail.values() for d in v.defects],
    }


class Handler:
    def __init__(self, options):
        self.options = options

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if "refuse" in self.options:
            return self.options["refuse"] + " no: dave@example.com 123456"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if "silent" in self.options:
            await asyncio.Event().wait()
        seen = told(envelope.content)
        seen["from"] = envelope.mail_from
        seen["to"] = envelope.rcpt_tos
        seen["encrypted"] = session.ssl is not None or "tls" in self.options
        seen["login"] = session.authenticated
        print(json.dumps(seen), flush=True)
        return "250 OK"


def context(path):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path)
    return tls


async def serve(options):
    from aiosmtpd.smtp import SMTP, AuthResult

    # A client that gives up is what some tests want, and no news.
    logging.getLogger("mail.log").disabled = True

    def authenticator(server, session, envelope, mechanism, data):
        given = f"{data.login.decode()}:{data.password.decode()}"
        return AuthResult(success=given == options["login"], handled=False)

    def session():
        return SMTP(
            Handler(options),
            hostname="localhost",
            enable_SMTPUTF8="utf8" in options,
            tls_context=context(options["starttls"]) if "starttls" in options else None,
            authenticator=authenticator if "login" in options else None,
            auth_required="login" in options,
            auth_require_tls=False,
        )

    loop = asyncio.get_running_loop()
    tls = context(options["tls"]) if "tls" in options else None
    server = await loop.create_server(session, "127.0.0.1", int(options.get("port", 0)), ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if sys.argv[1] == "read":
    with open(sys.argv[2], "rb") as file:
        print(json.dumps(told(file.read())))
else:
    words = [word.partition("=") for word in sys.argv[2:]]
    asyncio.run(serve({name: value for name, _, value in words}))
