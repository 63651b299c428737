import Glibc

/// Files among what is written: read piece by piece as the peer takes them.

extension Loop {
    /// Queues a part of a file. The descriptor is duplicated, so the caller may close its own at
    /// once.
    package func sendFile(
        _ connection: ConnectionReference, _ descriptor: CInt, offset: Int, count: Int
    ) throws(SystemError) {
        // Each piece would be a datagram that is too long.
        guard !connection.pointee.flags.contains(.datagrams) else {
            throw SystemError(EOPNOTSUPP, "sendfile")
        }
        guard acceptsWrites(connection), count > 0 else { return }
        precondition(
            !connection.pointee.flags.contains(.reserving),
            "sendFile inside write(reserving:) on the same connection")
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
        guard copy >= 0 else { throw SystemError(errno, "fcntl") }
        if connection.pointee.outbound.isEmpty { connection.pointee.lastSent = now }
        connection.pointee.outbound.append(
            FilePart(descriptor: copy, offset: offset, left: count), chunks)
        wrote(connection)
    }

    /// What was promised cannot be sent, and must not look as if it had been.
    func fileFailed(_ connection: ConnectionReference, _ error: Int32) {
        connection.pointee.outbound.clearFileError()
        abort(connection, .reset(SystemError(error, "pread")))
    }
}
