// The handler of all servers and clients of this program. It counts the callbacks and runs the part
// of each connection.
import NetAPI

/// The counts of one server or client, with all its handlers.
final class Books: Sendable {
    let name: String
    let opened = Counter()
    let closed = Counter()
    let boots = Counter()
    let shutdowns = Counter()
    let handlers = Counter()
    /// The callback that ends the server next, as the number of its case; 0 for none.
    let order = Counter()
    let bootOrder: Ending.InBoot?

    init(_ name: String, bootOrder: Ending.InBoot? = nil) {
        self.name = name
        self.bootOrder = bootOrder
    }

    /// Returns true for the one callback that executes the order.
    func takes(_ place: Ending.Place) -> Bool { order.exchange(place.rawValue, for: 0) }
}

/// The state of one connection.
final class Part {
    enum Role {
        /// A connection whose header has not arrived.
        case newcomer
        case caller(Talk)
        case service(Talk)
        /// One end of a pipe.
        case passing(Talk)
        /// A connection whose bytes are forwarded by hand, since its pipe has the other direction
        /// only.
        case relaying(Talk, Connection)
    }

    private let alive = Alive(.variable)
    var role = Role.newcomer
    var dice = Dice(0)
    var isOpened = false
    var isClosed = false
    /// The number of bytes of the body that were read, and that were written.
    var taken = 0
    var written = 0
    /// The number of bytes that were shown but are too few to act on.
    var leftover = 0
    var hasSpoken = false
    var isPumping = false
    /// Whether the handler broke the conversation off.
    var hasBrokenOff = false

    var talk: Talk? {
        switch role {
        case .newcomer: nil
        case .caller(let talk), .service(let talk), .passing(let talk), .relaying(let talk, _):
            talk
        }
    }
}

final class Actor: EventHandler, DatagramHandler, Sendable {
    let round: Round
    let books: Books
    let parts = PerConnection(make: { _ in Part() })
    private let alive = Alive(.handler)

    init(_ round: Round, _ books: Books) {
        self.round = round
        self.books = books
        books.handlers.add()
    }

    func fault(_ what: String) { round.ledger.violation("\(books.name): \(what)") }

    /// Returns the connection's part. A callback before `onOpen` or after `onClose` is a fault and
    /// gets nil.
    func part(_ connection: Connection, _ callback: String) -> Part? {
        let part = connection[parts]
        guard part.isOpened, !part.isClosed else {
            fault("\(callback) before onOpen or after onClose")
            return nil
        }
        // Timers run while the last bytes are sent.
        let mayBeLate = callback == "onClose" || callback == "a timer"
        if !connection.isOpen, !mayBeLate { fault("\(callback) after the close") }
        return part
    }

    // MARK: Callbacks of the loop

    func onBoot(_ loop: Loop) throws -> Action {
        books.boots.add()
        switch books.bootOrder {
        case .throwing: throw Refusal()
        case .shutdown: return .shutdown
        case .request: loop.server.requestStop()
        case .stopping: loop.server.stop()
        case nil: break
        }
        return .none
    }

    func onTick(_ loop: Loop) throws -> Tick {
        if books.takes(.tick) { return .shutdown }
        if books.takes(.tickThrow) { throw Refusal() }
        round.turn(of: self, on: loop)
        return .after(.milliseconds(20))
    }

    func onShutdown(_ server: Server) {
        books.shutdowns.add()
        let (opened, closed) = (books.opened.current, books.closed.current)
        if opened != closed { fault("onShutdown with \(opened) opened and \(closed) closed") }
    }

    // MARK: Callbacks of connections

    func onOpen(_ connection: Connection) throws -> Action {
        books.opened.add()
        round.ledger.count("connections")
        let part = connection[parts]
        if part.isOpened || part.isClosed { fault("onOpen twice") }
        part.isOpened = true
        if case .caller(let talk) = part.role { begin(connection, part, talk) }
        if books.takes(.open) { return .shutdown }
        return .none
    }

    func onTraffic(_ connection: Connection) throws -> Action {
        guard let part = part(connection, "onTraffic") else { return .none }
        if books.takes(.traffic) { return .shutdown }
        if books.takes(.trafficStop) { connection.server.stop() }
        if case .newcomer = part.role {
            guard let talk = arrived(connection, part) else { return .none }
            if talk.visits.add() < talk.shape.route.count - 1 {
                passOn(connection, part, talk)
            } else {
                part.role = .service(talk)
                connection.discard(Talk.headerSize)
                talk.up.shown.add(Talk.headerSize)
                if talk.mode == .source { speak(connection, part, talk) }
            }
        }
        switch part.role {
        case .newcomer, .passing: return .none
        case .relaying(_, let other):
            connection.forward(to: other)
            return .none
        case .service(let talk):
            guard connection.isOpen else { return .none }
            try serve(connection, part, talk)
            try disturb(connection, part, talk)
            return .none
        case .caller(let talk):
            let action = listen(connection, part, talk)
            try disturb(connection, part, talk)
            return action
        }
    }

