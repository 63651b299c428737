/// Filters that a task puts below its connection. Package, for the targets that have filters.
extension AsyncConnection {
    /// Begins an upgrade by `begin`, which gets the closure to call at its end, and waits for it.
    package nonisolated(nonsending) func upgrade(
        _ begin: (Connection, _ secured: @escaping (Connection) throws -> Void) throws -> Void
    ) async throws {
        try checkOpen()
        let progress = Progress()
        try begin(connection) { [weak self] _ in
            progress.isOver = true
            self?.resumeReader()
        }
        while !progress.isOver {
            try checkOpen()
            await waitAsReader { progress.isOver }
        }
        try checkOpen()
    }

    private final class Progress { var isOver = false }
}
