internal import MillraceEventLoop

/// The remedies for the reasons that the library gives.
enum TLSRemedy {
    static func of(_ reason: String, _ peer: FilterPeer?) -> String {
        for (part, remedy) in table where reason.contains(part) { return remedy }
        if reason.contains("ostname mismatch") || reason.contains("IP address mismatch") {
            return peer?.name == nil
                ? "name the server that the certificate is for, by ?name= or in startTLS"
                : "give a name that the certificate has: the host's, behind ?name= or in startTLS"
        }
        return ""
    }

    private static let table = [
        (
            "unable to get local issuer",
            "trust the certificate of its issuer, or send the whole chain"
        ),
        ("self-signed certificate", "trust this certificate, or use one of a known issuer"),
        ("certificate has expired", "renew the certificate, or check the clock"),
        ("certificate is not yet valid", "check the clock"),
        ("http request", "the client speaks HTTP without TLS"),
        ("wrong version number", "the peer speaks no TLS, or another protocol"),
        (
            "no shared cipher",
            "allow a cipher that both sides have, or check the certificate's kind"
        ),
        ("unsupported protocol", "allow a version that both sides have"),
        ("no application protocol", "offer a protocol that the other side has"),
        ("peer did not return a certificate", "give the client an identity"),
        ("unknown ca", "the other side does not trust our certificate's issuer"),
        ("certificate required", "give the client an identity"),
    ]
}
