// Serves the Redis protocol from a database that all loops share.
import KVStore
import NetAPI
import RESPCodec
import ServerCommand

/// One for all loops: what belongs to a client is kept with its connection, the rest has locks.
struct KVHandler: EventHandler {
    private static let sweepPeriod: Duration = .milliseconds(100)

    private let database: Database
    private let clients: PerConnection<Client>

    init(_ database: Database) {
        self.database = database
        clients = PerConnection { connection in
            let session = Session(deliver: { [handle = connection.handle] in handle.deliver($0) })
            return Client(Call(database, session, ReplyWriter()))
        }
    }

    func onBoot(_ loop: Loop) -> Action {
        announce(loop.server)
        return .none
    }

    func onTick(_ loop: Loop) -> Tick {
        database.store.sweep()
        return .after(Self.sweepPeriod)
    }

    func onOpen(_ connection: Connection) -> Action {
        database.opened(connection[clients].call.session)
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action { serve(connection) }

    /// Requests that were left unread while the peer did not take its replies.
    func onWritable(_ connection: Connection) -> Action { serve(connection) }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        database.closed(connection[clients].call.session)
        return .none
    }

    private func serve(_ connection: Connection) -> Action {
        let client = connection[clients]
        guard connection.isWritable else { return .none }
        let now = Clock.milliseconds()
        let (taken, executed) = connection.withUnsafeBytes { bytes in
            client.executeAll(bytes, now: now) {
                send($0, to: connection)
                return connection.isWritable
            }
        }
        send(client.call.reply, to: connection)
        connection.discard(taken)
        if executed > 0 { database.count(executed: executed) }
        return client.call.session.isEnding ? .close : .none
    }

    private func send(_ replies: ReplyWriter, to connection: Connection) {
        guard replies.count > 0 else { return }
        connection.write(replies.bytes)
        replies.removeAll()
    }
}

private final class Client {
    /// Replies gathered before they are handed over.
    private static let replyBytes = 16 << 10

    @exclusivity(unchecked) private var parser = RequestParser()
    let call: Call

    init(_ call: Call) { self.call = call }

    /// Executes the requests that are complete, until `flush` says that the peer takes no more
    /// replies. Returns how many bytes they took, and how many they were.
    @inline(__always)
    func executeAll(
        _ bytes: UnsafeRawBufferPointer, now: Int, flush: (ReplyWriter) -> Bool
    ) -> (taken: Int, executed: Int) {
        var (taken, executed) = (0, 0)
        while !call.session.isEnding {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
            switch parser.parse(rest) {
            case .incomplete: return (taken, executed)
            case .failed(let error):
                call.reply.error(error.text)
                call.session.end()
            case .request(let count):
                parser.withRequest(in: rest) { call.execute($0, now: now) }
                taken += count
                executed += 1
                if call.reply.count >= Self.replyBytes, !flush(call.reply) {
                    return (taken, executed)
                }
            }
        }
        return (taken, executed)
    }
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
