"""sslscan and testssl.sh against http-server: only the protocol, since no system trusts the CA."""

import json
import re
import shutil

from runner.process import HOST
from tls_peers.checks import Absent, check, expect, expect_in, run, run_well


@check("sslscan", "TLS 1.2 and 1.3 only, no compression, no Heartbleed", ("sslscan", "sslscan"))
def sslscan(place):
    # In lines like "TLSv1.0   disabled".
    text = " ".join(run_well("sslscan", "--no-colour", f"{HOST}:{place.http.port}").split())
    for version in ("SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"):
        expect_in(f"{version} disabled", text)
    for version in ("TLSv1.2", "TLSv1.3"):
        expect_in(f"{version} enabled", text)
        expect_in(f"{version} not vulnerable to heartbleed", text)
    # Debian's sslscan may be built without compression, and then cannot ask for it.
    expect(re.search("Compression disabled|does not support compression", text), text[-600:])
    expect(re.search("[Ss]ession renegotiation (not )?supported", text), text[-600:])
    expect("Insecure session renegotiation supported" not in text, text[-600:])
    expect(not re.search(r"Accepted TLSv1\.\d \d+ bits \S*(RC4|NULL|EXP|3DES|MD5)", text), text)


# The parts of testssl.sh's report that must hold, with the beginning of each finding.
WANTED = {
    "SSLv2": "not offered", "SSLv3": "not offered", "TLS1": "not offered",
    "TLS1_1": "not offered", "TLS1_2": "offered", "TLS1_3": "offered",
    "cipherlist_NULL": "not offered", "cipherlist_aNULL": "not offered",
    "cipherlist_EXPORT": "not offered", "cipherlist_LOW": "not offered",
    "cipherlist_3DES_IDEA": "not offered",
    "heartbleed": "not vulnerable", "CCS": "not vulnerable", "ticketbleed": "not vulnerable",
    "ROBOT": "not vulnerable", "secure_renego": "supported",
    "secure_client_renego": "not vulnerable", "CRIME_TLS": "not vulnerable",
    "POODLE_SSL": "not vulnerable", "SWEET32": "not vulnerable", "FREAK": "not vulnerable",
    "DROWN": "not vulnerable", "LOGJAM": "not vulnerable", "BEAST": "not vulnerable",
    "RC4": "not vulnerable",
}


@check("testssl", "versions, suites and known weaknesses", is_long=True, once=True)
def testssl(place):
    program = shutil.which("testssl") or shutil.which("testssl.sh")
    if not program:
        raise Absent("no testssl: apt-get install testssl.sh")
    file = place.folder / "testssl.json"
    # Its status counts its warnings, and the certificate's authority is one.
    _, text = run(program, "--quiet", "--color", "0", "--warnings", "off", "--jsonfile", file,
                  f"{HOST}:{place.http.port}", seconds=900)
    found = {row["id"]: row["finding"] for row in json.loads(file.read_text())}
    wrong = [f"{name}: {found.get(name)}" for name, start in WANTED.items()
             if not found.get(name, "absent").lower().startswith(start)]
    grade = found.get("overall_grade", "none, since testssl before 3.1 gives none")
    print(f"    testssl, {place.name}: grade {grade}", flush=True)
    expect(not wrong, "; ".join(wrong) + text[-300:])
