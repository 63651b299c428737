"""The servers under test, for one backend and one number of loops."""

import contextlib
import pathlib
import signal

from runner.process import HOST, Server, text_of, wait_until
from tls_peers.checks import SECONDS, expect, run_well

# More than the sockets and the pipe between a server and a held-up client can hold.
BIG = 16 << 20
RELOADED = "the certificate was read again"


class Place:
    """Starts echo-server with an ECDSA, http-server with an RSA and kv-server with an ECDSA
    certificate. Each has certificate files of its own."""

    def __init__(self, backend, loops, certificates, programs, folder):
        self.backend, self.loops, self.certificates = backend, loops, certificates
        self.programs = pathlib.Path(programs)
        self.folder = pathlib.Path(folder) / f"{backend}-{loops}"
        self.root = pathlib.Path(folder) / "root"
        self.stack = contextlib.ExitStack()

    @property
    def name(self):
        return f"{self.backend} x {self.loops}"

    @property
    def authority(self):
        return self.certificates.authority

    def __enter__(self):
        with self.stack:
            self.echo = self.start("echo-server", "ecdsa")
            self.http = self.start("http-server", "rsa", "--root", self.root)
            self.kv = self.start("kv-server", "ecdsa")
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *error):
        return self.stack.__exit__(*error)

    def start(self, program, identity, *options):
        """Starts one more server, which ends with the place or before."""
        count = len(list(self.folder.glob("*"))) if self.folder.exists() else 0
        folder = self.folder / f"{count}-{program}-{identity}"
        folder.mkdir(parents=True)
        self.certificates.install(identity, folder)
        server = Server(
            [self.programs / program, "--listen", f"tls://{HOST}:0", "--backend", self.backend,
             "--loops", self.loops, "--tls-certificate", folder / "chain.pem",
             "--tls-key", folder / "key.pem", *options],
            patience=SECONDS, quotes_errors=True)
        server.folder = folder
        return self.stack.enter_context(server)

    def replace(self, server, identity):
        """Exchanges a server's certificate and waits until the server has read it."""
        before = text_of(server.output).count(RELOADED)
        self.certificates.install(identity, server.folder)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: text_of(server.output).count(RELOADED) > before, SECONDS,
                   f"no {RELOADED!r}: {server.errors()}")

    def url(self, path, server=None):
        return f"https://{HOST}:{(server or self.http).port}{path}"

    def expect_alive(self, server):
        """Expects an echo for one more client, after another did something wrong."""
        expect(server.process.poll() is None, "the server has ended")
        text = run_well("openssl", "s_client", "-connect", f"{HOST}:{server.port}", "-brief",
                        "-CAfile", self.authority, "-verify_return_error")
        expect("Verification: OK" in text, f"no new connection: {text}")


def make_files(root):
    """Makes the files that http-server serves, and returns their bytes by name."""
    root.mkdir()
    line = bytes(range(251))
    big = (line * (BIG // len(line) + 1))[:BIG]
    (root / "big").write_bytes(big)
    return {"big": big}
