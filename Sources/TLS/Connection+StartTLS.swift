public import NetAPI

/// TLS that begins on an open connection, as SMTP, IMAP, LDAP and PostgreSQL do.
extension Connection {
    /// Secures the connection from here on, as its server. Call it on the connection's loop, when
    /// the client has asked for it and the answer, if the protocol has one, is written. Written
    /// bytes are sent as they are; the client's next bytes are its handshake.
    ///
    /// `secured` runs on the loop when the handshake has succeeded; `tls` is set then. Until then
    /// `onTraffic` does not run, and bytes written meanwhile are sent afterwards. A failure closes
    /// the connection with `.reset` and the error `.insecure`, the handshake's time-out with
    /// `.timeout`, and then `secured` does not run.
    ///
    /// Throws `.insecure` if bytes are unread: they came without protection, and an attacker may
    /// have added them, to be taken for the client's (CVE-2011-0411). Throws `.closed`, or
    /// `.unsupported` for a connection that is piped, ended, or has TLS already.
    public func startTLS(
        _ server: TLSServer, secured: @escaping (Connection) throws -> Void = { _ in }
    ) throws(NetError) {
        try upgrade(accepting: server, secured: secured)
    }

    /// Like `startTLS(_:secured:)`, as the client, when the server has agreed. The server's
    /// certificate must have `name`; with nil it must have the server's address.
    public func startTLS(
        _ client: TLSClient, name: String?,
        secured: @escaping (Connection) throws -> Void = { _ in }
    ) throws(NetError) {
        try upgrade(connecting: client, to: name, secured: secured)
    }
}
