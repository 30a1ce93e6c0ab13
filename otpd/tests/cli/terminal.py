"""Runs a program on a terminal of 80 columns and 40 rows, and passes on what it showed.

Arguments: the program and its own; without any it is the server, and stopped when it is ready.
"""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios

pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])

shown = b""
ready = False
while True:
    try:
        part = os.read(terminal, 65536)
    except OSError:
        part = b""
    if not part:
        break
    shown += part
    if not ready and b"otpd is ready" in shown:
        ready = True
        os.kill(pid, signal.SIGTERM)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
# What comes after a server has been told to stop is no part of its first page.
end = shown.find(b"\n", shown.find(b"otpd is ready")) if ready else len(shown)
sys.stdout.buffer.write(shown[: end + 1])
sys.exit(status)
