import MillraceSimulation
import NetAPI

/// Connections that are served by tasks: the same echo, with every way to read, write and wait.
extension SeedHandler {
    func makeTasks() -> TaskHandler {
        // Unchecked: the tasks live on the loop that the handler belongs to.
        nonisolated(unsafe) let this = self
        return TaskHandler { try await this.serve($0) }
    }

    private func serve(_ connection: AsyncConnection) async throws {
        guard let account = ledger.account(of: connection) else { return }
        var isOver = false
        while !isOver {
            let bytes = try await read(connection)
            guard let bytes else {
                account.hasReadEnd = true
                break
            }
            noteTaken(bytes, account)
            if random.happens(200) { await Task.yield() }
            try await write(bytes, to: connection, account)
            isOver = !account.takesEverything
        }
        if connection.isOpen && random.happens(300) {
            try await write(some(random.below(30_000)), to: connection, account)
            connection.finish()
            account.hasEnded = true
        }
        if random.happens(200) { throw Refusal() }
    }

    private func read(_ connection: AsyncConnection) async throws -> [UInt8]? {
        guard random.happens(300) else { return try await connection.read() }
        let limit = Duration.milliseconds(random.below(50))
        do {
            return try await connection.withTimeout(limit) { try await connection.read() }
        } catch let error as NetError where error.code == .timedOut && connection.isOpen {
            return []
        }
    }

    private func write(
        _ bytes: [UInt8], to connection: AsyncConnection, _ account: Account
    ) async throws {
        if connection.isOpen { account.written += bytes }
        switch random.below(3) {
        case 0: try await connection.write(bytes)
        case 1:
            connection.gather(bytes)
            try await connection.drained()
        default: try await connection.send(bytes)
        }
    }
}

extension Ledger {
    fileprivate func account(of connection: AsyncConnection) -> Account? {
        guard case let port? = connection.remoteAddress.port else { return nil }
        guard let index = peers.firstIndex(where: { $0.peer.localAddress?.port == port }) else {
            return nil
        }
        return accounts[index]
    }
}
