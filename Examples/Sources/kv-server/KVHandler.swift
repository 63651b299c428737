// Serves the Redis protocol from a database that all loops share.
import KVStore
import NetAPI
import RESPCodec
import ServerCommand

/// One for all loops: what belongs to a client is kept with its connection, the rest has locks.
struct KVHandler: EventHandler {
    private static let sweepPeriod: Duration = .milliseconds(100)
    /// Replies gathered before they are handed over.
    private static let replyBytes = 16 << 10

    private let database: Database
    private let clients = PerConnection { connection in
        Client(Session(deliver: { [handle = connection.handle] in handle.deliver($0) }))
    }

    init(_ database: Database) { self.database = database }

    func onBoot(_ loop: Loop) -> Action {
        announce(loop.server)
        return .none
    }

    func onTick(_ loop: Loop) -> Tick {
        database.store.sweep()
        return .after(Self.sweepPeriod)
    }

    func onOpen(_ connection: Connection) -> Action {
        database.opened(connection[clients].session)
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action { serve(connection) }

    /// Requests that were left unread while the peer did not take its replies.
    func onWritable(_ connection: Connection) -> Action { serve(connection) }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        database.closed(connection[clients].session)
        return .none
    }

    private func serve(_ connection: Connection) -> Action {
        let client = connection[clients]
        let now = Clock.milliseconds()
        var (taken, executed) = (0, 0)
        let action = connection.withUnsafeBytes { bytes -> Action in
            while connection.isWritable, !client.session.isEnding {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
                switch client.parser.parse(rest) {
                case .incomplete: return .none
                case .failed(let error):
                    client.replies.error(error.text)
                    client.session.end()
                case .request(let count):
                    client.parser.withRequest(in: rest) {
                        database.execute($0, client.session, client.replies, now: now)
                    }
                    taken += count
                    executed += 1
                    if client.replies.count >= Self.replyBytes {
                        send(client.replies, to: connection)
                    }
                }
            }
            return client.session.isEnding ? .close : .none
        }
        send(client.replies, to: connection)
        connection.discard(taken)
        if executed > 0 { database.count(executed: executed) }
        return action
    }

    private func send(_ replies: ReplyWriter, to connection: Connection) {
        guard replies.count > 0 else { return }
        connection.write(replies.bytes)
        replies.removeAll()
    }
}

private final class Client {
    @exclusivity(unchecked) var parser = RequestParser()
    let session: Session
    let replies = ReplyWriter()

    init(_ session: Session) { self.session = session }
}

extension ConnectionHandle {
    /// Hands a message over to the subscriber's loop. Who cannot be told is cut off: to miss a
    /// message and not know is worse.
    fileprivate func deliver(_ message: [UInt8]) {
        write(message) { [self] result in
            if case .failure(let error) = result, error.code == .overloaded { abort() }
        }
    }
}
