// Serves the Redis protocol from a database that all loops share.
import KVStore
import NetAPI
import ServerCommand

/// The handler of one loop. The state of a client is stored with its connection; state that all
/// loops share has locks.
final class KVHandler: EventHandler {
    private static let sweepPeriod: Duration = .milliseconds(100)
    /// The period after a sweep that ran out of time before it removed all expired keys. With the 2
    /// ms of a sweep, this is a fifth of the loop's time.
    private static let hurriedPeriod: Duration = .milliseconds(8)

    private let database: Database
    private let clients: PerConnection<Client>
    /// Delivers messages to the clients of this loop.
    private let post: Post
    private let sweeper: Int

    init(_ database: Database, _ limits: ClientLimits) {
        self.database = database
        let post = Post()
        self.post = post
        clients = PerConnection { Client(database, $0, post, limits) }
        sweeper = database.store.addSweeper()
    }

    func onBoot(_ loop: Loop) -> Action {
        post.set(wake: { [weak post, handle = loop.handle] in
            guard let post else { return false }
            return handle.execute { _ in post.deliver() }
        })
        if loop.index == 0 { announce(loop.server) }
        return .none
    }

    func onTick(_ loop: Loop) -> Tick {
        let isBehind = database.store.sweep(by: sweeper)
        return .after(isBehind ? Self.hurriedPeriod : Self.sweepPeriod)
    }

    func onOpen(_ connection: Connection) -> Action {
        let client = connection[clients]
        let route = client.route
        client.session.deliver = { route.tell($0, $1) }
        client.session.cutOff = { route.cutOff() }
        route.begin(client)
        // Many clients send all their requests before they read the first reply.
        connection.readsWhileCongested = true
        database.opened(client.session)
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action { connection[clients].serve() }

    /// Executes requests that stayed unread while the peer did not read its replies.
    func onWritable(_ connection: Connection) -> Action { connection[clients].goOn() }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        let client = connection[clients]
        client.route.end()
        database.closed(client.session)
        return .none
    }
}
