import Glibc

/// Files in a connection's output, read piece by piece as the peer reads them.

extension Loop {
    /// Queues a part of a file.
    package func sendFile(
        _ connection: ConnectionReference, _ file: consuming FilePart
    ) throws(SystemError) {
        // Each piece would be too long for a datagram.
        guard !connection.flags.contains(.datagrams) else {
            throw SystemError(EOPNOTSUPP, "sendfile")
        }
        guard acceptsWrites(connection), file.left > 0 else { return }
        precondition(
            !connection.flags.contains(.reserving),
            "sendFile inside write(reserving:) on the same connection")
        if connection.outbound.isEmpty { connection.lastSent = now }
        connection.outbound.append(file, chunks)
        wrote(connection)
    }

    /// The promised bytes cannot be sent, and the stream must not look complete.
    func fileFailed(_ connection: ConnectionReference, _ error: Int32) {
        connection.outbound.clearFileError()
        abort(connection, .reset(SystemError(error, "pread")))
    }
}
