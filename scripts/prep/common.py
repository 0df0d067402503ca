# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors, messages, files written only when they change, and long steps.

A step is one command that may take a while.  Its output goes to a log below
the build directory; the terminal gets one line that says what happens, a sign
of life, and, when it fails, the end of the log.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


class PrepareError(Exception):
    """Something the user has to know; the message says what to do."""


class Unavailable(PrepareError):
    """What is asked for is not to be had from here: main() returns UNAVAILABLE"""


UNAVAILABLE = 3


def verbose():
    return os.environ.get('V', '') not in ('', '0')


def say(text):
    """One line per step."""
    print(f'==> {text}', flush=True)


def note(text):
    for line in text.splitlines():
        print(f'    {line}', flush=True)


def write_if_changed(path, data, mode=None):
    """Write @data to @path, atomically, unless that is what it holds.

    Returns True when the file was written.  A file that is left alone keeps
    its time stamp, so that nothing that depends on it is built again.
    """
    if isinstance(data, str):
        data = data.encode()
    path = Path(path)
    try:
        if not path.is_symlink() and path.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix='.new-')
    try:
        with os.fdopen(handle, 'wb') as out:
            out.write(data)
        if mode is None:
            umask = os.umask(0)
            os.umask(umask)
            mode = 0o666 & ~umask
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return True


class Alive:
    """A sign of life while something silent runs.

    On a terminal the elapsed seconds, rewritten in place; otherwise a line
    every half minute, so that a log or a CI run is seen to go on.
    """

    def __init__(self, describe=lambda: ''):
        self.describe = describe
        self.tty = sys.stdout.isatty()
        self.stopped = threading.Event()
        self.start = time.monotonic()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        period = 1 if self.tty else 30
        while not self.stopped.wait(period):
            elapsed = int(time.monotonic() - self.start)
            text = f'    {elapsed} s {self.describe()}'.rstrip()
            if self.tty:
                print(f'\r{text}\033[K', end='', flush=True)
            else:
                print(text, flush=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.stopped.set()
        self.thread.join()
        if self.tty:
            print('\r\033[K', end='', flush=True)


def tail(path, lines=25):
    try:
        text = Path(path).read_text(errors='replace')
    except OSError:
        return ''
    return '\n'.join(text.splitlines()[-lines:])


def run_step(title, command, log, cwd=None, env=None):
    """Run @command quietly; PrepareError with the end of the log if it fails."""
    say(title)
    log = Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(part) for part in command]
    with open(log, 'w', encoding='utf-8') as out:
        out.write('$ ' + ' '.join(command) + '\n')
        out.flush()
        try:
            if verbose():
                status = _run_loudly(command, out, cwd, env)
            else:
                with Alive():
                    status = subprocess.run(
                        command, stdin=subprocess.DEVNULL, stdout=out,
                        stderr=subprocess.STDOUT, cwd=cwd, env=env,
                        check=False).returncode
        except OSError as error:
            raise PrepareError(f'{title}: cannot run {command[0]}: '
                               f'{error.strerror}') from error
    if status != 0:
        raise PrepareError(f'{title}: failed (exit status {status}).  '
                           f'The end of {log}:\n{tail(log)}')


def _run_loudly(command, log, cwd, env):
    print('    $ ' + ' '.join(command), flush=True)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          cwd=cwd, env=env, text=True,
                          errors='replace') as process:
        for line in process.stdout:
            log.write(line)
            print(line, end='', flush=True)
    return process.returncode