    func onWritable(_ connection: Connection) throws -> Action {
        guard let part = part(connection, "onWritable") else { return .none }
        if part.isPumping { pump(connection, part) }
        return .none
    }

    func onHalfClose(_ connection: Connection) throws -> Action {
        guard let part = part(connection, "onHalfClose") else { return .none }
        ended(part)
        switch part.role {
        // With half-closure, the answer may still be incomplete; its last part ends the connection.
        case .service(let talk) where talk.mode == .echo || talk.mode == .work:
            endWhenAnswered(connection, part, talk)
            return .none
        case .relaying(_, let other):
            other.shutdownWrite()
            return .none
        case .passing: return .none
        default: return .close
        }
    }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        books.closed.add()
        guard let part = part(connection, "onClose") else { return .none }
        part.isClosed = true
        if connection.isOpen { fault("open in onClose") }
        let name = Self.name(reason)
        round.ledger.count("closed: \(name)")
        guard let talk = part.talk else { return .none }
        settle(part, talk, name)
        return .none
    }

    private func settle(_ part: Part, _ talk: Talk, _ reason: String) {
        if reason == "peer" { ended(part) }
        let isOfTheEnds: Bool
        switch part.role {
        case .caller:
            isOfTheEnds = true
            talk.isOver.set()
            talk.note("caller: \(reason)")
        case .service:
            isOfTheEnds = true
            talk.note("service: \(reason)")
        case .passing:
            isOfTheEnds = false
            talk.note("pipe: \(reason)")
        case .relaying(_, let other):
            isOfTheEnds = false
            talk.note("relay: \(reason)")
            if reason == "peer" { other.close() } else { other.abort() }
        case .newcomer: return
        }
        let isOrderly = ["peer", "local"].contains(reason) && !part.hasBrokenOff
        if isOrderly { return }
        // The two ends always close in order or with a reset. A pipe that a server closes cuts off
        // bytes that others still send.
        let isReset = reason.hasPrefix("reset")
        if talk.shape.isUnix || (!isOfTheEnds && !isReset) { talk.isCut.set() }
    }

    private func ended(_ part: Part) {
        switch part.role {
        case .service(let talk):
            if talk.up.hasEnded.set() { talk.up.shown.add(part.leftover) }
        case .caller(let talk): talk.down.hasEnded.set()
        default: break
        }
    }

    /// Returns the talk that the header names; nil if the header is incomplete or wrong.
    private func arrived(_ connection: Connection, _ part: Part) -> Talk? {
        guard let number = connection.peekInteger(at: 4, as: UInt32.self) else { return nil }
        guard let magic: UInt32 = connection.peekInteger(), magic == Talk.magic,
            let talk = round.talk(Int(number))
        else {
            fault("a header that nobody sent")
            connection.abort()
            return nil
        }
        part.dice = Dice(talk.key &+ 1)
        return talk
    }

    private static func name(_ reason: CloseReason) -> String {
        switch reason {
        case .local: "local"
        case .peer: "peer"
        case .reset: "reset"
        case .handlerError: "handlerError"
        case .timeout: "timeout"
        case .inboundOverflow: "inboundOverflow"
        case .outboundOverflow: "outboundOverflow"
        case .shutdown: "shutdown"
        @unknown default: "another"
        }
    }

    // MARK: Datagrams

    func onDatagram(_ datagram: Datagram) throws -> Action {
        round.ledger.count("datagrams")
        if books.takes(.datagram) { return .shutdown }
        let bytes = [UInt8](copying: datagram.bytes)
        guard Letter.isRight(bytes) else {
            fault("a datagram of \(bytes.count) bytes came with wrong ones")
            return .none
        }
        switch bytes.count % 3 {
        case 0: datagram.reply(datagram.bytes)
        case 1: datagram.reply(bytes)
        default:
            let (socket, sender) = (datagram.socket, datagram.remoteAddress)
            datagram.loop.handle.execute { _ in socket.send(bytes, to: sender) }
        }
        if bytes.count % 7 == 0 { try? datagram.socket.join("udp4://239.1.2.3:0", interface: "lo") }
        return .none
    }
}

/// The error that callbacks and closures throw on purpose.
struct Refusal: Error {}

/// Datagrams whose bytes can be checked without further state.
enum Letter {
    static func make(_ key: UInt64, count: Int) -> [UInt8] {
        withUnsafeBytes(of: key.bigEndian) { Array($0) }
            + Array(Pattern.bytes(key, at: 0, count: count))
    }

    static func isRight(_ bytes: [UInt8]) -> Bool {
        guard bytes.count >= 8 else { return false }
        let key = bytes[..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return bytes.withUnsafeBytes {
            Pattern.firstWrong(UnsafeRawBufferPointer(rebasing: $0[8...]), key, at: 0) == nil
        }
    }
}
