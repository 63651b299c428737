public import NetAPI

/// TLS of connections that are served by tasks.
extension AsyncConnection {
    /// The result of the handshake; nil without TLS, and after the close.
    public var tls: TLSInfo? { (streamFilter as? TLSFilter)?.info }

    /// Secures the connection from here on, as its server, and returns when the handshake has
    /// succeeded: see `Connection.startTLS(_:secured:)`. Throws its errors, or the reason for which
    /// the connection closed.
    public nonisolated(nonsending) func startTLS(_ server: TLSServer) async throws {
        try await upgrade { try $0.startTLS(server, secured: $1) }
    }

    /// Like `startTLS(_:)`, as the client. The server's certificate must have `name`; with nil it
    /// must have the server's address.
    public nonisolated(nonsending) func startTLS(_ client: TLSClient, name: String?) async throws {
        try await upgrade { try $0.startTLS(client, name: name, secured: $1) }
    }
}
