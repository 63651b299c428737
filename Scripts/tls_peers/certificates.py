"""Certificates for one run, made by openssl: two authorities' leaves and a client's."""

import pathlib
import shutil

from tls_peers.checks import run_well

NAMES = "DNS:localhost,DNS:one.test,DNS:*.wild.test,IP:127.0.0.1"
KEYS = {
    "ecdsa": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "rsa": ["-newkey", "rsa:2048"],
}


class Certificates:
    """The files of a folder: `authority`, `stranger`, and a chain and a key for each leaf."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.authority = self.make_authority("authority")
        self.stranger = self.make_authority("stranger")
        self.make_leaf("ecdsa", "ecdsa", "first.test", NAMES)
        self.make_leaf("rsa", "rsa", "rsa.test", NAMES)
        self.make_leaf("second", "ecdsa", "second.test", NAMES)
        self.make_leaf("client", "ecdsa", "a client", "email:client@one.test")

    def make_authority(self, name):
        path = self.folder / f"{name}.pem"
        run_well("openssl", "req", "-x509", "-nodes", *KEYS["ecdsa"], "-days", "30",
                 "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                 "-keyout", self.folder / f"{name}.key", "-out", path)
        return path

    def make_leaf(self, name, kind, subject, names):
        request, leaf = self.folder / f"{name}.csr", self.folder / f"{name}.leaf"
        run_well("openssl", "req", "-new", "-nodes", *KEYS[kind], "-subj", f"/CN={subject}",
                 "-keyout", self.key(name), "-out", request)
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
        run_well("openssl", "x509", "-req", "-in", request, "-days", "30", "-CAcreateserial",
                 "-CA", self.authority, "-CAkey", self.folder / "authority.key",
                 "-extfile", extensions, "-out", leaf)
        self.chain(name).write_bytes(leaf.read_bytes() + self.authority.read_bytes())

    def chain(self, name):
        return self.folder / f"{name}.pem"

    def key(self, name):
        return self.folder / f"{name}.key"

    def install(self, name, folder):
        """Writes a leaf's files as chain.pem and key.pem, the files of a server."""
        for source, to in ((self.chain(name), "chain.pem"), (self.key(name), "key.pem")):
            shutil.copy(source, folder / f"{to}.new")
            (folder / f"{to}.new").replace(folder / to)
